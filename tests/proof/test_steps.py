"""Every point where the gateway can be made to stand still is in the code once, and in the matrix."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from gateway import pauses
from gateway.pauses import VARIABLE, PausePoint, PauseUnknown, pause_at, read_trap
from gateway.proof import PLANS, Step, Subject
from gateway.proof.steps import At

PACKAGE = Path(pauses.__file__).parent


def called_points() -> Counter[str]:
    found: Counter[str] = Counter()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="pause_at"), args=[ast.Attribute(attr=point)]):
                    found[point] += 1
                case _:
                    pass
    return found


def test_each_point_stands_in_the_code_once() -> None:
    assert called_points() == Counter(point.name for point in PausePoint)


def test_each_point_is_in_the_matrix() -> None:
    used = {kill.point for plan in PLANS.values() for kill in plan.kills if isinstance(kill, At)}

    assert used == set(PausePoint)


def test_each_step_has_a_plan_for_somebody() -> None:
    assert list(PLANS) == list(Step)
    assert {subject for plan in PLANS.values() for subject in plan.subjects} == set(Subject)


def test_each_step_is_in_the_document() -> None:
    document = (PACKAGE.parent / "docs" / "design.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z]+-[a-z-]+)` \| (.+) \| ([a-z ]+) \|$", document, re.MULTILINE)

    assert rows == [(step.value, PLANS[step].about, PLANS[step].fate.value) for step in Step]


def test_nothing_is_armed_unless_the_environment_says_so() -> None:
    for point in PausePoint:
        pause_at(point)

    assert read_trap({}) is None
    assert read_trap({VARIABLE: ""}) is None


@pytest.mark.parametrize("asked", ["mail-eaten", "mail-stored:often", ":2", "MAIL_STORED"])
def test_a_pause_that_there_is_not_is_refused(asked: str) -> None:
    with pytest.raises(PauseUnknown, match="unset it"):
        read_trap({VARIABLE: asked})


def test_the_point_is_the_one_that_was_asked_for() -> None:
    trap = read_trap({VARIABLE: "sms-recording:2"})

    assert trap is not None
    assert trap.point is PausePoint.SMS_RECORDING
    trap.spring()  # the first time; at the second it would stand still
