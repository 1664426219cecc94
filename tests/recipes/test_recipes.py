"""What becomes of the mails that other systems write: each as that system writes it, through the gateway's own eyes."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.cli import main
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.support.accounts import KEYID
from tests.support.configuration import write_config
from tests.support.gateway import run_command, serve

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
DEADLINE_S = 60.0
NUMBER = "+33601020304"

HTML_ONLY = "the mail is HTML only: send the mail as plain text"
OUTLOOK = "the mail is in Outlook's own format (winmail.dat): send the mail as plain text"
NO_ENVOI = "there is no <envoi> in the text"


class Mail(NamedTuple):
    """A mail, and what becomes of it."""

    name: str
    text: str | None  # of the SMS; None: refused
    email_id: str = ""
    tolerances: tuple[str, ...] = ()
    refusal: str = ""


MAILS = (
    Mail(
        "glpi.eml",
        "Ticket 1234 (Très haute) : Imprimante du 2e étage en panne & bloquée",
        "12341",
        ("text_around", "stray_signs"),
    ),
    Mail(
        "glpi-html.eml",
        "Ticket 1234 (Très haute) : Imprimante du 2e étage en panne & bloquée",
        "12342",
        ("variants", "other_parts", "text_around", "stray_signs"),
    ),
    Mail("zabbix.eml", "srv-bdd : / : espace libre < 5 % depuis 03:11 (Grave)", "8812", ("stray_signs",)),
    Mail("zabbix-html.eml", None, refusal=HTML_ONLY),
    Mail(
        "nagios.eml",
        "PROBLEM: HTTP sur srv-web est CRITICAL: connect to address 10.0.0.7 and port 80: Connexion refusée",
        "1763777564101",
    ),
    Mail("centreon.eml", "PROBLEM srv-web/Ping : perte de paquets à 80 %", "1763777564102"),
    Mail(
        "sqlserver.eml",
        'Échec du job " Sauvegarde " sur SRV-SQL : base COMPTA, reste < 2 Go',
        "20261122020007",
        ("stray_signs",),
    ),
    Mail("php.eml", "Rappel : votre rendez-vous est demain à 9h30, 12 € à régler", "5501", ("charset_missing",)),
    Mail("ups.eml", None, refusal=NO_ENVOI),
    Mail(
        "exchange.eml",
        "Réunion avancée à 14h, salle bleue - 5 € de café",
        "7001",
        ("variants", "other_parts", "charset_widened", "text_around"),
    ),
    Mail("exchange-tnef.eml", None, refusal=OUTLOOK),
    Mail("postfix.eml", "Commande 4711 expédiée, livraison demain avant midi", "9001", ("text_around",)),
)

Lint = Callable[[Path], dict[str, Any]]


@pytest.fixture
def lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lint:
    """Return what `mail2sms lint --json` says of a file."""
    config = write_config(tmp_path / "gateway.toml", account={"auto_generated": True})  # docs/recipes/glpi.md

    def lint_it(file: Path) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["mail2sms", "lint", str(file), "--config", str(config), "--json"])
        with pytest.raises(SystemExit):
            main()
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    return lint_it


def test_every_mail_has_its_line() -> None:
    assert sorted(mail.name for mail in MAILS) == sorted(file.name for file in HERE.glob("*.eml"))


@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.name)
def test_what_becomes_of_a_mail(mail: Mail, lint: Lint) -> None:
    said = lint(HERE / mail.name)

    if mail.text is None:
        assert (said["reply"]["code"], said["reply"]["text"]) == (554, mail.refusal)
        return
    assert said["reply"]["code"] == 250
    assert [(sms["msisdn"], sms["text"]) for sms in said["sms"]] == [(NUMBER, mail.text)]
    assert said["email_id"]["value"] == mail.email_id
    assert tuple(one["name"] for one in said["tolerances"]) == mail.tolerances


# --- the pages -------------------------------------------------------------------------------------------------------


def pages() -> list[Path]:
    return [*sorted((DOCS / "recipes").glob("*.md")), DOCS / "migrating.md"]


def test_every_recipe_is_in_the_list() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "recipes" / "README.md").read_text("utf-8"))

    assert sorted({*listed, "README.md"}) == [file.name for file in sorted((DOCS / "recipes").glob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_mail_that_a_page_shows_exists(page: Path) -> None:
    named = re.findall(r"tests/recipes/([\w-]+\.eml)", page.read_text("utf-8"))

    assert [name for name in named if not (HERE / name).is_file()] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_envoi_that_a_page_shows_is_one(page: Path, lint: Lint, tmp_path: Path) -> None:
    """With everything that the other system fills in filled in."""
    blocks = re.findall(
        r"^```(?:xml|text)\n(<envoi>.*?</envoi>)\n```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    for number, block in enumerate(blocks):
        filled = re.sub(r"\{[A-Z.0-9]+\}|##[a-z.]+##|\$[A-Z]+\$", "17", block.replace("YOUR-KEYID", KEYID))
        filled = re.sub(r"<num>.*?</num>", "<num>0601020304</num>", filled)
        file = tmp_path / f"{number}.eml"
        file.write_text(f"From: alerte@masociete.com\nTo: sendsms@gw.example.org\n\n{filled}\n", "utf-8")
        said = lint(file)

        assert said["reply"]["code"] == 250, block
        assert len(said["sms"]) == 1, block
        assert said["fault"] is None, block


# --- what a device writes --------------------------------------------------------------------------------------------


def wrapped(content: bytes, tmp_path: Path, *numbers: str) -> Path:
    """Return the file that docs/recipes/wrap-envoi makes of a mail."""
    (tmp_path / "keyid").write_text(f"{KEYID}\n", "ascii")
    options = ["--keyid-file", str(tmp_path / "keyid"), "--from", "alerte@masociete.com"]
    options += ["--to", "sendsms@gw.example.org", "--report", "alerte@masociete.com"]
    for number in numbers:
        options += ["--num", number]
    script = DOCS / "recipes" / "wrap-envoi"
    done = subprocess.run(
        [sys.executable, str(script), *options], input=content, capture_output=True, timeout=DEADLINE_S, check=True
    )
    made = tmp_path / "wrapped.eml"
    made.write_bytes(done.stdout)
    return made


def test_what_a_device_writes_becomes_an_order(lint: Lint, tmp_path: Path) -> None:
    said = lint(wrapped((HERE / "ups.eml").read_bytes(), tmp_path, "0601020304", "0601020305"))

    assert said["reply"]["code"] == 250
    assert [sms["msisdn"] for sms in said["sms"]] == ["+33601020304", "+33601020305"]
    assert said["sms"][0]["text"].startswith("UPS: On battery power in response to an input power problem. Name")


def test_the_same_mail_of_a_device_is_the_same_order(lint: Lint, tmp_path: Path) -> None:
    content = (HERE / "ups.eml").read_bytes()
    passed_on = b"Received: from relais.masociete.com; Sun, 22 Nov 2026 04:33:12 +0100\n" + content
    other = content.replace(b"04:33:10", b"04:48:10")
    first, again, another = (
        lint(wrapped(one, tmp_path, "0601020304"))["email_id"]["value"] for one in (content, passed_on, other)
    )

    assert first == again
    assert first != another


def test_letters_and_signs_of_a_device_arrive(lint: Lint, tmp_path: Path) -> None:
    content = (
        "Subject: =?utf-8?q?D=C3=A9faut?=\nContent-Type: text/plain; charset=utf-8\n\nTempérature > 40 °C & fumée\n"
    )
    said = lint(wrapped(content.encode(), tmp_path, "0601020304"))

    assert said["sms"][0]["text"].startswith("Défaut Température > 40")
    assert "& fumée" in said["sms"][0]["text"]


# --- command lines ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[tuple[int, Sandbox]]:
    """The port of a gateway at work, and its carrier."""
    async with Sandbox() as sandbox, Mailbox() as mailbox:
        config = write_config(tmp_path / "gateway.toml", smarthost=mailbox.address, carrier=sandbox.url)
        assert (await run_command("migrate", "--config", str(config))).status == 0
        async with serve(config) as process:
            yield process.smtp[1], sandbox


def scripts() -> list[tuple[str, str]]:
    """Return every script of the pages that is written to be run as it stands, with its language."""
    found = []
    for name in ("shell.md", "php.md"):
        text = (DOCS / "recipes" / name).read_text("utf-8")
        found += re.findall(r"^```(sh|php)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(scripts())))
async def test_every_script_of_the_pages_sends_its_sms(
    number: int, gateway: tuple[int, Sandbox], tmp_path: Path
) -> None:
    port, sandbox = gateway
    language, script = scripts()[number]
    for shown, real in (("gw.example.org:25", f"127.0.0.1:{port}"), ("YOUR-KEYID", KEYID)):
        script = script.replace(shown, real)
    script = script.replace("--port=25", f"--port={port}").replace("'gw.example.org', 25", f"'127.0.0.1', {port}")
    script = script.replace("--host=gw.example.org", "--host=127.0.0.1")
    file = tmp_path / f"script.{language}"
    file.write_text(script, "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(["php", str(file)] if language == "php" else ["sh", "-eu", str(file)]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
    )
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await process.communicate()

    assert process.returncode == 0, said.decode()
    async with asyncio.timeout(DEADLINE_S):
        await sandbox.wait_for_messages(1)
    assert [message["text"] for message in sandbox.messages] == ["Disque plein à 95 % sur srv-bdd"]
