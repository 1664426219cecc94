"""docs/protocol.md §10.5: what quotas held back is told when its time is over."""

from structlog.testing import capture_logs

from gateway.alarms import find_writer
from gateway.intake.budget import make_budget
from gateway.overruns import Overruns
from gateway.policy.accounts import Account, Accounts
from gateway.protocol.report import ReportKind
from gateway.reports import ReportRules
from gateway.store import quota_tables, tables
from gateway.store.base import Order
from gateway.worker import Bell
from tests.stages.rig import WatchedStore
from tests.store.samples import row, rows
from tests.store.test_quotas import order_of
from tests.support.accounts import make_account
from tests.support.clock import ManualClock

RULES = ReportRules(hostname="gw.example.org", validity_s=3600)
ACCOUNT = make_account(
    quotas=[{"per": "recipient", "window": "minute", "sms": 2}], mail="it@agency.example", volume_warning=1000
)
NUMBERS = ("+33600000001", "+33600000002")


def storm(clock: ManualClock) -> Order:
    """Fifty SMS to each of two numbers."""
    order = order_of(*NUMBERS * 50, budget=make_budget(ACCOUNT, "it@acme.example"), at=clock.now(), account="masociete")
    assert find_writer(ACCOUNT, (), RULES) is not None
    return order


def stage(
    store: WatchedStore, clock: ManualClock, *, bell: Bell, accounts: tuple[Account, ...] = (ACCOUNT,)
) -> Overruns:
    return Overruns(
        store=store,
        clock=clock,
        accounts=lambda: Accounts(accounts),
        rules=RULES,
        own_addresses=(),
        mailer_bell=bell,
    )


async def test_a_storm_is_summed_up_once_in_one_mail_and_a_line_for_each_number(
    store: WatchedStore, clock: ManualClock
) -> None:
    bell = Bell()
    overruns = stage(store, clock, bell=bell)
    await store.admit(storm(clock))
    with capture_logs() as lines:
        await overruns.tell()
        assert lines == []
        clock.advance(16 * 60)
        await overruns.tell()
        await overruns.tell()
    report = await row(store, tables.report, kind=ReportKind.ALARM)
    told = [line for line in lines if line["event"] == "quota_overrun"]

    assert [(line["subject"], line["held_back"], line["log_level"]) for line in told] == [
        ("+33*****001", 48, "warning"),
        ("+33*****002", 48, "warning"),
    ]
    assert b"held back 96 SMS, refused with code 29" in report["body"]
    assert b"48 more / de plus: +33*****001 (at most 2 SMS a minute to one number)" in report["body"]
    assert (report["recipient"], report["in_reply_to"]) == ("it@agency.example", None)


async def test_what_no_longer_counts_is_gone_with_the_round(store: WatchedStore, clock: ManualClock) -> None:
    overruns = stage(store, clock, bell=Bell())
    await store.admit(storm(clock))
    await overruns.tell()
    before = len(await rows(store, quota_tables.quota_use))
    clock.advance(70)
    await overruns.tell()

    assert (before, await rows(store, quota_tables.quota_use)) == (2, [])


async def test_an_account_that_is_gone_is_told_of_in_the_log_alone(store: WatchedStore, clock: ManualClock) -> None:
    overruns = stage(store, clock, bell=Bell(), accounts=())
    await store.admit(storm(clock))
    clock.advance(16 * 60)
    with capture_logs() as lines:
        await overruns.tell()

    assert [line["event"] for line in lines] == ["quota_overrun"] * 2
    assert await rows(store, tables.report, kind=ReportKind.ALARM) == []
