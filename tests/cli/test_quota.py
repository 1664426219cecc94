"""`mail2sms quota`, and what `mail2sms lint` says of quotas."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.config import load
from gateway.store import migrate
from tests.cli.conftest import KEYID, Run
from tests.support.configuration import write_config

QUOTAS = [
    {"per": "recipient", "window": "day", "sms": 2},
    {"per": "account", "window": "day", "cost": 0.5},
    {"per": "sender", "window": "day", "mails": 3},
]


@pytest.fixture
def limited(config: Path) -> Path:
    """A configuration with quotas, and its store."""
    account = {"keyid": KEYID, "quotas": QUOTAS, "part_price": 0.125, "volume_warning": 100}
    write_config(config, account=account, more_accounts=[{"name": "autre", "keyid": KEYID[::-1], "quotas": []}])
    asyncio.run(migrate(load(config, environ={}).store))
    return config


def write_mail(config: Path, email_id: int, *numbers: str) -> str:
    each = "\n".join(f"<num{place}>{number}</num{place}>" for place, number in enumerate(numbers, 1))
    mail = config.with_name(f"{email_id}.eml")
    mail.write_text(
        f"From: Alerte <alerte@masociete.com>\nMessage-ID: <{email_id}@masociete.com>\n\n"
        f"<envoi>\n<keyid>{KEYID}</keyid>\n<emailId>{email_id}</emailId>\n<sms>Salut</sms>\n"
        f"<emailNot>not@masociete.com</emailNot>\n{each}\n</envoi>\n"
    )
    return str(mail)


@pytest.mark.slow
def test_what_was_used_is_shown_and_reset(limited: Path, run: Run) -> None:
    here = ("--config", str(limited))
    before = run("quota", "show", *here)
    run("inject", write_mail(limited, 1, *["0601020304"] * 3, "0601020305"), *here)
    after = run("quota", "show", "--account", "masociete", *here)
    reset = [run("quota", "reset", "masociete", *who, *here).stdout for who in (["06 01 02 03 04"], [], [])]

    assert before.stdout == (
        "masociete: at most 2 SMS a day to one number\n"
        "masociete: at most 0.50 of money a day for the account\n"
        "masociete: at most 3 mails a day from one sender\n"
        "autre: no quotas\n"
    )
    lines = after.stdout.splitlines()
    assert lines[:3] == [
        "masociete: at most 2 SMS a day to one number",
        "  +33601020304: 2 of 2",
        "  +33601020305: 1 of 2",
    ]
    assert lines[3].startswith("  +33601020304: 1 held back since 2")
    assert lines[4:8] == [  # then the parts of this hour, unless that has just ended
        "masociete: at most 0.50 of money a day for the account",
        "  used: 0.375 of 0.5",
        "masociete: at most 3 mails a day from one sender",
        "  alerte@masociete.com: 1 of 3",
    ]
    assert reset == [
        "+33601020304 of masociete: 2 counters reset\n",
        "masociete: 3 counters reset\n",
        "masociete: 0 counters reset\n",
    ]


@pytest.mark.slow
def test_programs_get_every_account(limited: Path, run: Run) -> None:
    run("inject", write_mail(limited, 1, *["0601020304"] * 3), "--config", str(limited))
    shown = json.loads(run("quota", "show", "--json", "--config", str(limited)).stdout)
    reset = run("quota", "reset", "masociete", "alerte@masociete.com", "--json", "--config", str(limited))

    assert [(one["account"], len(one["quotas"])) for one in shown] == [("masociete", 3), ("autre", 0)]
    assert (shown[1]["hour_parts"], shown[1]["usual_parts"]) == (0, None)
    guard = shown[0]["quotas"][0]
    held_back = guard.pop("held_back")
    assert guard == {
        "quota": "recipient/day/sms",
        "limit": "at most 2 SMS a day to one number",
        "most": 2.0,
        "used": [{"subject": "+33601020304", "used": 2.0}],
    }
    assert [(one["subject"], one["sms"]) for one in held_back] == [("+33601020304", 1)]
    assert json.loads(reset.stdout) == {"account": "masociete", "subject": "alerte@masociete.com", "counters": 1}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "--account", "nobody"], "nobody is not an account of this configuration"),
        (["reset", "nobody"], "nobody is not an account of this configuration"),
        (["reset", "masociete", "12"], "12 is not a number"),
        (["reset", "masociete", "a@b@c"], "a@b@c is not a mail address"),
        (["reset"], "NAME"),
    ],
)
def test_a_wrong_name_is_status_2(arguments: list[str], sentence: str, limited: Path, run: Run) -> None:
    done = run("quota", *arguments, "--config", str(limited))

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr


@pytest.mark.slow
def test_lint_says_what_a_mail_would_take_and_what_would_be_held_back(limited: Path, run: Run) -> None:
    here = ("--config", str(limited))
    run("inject", write_mail(limited, 1, "0601020304"), *here)
    mail = write_mail(limited, 2, "0601020304", "0601020304", "0601020305")
    done, again = run("lint", mail, *here), run("lint", mail, "--json", *here)

    assert done.status == 1
    assert "SMS that would go: 2 of 3\n" in done.stdout
    assert (
        "quota: at most 2 SMS a day to one number, +33601020304: takes 1, then 2 of 2; 1 SMS held back\n" in done.stdout
    )
    assert "quota: at most 2 SMS a day to one number, +33601020305: takes 1, then 1 of 2\n" in done.stdout
    assert "refused: code 29 " in done.stdout
    assert "(quota: at most 2 SMS a day to one number)" in done.stdout
    assert "<code2>29</code2>" in done.stdout
    money = {
        "limit": "at most 0.50 of money a day for the account",
        "subject": "",
        "most": 500_000,
        "used": 375_000,
        "takes": 250_000,
        "held_back": 0,
    }
    assert money in json.loads(again.stdout)["quotas"]


@pytest.mark.slow
def test_lint_says_when_a_mail_would_be_put_off(limited: Path, run: Run) -> None:
    here = ("--config", str(limited))
    for number in range(3):
        run("inject", write_mail(limited, number, "0601020304"), *here)
    done = run("lint", write_mail(limited, 9, "0601020304"), *here)
    put_off = run("inject", write_mail(limited, 9, "0601020304"), *here)

    assert done.status == 1
    sentence = "451 4.7.1 A quota of mails is used up, try again later: at most 3 mails a day from one sender"
    assert done.stdout.startswith(f"{sentence}\n")
    assert "because: the mail is not taken now: a quota of mails is used up\n" in done.stdout
    assert sentence in put_off.stdout
