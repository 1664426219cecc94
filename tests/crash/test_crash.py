"""The proof itself, by its command: the real gateway, killed everywhere. More rounds: CRASH_ROUNDS=60."""

import json
import os
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.pauses import PausePoint
from gateway.proof import PLANS, Ending, Rounds, Step
from gateway.proof.house import house, make_template, prepare_database
from gateway.proof.process import ProofBroken
from gateway.store import StoreSettings
from tests.support.gateway import run_command
from tests.support.postgres import postgres_server

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "4"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000 + 20 * ROUNDS)]


async def test_kill_9_at_every_step_and_at_any_moment_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "proof"
    arguments = ("--rounds", str(ROUNDS), "--folder", str(folder), "--json")
    done = await run_command("prove", "crash", *arguments, deadline_s=900 + 20 * ROUNDS)
    proof = json.loads(done.stdout)

    assert [fault for row in (*proof["steps"], proof["rounds"]) for fault in row["faults"]] == []
    assert (done.status, proof["right"]) == (0, True)
    assert [(row["step"], row["subject"]) for row in proof["steps"]] == [
        (step.value, subject.value) for step in Step for subject in PLANS[step].subjects
    ]
    assert proof["rounds"]["rounds"] == ROUNDS


@pytest.mark.parametrize("ending", [Ending.TERM, Ending.DOUBLE])
async def test_a_stop_at_any_moment_loses_nothing_and_sends_nothing_twice(ending: Ending, tmp_path: Path) -> None:
    run = await Rounds(tmp_path, SystemClock(), ending=ending, seed=1).play(max(1, ROUNDS // 2), lambda: None)

    assert [str(fault) for fault in run.faults] == []
    assert run.orders > 0


async def test_a_stop_on_postgresql_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    with postgres_server() as server:
        server.create("proof")
        database = StoreSettings(url=server.url("proof"))
        rounds = Rounds(tmp_path, SystemClock(), ending=Ending.TERM, seed=1, database=database)
        run = await rounds.play(1, lambda: None)

        assert [str(fault) for fault in run.faults] == []
        with pytest.raises(ProofBroken, match="empty"):
            await prepare_database(database)


async def test_a_gateway_that_is_going_to_stand_still_says_so(tmp_path: Path) -> None:
    async with house(tmp_path / "house", SystemClock(), store=await make_template(tmp_path)) as here:
        gateway = await here.start(pause=PausePoint.MAIL_STORED)
        try:
            await gateway.ready()
        finally:
            await gateway.kill()

        assert "pause_armed" in here.log
