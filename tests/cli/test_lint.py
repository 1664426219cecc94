"""`mail2sms lint`: what it shows, to people and to programs, what it leaves alone, how it ends."""

import asyncio
import io
import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.lint import examine
from gateway.cli.mail_file import receive
from gateway.clock import SystemClock
from gateway.config import load
from gateway.intake import Submission
from gateway.intake.findings import Findings
from tests.cli.conftest import CONFIG, KEYID, Finished, Run
from tests.support.clock import ManualClock

ENVOI = {
    "keyid": KEYID,
    "emailId": "1548",
    "num": "06 01 02 03 04",
    "sms": "Salut",
    "emailAck": "ack@masociete.com",
    "emailNot": "not@masociete.com",
}
HEADERS = (
    "From: Alerte <alerte@masociete.com>",
    "Message-ID: <1@masociete.com>",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: 8bit",
)
ACK = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<etatAck>
<emailId>1548</emailId>
<code>{code}</code>
<message>{label}</message>
</etatAck>
"""
NOT = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<etatNot>
<emailId>1548</emailId>
</etatNot>
<etat>
<code>0</code>
<tel>06 01 02 03 04</tel>
<message>Votre message a bien été envoyé</message>
</etat>
"""
ACK_0 = ACK.format(code=0, label="Votre email a bien ete traite")


def write_mail(config: Path, *headers: str, **elements: str | None) -> str:
    """Write the mail beside the configuration, with some elements changed, and return where.

    `around` is no element, but what stands around the envoi.
    """
    around = elements.pop("around", None) or "{}"
    values = {name: value for name, value in (ENVOI | elements).items() if value is not None}
    envoi = "\n".join(["<envoi>", *(f"<{name}>{value}</{name}>" for name, value in values.items()), "</envoi>"])
    mail = config.with_name("mail.eml")
    mail.write_text("\n".join([*(headers or HEADERS), "", around.format(envoi), ""]), "utf-8")
    return str(mail)


def parsed(done: Finished) -> dict[str, Any]:
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def files_beside(config: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in config.parent.iterdir()}


# --- what it says ----------------------------------------------------------------------------------------------------


def test_people_are_shown_the_whole_way_of_a_mail(config: Path, run: Run) -> None:
    done = run("lint", write_mail(config, sms="L'été à 5€"), "--config", str(config))
    expected = f"""\
250 2.0.0 Ok: queued as ITS-ID
SMS that would go: 1 of 1

Mail
  from: alerte@masociete.com
  envelope sender: alerte@masociete.com
  client: 127.0.0.1
  account: masociete, proven by network
  read: lenient
  text: part 1 of 1, text/plain
  character set: utf-8 (declared: utf-8)
  transfer encoding: 8bit
  files: none

Who may send
  keyid: of account masociete
  masociete, network: yes: 127.0.0.1 is in the listener's networks
  masociete, smtp_auth: no: nobody has authenticated

Order
  emailId: 1548: not known whether it was used before
  store: not asked: there is no store at {config.parent}/gateway.db: run mail2sms migrate once to create it; \
if there was one, restore it, for it knows which mails were sent before
  hours: not commercial: no hours

SMS 1
  to: 06 01 02 03 04 = +33601020304
  code: 0 if the carrier accepts it
  goes: at once
  carrier: carrier
  from: (the carrier's choice)
  encoding: GSM, 1 of at most 1 part, 11 of 160 units
  text:
    L'été à 5€

Ack to ack@masociete.com
{indented(ACK_0)}
Not to not@masociete.com
{indented(NOT)}"""

    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == expected


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_programs_get_the_same_with_the_exact_bytes_of_the_reports(config: Path, run: Run) -> None:
    done = run("lint", write_mail(config), "--config", str(config), "--json")
    found = parsed(done)

    assert (done.status, found["ok"], found["taken"]) == (0, True, True)
    assert found["reply"] == {"code": 250, "enhanced": "2.0.0", "text": "Ok: queued as ITS-ID"}
    assert [(one["kind"], one["recipient"], one["body"]) for one in found["reports"]] == [
        ("ack", "ack@masociete.com", ACK_0),
        ("not", "not@masociete.com", NOT),
    ]
    assert {one["charset"] for one in found["reports"]} == {"iso-8859-1"}
    assert found["sms"][0]["due_at"].endswith(("+01:00", "+02:00"))
    assert found["sender"]["proof"] == "network"


ROUTES = """routes = [{ name = "mobiles", prefixes = ["+336"], providers = ["b", "carrier"], weights = { b = 3 } }]
scheduling = "carrier"
"""
OTHER_CARRIER = """
[[providers]]
name = "b"
kind = "sandbox"
"""


def test_the_carrier_of_each_number_is_shown(config: Path, run: Run) -> None:
    line = 'providers = ["carrier"]\n'
    config.write_text(CONFIG.replace(line, line + ROUTES) + OTHER_CARRIER)
    date = f"{SystemClock().now() + timedelta(days=30):%Y-%m-%d} 10:00"
    mail = write_mail(config, num=None, num1="0601020304", num2="0102030405", date_envoi=date)
    shown = run("lint", mail, "--config", str(config)).stdout
    sms = parsed(run("lint", mail, "--config", str(config), "--json"))["sms"]

    assert "  carrier: by shares b 3, else carrier (route mobiles)\n" in shown
    assert "  carrier: carrier\n" in shown
    assert re.search(f"  goes: at {date} CES?T \\(the carrier waits, if it can\\)\n", shown)
    assert [(one["route"], one["carriers"], one["weights"], one["waits_at"]) for one in sms] == [
        ("mobiles", ["b", "carrier"], {"b": 3}, "carrier"),
        ("", ["carrier"], {}, "carrier"),
    ]


def test_what_was_tolerated_is_listed(config: Path, run: Run) -> None:
    mail = write_mail(config, *HEADERS[:2], "Content-Type: text/plain; charset=iso-8859-1", around="Bonjour,\n\n{}")
    lenient = run("lint", mail, "--config", str(config))
    strict = run("lint", mail, "--config", str(config), "--strict")

    assert lenient.status == 0
    assert "  tolerated: text_around: there is text around the <envoi>: ignored\n" in lenient.stdout
    assert "  transfer encoding: none declared\n" in lenient.stdout
    assert strict.status == 1
    assert strict.stdout.startswith("554 5.6.0 there is text around the <envoi>\n")


def test_a_mode_on_the_command_line_goes_before_the_accounts_own(config: Path, run: Run) -> None:
    mail = write_mail(config, around="Bonjour,\n\n{}")
    config.write_text(CONFIG.replace('providers = ["carrier"]', 'providers = ["carrier"]\nmode = "strict"'))

    assert run("lint", mail, "--config", str(config)).status == 1
    assert run("lint", mail, "--config", str(config), "--lenient").status == 0


def test_characters_that_force_ucs2_or_were_changed_are_shown(config: Path, run: Run) -> None:
    forced = run("lint", write_mail(config, sms="Żółć 👍", ucs2="1"), "--config", str(config))
    changed = run("lint", write_mail(config, sms="Fête ☃"), "--config", str(config))
    program = run("lint", str(config.with_name("mail.eml")), "--config", str(config), "--json")

    assert "  encoding: UCS2 because of Żółć👍, 1 of at most 1 part, 7 of 70 units\n" in forced.stdout
    assert "  changed: transliterated: ê→e\n" in changed.stdout
    assert "☃" in re.findall(r"changed: (.*)", changed.stdout)[1]
    assert "    Fete ?\n" in changed.stdout
    assert parsed(program)["sms"][0]["changes"] == [["ê", "e"], ["☃", "?"]]


def test_a_text_of_several_numbers_is_shown_once(config: Path, run: Run) -> None:
    mail = write_mail(config, num=None, num1="0601020304", num2="0601020305", num3="12345", smslong="3")
    done = run("lint", mail, "--config", str(config))

    assert done.status == 1
    assert done.stdout.startswith("250 2.0.0 Ok: queued as ITS-ID\nSMS that would go: 2 of 3\n")
    assert done.stdout.count("    Salut\n") == 1
    assert "SMS 2\n  to: 0601020305 = +33601020305\n" in done.stdout
    assert "  text: that of SMS 1\n" in done.stdout
    assert "  to: 12345 (not a number)\n  refused: code 7 " in done.stdout
    assert "<code3>7</code3>" in done.stdout


def test_files_and_parts_are_named(config: Path, run: Run) -> None:
    mail = config.with_name("parts.eml")
    examples = Path(__file__).parents[2] / "gateway" / "cli" / "examples"
    mail.write_bytes((examples / "04-files" / "01.eml").read_bytes().replace(b"a296464ce012b8ab710a", KEYID.encode()))
    found = parsed(run("lint", str(mail), "--config", str(config), "--json"))

    assert (found["ok"], found["read"]["files"], found["read"]["parts"]) == (True, ["message.csv", "mobiles.csv"], 3)


@pytest.mark.parametrize(
    ("elements", "code", "words"),
    [
        ({"smslong": "x"}, 34, "code for all of it: 34 La valeur de smslong"),
        ({"num": None}, 6, "code for all of it: 6 Vous devez saisir"),
        ({"keyid": "wrong"}, 3, "code for all of it: 3 Vos identifiants"),
    ],
)
def test_a_fault_of_the_whole_is_said_with_its_not(
    config: Path, run: Run, elements: dict[str, str | None], code: int, words: str
) -> None:
    done = run("lint", write_mail(config, **elements), "--config", str(config))

    assert done.status == 1
    assert words in done.stdout
    assert f"    <code>{code}</code>\n" in done.stdout


@pytest.mark.parametrize(
    ("elements", "ack", "not_"),
    [
        ({"emailAck": None, "emailNot": ""}, "the mail has no emailAck", "the mail has no emailNot"),
        (
            {"emailAck": "a@elsewhere.example", "emailNot": "sendsms@gw.example.org"},
            "emailAck is outside the account's report_domains",
            "emailNot is an address of this gateway",
        ),
    ],
)
def test_why_there_is_no_report(config: Path, run: Run, elements: dict[str, str | None], ack: str, not_: str) -> None:
    done = run("lint", write_mail(config, **elements), "--config", str(config))

    assert done.status == 0  # the SMS goes all the same
    assert f"\nAck: none\n  because: {ack}\n" in done.stdout
    assert f"\nNot: none\n  because: {not_}\n" in done.stdout


def test_without_an_id_nothing_goes(config: Path, run: Run) -> None:
    done = run("lint", write_mail(config, emailId=None), "--config", str(config))

    assert done.status == 1
    assert "  emailId: ?: missing or of no use, so nothing is sent\n" in done.stdout
    assert "    <code>2</code>\n" in done.stdout
    assert "Not: none\n  because: nothing is sent without an emailId\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reply", "cause"),
    [
        (["--peer", "192.0.2.1"], "550 5.7.1 You may not", "the client is not proven for any account"),
        (["--sender", ""], "550 5.7.1 A bounce", "A bounce (null sender) is not an order"),
    ],
)
def test_a_mail_that_is_not_taken_is_explained(
    config: Path, run: Run, arguments: list[str], reply: str, cause: str
) -> None:
    done = run("lint", write_mail(config), "--config", str(config), *arguments)

    assert done.status == 1
    assert done.stdout.startswith(reply)
    assert f"  not taken: {cause}\n" in done.stdout
    assert "Ack: none\n  because: the mail is not taken\n" in done.stdout
    assert ("  try: --peer " in done.stdout) == ("--peer" in arguments)


def test_a_mail_whose_form_is_refused_is_explained(config: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"From: a@masociete.com\r\n\r\n\0")))
    done = run("lint", "-", "--config", str(config), "--json")
    found = parsed(done)

    assert done.status == 1
    assert (found["reply"]["code"], found["cause"]) == (554, "Mail contains a NUL")
    assert (found["read"], found["email_id"], found["sms"]) == (None, None, [])


def test_what_a_mail_says_cannot_drive_the_terminal(config: Path, run: Run) -> None:
    declared = 'Content-Type: text/plain; charset="\u202ex\x1b[31m"'
    mail = write_mail(config, HEADERS[0], declared, sms="a\x9b31mb")
    done = run("lint", mail, "--config", str(config))

    assert all(one == "\n" or one.isprintable() for one in done.stdout)


# --- schemas ---------------------------------------------------------------------------------------------------------


def test_strictly_a_good_mail_and_its_reports_are_held_against_their_schemas(config: Path, run: Run) -> None:
    mail = write_mail(config)
    strict = run("lint", mail, "--config", str(config), "--strict")
    program = parsed(run("lint", mail, "--config", str(config), "--strict", "--json"))
    unasked = parsed(run("lint", mail, "--config", str(config), "--json"))

    assert strict.status == 0
    assert "\nSchemas\n  valid: the envoi and its reports, as far as there are any\n" in strict.stdout
    assert (program["schema"], unasked["schema"]) == ([], None)


def test_what_no_schema_allows_is_named_with_its_line_though_the_mail_is_refused(config: Path, run: Run) -> None:
    mail = write_mail(config, sms="Tom & Jerry", nostop="oui", urgent="1", around="Bonjour,\n\n{}")
    lenient = run("lint", mail, "--config", str(config))
    strict = run("lint", mail, "--config", str(config), "--strict")
    program = run("lint", mail, "--config", str(config), "--strict", "--json")

    assert (lenient.status, strict.status, program.status) == (0, 1, 1)
    assert strict.stdout.startswith("554 5.6.0 there is text around the <envoi>\n")
    assert (
        "\nSchemas\n"
        "  envoi, line 7: not well-formed XML: an & or < that is text must be written &amp; or &lt;\n"
        "  envoi, line 10: <nostop> must be 0 or 1\n"
        "  envoi, line 11: <urgent> is not known\n"
    ) in strict.stdout
    assert [(one["document"], one["line"]) for one in parsed(program)["schema"]] == [
        ("envoi", 7),
        ("envoi", 10),
        ("envoi", 11),
    ]


def test_a_mail_that_would_go_is_not_good_when_its_schema_says_no(config: Path, run: Run) -> None:
    done = run("lint", write_mail(config, ucs2="oui"), "--config", str(config), "--strict")

    assert done.status == 1
    assert done.stdout.startswith("250 2.0.0 Ok: queued as ITS-ID\nSMS that would go: 1 of 1\n")
    assert "  envoi, line 8: <ucs2> must be 0 or 1\n" in done.stdout


def test_a_mail_without_a_text_has_nothing_to_hold_against_a_schema(config: Path, run: Run) -> None:
    mail = write_mail(config, *HEADERS[:2], "Content-Type: text/html")
    done = run("lint", mail, "--config", str(config), "--strict", "--json")

    assert done.status == 1
    assert parsed(done)["schema"] == []
    assert "HTML only" in parsed(done)["cause"]


# --- hours -----------------------------------------------------------------------------------------------------------


def look(config: Path, settings: str, *, hours_later: float) -> Findings:
    """Return what is found of the mail, for an account with these settings, so long after a Wednesday, 10:30."""
    config.write_text(CONFIG.replace('providers = ["carrier"]', f'providers = ["carrier"]\n{settings}'))
    clock = ManualClock()
    clock.advance(hours_later * 3600)
    loaded = load(config, environ={})
    content = receive(Path(write_mail(config)).read_bytes(), loaded.smtp)
    assert isinstance(content, bytes)
    submission = Submission(
        content=content,
        envelope_from="alerte@masociete.com",
        peer="127.0.0.1",
        listener="lint",
        networks=loaded.smtp.networks,
        mode=loaded.smtp.mode,
    )
    return asyncio.run(examine(loaded, submission, mode=None, now=clock.now()))


def test_commercial_sms_outside_hours_are_refused_or_wait(config: Path) -> None:
    inside = look(config, "commercial = true", hours_later=0)
    refused = look(config, "commercial = true", hours_later=12)
    held = look(config, 'commercial = true\noutside_hours = "hold"', hours_later=12)

    assert (inside.ok, inside.hours, inside.sms[0].carries_stop) == (True, "commercial, within hours", True)
    assert (refused.ok, refused.hours) == (False, "commercial, outside hours: refused")
    assert refused.sms[0].code == 24
    assert (held.ok, held.hours) == (True, "commercial: waits until 2026-03-05 08:00 Europe/Paris")
    assert (held.sms[0].waits, str(held.sms[0].due_at)) == (True, "2026-03-05 08:00:00+01:00")


# --- the store -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_made_or_changed(config: Path, run: Run) -> None:
    mail = write_mail(config)
    without_store = files_beside(config)
    run("lint", mail, "--config", str(config))

    assert files_beside(config) == without_store
    run("migrate", "--config", str(config))
    with_store = files_beside(config)
    new = parsed(run("lint", mail, "--config", str(config), "--json"))

    assert new["email_id"] == {"value": "1548", "state": "new", "used_at": None, "remark": None}
    assert files_beside(config) == with_store


@pytest.mark.slow
def test_an_id_that_was_used_is_told_with_its_time(config: Path, run: Run) -> None:
    mail = write_mail(config)
    run("migrate", "--config", str(config))
    taken = run("inject", mail, "--config", str(config))
    same = run("lint", mail, "--config", str(config))
    other = run("lint", write_mail(config, sms="autre"), "--config", str(config), "--json")
    human = run("lint", write_mail(config, HEADERS[0], sms="autre"), "--config", str(config))
    found = parsed(other)

    assert (same.status, other.status) == (1, 1)
    assert same.stdout.splitlines()[0] == taken.stdout.strip()
    assert "  emailId: 1548: this very mail was taken before, so nothing happens (20" in same.stdout
    assert (found["email_id"]["state"], found["email_id"]["used_at"][:2]) == ("used", "20")
    assert found["reports"][0]["body"] == ACK.format(code=1, label="emailId deja traite")
    assert found["reports"][1]["reason"] == "nothing is sent for a second mail with an emailId"
    assert [sms["goes"] for sms in found["sms"]] == [False]
    assert "  goes: not: see the reply and the emailId\n" in human.stdout


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_usage_and_configuration_have_their_own_statuses(config: Path, run: Run) -> None:
    mail = write_mail(config)
    nobody = run("lint", write_mail(config, "Subject: x"), "--config", str(config))
    nothing = run("lint", "none.eml", "--config", str(config))
    nowhere = run("lint", mail, "--config", str(config), "--peer", "x")
    config.write_text(CONFIG.replace("recipients", "recipient"))
    unusable = run("lint", mail, "--config", str(config))

    assert [nobody.status, nothing.status, nowhere.status, unusable.status] == [2, 2, 2, 3]
    assert "--sender" in nobody.stderr
    assert {done.stdout for done in (nobody, nothing, nowhere, unusable)} == {""}
