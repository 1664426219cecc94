"""docs/protocol.md §5.6, §8.6: what becomes of what people answer by SMS, from the carrier's word to the mail."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from structlog.testing import capture_logs

from gateway.lifecycle import Refused, SmsEvent
from gateway.mailer import render_mail
from gateway.policy.accounts import Account, Accounts
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.providers.base import Reply, ReplyPart
from gateway.replies import PATIENCE, Replies, clean_text
from gateway.reports import ReportRules
from gateway.store import Store, StoreUnavailable, tables
from gateway.store.base import ClaimedSms, RenderNot
from gateway.store.outgoing import ClaimedReport
from gateway.store.stoplist import OptOut, OptOutSource
from gateway.store.two_way import NewReply, ReplyOutcome, ReplyRules, StopRules
from gateway.store.words import RenderReceipts
from gateway.worker import Bell, Crew
from tests.stages.rig import FakeCarrier, Rig, WatchedStore, always
from tests.store.samples import NotMaker, new_mail, new_order, new_sms, row, rows
from tests.support.accounts import make_account
from tests.support.clock import START, ManualClock

NUMBER = "+33600000001"
ACCOUNT = make_account(reply_to="desk@help.example")


class CountedBell(Bell):
    def __init__(self) -> None:
        super().__init__()
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1
        super().ring()


@dataclass(kw_only=True)
class Desk:
    """Replies on a real store, and what they rang."""

    store: WatchedStore
    clock: ManualClock
    accounts: Sequence[Account] = (ACCOUNT,)
    mailer_bell: CountedBell = field(default_factory=CountedBell)
    sync_bell: CountedBell = field(default_factory=CountedBell)

    def __post_init__(self) -> None:
        self.replies = Replies(
            store=self.store,
            clock=self.clock,
            accounts=lambda: Accounts(self.accounts),
            syncing=lambda: ("carrier",),
            rules=ReportRules(hostname="gw.example.org", validity_s=3600),
            own_addresses=frozenset({"sendsms@gw.example.org"}),
            mailer_bell=self.mailer_bell,
            sync_bell=self.sync_bell,
        )

    async def take(self, text: str = "OUI", **fields: object) -> None:
        await self.replies.take("carrier", [reply(text, **fields)])

    async def reports(self) -> list[ClaimedReport]:
        """The mails of replies that are due."""
        now = self.clock.now()
        found = await self.store.claim_reports(now=now, lease_until=now + timedelta(minutes=1), limit=50)
        return [one for one in found if one.kind is ReportKind.REPLY]

    async def mail(self) -> tuple[dict[str, str], str]:
        """The one mail: its headers, and its text."""
        (report,) = await self.reports()
        return read(report)


def read(report: ClaimedReport, *, is_8bit_offered: bool = True) -> tuple[dict[str, str], str]:
    octets = render_mail(report, sender="sendsms@gw.example.org", is_8bit_offered=is_8bit_offered)
    mail = message_from_bytes(octets, policy=policy.SMTP)
    return {name: str(value) for name, value in mail.items()}, mail.get_content().replace("\r\n", "\n")


def reply(text: str, **fields: object) -> Reply:
    values: dict[str, object] = {"msisdn": NUMBER, "text": text, "raw": "{}"}
    return Reply(**(values | fields))  # type: ignore[arg-type]


@pytest.fixture
async def desk(store: WatchedStore, clock: ManualClock) -> Desk:
    return Desk(store=store, clock=clock)


async def send(store: WatchedStore, clock: ManualClock, account: str = "masociete") -> ClaimedSms:
    """An SMS that is at the carrier."""
    await store.admit(new_order(new_sms(), mail=new_mail(account=account), reports=()))
    now = clock.now()
    (claimed,) = await store.claim_sms(
        lane=account, provider="carrier", now=now, lease_until=now + timedelta(minutes=1), limit=9
    )
    return claimed


# --- the mail --------------------------------------------------------------------------------------------------------


async def test_a_reply_is_mailed_in_the_thread_of_what_it_answers(desk: Desk, clock: ManualClock) -> None:
    sms = await send(desk.store, clock)
    await desk.take("Oui, j'arrive à 10h 👍\nMerci", tracker=sms.tracker, to="+33755500011")
    headers, text = await desk.mail()
    mail, envoi = await row(desk.store, tables.mail), await row(desk.store, tables.envoi)
    stored = await row(desk.store, tables.report, kind=ReportKind.REPLY)

    assert headers == {
        "Date": "Wed, 04 Mar 2026 09:30:00 +0000",
        "From": "sendsms@gw.example.org",
        "To": "desk@help.example",
        "Subject": f"SMS reply / reponse SMS: {NUMBER}",
        "Message-ID": f"<{stored['id']}@gw.example.org>",
        "In-Reply-To": mail["message_id"],
        "References": mail["message_id"],
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="UTF-8"',
        "Content-Transfer-Encoding": "8bit",
    }
    assert text == (
        "Oui, j'arrive à 10h 👍\n"
        "Merci\n"
        "-- \n"
        "Reply by SMS / Réponse par SMS\n"
        "from / de:              +33600000001\n"
        "to / à:                 +33755500011\n"
        "received / reçu:        2026-03-04 10:30:00 CET\n"
        f"answers / répond à:     emailId {envoi['email_id']}, SMS 1\n"
        "of / du:                2026-03-04 10:30:00 CET\n"
        "account / compte:       masociete\n"
    )
    assert desk.mailer_bell.rings == 1


async def test_where_the_smarthost_takes_no_8bit_the_text_is_the_same(desk: Desk) -> None:
    await desk.take("à bientôt €")
    (report,) = await desk.reports()
    plain, quoted = read(report), read(report, is_8bit_offered=False)

    assert quoted[0]["Content-Transfer-Encoding"] == "quoted-printable"
    assert plain[1] == quoted[1]


async def test_numbers_are_masked_where_the_account_wants_it(store: WatchedStore, clock: ManualClock) -> None:
    desk = Desk(store=store, clock=clock, accounts=[make_account(reply_to="desk@help.example", reply_numbers="masked")])
    await desk.take()
    headers, text = await desk.mail()

    assert headers["Subject"] == "SMS reply / reponse SMS: +33*****001"
    assert NUMBER not in text


@pytest.mark.parametrize("hostile", ["a\r\nBcc: x@y.test", "\x00\x1b[2J\ud800", "Subject: x\n\nbody", "." * 2000])
async def test_whatever_is_answered_stands_in_no_header(desk: Desk, hostile: str) -> None:
    await desk.take(hostile)
    headers, text = await desk.mail()

    assert headers["Subject"] == f"SMS reply / reponse SMS: {NUMBER}"
    assert set(headers) <= {"Date", "From", "To", "Subject", "Message-ID", *CONTENT}
    assert text.startswith(clean_text(hostile))


CONTENT = ("MIME-Version", "Content-Type", "Content-Transfer-Encoding")


@pytest.mark.parametrize("reply_to", [None, "SendSMS@gw.example.org"])
async def test_without_anywhere_to_go_it_is_kept_and_not_mailed(
    store: WatchedStore, clock: ManualClock, reply_to: str | None
) -> None:
    desk = Desk(store=store, clock=clock, accounts=[make_account(reply_to=reply_to)])
    await desk.take()

    assert (await desk.reports(), desk.mailer_bell.rings) == ([], 0)
    assert (await row(store, tables.reply))["account"] == "masociete"


async def test_what_is_nobodys_is_kept_and_the_operator_told(store: WatchedStore, clock: ManualClock) -> None:
    desk = Desk(store=store, clock=clock, accounts=[ACCOUNT, make_account(name="other", keyid="2")])
    with capture_logs() as lines:
        await desk.take("secret words")

    assert [line["event"] for line in lines] == ["reply_taken", "reply_unclaimed"]
    assert not any("secret" in str(line) or NUMBER in str(line) for line in lines)
    assert (await row(store, tables.reply))["account"] is None


# --- STOP ------------------------------------------------------------------------------------------------------------


async def test_a_stop_is_heeded_and_mailed_all_the_same(desk: Desk, clock: ManualClock) -> None:
    await send(desk.store, clock)
    waiting = new_sms()
    await desk.store.admit(new_order(waiting, mail=new_mail(account="masociete"), reports=()))
    with capture_logs() as lines:
        await desk.take("Stop !")
    headers, text = await desk.mail()
    told = {(one["provider"], one["msisdn"]) for one in await rows(desk.store, tables.carrier_optout)}

    assert (await desk.store.sms(waiting))["code"] is Code.C11_NUMBER_BLACKLISTED
    assert headers["Subject"].endswith(f"{NUMBER} (STOP)")
    assert "STOP:                   the number gets no more SMS of this account (code 11)\n" in text
    assert [line["event"] for line in lines] == [
        "reply_taken",
        "report_staged",
        "optout_added",
        "sms_settled",
        "report_staged",
    ]
    assert (desk.mailer_bell.rings, desk.sync_bell.rings, told) == (1, 1, {("carrier", NUMBER)})


async def test_an_account_that_does_not_heed_it_is_told_so(store: WatchedStore, clock: ManualClock) -> None:
    desk = Desk(store=store, clock=clock, accounts=[make_account(reply_to="d@help.example", heeds_stop=False)])
    await send(store, clock)
    waiting = new_sms()
    await store.admit(new_order(waiting, mail=new_mail(account="masociete"), reports=()))
    await desk.take("STOP")
    _, text = await desk.mail()

    assert (await store.sms(waiting))["settled_at"] is None
    assert "noted, but this account does not heed STOP" in text
    assert len(await rows(store, tables.optout)) == 1


# --- once, and whole -------------------------------------------------------------------------------------------------


async def test_a_callback_that_comes_twice_at_once_is_one_reply(desk: Desk) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(desk.take("OUI"))

    assert len(await rows(desk.store, tables.reply)) == len(await desk.reports()) == 1


@pytest.mark.parametrize(
    ("again", "after_s", "count"),
    [
        ({"reference": "r1"}, 10**6, 1),
        ({"reference": "r2"}, 0, 2),
        ({"at": START}, 10**6, 1),
        ({"at": START + timedelta(seconds=1)}, 0, 2),
        ({}, 899, 1),
        ({}, 1801, 2),
        ({"provider_ref": "5"}, 0, 2),
    ],
)
async def test_what_makes_it_the_same_reply(desk: Desk, again: dict[str, object], after_s: int, count: int) -> None:
    first = {"reference": "r1"} if "reference" in again else {"at": START} if "at" in again else {}
    await desk.take("OUI", **first)
    desk.clock.advance(after_s)
    await desk.take("OUI", **again)

    assert len(await rows(desk.store, tables.reply)) == count


async def test_the_carrier_hears_when_a_reply_could_not_be_stored(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[ReplyOutcome] = []

    async def fail_at_the_second(
        new: NewReply, rules: ReplyRules, render_not: RenderNot, render_receipts: RenderReceipts
    ) -> ReplyOutcome:
        if outcomes:
            raise StoreUnavailable("away")
        outcomes.append(await Store.take_reply(desk.store, new, rules, render_not, render_receipts))
        return outcomes[0]

    both = [reply("un"), reply("deux")]
    with monkeypatch.context() as away:
        away.setattr(desk.store, "take_reply", fail_at_the_second)
        with pytest.raises(StoreUnavailable):
            await desk.replies.take("carrier", both)
    await desk.replies.take("carrier", both)

    assert sorted(one["text"] for one in await rows(desk.store, tables.reply)) == ["deux", "un"]


def part(number: int, text: str, total: int = 2) -> dict[str, object]:
    return {"text": text, "part": ReplyPart(reference="7", number=number, total=total), "to": "+33755500011"}


async def take_part(desk: Desk, number: int, text: str) -> None:
    fields = part(number, text)
    await desk.take(str(fields.pop("text")), **fields)


async def test_a_long_stop_is_read_when_it_is_whole(desk: Desk) -> None:
    await take_part(desk, 2, " now")
    await take_part(desk, 1, "STOP")
    _, text = await desk.mail()

    assert text.startswith("STOP now\n")
    assert len(await rows(desk.store, tables.optout)) == 1


async def test_what_never_becomes_whole_goes_as_it_is_and_says_so(desk: Desk) -> None:
    await take_part(desk, 1, "Je vous")
    look = desk.replies._look
    await look(Crew())
    none_yet = await desk.reports()
    desk.clock.advance(PATIENCE.total_seconds())
    with capture_logs() as lines:
        await look(Crew())
    _, text = await desk.mail()

    assert none_yet == []
    assert text.startswith("Je vous\n")
    assert "incomplete / incomplet: only / seulement 1 of / sur 2\n" in text
    assert "reply_cut" in [line["event"] for line in lines]


async def test_the_stage_looks_by_itself_and_ends_when_it_is_stopped(desk: Desk) -> None:
    await take_part(desk, 1, "Je")
    desk.clock.advance(PATIENCE.total_seconds())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(desk.replies.run())
        while not desk.mailer_bell.rings:  # noqa: ASYNC110 it rings when the mail is there
            await asyncio.sleep(0)
        desk.replies.stop()

    assert [one["text"] for one in await rows(desk.store, tables.reply)] == ["Je"]


STOPPED = OptOut(account="masociete", msisdn=NUMBER, since_at=START, source=OptOutSource.OPERATOR)
EXEMPT = StopRules(exempt=frozenset({"masociete"}))
"""So that what waits goes on waiting."""


# --- the dispatcher --------------------------------------------------------------------------------------------------


async def test_an_sms_whose_number_is_stopped_by_now_is_not_handed_over(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier)
    stopped, other = new_sms(1), new_sms(2)
    await store.stop([STOPPED], EXEMPT, START, NotMaker())
    async with rig.running():
        # as if another node had stored them at the very moment of the STOP
        order = new_order(stopped, other, mail=new_mail(account="masociete"), reports=())
        await store.admit(replace(order, heeds_stop=False))
        rig.dispatcher.notice("masociete")
        await store.wait_for_moves(2)

    assert carrier.sent == [other.id]
    assert (await store.sms(stopped))["code"] is Code.C11_NUMBER_BLACKLISTED
    assert (await store.sms(stopped))["state"].value == "cancelled"
    assert await store.attempts(stopped) == []
    assert len(await store.nots()) == 1


async def test_the_sms_of_an_account_that_does_not_heed_stop_goes(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier, accounts=[make_account(heeds_stop=False)])
    sms = new_sms(1)
    await store.stop([STOPPED], EXEMPT, START, NotMaker())
    async with rig.running():
        await store.admit(replace(new_order(sms, mail=new_mail(account="masociete"), reports=()), heeds_stop=False))
        rig.dispatcher.notice("masociete")
        await store.wait_for_moves(1)

    assert carrier.sent == [sms.id]


async def test_a_carriers_code_11_is_on_our_list_and_told_once(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier()
    carrier.default = always(Refused(raw="liste noire", code=Code.C11_NUMBER_BLACKLISTED))
    rig = Rig(store, clock, carrier)
    with capture_logs() as lines:
        async with rig.running():
            await rig.submit(new_sms(1))
            await store.wait_for_moves(1)
    (added,) = [line for line in lines if line["event"] == "optout_added"]

    assert store.events == [SmsEvent.REFUSED]
    assert (added["account"], added["source"].value, added["msisdn"]) == ("masociete", "carrier", "+33*****001")
    assert [one["msisdn"] for one in await rows(store, tables.optout)] == [NUMBER]
