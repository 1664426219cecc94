"""Finding, telling, listing and counting, on both databases."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.ids import new_id
from gateway.lifecycle import EnvoiId, MailId, SmsEvent, SmsId, SmsState
from gateway.policy.accounts import Accounts
from gateway.protocol.codes import Code
from gateway.store import Store, listing, queue_listing, tables
from gateway.store.base import NewSms, Order, Refusal
from gateway.store.records import TurnedAwayRecord
from gateway.stories import Filter, Found, FoundKind, Page, QueueRow, StatsBy, StepKind, Stories, Story
from gateway.stories.masking import mask_story
from tests.store.samples import (
    ArMaker,
    NotMaker,
    change,
    claim,
    new_mail,
    new_order,
    new_sms,
    refused_sms,
    settlement,
)
from tests.support.accounts import make_account
from tests.support.clock import START, ManualClock

ACCOUNTS = Accounts([make_account(name="acme", domains=("acme.example",))])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def stories(store: Store, clock: ManualClock) -> Stories:
    return Stories(store, clock, lambda: ACCOUNTS)


def order_at(at: datetime, *sms: NewSms, account: str = "acme", email_id: str = "new") -> Order:
    """An order with ids as real ones are: they begin with their time."""
    order = new_order(
        *(replace(one, id=SmsId(new_id(at))) for one in sms or (new_sms(),)),
        mail=replace(new_mail(account=account), id=MailId(new_id(at)), received_at=at),
        email_id=email_id,
    )
    assert order.envoi is not None
    return replace(order, envoi=replace(order.envoi, id=EnvoiId(new_id(at))))


def refusal_at(at: datetime) -> Refusal:
    return Refusal(
        id=MailId(new_id(at)),
        refused_at=at,
        peer="192.0.2.7",
        listener="smtp",
        envelope_from="paul@acme.example",
        header_from="paul@acme.example",
        message_id="<refused@acme.example>",
        account="acme",
        reply="550 5.7.1 Refused with code 3",
        cause="code 3: the <keyid> is not known",
        facts={"helo": "paul", "size_bytes": 100, "ground": "wrong", "code": 3, "email_id": "77"},
    )


def away_at(at: datetime) -> TurnedAwayRecord:
    return TurnedAwayRecord(
        id="T" + "A" * 19,
        peer="203.0.113.9",
        sender="stranger@elsewhere.example",
        reply="550 5.1.1 No such recipient here; this is not a relay",
        count=4,
        first_at=at,
        last_at=at,
        facts={"helo": "elsewhere", "recipient": "root@gw.example"},
    )


async def ids_of(stories: Stories, text: str) -> list[str]:
    return [one.id for one in await stories.find(text)]


async def told(stories: Stories, id: str) -> Story:  # noqa: A002
    story = await stories.story(id)
    assert story is not None
    return story


# --- finding ---------------------------------------------------------------------------------------------------------


async def test_a_mail_is_found_by_everything_it_is_known_by(store: Store, stories: Stories) -> None:
    order = order_at(START, new_sms(7), email_id="1548")
    await store.admit(order)
    await store.admit(order_at(START + timedelta(hours=1), new_sms(8), email_id="1549"))
    (claimed, *_) = await claim(store)
    await store.settle_sms(
        [settlement(claimed, SmsEvent.TAKEN, code=Code.C0_SENT, provider_ref="REF-1")], START, NotMaker(), ArMaker()
    )
    mail, envoi = order.mail, order.envoi
    assert envoi is not None
    sms, message_id = envoi.sms[0], mail.message_id or ""
    for text in (
        "1548",
        message_id,
        message_id.strip("<>"),
        mail.id,
        mail.id.lower(),
        envoi.id,
        sms.id,
        "REF-1",
        "06 00 00 00 07",
        "+33 6 00 00 00 07",
        "0033600000007",
        "2026-03-04 09:30",
        "09:30",
    ):
        assert await ids_of(stories, text) == [mail.id], text

    assert sorted(await ids_of(stories, mail.envelope_from)) == sorted(await ids_of(stories, "192.0.2.1"))
    assert len(await ids_of(stories, "192.0.2.1")) == 2
    assert await ids_of(stories, "nothing of the kind") == []
    assert await ids_of(stories, "  ") == []


async def test_what_is_no_number_is_found_as_it_was_written(store: Store, stories: Stories) -> None:
    order = order_at(START, refused_sms())
    await store.admit(order)

    assert await ids_of(stories, "0600") == [order.mail.id]


async def test_a_duplicate_is_found_by_the_id_it_repeats_and_names_the_first(store: Store, stories: Stories) -> None:
    first, again = order_at(START, email_id="1548"), order_at(START + timedelta(minutes=1), email_id="1548")
    await store.admit(first)
    await store.admit(again)
    story = await told(stories, again.mail.id)

    assert await ids_of(stories, "1548") == [again.mail.id, first.mail.id]
    assert story.found.summary == "duplicate: its emailId was used before"
    (step,) = [one for one in story.steps if one.kind is StepKind.DUPLICATE]
    assert step.data["first_mail_id"] == first.mail.id
    known = [one for one in (await told(stories, first.mail.id)).steps if one.kind is StepKind.DUPLICATE]
    assert [one.data["mail_id"] for one in known] == [again.mail.id]


async def test_refusals_and_strangers_are_found_by_who_they_are_and_what_they_were_told(
    store: Store, stories: Stories
) -> None:
    refusal, away = refusal_at(START), away_at(START + timedelta(minutes=5))
    await store.refuse(refusal)
    await store.note_turned_away([away], START)
    for text in (
        "77",
        "<refused@acme.example>",
        "PAUL@acme.example",
        "192.0.2.7",
        "keyid> is not",
        refusal.id,
        "09:30",
    ):
        assert await ids_of(stories, text) == [refusal.id], text
    for text in ("stranger@elsewhere.example", "203.0.113.9", "not a relay", away.id, "09:35"):
        assert await ids_of(stories, text) == [away.id], text

    assert "accounts.acme.keyid" in (await told(stories, refusal.id)).reason
    assert "smtp.recipients" in (await told(stories, away.id)).reason
    assert "4 times" in (await told(stories, away.id)).steps[0].sentence


async def test_an_id_of_nothing_has_no_story(stories: Stories) -> None:
    assert await stories.story("0" * 20) is None


# --- telling ---------------------------------------------------------------------------------------------------------


async def test_a_story_goes_from_the_connection_to_the_report(store: Store, stories: Stories) -> None:
    order = order_at(START, new_sms(), new_sms(2, originator="Acme"), refused_sms(3))
    await store.admit(order)
    for claimed in await claim(store):
        event = SmsEvent.TAKEN if claimed.msisdn.endswith("1") else SmsEvent.LOST
        code = Code.C0_SENT if event is SmsEvent.TAKEN else None
        await store.settle_sms([settlement(claimed, event, code=code, raw='{"etat": 1}')], START, NotMaker(), ArMaker())
    story = await told(stories, order.mail.id)
    kinds = [step.kind for step in story.steps]

    assert kinds[:6] == [
        StepKind.CONNECTED,
        StepKind.READ,
        StepKind.PROVEN,
        StepKind.CHECKED,
        StepKind.CHECKED,
        StepKind.TAKEN,
    ]
    assert kinds.count(StepKind.ANSWERED) == 2
    assert kinds.count(StepKind.SMS_REFUSED) == 1
    assert StepKind.REPORT_WRITTEN in kinds
    answers = [step.data["raw"] for step in story.steps if step.kind is StepKind.ANSWERED]
    assert answers == ['{"etat": 1}'] * 2
    assert story.found.states == {"accepted": 1, "uncertain": 1, "refused": 1}
    assert {step.data["state"] for step in story.steps if step.kind is StepKind.STANDS} == {"accepted", "uncertain"}


async def test_an_sms_that_is_due_says_why_nobody_takes_it(store: Store, clock: ManualClock) -> None:
    order = order_at(START)
    await store.admit(order)
    idle = Stories(store, clock, lambda: ACCOUNTS, is_serving=lambda: False)
    gone = Stories(store, clock, lambda: Accounts([]), is_serving=lambda: True)

    assert "start it (mail2sms serve)" in (await told(idle, order.mail.id)).reason
    assert "not in the configuration any more" in (await told(gone, order.mail.id)).reason


async def test_what_an_account_waits_for_is_told_of_all_its_sms(store: Store, clock: ManualClock) -> None:
    first, second = order_at(START), order_at(START)
    for order in (first, second):
        await store.admit(order)
    claimed = (await claim(store, limit=1))[0]
    back = settlement(
        claimed,
        SmsEvent.NOT_SENT,
        code=Code.C12_NO_CREDIT,
        reason="not sent: account has to wait",
        due_at=START,
        raw="credit is gone",
    )
    await store.settle_sms([back], START, NotMaker(), ArMaker())
    clock.advance(1)
    stories = Stories(store, clock, lambda: ACCOUNTS, is_serving=lambda: True)
    for order in (first, second):
        reason = (await told(stories, order.mail.id)).reason

        assert "all of account acme waits at carrier carrier" in reason
        assert "buy credit there, then systemctl reload mail2sms" in reason
        assert reason.endswith("; the carrier's answer: credit is gone")
    masked = mask_story(await told(stories, second.mail.id))
    said = [masked.reason, *(text for step in masked.steps for text in (step.sentence, str(dict(step.data))))]

    assert "buy credit there" in masked.reason
    assert [text for text in said if "credit is gone" in text] == []

    rows = (await stories.queue(Filter())).rows

    assert len(rows) == 2
    assert ["all of account acme waits at carrier carrier" in row.waits_for for row in rows] == [True, True]
    assert [row.waits_for for row in rows if "credit is gone" in row.waits_for] == []


async def test_erased_contents_are_told_as_erased(store: Store, stories: Stories) -> None:
    order = order_at(START, refused_sms())
    await store.admit(order)
    await change(store, tables.report.update().values(state="sent", settled_at=START))
    await store.purge_contents(before=START + timedelta(days=1), now=START + timedelta(days=1), limit=5)
    story = await told(stories, order.mail.id)

    assert story.steps[-1].kind is StepKind.PURGED
    assert story.found.states == {"refused": 1}


# --- lists -----------------------------------------------------------------------------------------------------------


async def all_pages(stories: Stories, wanted: Filter, size: int) -> list[Found]:
    found: list[Found] = []
    after: str | None = None
    while True:
        page = await stories.search(wanted, Page(size=size, after=after))
        found += page.rows
        after = page.next
        if after is None:
            return found


async def fill(store: Store) -> Sequence[Order]:
    orders = [order_at(START + timedelta(minutes=n), new_sms(n + 1), email_id=f"{n}") for n in range(6)]
    orders.append(order_at(START + timedelta(minutes=6), refused_sms(), account="other"))
    for order in orders:
        await store.admit(order)
    return orders


async def test_a_list_goes_from_the_newest_to_the_oldest_and_misses_nothing(store: Store, stories: Stories) -> None:
    orders = await fill(store)
    await store.refuse(refusal_at(START + timedelta(minutes=2, seconds=30)))
    found = await all_pages(stories, Filter(), 2)

    mails = [one.id for one in found if one.kind is FoundKind.MAIL]
    assert mails == [order.mail.id for order in reversed(orders)]
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)
    assert len(found) == 8


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (Filter(account="other"), [6]),
        (Filter(states=(SmsState.REFUSED,)), [6]),
        (Filter(states=(SmsState.QUEUED,)), [5, 4, 3, 2, 1, 0]),
        (Filter(states=(SmsState.DELIVERED,)), []),
        (Filter(number="06 00 00 00 03"), [2]),
        (Filter(number="0600"), [6]),
        (Filter(email_id="4"), [4]),
        (Filter(since=START + timedelta(minutes=4)), [6, 5, 4]),
        (Filter(until=START + timedelta(minutes=2)), [1, 0]),
        (Filter(text="bonjour 2"), [1]),
        (Filter(text="100%"), []),
        (Filter(provider="carrier"), []),
        (Filter(account="acme", number="0600000002", text="bonjour"), [1]),
    ],
)
async def test_a_list_holds_what_has_all_the_marks(
    wanted: Filter, places: list[int], store: Store, stories: Stories
) -> None:
    orders = await fill(store)
    found = await all_pages(stories, wanted, 50)

    assert [one.id for one in found] == [orders[place].mail.id for place in places]


async def test_a_list_looks_at_a_bounded_number_of_rows_and_goes_on(
    store: Store, stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 2)
    orders = await fill(store)
    first = await stories.search(Filter(text="bonjour 1"), Page(size=5))

    assert (first.rows, first.next) == ((), orders[5].mail.id)
    assert [one.id for one in await all_pages(stories, Filter(text="bonjour 1"), 5)] == [orders[0].mail.id]


async def test_a_list_looks_at_a_bounded_number_of_sms_and_goes_on_with_whole_mails(
    store: Store, stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SMS_LOOKED_AT", 3)
    few = [order_at(START + timedelta(minutes=n), new_sms(n + 1), email_id=f"{n}") for n in range(2)]
    long = order_at(START + timedelta(minutes=2), *map(new_sms, range(11, 16)), email_id="long")
    newest = order_at(START + timedelta(minutes=3), new_sms(21), email_id="newest")
    for order in (*few, long, newest):
        await store.admit(order)
    first = await stories.search(Filter(text="bonjour 1"), Page(size=5))
    last_of_long = await stories.search(Filter(text="bonjour 15"), Page(size=5))

    assert [one.id for one in first.rows] == [long.mail.id]
    assert (await stories.search(Filter(text="bonjour 21"), Page(size=5))).next == long.mail.id
    assert ([one.id for one in last_of_long.rows], last_of_long.next) == ([long.mail.id], long.mail.id)
    found = await all_pages(stories, Filter(text="bonjour 1"), 5)
    assert [one.id for one in found] == [long.mail.id, few[0].mail.id]
    assert await all_pages(stories, Filter(text="bonjour 9"), 5) == []


async def test_a_state_that_many_are_in_is_looked_for_among_the_newest(
    store: Store, stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await fill(store)
    monkeypatch.setattr(listing, "LOOKED_AT", 4)
    found = await all_pages(stories, Filter(states=(SmsState.QUEUED,)), 2)

    assert [one.id for one in found] == [order.mail.id for order in reversed(orders[:6])]


@pytest.mark.parametrize("after", ["x", "\0", "2026-11-22", "2026-11-22T10:00:00 S1"])
async def test_a_place_in_the_queue_that_is_none_is_a_value_error(stories: Stories, after: str) -> None:
    with pytest.raises(ValueError, match=r"place|isoformat"):
        await stories.queue(Filter(), Page(size=5, after=after))


async def test_the_queue_of_one_account_goes_on_behind_that_of_the_others(
    store: Store, stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_listing, "LOOKED_AT", 2)
    orders = [order_at(START + timedelta(minutes=n), new_sms(n + 1), email_id=f"{n}") for n in range(5)]
    orders += [
        order_at(START + timedelta(minutes=n), new_sms(n + 1), email_id=f"{n}", account="other") for n in range(5, 8)
    ]
    for order in orders:
        await store.admit(order)
    first = await stories.queue(Filter(account="other"), Page(size=2))
    rows: list[QueueRow] = []
    after = first.next
    while after is not None:
        page = await stories.queue(Filter(account="other", text="BONJOUR"), Page(size=2, after=after))
        rows += page.rows
        after = page.next

    assert first.rows == ()
    assert [row.mail_id for row in rows] == [order.mail.id for order in orders[5:]]


async def test_sms_at_their_end_are_listed_behind_those_that_wait_and_each_once(
    store: Store, stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_listing, "LOOKED_AT", 2)
    orders = [*await fill(store), order_at(START + timedelta(minutes=9), refused_sms(), account="other")]
    await store.admit(orders[-1])
    for claimed in await claim(store, limit=2):
        await store.settle_sms(
            [settlement(claimed, SmsEvent.REFUSED, code=Code.C11_NUMBER_BLACKLISTED)], START, NotMaker(), ArMaker()
        )
    await change(
        store,
        tables.sms.update()
        .where(tables.sms.c.mail_id == orders[3].mail.id)
        .values(state="delivered", settled_at=START),
    )
    states = (SmsState.DELIVERED, SmsState.REFUSED, SmsState.QUEUED)
    listed: list[tuple[str, SmsState]] = []
    after: str | None = None
    while True:
        page = await stories.queue(Filter(states=states), Page(size=2, after=after))
        listed += [(row.mail_id, row.state) for row in page.rows]
        after = page.next
        if after is None:
            break

    ended = [orders[place].mail.id for place in (0, 1, 3, 6, 7)]
    assert [mail for mail, state in listed if state is SmsState.QUEUED] == [orders[n].mail.id for n in (2, 4, 5)]
    assert [mail for mail, _ in listed[3:]] == ended


async def test_the_queue_is_read_part_by_part_the_oldest_first(store: Store, stories: Stories) -> None:
    orders = await fill(store)
    rows: list[QueueRow] = []
    after: str | None = None
    while True:
        page = await stories.queue(Filter(), Page(size=4, after=after))
        rows += page.rows
        after = page.next
        if after is None:
            break

    assert [row.mail_id for row in rows] == [order.mail.id for order in orders[:6]]
    only = await stories.queue(Filter(number="0600000003"))
    assert [row.mail_id for row in only.rows] == [orders[2].mail.id]
    assert (await stories.queue(Filter(account="nobody"))).rows == ()
    assert [row.mail_id for row in (await stories.queue(Filter(envoi="5"))).rows] == [orders[5].mail.id]


# --- counts ----------------------------------------------------------------------------------------------------------


async def test_sms_are_counted_by_what_is_asked_for(store: Store, clock: ManualClock) -> None:
    await fill(store)
    for claimed in await claim(store, limit=1):
        one = settlement(claimed, SmsEvent.TAKEN, code=Code.C0_SENT, parts=3)
        billed = replace(one, cost_micros=45_000, currency="EUR")
        await store.settle_sms([billed], START, NotMaker(), ArMaker())
    clock.advance(600)
    stories = Stories(store, clock, lambda: ACCOUNTS)
    by = {one: await stories.stats(one, START) for one in StatsBy}

    assert {row.key: row.sms for row in by[StatsBy.ACCOUNT].rows} == {"acme": 6, "other": 1}
    assert {row.key: row.sms for row in by[StatsBy.STATE].rows} == {"accepted": 1, "queued": 5, "refused": 1}
    assert {row.key: row.sms for row in by[StatsBy.PROVIDER].rows} == {"carrier": 1, "(none yet)": 6}
    assert {row.key: row.sms for row in by[StatsBy.HOUR].rows} == {"2026-03-04 09:00": 7}
    total = by[StatsBy.ACCOUNT].total
    assert (total.sms, total.parts, dict(total.costs_micros)) == (7, 8, {"EUR": 45_000})
    (waiting,) = by[StatsBy.ACCOUNT].waiting
    assert (waiting.provider, waiting.sms) == ("carrier", 5)
    assert waiting.oldest_s >= waiting.p95_s >= waiting.p50_s > 0
    later = await stories.stats(StatsBy.ACCOUNT, datetime(2026, 3, 4, 10, tzinfo=UTC))
    assert (later.total.sms, later.total.delivery_rate) == (0, None)
