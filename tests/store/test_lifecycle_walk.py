"""Random walks: whatever is asked in whatever order, the rows are where the tables of the lifecycle say."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.lifecycle import SMS_MOVES, EnvoiId, SmsEvent, SmsId, SmsState
from gateway.protocol.report import ReportKind
from gateway.store import Store, tables
from gateway.store.base import Order, Settlement
from tests.store.samples import NotMaker, claim, name, new_mail, new_order, new_sms, refused_sms, row, rows
from tests.support.clock import START

pytestmark = pytest.mark.slow

SMS = 3
MOVES = [event for event in SmsEvent if event is not SmsEvent.CLAIMED]
Step = tuple[int, SmsEvent, bool]
steps = st.lists(
    # which SMS, what, and whether by somebody whose claim is over; CLAIMED is for all that are queued
    st.tuples(st.integers(0, SMS), st.sampled_from([*MOVES, *[SmsEvent.CLAIMED] * 8]), st.booleans()),
    max_size=25,
)


class Model:
    """What the rows of one envoi should say."""

    def __init__(self, order: Order) -> None:
        assert order.envoi is not None
        self.account = order.mail.account
        self.envoi_id: EnvoiId = order.envoi.id
        self.ids: list[SmsId] = [sms.id for sms in order.envoi.sms]
        self.states = {sms.id: sms.state for sms in order.envoi.sms}
        self.epochs = dict.fromkeys(self.ids, 0)
        self.attempts = dict.fromkeys(self.ids, 0)
        self.was_answered = False

    async def take(self, store: Store, step: Step, make: NotMaker) -> None:
        index, event, is_late = step
        if event is SmsEvent.CLAIMED:
            await self._claim(store)
            return
        sms = self.ids[index]
        settlement = Settlement(
            sms_id=sms,
            epoch=self.epochs[sms] - is_late,
            from_state=self.states[sms],
            event=event,
            due_at=START,
        )
        if event not in SMS_MOVES[self.states[sms]]:
            with pytest.raises(ValueError, match="no move"):
                await store.settle_sms([settlement], START, make)
            return
        settled = await store.settle_sms([settlement], START, make)
        assert settled.moved == (() if is_late else (sms,))
        if not is_late:
            self._move(sms, event)
        assert len(settled.reports) == self._is_answered_now()

    async def _claim(self, store: Store) -> None:
        claimed = await claim(store, account=self.account)
        assert {sms.id for sms in claimed} == {sms for sms in self.ids if self.states[sms] is SmsState.QUEUED}
        for sms in claimed:
            self._move(sms.id, SmsEvent.CLAIMED)
            self.epochs[sms.id] += 1
            self.attempts[sms.id] += 1
            assert (sms.epoch, sms.attempt) == (self.epochs[sms.id], self.attempts[sms.id])

    def _move(self, sms: SmsId, event: SmsEvent) -> None:
        if self.states[sms] is SmsState.SENDING and event in {SmsEvent.POSTPONED, SmsEvent.CANCELLED}:
            self.attempts[sms] -= 1
        self.states[sms] = SMS_MOVES[self.states[sms]][event]

    def _is_answered_now(self) -> bool:
        """True the first time only."""
        first = not self.was_answered and all(state.is_answered for state in self.states.values())
        self.was_answered = self.was_answered or first
        return first


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=steps)
async def test_random_walks_end_where_the_lifecycle_says(store: Store, walk: list[Step]) -> None:
    sms = [new_sms(position) for position in range(1, SMS + 1)]
    order = new_order(*sms, refused_sms(SMS + 1), mail=new_mail(account=name("account")))
    await store.admit(order)
    model, make = Model(order), NotMaker()
    for step in walk:
        await model.take(store, step, make)

    stored = await rows(store, tables.sms, envoi_id=model.envoi_id)
    assert {each["id"]: each["state"] for each in stored} == model.states
    assert {each["id"]: (each["epoch"], each["attempts"]) for each in stored} == {
        sms: (model.epochs[sms], model.attempts[sms]) for sms in model.ids
    }
    kept = [attempt for sms in model.ids for attempt in await rows(store, tables.attempt, sms_id=sms)]
    assert len(kept) == sum(model.attempts.values())
    nots = await rows(store, tables.report, envoi_id=model.envoi_id, kind=ReportKind.NOT)
    assert len(nots) == len(make.asked) == model.was_answered
    assert ((await row(store, tables.envoi, id=model.envoi_id))["not_staged_at"] is not None) == model.was_answered
