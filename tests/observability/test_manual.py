"""The operators' manual: its links lead somewhere, its command lines work, and it explains what the log says."""

import ast
import asyncio
import os
import re
import shlex
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.observability.anchors import anchors_of
from tests.support.accounts import KEYID
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import run_command, serve

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "operating.md"
CONFIG, BACKUP = "/etc/mail2sms/gateway.toml", "/var/backups/mail2sms.db"
DEADLINE_S = 60.0
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "tell", "_tell"}
BINDERS = {"bind", "bind_contextvars", "bound_contextvars"}


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_every_link_to_a_heading_leads_to_one() -> None:
    broken = []
    for file in documents():
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", file.read_text("utf-8")):
            aim = (file.parent / target) if target else file
            if not aim.exists() or anchor not in anchors_of(aim):
                broken.append(f"{file.relative_to(ROOT)}: {target}#{anchor}")

    assert broken == []


# --- the log ---------------------------------------------------------------------------------------------------------


def logged_keys() -> dict[str, str]:
    """Return each key that a line of the log may have, with a place where it gets it."""
    found = {}
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _is_about_a_line(node):
                found.update({one.arg: f"{file.name}:{node.lineno}" for one in node.keywords if one.arg})
    return found


def _is_about_a_line(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    event = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
    return name in BINDERS or (name in LOG_METHODS and bool(re.fullmatch(r"[a-z]+(?:_[a-z]+)+", str(event))))


def test_every_key_of_the_log_is_explained() -> None:
    text = MANUAL.read_text("utf-8")
    table = text[text.index("| Key | Holds |") : text.index("| Event | Says |")]
    explained = {
        key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
    keys = logged_keys()

    assert len(keys) > 50
    assert {key: where for key, where in keys.items() if key not in explained} == {}


# --- command lines ---------------------------------------------------------------------------------------------------


def command_lines() -> list[str]:
    """Return every line of the manual that can be pasted, in order."""
    text = re.sub(r"```.*?```", "", MANUAL.read_text("utf-8"), flags=re.DOTALL)
    return [line.strip() for line in re.findall(r"^ {4,7}\S.*$", text, re.MULTILINE)]


def runbook_lines() -> list[str]:
    """Return those that are written to be run as they stand."""
    return [
        line for line in command_lines() if CONFIG in line or line.startswith(("curl ", "journalctl ", "systemctl "))
    ]


def test_every_line_of_the_runbook_is_of_a_kind_that_is_tried() -> None:
    kinds = {line.split()[0] for line in runbook_lines()}

    assert kinds == {"mail2sms", "curl", "journalctl", "systemctl"}


def test_systemctl_is_told_what_it_knows() -> None:
    lines = [line for line in runbook_lines() if line.startswith("systemctl ")]

    assert lines
    for line in lines:
        assert re.fullmatch(r"systemctl (status|start|stop|reload|enable --now|disable --now) mail2sms", line), line


TOKEN = "t" * 32
ENVOI = """<envoi><keyid>{keyid}</keyid><num>0601020304</num><sms>Salut</sms><emailId>{email_id}</emailId>
<emailAck>ack@masociete.com</emailAck><emailNot>not@masociete.com</emailNot></envoi>
"""


def order(email_id: str, keyid: str = KEYID) -> str:
    body = ENVOI.format(keyid=keyid, email_id=email_id)
    return f"From: {SENDER}\nTo: {RECIPIENT}\nSubject: envoi\n\n{body}"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as opened:
        yield opened


@pytest.fixture
async def config(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[Path]:
    """A configuration with a carrier of its own, a token for programs, and a store."""
    async with Sandbox() as sandbox:
        path = write_config(
            tmp_path / "gateway.toml",
            smarthost=mailbox.address,
            carrier=sandbox.url,
            provider={"keyid": KEYID},
            smtp={"networks": ["127.0.0.0/8", "192.0.2.0/24"]},
            http={"listen": "127.0.0.1:0", "tokens": [{"name": "monitor", "token": TOKEN}]},
        )
        assert (await run_command("migrate", "--config", str(path))).status == 0
        yield path


def send(port: int, content: str) -> int:
    """Return what DATA was answered."""
    with smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE_S) as client:
        try:
            client.sendmail(SENDER, [RECIPIENT], content)
        except smtplib.SMTPDataError as refused:
            return refused.smtp_code
    return 250


@pytest.mark.slow
@pytest.mark.timeout(600)  # some dozens of processes, one after the other
async def test_every_command_line_of_the_runbook_works(config: Path, tmp_path: Path) -> None:
    mail = tmp_path / "order.eml"
    mail.write_text(order("1548"), "utf-8")
    assert (await run_command("inject", str(mail), "--config", str(config))).status == 0
    mail.write_text(order("1549"), "utf-8")
    lines = [line for line in runbook_lines() if line.startswith("mail2sms ")]
    said = {}
    for line in lines:
        words = shlex.split(
            line.replace(CONFIG, str(config)).replace(BACKUP, str(tmp_path / "copy.db")).replace("FILE.eml", str(mail))
        )
        done = await run_command(*words[1:])
        said[line] = (done.status, done.stderr if done.status else "")

    assert len(lines) > 10
    assert {line: one for line, one in said.items() if one[0]} == {}


@pytest.mark.slow
async def test_every_question_to_a_gateway_at_work_is_answered(config: Path, mailbox: Mailbox) -> None:
    curls = [line for line in runbook_lines() if line.startswith("curl ")]
    journals = [line for line in runbook_lines() if line.startswith("journalctl ")]
    async with serve(config) as gateway:
        assert await asyncio.to_thread(send, gateway.smtp[1], order("1548")) == 250
        assert await asyncio.to_thread(send, gateway.smtp[1], order("1549", keyid="b" * 20)) == 550
        await mailbox.wait_for(2)
        asked = {line: await shell(line.replace("http://127.0.0.1:8025", gateway.http)) for line in curls}
    log = config.parent / "journal"
    log.write_text("ready smtp=127.0.0.1:2525\n" + gateway.read_log(), "utf-8")
    looked = {line: await shell(_from_file(line, log)) for line in journals}

    assert len(curls) > 4
    assert len(journals) > 10
    assert {line: one for line, one in asked.items() if one[0] or not one[1]} == {}
    assert {line: one for line, one in looked.items() if one[0]} == {}
    assert {_wanted(line): one[1].strip() for line, one in looked.items() if _wanted(line) in EXPECTED} == EXPECTED


EXPECTED = {"envoi_admitted": "1 masociete"}
"""What the log of this gateway says to these questions."""


def _wanted(line: str) -> str:
    """Return the one event that a question is for; nothing for others."""
    found = re.search(r'\.event == "(\w+)"', line)
    return found[1] if found else ""


def _from_file(line: str, log: Path) -> str:
    """Return the line with a file in place of the journal: there is none without systemd."""
    _journal, *rest = line.split(" | ", 1)
    return " | ".join([f"cat {shlex.quote(str(log))}", *rest])


async def shell(line: str) -> tuple[int, str, str]:
    """Return the status and what the line printed; a pipe fails when any part of it does."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-o",
        "pipefail",
        "-c",
        line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "TOKEN": TOKEN, "LC_ALL": "C.UTF-8"},
    )
    async with asyncio.timeout(DEADLINE_S):
        stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()
