"""T13, T14: what others wrote reaches a log, a terminal and a spreadsheet as text, and as nothing else."""

import csv
import io
import json
import logging
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway import log
from gateway.config import load
from gateway.smtp.mailbox import Step
from gateway.store import migrate
from tests.faults.carriers import Carrier, answer, entry, says
from tests.faults.field import make_mail
from tests.support.configuration import SENDER, write_config
from tests.support.gateway import run_command
from tests.threats.attacker import ENVOI, connected, from_headers, greeted, http, siege, submit

HOSTILE = '\x1b]0;owned\x07\x1b[2J\x9b31m\r\n{"event": "forged"}\x0b\x0c\x85\u2028\u2029\u202egpj\u2066\u200b\ufeff'
NEVER = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def harmful(line: str) -> list[str]:
    """Return the characters of a line that do more than stand there."""
    return [one for one in line if unicodedata.category(one) in NEVER]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    lines = io.StringIO()
    log.set_up_logging(form="json", level="debug", stream=lines)
    yield lines
    logging.getLogger().handlers.clear()
    structlog.reset_defaults()


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_value_does_more_than_stand_in_its_line(form: log.LogFormat) -> None:
    """T14: in either form, in values, in lists, in keys of tables, and in what libraries log."""
    lines = io.StringIO()
    log.set_up_logging(form=form, stream=lines)
    try:
        logger = structlog.get_logger()
        logger.warning("mail_refused", cause=HOSTILE, many=[HOSTILE], table={HOSTILE: HOSTILE})
        logging.getLogger("library").error("said %s", HOSTILE)
    finally:
        logging.getLogger().handlers.clear()
        structlog.reset_defaults()
    found = lines.getvalue().removesuffix("\n").split("\n")

    assert len(found) == 2
    assert [harmful(line) for line in found] == [[], []]


def test_half_a_character_costs_no_line() -> None:
    """T14: it cannot be encoded, and what cannot be encoded is not written: an attack would leave no trace."""
    octets = io.BytesIO()
    stream = io.TextIOWrapper(octets, "utf-8")  # one that encodes, as the real one does
    log.set_up_logging(form="json", stream=stream)
    try:
        structlog.get_logger().warning("mail_refused", cause="\ud800 half")
    finally:
        logging.getLogger().handlers.clear()
        structlog.reset_defaults()

    assert json.loads(octets.getvalue())["cause"] == "\\xd800 half"


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_traceback_drives_no_terminal(stream: io.StringIO) -> None:
    """T14: what an exception repeats of a mail is escaped like any other value."""
    try:
        fail(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("task_failed")
    (line,) = stream.getvalue().removesuffix("\n").split("\n")

    assert harmful(line) == []
    assert "\\x1b[2J" in json.loads(line)["exception"]


@pytest.mark.slow
async def test_one_event_is_one_line_whatever_anybody_says(tmp_path: Path) -> None:
    """T14: a client, a stranger over HTTP, a carrier's answer and a smarthost's refusal, all with line ends and ESC."""
    bad = HOSTILE.encode()
    script = says(answer(entry(21, message=HOSTILE, tel=HOSTILE), "Content-Type: application/json"))
    wanted = {
        "provider": {"callback_secret": "a-secret-of-the-carrier"},
        "http": {"listen": "127.0.0.1:0", "public_url": "https://gw.example.org"},
    }
    async with Carrier(script) as carrier, siege(tmp_path, carrier, **wanted) as ground:
        ground.mailbox.refuse(Step.RCPT, "550 no \x1b[31m one", times=10)
        async with greeted(ground) as raw:
            for command in (b"HELO " + bad, b"MAIL FROM:<" + bad + b">", b"XX " + bad, b"AUTH PLAIN " + bad):
                await raw.send(command.replace(b"\r\n", b"\r") + b"\r\n")
        headers = (f"From: {SENDER}", f"Message-ID: <{HOSTILE[:-20]}@x>", f"Subject: {HOSTILE}", f"X: {HOSTILE}")
        body = ENVOI.replace("Salut", "\u202eSalut\u2028").replace("</envoi>", "<\u00e9vil>x</\u00e9vil></envoi>")
        await submit(ground, from_headers(*(one.replace("\r\n", "").replace("\r", "") for one in headers), body=body))
        await submit(ground, make_mail("2", "0601020304"))
        for path in (b"/receipts/" + bad[:8] + b"/x", b"/receipts/%1b%5b31m%0d%0a/x", b"/receipts/%e2%80%ae/x?a=%9b"):
            await http(
                ground,
                b"GET "
                + path
                + b" HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: "
                + b"\x9b31m\xe2\x80\xae"
                + b"\r\nConnection: close\r\n\r\n",
            )
        async with connected(ground.gateway.smtp, source="127.0.0.9") as raw:
            await raw.send(b"EHLO a\r\n" + bad.replace(b"\r\n", b"") + b"\r\n")
        await ground.until(lambda: "refused" in ground.states())
        await ground.logged("report_failed")
        content = ground.gateway.read_log()
        lines = content.removesuffix("\n").split("\n")

        assert [line for line in lines if not isinstance(json.loads(line).get("event"), str)] == []
        assert [(line, harmful(line)) for line in lines if harmful(line)] == []
        assert "forged" not in {json.loads(line)["event"] for line in lines}


FORMULAS = ["=cmd|/C calc!A0", "+1+1", "-1+1", "@SUM(1)", "=HYPERLINK(http://evil.example)"]


@pytest.mark.slow
async def test_no_cell_of_an_export_is_a_formula(tmp_path: Path) -> None:
    """T13: notes of the STOP list may come from elsewhere; and what is exported is imported as it was."""
    places = [tmp_path / "first", tmp_path / "second"]
    for place in places:
        place.mkdir()
        await migrate(load(write_config(place / "gateway.toml"), environ={}).store)
    notes = io.StringIO()
    rows = [[f"06010203{number:02d}", f"'{note}"] for number, note in enumerate([*FORMULAS, "\x1b[2Jgone\u202e"])]
    csv.writer(notes).writerows([["msisdn", "note"], *rows])
    (tmp_path / "notes.csv").write_text(notes.getvalue(), "utf-8")

    async def run(place: Path, *arguments: str) -> str:
        finished = await run_command("optout", *arguments, "--config", str(place / "gateway.toml"))
        assert finished.status == 0, finished.stderr
        return finished.stdout

    await run(places[0], "import", str(tmp_path / "notes.csv"))
    exported = await run(places[0], "export")
    (tmp_path / "list.csv").write_text(exported, "utf-8")
    await run(places[1], "import", str(tmp_path / "list.csv"))
    before, after = [json.loads(await run(place, "list", "--json")) for place in places]
    cells = [cell for row in list(csv.reader(io.StringIO(exported)))[1:] for cell in row]
    numbers = [cell for cell in cells if re.fullmatch(r"\+336\d{8}", cell)]  # which no sheet can compute anything from

    assert [one["note"] for one in before][: len(FORMULAS)] == FORMULAS
    assert len(numbers) == len(rows)
    assert [cell for cell in cells if cell.lstrip()[:1] in tuple("=+-@") and cell not in numbers] == []
    assert harmful(exported.replace("\n", "")) == []
    assert [one["note"] for one in after][: len(FORMULAS)] == FORMULAS


@pytest.mark.slow
async def test_a_carrier_cannot_drive_the_operators_terminal(tmp_path: Path) -> None:
    """T14, T28: what it says of a number, of our credit and of its own trouble is shown without what does not print."""
    hostile = "\x1b]0;owned\x07ORAN\x9b\u202e"
    said = json.dumps({"etat": {"etat": [{"tel": "0601020304", "operateur": hostile}]}}).encode()
    async with (
        Carrier(says(answer(said, "Content-Type: application/json"))) as carrier,
        siege(tmp_path, carrier) as ground,
    ):
        asked = [
            await run_command("carrier", "carrier", *question, "--config", str(ground.config))
            for question in (["hlr", "0601020304"], ["credit"], ["optouts"])
        ]

        assert [harmful((one.stdout + one.stderr).replace("\n", "")) for one in asked] == [[], [], []]
