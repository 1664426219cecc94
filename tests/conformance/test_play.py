"""The whole corpus against the real command as a process, and against gateways that are not there or not right."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from gateway.conformance import Level, Result, load_corpus
from gateway.conformance.client import submit
from tests.conformance.house import free_port, house
from tests.support.gateway import Finished, run_command

pytestmark = pytest.mark.slow

WHOLE_CORPUS_S = 60.0


def failures(played: Finished) -> list[str]:
    """Return a line for each case that failed."""
    cases = json.loads(played.stdout)["cases"]
    return [f"{case['case']}: {case['differences']}" for case in cases if case["verdict"] != "passed"]


async def test_the_gateway_passes_twice_in_a_row(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        report = tmp_path / "junit.xml"
        lenient = await run_command("conformance", *here.arguments, "--json", "--junit", str(report))
        strict = await run_command("conformance", *here.arguments, "--json", "--level", "strict")

    assert failures(lenient) == []
    assert failures(strict) == []
    assert (lenient.status, strict.status) == (0, 0)
    assert json.loads(lenient.stdout)["passed"] == len(load_corpus())
    assert json.loads(lenient.stdout)["duration_s"] < WHOLE_CORPUS_S
    suite = etree.parse(str(report)).getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(len(load_corpus())), "0")


async def test_a_strict_gateway_passes_on_level_strict_by_refusing_every_tolerance(tmp_path: Path) -> None:
    async with house(tmp_path, mode="strict") as here:
        run = await here.play(Level.STRICT).play(load_corpus())

    assert [verdict for verdict in run.verdicts if verdict.differences] == []
    refused = [verdict.case for verdict in run.verdicts if verdict.remark]
    assert refused == [case.name for case in load_corpus() if case.level is Level.LENIENT]


async def test_a_strict_gateway_fails_on_level_lenient_where_it_refuses(tmp_path: Path) -> None:
    tolerances = [case for case in load_corpus() if case.level is Level.LENIENT]
    async with house(tmp_path, mode="strict") as here:
        run = await here.play(Level.LENIENT, timeout_s=3.0).play(tolerances)

    assert [verdict.case for verdict in run.verdicts if verdict.differences] == [case.name for case in tolerances]
    assert not run.is_passed


async def test_an_sms_and_a_report_of_no_case_fail_the_whole_run(tmp_path: Path) -> None:
    first, *others = load_corpus()[:4]
    played = asyncio.Event()
    async with house(tmp_path) as here:
        play = here.play(quiet_s=3.0)
        [mail] = play.filling.fill(others[0], ()).mails  # with an emailId of this run, but its case is not played
        content = mail.content.replace(b"0639980021", b"0639989990").replace(b"0639980022", b"0639989991")
        async with asyncio.TaskGroup() as group:
            run = group.create_task(play.play([first], played.set))
            await played.wait()
            reply = await submit(*here.smtp, replace(mail, content=content))

    assert reply.startswith("250")
    assert [verdict.result for verdict in run.result().verdicts] == [Result.PASSED, Result.FAILED]
    assert sorted(run.result().verdicts[1].differences) == [
        *[f"a report that belongs to no case, emailId {play.filling.run}0020"] * 2,
        "an SMS that belongs to no case, to +33639989990",
        "an SMS that belongs to no case, to +33639989991",
    ]


async def test_without_reports_and_sandbox_only_replies_are_judged(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        played = await run_command("conformance", here.arguments[0], "--only", "[79]*")

    assert played.status == 0, played.stdout
    assert "Ack and Not were not looked at" in played.stdout
    assert "SMS were not looked at" in played.stdout
    assert "needs a carrier sandbox" in played.stdout
    assert played.stderr == ""


async def test_an_address_where_nobody_listens_ends_with_4() -> None:
    played = await run_command("conformance", f"127.0.0.1:{free_port()}")

    assert played.status == 4
    assert "nobody takes mail at 127.0.0.1" in played.stderr


async def test_a_sandbox_that_is_not_there_ends_with_4(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        nowhere = f"http://127.0.0.1:{free_port()}"
        played = await run_command("conformance", here.arguments[0], "--sandbox", nowhere)

    assert played.status == 4
    assert nowhere in played.stderr


async def test_a_reports_address_that_is_taken_ends_with_4(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        played = await run_command("conformance", here.arguments[0], "--reports", here.arguments[0])

    assert played.status == 4
    assert here.arguments[0] in played.stderr


async def test_a_gateway_that_never_answers_costs_one_deadline_and_not_one_per_case() -> None:
    async def greet_and_fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mute.example ESMTP\r\n")
        await reader.read()  # until the client has had enough
        writer.close()

    server = await asyncio.start_server(greet_and_fall_silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        played = await run_command("conformance", f"127.0.0.1:{port}", "--only", "00*", "--timeout", "0.2", "--json")

    assert played.status == 1
    cases = json.loads(played.stdout)["cases"]
    assert {case["verdict"] for case in cases} == {"failed"}
    assert "no reply within the deadline" in cases[0]["differences"][0]


@pytest.mark.parametrize("arguments", [("127.0.0.1",), ("127.0.0.1:x",), ("127.0.0.1:25", "--only", "nothing-like-it")])
async def test_what_makes_no_sense_ends_with_2(arguments: tuple[str, ...]) -> None:
    played = await run_command("conformance", *arguments)

    assert played.status == 2
