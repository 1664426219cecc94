"""`mail2sms prove crash`, as it is called and as it prints; what it proves is for tests/crash."""

from pathlib import Path

import pytest

from gateway.cli.prove import print_proof
from gateway.proof import Ending, MatrixRow, Proof, RoundsRun, Step, Subject
from gateway.proof.ledger import Fault, Harm, Seen
from gateway.proof.orders import Customer, write_order
from gateway.proof.results import to_json
from gateway.store.base import Tally
from tests.cli.conftest import Run

DOUBLED = Fault(harm=Harm.DOUBLED, text="proof-1: 0610000016 was sent 2 times")
ROW = MatrixRow(
    step=Step.SMS_CALLED,
    subject=Subject.HOLD,
    about="the carrier has the SMS, no answer",
    seen=Seen(
        order=write_order(1, Customer.HOLD, numbers=2),
        sms=(2, 1),
        acks=(0,),
        nots=({"610000016": 999, "610000017": 999},),
        copies=0,
    ),
    tally=Tally(mails=1, sms={"expired": 2}, reports={"sent": 2}),
    faults=(DOUBLED,),
    duration_s=1.0,
)
NEVER_STARTED = MatrixRow(
    step=Step.MAIL_STORED,
    subject=Subject.HOLD,
    about="the mail is committed, no 250",
    seen=None,
    tally=None,
    faults=(Fault(harm=Harm.WRONG, text="the gateway did not start"),),
    duration_s=1.0,
)
RUN = RoundsRun(
    ending=Ending.TERM,
    rounds=3,
    seed=7,
    orders=30,
    sms=90,
    at_carrier=90,
    unknown=0,
    replies={"250": 30, "421": 2, "": 1},
    reports=60,
    copies=0,
    longest_stop_s=1.25,
    tally=Tally(mails=30, sms={"accepted": 90}, reports={"sent": 60}),
    faults=[DOUBLED] * 25,
    duration_s=5.0,
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("--no-steps", "--rounds", "0"), "nothing is left to prove", id="nothing"),
        pytest.param(("--step", "mail-eaten"), "mail-eaten", id="no-such-step"),
        pytest.param(("--signal", "stop"), "stop", id="no-such-signal"),
        pytest.param(("--store", "postgresql://me@here/proof"), "--no-steps", id="steps-on-postgresql"),
        pytest.param(("--no-steps", "--store", "sqlite:///here.db"), "PostgreSQL", id="somebodys-file"),
        pytest.param(("--no-steps", "--store", "nonsense"), "address of a database", id="no-database"),
    ],
)
def test_what_cannot_be_proven_is_a_wrong_command_line(run: Run, arguments: tuple[str, ...], says: str) -> None:
    done = run("prove", "crash", *arguments)

    assert done.status == 2
    assert says in done.stderr


def test_a_folder_with_something_in_it_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine", "utf-8")
    done = run("prove", "crash", "--folder", str(tmp_path))

    assert done.status == 2
    assert "is not empty" in done.stderr


def test_people_read_what_was_seen_and_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    print_proof(Proof(rows=(ROW, NEVER_STARTED), rounds=RUN, duration_s=9.0))
    lines = capsys.readouterr().out.splitlines()

    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "Killed at Which is Of SMS Code Acks Nots Copies Rows Verdict"
    assert words[1] == (
        "sms-called the carrier has the SMS, no answer hold 2, 1 2x 999 1 1 0 "
        "SMS 2 expired; reports 2 sent doubled: proof-1: 0610000016 was sent 2 times"
    )
    assert words[2] == "mail-stored the mail is committed, no 250 hold wrong: the gateway did not start"
    assert words[3] == (
        "3 rounds (term, seed 7): 30 mails in 33 attempts, 90 SMS asked for, 90 at the carrier, 0 reported 999, "
        "60 reports and 0 copies of them, longest stop 1.2 s"
    )
    assert words[-2] == "... and 5 more"
    assert words[-1] == "0 lost, 26 doubled, 1 wrong; 2 kills at steps, 9 s"


def test_a_proof_of_nothing_is_none() -> None:
    assert not Proof(rows=(), rounds=None, duration_s=0.0).is_right
    assert '"rounds": null' in to_json(Proof(rows=(NEVER_STARTED,), rounds=None, duration_s=0.0))


@pytest.mark.slow
def test_one_step_is_proven_and_the_folder_is_left(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "proof"
    done = run("prove", "crash", "--step", "mail-stored", "--rounds", "0", "--folder", str(folder))

    assert done.status == 0, done.stdout
    assert "as promised" in done.stdout
    assert (folder / "mail-stored-hold" / "gateway.db").exists()
