"""Faults put into the gateway on purpose: the kit fails where they show, and nowhere else."""

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.conformance import Case, Result, load_corpus
from gateway.conformance.judge import expected_reports
from gateway.text.msisdn import Msisdn, parse_number
from tests.conformance.house import house

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

KEEPS_LINE_BREAKS = """
    from gateway.policy import texts
    texts._LINE_BREAK, texts._LINE_BREAK_IN_TWO = "\\0", "\\0\\0"
"""
ACK_ALWAYS_0 = """
    from gateway.intake.order import Pen
    from gateway.protocol.codes import AckCode
    write_ack = Pen.write_ack
    Pen.write_ack = lambda pen, to, email_id, code: write_ack(pen, to, email_id, AckCode.A0_PROCESSED)
"""
WORKS_DUPLICATES = """
    import dataclasses
    from gateway.intake import judging
    seen = set()
    write_order = judging.write_order
    def write_order_anew(pen, reading, allowed, profile):
        written = write_order(pen, reading, allowed, profile)
        envoi = written.order.envoi
        if envoi is None:
            return written
        known = envoi.email_id in seen
        seen.add(envoi.email_id)
        fresh = dataclasses.replace(envoi, email_id=envoi.id) if known else envoi
        return dataclasses.replace(written, order=dataclasses.replace(written.order, envoi=fresh))
    judging.write_order = write_order_anew
"""
REPORTS_IN_UTF_8 = """
    from gateway.protocol import report_xml
    report_xml._encode = lambda lines: "".join(f"{line}\\n" for line in lines).encode("utf-8")
"""
REPORTS_E164 = """
    import dataclasses
    from gateway.protocol import report_xml
    from gateway.text.msisdn import Msisdn, parse_number
    answer = report_xml._of_answer
    def answer_e164(one):
        number = parse_number(one.tel or "")
        return answer(dataclasses.replace(one, tel=number.e164) if isinstance(number, Msisdn) else one)
    report_xml._of_answer = answer_e164
"""


def breaks_lines(case: Case) -> bool:
    return any("\n" in sms.text for sms in case.sms)


def has_other_ack(case: Case) -> bool:
    return any(ack.code != 0 for ack in case.acks)


def has_duplicate(case: Case) -> bool:
    return any(ack.code == 1 for ack in case.acks) or case.name.endswith("duplicate-without-ack")


def has_accents(case: Case) -> bool:
    return any(not report.body.isascii() or b"&#" in report.body for report, _ in expected_reports(case))


def reports_national(case: Case) -> bool:
    tels = [tel for one in case.nots for answer in one.answers for tel in answer.tels]
    numbers = {tel: parse_number(tel) for tel in tels}
    return any(isinstance(number, Msisdn) and number.e164 != tel for tel, number in numbers.items())


FAULTS = [
    pytest.param(KEEPS_LINE_BREAKS, breaks_lines, "the SMS to +33", id="line-breaks-kept"),
    pytest.param(ACK_ALWAYS_0, has_other_ack, "Ack, line 4: <code>0</code>, not <code>", id="ack-always-0"),
    pytest.param(WORKS_DUPLICATES, has_duplicate, "one SMS too many", id="duplicates-worked"),
    pytest.param(REPORTS_IN_UTF_8, has_accents, "Ã©", id="reports-in-utf-8"),
    pytest.param(REPORTS_E164, reports_national, "<tel>+33", id="numbers-in-e164"),
]


def choose(where: Callable[[Case], bool]) -> list[Case]:
    """Return every fifth case, and of those where the fault shows at most thirty more, in the order of the corpus."""
    corpus = load_corpus()
    shows = [case for case in corpus if where(case)]
    chosen = {case.name for case in (*corpus[::5], *shows[:: max(1, len(shows) // 30)])}
    return [case for case in corpus if case.name in chosen]


@pytest.mark.parametrize(("patch", "where", "says"), FAULTS)
async def test_a_fault_is_found_where_it_shows_and_nowhere_else(
    patch: str, where: Callable[[Case], bool], says: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(patch), "utf-8")
    cases = choose(where)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    async with house(tmp_path, env={"PYTHONPATH": path}) as here:
        run = await here.play(timeout_s=10.0).play(cases)

    assert [one.case for one in run.verdicts if one.result is Result.FAILED] == [
        case.name for case in cases if where(case)
    ]
    found = [difference for verdict in run.verdicts for difference in verdict.differences]
    assert any(says in difference for difference in found), found
