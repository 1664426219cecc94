"""Replies in the store: once each, with what they answer, what they stop and the mail they cause."""

import asyncio
import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.lifecycle import SmsEvent, SmsState
from gateway.protocol.report import ReportKind
from gateway.store import Store, tables
from gateway.store.base import NewReport, NewSms
from gateway.store.replies import ANSWERS_WITHIN, mark_of
from gateway.store.two_way import (
    NewPart,
    NewReply,
    PartKey,
    ReplyIncomplete,
    ReplyKnown,
    ReplyOutcome,
    ReplyRules,
    ReplyStored,
    StopRules,
    TakenReply,
)
from tests.store.samples import (
    LATER,
    NotMaker,
    claim,
    name,
    new_mail,
    new_order,
    new_report,
    new_sms,
    row,
    rows,
    settlement,
)
from tests.support.clock import START

ONE = "+33600000001"
_numbers = itertools.count(1)


def reply(text: str = "OUI", *, mark: str | None = None, **values: Any) -> NewReply:  # noqa: ANN401 of a reply
    fields: dict[str, Any] = {
        "received_at": LATER,
        "provider": "carrier",
        "msisdn": ONE,
        "sent_to": None,
        "raw": "{}",
        "marks": (mark_of(mark or str(next(_numbers))),),
    }
    return NewReply(text=text, **(fields | values))


def render(taken: TakenReply) -> NewReport | None:
    return replace(new_report(ReportKind.REPLY), subject="SMS") if taken.account else None


RULES = ReplyRules(
    is_stop=lambda text: text.startswith("STOP"), render=render, owners={"own": "sole"}, stop=StopRules()
)


async def take(store: Store, new: NewReply, rules: ReplyRules = RULES) -> ReplyOutcome:
    return await store.take_reply(new, rules, NotMaker())


async def stored(store: Store, new: NewReply) -> TakenReply:
    outcome = await take(store, new)
    assert isinstance(outcome, ReplyStored)
    return outcome.reply


async def send(store: Store, *, account: str = "acme", provider_ref: str | None = None) -> NewSms:
    """An SMS that the carrier took."""
    sms = new_sms()
    await store.admit(new_order(sms, mail=new_mail(account=account)))
    (claimed,) = await claim(store, account=account)
    await store.settle_sms([settlement(claimed, SmsEvent.TAKEN, provider_ref=provider_ref)], START, NotMaker())
    return sms


# --- once ------------------------------------------------------------------------------------------------------------


async def test_a_reply_is_stored_once_however_often_it_comes(store: Store, other: Store) -> None:
    await send(store)
    new = reply("STOP", mark="a")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take(node, new)) for node in (store, other) * 4]
    outcomes = [task.result() for task in tasks]

    assert sorted(type(one).__name__ for one in outcomes) == ["ReplyKnown"] * 7 + ["ReplyStored"]
    assert len(await rows(store, tables.reply)) == len(await rows(store, tables.report, kind=ReportKind.REPLY)) == 1


async def test_any_of_its_marks_is_enough_to_know_it(store: Store) -> None:
    marks = [mark_of(one) for one in ("period 7", "period 6")]
    await take(store, reply(marks=(marks[1],)))

    assert await take(store, reply(marks=tuple(marks))) == ReplyKnown()


async def test_a_step_that_fails_leaves_nothing(store: Store) -> None:
    await send(store)

    def fail(_: TakenReply) -> NewReport | None:
        raise LookupError

    with pytest.raises(LookupError):
        await take(store, reply("STOP"), replace(RULES, render=fail))

    assert [await rows(store, table) for table in (tables.reply, tables.optout)] == [[], []]


async def test_its_mail_is_a_report_of_its_own_cause(store: Store) -> None:
    await send(store)
    outcome = await take(store, reply())
    assert isinstance(outcome, ReplyStored)
    report = await row(store, tables.report, kind=ReportKind.REPLY)

    assert (report["id"], report["reply_id"], report["mail_id"]) == (outcome.report, outcome.reply.id, None)
    assert [one.subject for one in await claim_reports(store) if one.kind is ReportKind.REPLY] == ["SMS"]


async def claim_reports(store: Store) -> list[Any]:
    return list(await store.claim_reports(now=LATER, lease_until=LATER + timedelta(minutes=1), limit=50))


# --- what it answers -------------------------------------------------------------------------------------------------


async def test_it_answers_the_sms_that_the_carrier_names(store: Store) -> None:
    first, _, third = await send(store), await send(store), await send(store, provider_ref="55")
    await send(store)
    by_tracker = await stored(store, reply(tracker=first.tracker))
    by_ref = await stored(store, reply(provider_ref="55"))
    assert by_tracker.answers is not None
    assert by_ref.answers is not None

    assert (by_tracker.answers.sms_id, by_ref.answers.sms_id) == (first.id, third.id)


async def test_it_answers_the_last_sms_to_the_number_by_that_carrier(store: Store) -> None:
    sent = [await send(store), await send(store)]
    await store.admit(new_order())  # waits, and was never sent
    taken = await stored(store, reply(tracker="unknown", provider_ref="unknown"))
    envoi = await row(store, tables.envoi, id=(await row(store, tables.sms, id=sent[1].id))["envoi_id"])
    assert taken.answers is not None

    assert (taken.answers.sms_id, taken.answers.email_id, taken.answers.position) == (sent[1].id, envoi["email_id"], 1)
    assert (taken.account, taken.answers.asked_at) == ("acme", START)
    assert taken.answers.message_id == (await row(store, tables.mail, id=envoi["mail_id"]))["message_id"]


@pytest.mark.parametrize(
    "new",
    [
        reply(msisdn="+33600000009"),
        reply(provider="another"),
        reply(received_at=START + ANSWERS_WITHIN + timedelta(seconds=1)),
    ],
)
async def test_otherwise_it_is_nobodys_and_kept(store: Store, new: NewReply) -> None:
    await send(store)
    outcome = await take(store, new)
    assert isinstance(outcome, ReplyStored)

    assert (outcome.reply.account, outcome.reply.answers, outcome.report) == (None, None, None)
    assert (await row(store, tables.reply))["account"] is None


async def test_by_way_of_a_carrier_of_one_account_it_is_that_accounts(store: Store) -> None:
    assert (await stored(store, reply(provider="own"))).account == "sole"


# --- STOP ------------------------------------------------------------------------------------------------------------


async def test_a_stop_stops_the_account_and_what_waits(store: Store) -> None:
    await send(store)
    waiting = new_sms()
    await store.admit(new_order(waiting))
    outcome = await take(store, reply("STOP"))
    assert isinstance(outcome, ReplyStored)
    entry = await row(store, tables.optout)

    assert [one.id for one in outcome.stopped.cancelled] == [waiting.id]
    assert (await row(store, tables.sms, id=waiting.id))["state"] is SmsState.CANCELLED
    assert (entry["account"], entry["msisdn"], entry["source"].value) == ("acme", ONE, "reply")
    assert "STOP" not in entry["note"]
    assert (await row(store, tables.reply))["is_stop"] is True


async def test_a_stop_that_is_nobodys_stops_everybody(store: Store) -> None:
    outcome = await take(store, reply("anything", is_stop=True))
    assert isinstance(outcome, ReplyStored)

    assert [one.account for one in outcome.stopped.added] == ["*"]


# --- parts -----------------------------------------------------------------------------------------------------------


def part(number: int, text: str, *, total: int = 3, reference: str = "7", at: datetime = LATER) -> NewReply:
    key = PartKey(provider="carrier", msisdn=ONE, sent_to="+33755500011", reference=reference)
    return reply(
        text,
        received_at=at,
        sent_to=key.sent_to,
        marks=(),
        part=NewPart(key=key, number=number, total=total),
        raw=f"raw {number}",
    )


async def texts(store: Store) -> list[str]:
    return [one["text"] for one in await rows(store, tables.reply)]


async def test_parts_are_joined_in_order_and_blanks_stay(store: Store) -> None:
    outcomes = [await take(store, part(*one)) for one in ((3, " plaît"), (1, "Oui,"), (2, " s'il vous"))]

    assert [type(one) for one in outcomes] == [ReplyIncomplete, ReplyIncomplete, ReplyStored]
    assert await texts(store) == ["Oui, s'il vous plaît"]


async def test_parts_that_come_again_change_nothing(store: Store) -> None:
    parts = [part(1, "a"), part(2, "b"), part(3, "c")]
    outcomes = [await take(store, one) for one in [*parts[:2], *parts, *parts]]

    assert [type(one) for one in outcomes[2:]] == [ReplyKnown, ReplyKnown, ReplyStored, *[ReplyKnown] * 3]
    assert await texts(store) == ["abc"]


async def test_all_parts_at_once_are_one_reply(store: Store, other: Store) -> None:
    async with asyncio.TaskGroup() as group:
        for node in (store, other):
            for number in (1, 2, 3):
                group.create_task(take(node, part(number, str(number))))

    assert await texts(store) == ["123"]


async def test_what_is_overdue_goes_as_it_is_and_the_late_part_follows(store: Store) -> None:
    await take(store, part(1, "a"))
    await take(store, part(3, "c"))
    none_yet = await store.overdue_replies(LATER - timedelta(seconds=1), LATER, 9)
    (key,) = await store.overdue_replies(LATER, LATER, 9)
    outcome = await store.finish_reply(key, LATER, RULES, NotMaker())
    again = await store.finish_reply(key, LATER, RULES, NotMaker())
    late = await take(store, part(2, "b"))
    assert isinstance(outcome, ReplyStored)
    assert isinstance(late, ReplyStored)

    assert (none_yet, again, await store.overdue_replies(LATER, LATER, 9)) == ((), ReplyKnown(), ())
    assert (outcome.reply.text, outcome.reply.parts, outcome.reply.total, outcome.reply.is_whole) == (
        "ac",
        (1, 3),
        3,
        False,
    )
    assert (late.reply.text, late.reply.parts) == ("b", (2,))
    assert await take(store, part(2, "b")) == ReplyKnown()


async def test_a_reference_that_is_used_again_is_another_reply(store: Store) -> None:
    for number, text in ((1, "a"), (2, "b"), (1, "x"), (2, "y")):
        await take(store, part(number, text, total=2))

    assert sorted(await texts(store)) == ["ab", "xy"]


async def test_a_part_whose_place_is_taken_by_another_is_not_lost(store: Store) -> None:
    await take(store, part(1, "a"))
    stray = await take(store, part(1, "x"))
    await take(store, part(2, "b"))
    await take(store, part(3, "c"))
    assert isinstance(stray, ReplyStored)

    assert (stray.reply.text, stray.reply.is_whole) == ("x", False)
    assert await take(store, part(1, "x")) == ReplyKnown()
    assert sorted(await texts(store)) == ["abc", "x"]


async def test_joined_parts_are_forgotten_after_a_while_and_waiting_ones_are_not(store: Store) -> None:
    for number, reference in ((1, "7"), (2, "7"), (1, "8")):
        await take(store, part(number, "a" * number, total=2, reference=reference))

    assert await store.forget_parts(LATER) == 0
    assert await store.forget_parts(LATER + timedelta(seconds=1)) == 2
    assert [one["reference"] for one in await rows(store, tables.reply_part)] == ["8"]


async def test_parts_of_a_time_to_come_are_overdue(store: Store) -> None:
    await take(store, part(1, "a", at=LATER + timedelta(days=1)))

    assert len(await store.overdue_replies(START, LATER, 9)) == 1


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_in_whatever_order_and_however_often_parts_come_the_text_is_whole(
    sqlite_store: Store, data: st.DataObject
) -> None:
    reference = name("ref")
    pieces = data.draw(st.lists(st.text(" ab\n", min_size=1, max_size=5), min_size=2, max_size=6))
    again = data.draw(st.lists(st.sampled_from(range(len(pieces))), max_size=6))
    order = data.draw(st.permutations([*range(len(pieces)), *again]))
    outcomes = [
        await take(sqlite_store, part(place + 1, pieces[place], total=len(pieces), reference=reference))
        for place in order
    ]
    whole = [one.reply.text for one in outcomes if isinstance(one, ReplyStored)]

    assert whole == ["".join(pieces)]
