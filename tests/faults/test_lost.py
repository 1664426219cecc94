"""The answer is lost after the carrier took the SMS: the one thing nobody can repair, so it must not be made worse.

More rounds: FAULT_ROUNDS=200 in the environment.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.faults.field import field, make_mail

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "10"))


@pytest.mark.timeout(120 + 2 * ROUNDS)
@pytest.mark.parametrize(("on_unknown", "most"), [("hold", 1), ("resend", 2)])
async def test_a_lost_answer_never_becomes_one_sms_too_many(tmp_path: Path, on_unknown: str, most: int) -> None:
    lost = [f"06110000{index:02d}" if ROUNDS <= 100 else f"0611{index:06d}" for index in range(ROUNDS)]
    async with (
        Sandbox() as sandbox,
        field(
            tmp_path,
            carrier=sandbox.url,
            account={"on_unknown": on_unknown},
            provider={"batch_size": 1},
            dispatcher={"poll_s": 0.3, "calls_per_account": 1},
        ) as ground,
    ):
        for index, number in enumerate(lost):
            # an answer in between, or the carrier would be left alone
            sandbox.misbehave("lost", count=1)
            await ground.send(make_mail(f"lost-{index}", number))
            await ground.until(lambda: len(sandbox.faults) == 0)
            good = f"0612{index:06d}"
            await ground.send(make_mail(f"good-{index}", good))
            await ground.until(lambda: f"33{good[1:]}" in {sms["number"] for sms in sandbox.messages})  # noqa: B023
        await ground.until(lambda: not {"queued", "sending", "uncertain"} & set(ground.states()))
        await ground.until(lambda: len(ground.nots()) == 2 * ROUNDS)
        at_carrier = Counter(f"0{sms['number'][-9:]}" for sms in sandbox.messages)
        trackers = {(sms["number"], sms["tracker"]) for sms in sandbox.messages}
        told = ground.nots()

        assert max(at_carrier.values()) == most
        assert len(trackers) == 2 * ROUNDS  # sent again under the same name
        if on_unknown == "hold":
            assert told == {number: 999 if number in lost else 0 for number in told}
            assert await ground.metric('mail2sms_verdicts_total{provider="carrier",verdict="uncertain"}') == ROUNDS
