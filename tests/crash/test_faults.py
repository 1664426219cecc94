"""Faults put into the gateway on purpose: the proof finds each where it shows."""

import os
import textwrap
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.proof import Ending, Matrix, Rounds, Step, Subject
from gateway.proof.ledger import Harm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
QUIET_S = 8.0
"""What is lost never comes: this is how long it is waited for."""

SAYS_250_BEFORE_COMMIT = """
    import asyncio
    from gateway.intake import Intake
    from gateway.intake.judging import reply_taken
    admit = Intake._admit
    tasks = []
    async def admit_later(intake, submission, taken):
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, lambda: tasks.append(loop.create_task(admit(intake, submission, taken))))
        return reply_taken(taken.written.order.mail.id)
    Intake._admit = admit_later
"""
SENDS_AGAIN_WHAT_WAS_UNDER_WAY = """
    from gateway.lifecycle import SmsEvent, SmsState
    from gateway.outcomes import Outcomes
    from gateway.store.base import Settlement
    async def requeue(outcomes, lost):
        return await outcomes._settle_lost(lost, lambda sms: Settlement(
            sms_id=sms.id, epoch=sms.epoch, from_state=SmsState.SENDING, event=SmsEvent.NOT_SENT,
            due_at=outcomes._clock.now(),
        ))
    Outcomes.recover_lost = requeue
"""
FORGETS_WHAT_WAS_UNDER_WAY = """
    from gateway.janitor import Janitor
    async def recover_nothing(janitor):
        pass
    Janitor.recover_own = recover_nothing
"""
NEW_MESSAGE_ID_EACH_TIME = """
    import dataclasses
    from gateway.mailer import smarthost
    render_mail = smarthost.render_mail
    def render_anew(report, **rest):
        return render_mail(dataclasses.replace(report, message_id=f"<{report.id}-{report.attempt}@gw>"), **rest)
    smarthost.render_mail = render_anew
"""
KNOWS_NO_RETRANSMISSION = """
    from gateway.store import admission, order_rows
    admission.fingerprint = order_rows.fingerprint = lambda mail: None
"""
TELLS_THE_UNKNOWN_AS_SENT = """
    from gateway.protocol.codes import Code
    from gateway.store import staging
    staging.answer_code = lambda state, code: Code.C0_SENT
"""


@pytest.fixture
def patches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `sitecustomize` every gateway of the test runs first."""
    folder = tmp_path_factory.mktemp("patches")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(ROOT))))
    return folder


FAULTS = [
    pytest.param(SAYS_250_BEFORE_COMMIT, (Step.MAIL_STORING, Subject.HOLD), Harm.LOST, id="250-before-commit"),
    pytest.param(SENDS_AGAIN_WHAT_WAS_UNDER_WAY, (Step.SMS_CALLED, Subject.HOLD), Harm.DOUBLED, id="blind-requeue"),
    pytest.param(FORGETS_WHAT_WAS_UNDER_WAY, (Step.SMS_CLAIMED, Subject.HOLD), Harm.LOST, id="no-recovery"),
    pytest.param(NEW_MESSAGE_ID_EACH_TIME, (Step.REPORT_ANSWERED, Subject.NOT), Harm.DOUBLED, id="new-message-id"),
    pytest.param(KNOWS_NO_RETRANSMISSION, (Step.MAIL_STORED, Subject.HOLD), Harm.WRONG, id="no-retransmission"),
    pytest.param(TELLS_THE_UNKNOWN_AS_SENT, (Step.SMS_CLAIMED, Subject.HOLD), Harm.LOST, id="unknown-as-sent"),
]

NEVER_STARTS = """
    from gateway import daemon
    daemon.run = lambda config, overrides: 4
"""


@pytest.mark.parametrize(("patch", "where", "harm"), FAULTS)
async def test_a_fault_is_found(
    patch: str, where: tuple[Step, Subject], harm: Harm, tmp_path: Path, patches: Path
) -> None:
    step, subject = where
    (patches / "sitecustomize.py").write_text(textwrap.dedent(patch), "utf-8")
    rows = await Matrix(tmp_path, SystemClock(), quiet_s=QUIET_S).play([step], lambda: None)

    assert harm in {fault.harm for row in rows if row.subject is subject for fault in row.faults}


async def test_a_gateway_that_does_not_start_is_no_proof(tmp_path: Path, patches: Path) -> None:
    (patches / "sitecustomize.py").write_text(textwrap.dedent(NEVER_STARTS), "utf-8")
    rows = await Matrix(tmp_path, SystemClock(), quiet_s=QUIET_S).play([Step.MAIL_STORED], lambda: None)
    run = await Rounds(tmp_path, SystemClock(), ending=Ending.TERM, seed=1).play(1, lambda: None)

    assert [str(fault) for fault in (*rows[0].faults, *run.faults)] == [
        "wrong: the gateway did not start, its log ends: (nothing)",
        "wrong: the gateway did not start, its log ends: (nothing)",
    ]
