"""`mail2sms account` and `mail2sms credit`: the block for a new client, and what clients may still send."""

import asyncio
import json
import re
import tomllib
from pathlib import Path

import pytest

from gateway.config import load
from gateway.policy.accounts import Account
from gateway.store import Store, migrate, tables
from gateway.store.base import Credit
from tests.cli.conftest import CONFIG, KEYID, Run
from tests.store.samples import rows

NOT_AN_ACCOUNT = "nobody is not an account of this configuration"


@pytest.fixture
def with_store(config: Path) -> Path:
    """The configuration, and its store."""
    asyncio.run(migrate(load(config, environ={}).store))
    return config


# --- account new -----------------------------------------------------------------------------------------------------


def test_a_new_account_is_a_block_that_can_be_used_as_it_is(run: Run) -> None:
    done = run(
        *("account", "new", "acme", "--domain", "acme.example", "--domain", "*.acme.example", "--company", 'A "&" B'),
        *("--contact", "Mme Été", "--telephone", "01 02 03 04 05", "--mail", "it@acme.example", "--provider", "sms"),
    )
    (block,) = tomllib.loads(done.stdout)["accounts"]

    assert (done.status, done.stderr) == (0, "")
    assert re.fullmatch("[0-9a-f]{32}", block.pop("keyid"))
    assert block == {
        "name": "acme",
        "domains": ["acme.example", "*.acme.example"],
        "providers": ["sms"],
        "company": 'A "&" B',
        "contact": "Mme Été",
        "telephone": "01 02 03 04 05",
        "mail": "it@acme.example",
    }
    assert Account.model_validate(block | {"keyid": KEYID}).mail == "it@acme.example"


def test_no_two_new_accounts_have_one_key(run: Run, config: Path) -> None:
    blocks = [run("account", "new", name, "--domain", f"{name}.example").stdout for name in ("a", "b")]
    config.write_text("\n".join([CONFIG, *blocks]))
    keys = {block["keyid"] for text in blocks for block in tomllib.loads(text)["accounts"]}

    assert len(keys) == 2
    assert run("check-config", str(config)).stdout == f"{config} is good: 3 accounts, 1 provider.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a b", "--domain", "x.fr"], "NAME: a name is letters, digits"),
        (["acme", "--domain", "x y"], '--domain: "x y" is not a domain'),
        (["acme", "--domain", "x.fr", "--mail", "it"], '--mail: "it" is not a mail address'),
        (["acme", "--domain", "x.fr", "--company", " "], "--company takes 1 to 200 characters"),
        (["acme", "--domain", "x.fr", "--provider", ""], "--provider: a name is"),
        (["acme"], "Missing option '--domain'"),
    ],
)
def test_what_cannot_be_an_account_is_status_2_with_a_sentence(arguments: list[str], sentence: str, run: Run) -> None:
    done = run("account", "new", *arguments)

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr


# --- credit ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_credit_is_shown_set_added_to_and_lifted(with_store: Path, run: Run) -> None:
    said = [
        run("credit", *arguments, "--config", str(with_store)).stdout
        for arguments in (
            ["show"],
            ["set", "masociete", "5"],
            ["add", "masociete", "7"],
            ["show", "masociete"],
            ["unlimited", "masociete"],
        )
    ]

    assert said == [
        "masociete: unlimited\n",
        "masociete: 5 parts left, 0 reserved, 0 spent\n",
        "masociete: 12 parts left, 0 reserved, 0 spent\n",
        "masociete: 12 parts left, 0 reserved, 0 spent\n",
        "masociete: unlimited, 0 reserved, 0 spent\n",
    ]


def test_programs_get_every_account_and_those_of_before(with_store: Path, run: Run) -> None:
    before = json.loads(run("credit", "show", "--json", "--config", str(with_store)).stdout)
    run("credit", "add", "masociete", "3", "--config", str(with_store))
    with_store.write_text(CONFIG.replace('name = "masociete"', 'name = "autre"'))
    after = json.loads(run("credit", "show", "--json", "--config", str(with_store)).stdout)

    assert before == [{"account": "masociete", "balance": None, "reserved": 0, "spent": 0, "updated_at": None}]
    assert [(one["account"], one["balance"]) for one in after] == [("autre", None), ("masociete", 3)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "nobody"], NOT_AN_ACCOUNT),
        (["add", "nobody", "1"], NOT_AN_ACCOUNT),
        (["unlimited", "nobody"], NOT_AN_ACCOUNT),
        (["add", "masociete", "0"], "PARTS"),
        (["set", "masociete", "x"], "PARTS"),
    ],
)
def test_a_wrong_name_or_number_is_status_2(arguments: list[str], sentence: str, with_store: Path, run: Run) -> None:
    done = run("credit", *arguments, "--config", str(with_store))

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_without_a_store_it_is_status_4(config: Path, run: Run) -> None:
    done = run("credit", "show", "--config", str(config))

    assert (done.status, done.stdout) == (4, "")
    assert "mail2sms migrate" in done.stderr


# --- a mail ----------------------------------------------------------------------------------------------------------


def write_mail(config: Path) -> str:
    """Write a mail for 500 numbers beside the configuration; every fifth text takes two parts."""
    each = "\n".join(
        f"<num{place}>06{place:08}</num{place}>\n<sms{place}>{'x' * (161 if place % 5 == 0 else 9)}</sms{place}>"
        for place in range(1, 501)
    )
    mail = config.with_name("mail.eml")
    mail.write_text(
        "From: Alerte <alerte@masociete.com>\nMessage-ID: <1@masociete.com>\n\n"
        f"<envoi>\n<keyid>{KEYID}</keyid>\n<emailId>1</emailId>\n<smslong>2</smslong>\n"
        f"<emailNot>not@masociete.com</emailNot>\n{each}\n</envoi>\n"
    )
    return str(mail)


async def left_behind(config: Path) -> tuple[list[int], set[object], tuple[Credit, ...]]:
    """The positions that are queued, the codes of the others, and the credits."""
    store = await Store.open(load(config, environ={}).store)
    found = await rows(store, tables.sms)
    found_credits = await store.credits()
    await store.close()
    queued = sorted(sms["position"] for sms in found if sms["code"] is None)
    return queued, {sms["code"] for sms in found if sms["code"] is not None}, found_credits


@pytest.mark.slow
def test_a_mail_goes_as_far_as_the_credit_goes(with_store: Path, run: Run) -> None:
    run("credit", "set", "masociete", "12", "--config", str(with_store))
    mail = write_mail(with_store)
    foreseen = run("lint", mail, "--config", str(with_store), "--json")
    untouched = run("credit", "show", "--config", str(with_store))
    taken = run("inject", mail, "--config", str(with_store))
    queued, codes, (credit,) = asyncio.run(left_behind(with_store))
    sms = json.loads(foreseen.stdout)["sms"]
    not_ = json.loads(foreseen.stdout)["reports"][1]["body"]

    # 1 to 4 take four parts, 5 takes two, 6 to 9 four, 10 two: twelve
    assert (taken.status, foreseen.status) == (0, 1)
    assert untouched.stdout == "masociete: 12 parts left, 0 reserved, 0 spent\n"
    assert (queued, codes) == ([*range(1, 11)], {12})
    assert (credit.balance, credit.reserved, credit.spent) == (0, 12, 0)
    assert [one["position"] for one in sms if one["goes"]] == queued
    assert {(one["code"], one["reason"]) for one in sms if not one["goes"]} == {
        (12, "the account's credit is not enough")
    }
    assert "<code10>0</code10>" in not_
    assert "<code11>12</code11>" in not_


@pytest.mark.slow
def test_lint_shows_the_not_of_a_mail_that_cannot_be_paid(with_store: Path, run: Run) -> None:
    run("credit", "set", "masociete", "0", "--config", str(with_store))
    done = run("lint", write_mail(with_store), "--config", str(with_store))

    assert done.status == 1
    assert "SMS that would go: 0 of 500" in done.stdout
    assert "refused: code 12 Votre crédit de MT est épuisé (the account's credit is not enough)" in done.stdout
    assert "<code500>12</code500>" in done.stdout
