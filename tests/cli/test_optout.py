"""`mail2sms optout`: the STOP list by hand, from files and from carriers."""

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.cli import optout as command
from gateway.config import load
from gateway.providers.base import Untold
from gateway.store import Store, migrate, tables
from tests.cli.conftest import KEYID, Finished, Run
from tests.stages.rig import FakeCarrier
from tests.store.samples import rows
from tests.support.configuration import render_config

NUMBER = "+33601020304"


@pytest.fixture
def with_store(config: Path) -> Path:
    """The configuration, and its store."""
    asyncio.run(migrate(load(config, environ={}).store))
    return config


class Command:
    """`mail2sms optout` on one configuration."""

    def __init__(self, run: Run, config: Path) -> None:
        self.run = run
        self.config = config

    def __call__(self, *arguments: str) -> Finished:
        return self.run("optout", *arguments, "--config", str(self.config))

    def entries(self) -> list[tuple[str, str, str]]:
        """Account, number and source of all on the list."""
        found = json.loads(self("list", "--json").stdout)
        return [(one["account"], one["msisdn"], one["source"]) for one in found]

    def file(self, content: bytes | str) -> str:
        """Write a file to import."""
        path = self.config.with_name("list.csv")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)


@pytest.fixture
def optout(run: Run, with_store: Path) -> Command:
    return Command(run, with_store)


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_number_is_put_on_the_list_shown_and_taken_off(optout: Command) -> None:
    said = [
        optout("list").stdout,
        optout("add", "06 01 02 03 04", "--account", "masociete", "--note", "by telephone").stdout,
        optout("add", NUMBER, "--account", "masociete").stdout,
        optout("add", NUMBER).stdout,
    ]
    shown = optout("list").stdout
    first = optout("remove", NUMBER, "--account", "masociete")
    second, third = optout("remove", NUMBER), optout("remove", NUMBER)

    assert said == [
        "",
        f"{NUMBER} is on the list now (account masociete); SMS cancelled: 0\n",
        f"{NUMBER} was on the list (account masociete); SMS cancelled: 0\n",
        f"{NUMBER} is on the list now (all accounts); SMS cancelled: 0\n",
    ]
    assert [line.partition(", since")[0] for line in shown.splitlines()] == [
        f"{NUMBER}: all accounts",
        f"{NUMBER}: masociete",
    ]
    assert shown.splitlines()[1].endswith("by operator, by telephone")
    assert f"{NUMBER} is not on the list any more (account masociete" in first.stdout
    assert f"{NUMBER} is still on the list that holds for all" in first.stdout
    assert (first.status, second.status, third.status) == (0, 0, 1)
    assert third.stdout == f"{NUMBER} was not on the list\n"


def test_programs_are_told_the_same(optout: Command) -> None:
    added = json.loads(optout("add", NUMBER, "--json").stdout)
    again = json.loads(optout("add", NUMBER, "--json").stdout)
    listed = json.loads(optout("list", "--json").stdout)
    removed = json.loads(optout("remove", NUMBER, "--json").stdout)

    assert added == {"account": "*", "msisdn": NUMBER, "added": True, "cancelled": 0}
    assert again["added"] is False
    assert [sorted(one) for one in listed] == [["account", "msisdn", "note", "since_at", "source"]]
    assert removed == listed
    assert json.loads(optout("list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "123"], "NUMBER"),
        (["add", NUMBER, "--account", "nobody"], "nobody is not an account of this configuration"),
        (["import"], "give a file or --from-carrier"),
        (["import", "none.csv"], "cannot be read"),
        (["import", "--from-carrier", "nobody"], "nobody is not a carrier of this configuration"),
    ],
)
def test_what_cannot_be_meant_is_status_2(arguments: list[str], sentence: str, optout: Command) -> None:
    done = optout(*arguments)

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_without_a_store_it_is_status_4(config: Path, run: Run) -> None:
    assert Command(run, config)("list").status == 4


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "0601020304\n0601020305\n",
        "0601020304\r\n\r\n0601020305",
        "\ufeffmsisdn\n0601020304\n0601020305\n",
        "Nom;Téléphone\nÉté;06 01 02 03 04\nHiver;06.01.02.03.05\n",
        "Nom;Téléphone\nÉté;06 01 02 03 04\nHiver;06.01.02.03.05\n".encode("windows-1252"),
        'id\tphoneNumber\tcreatedAt\n1\t="0601020304"\t2025-01-02 03:04:05\n2\t"+33601020305"\t\n',
        "Mobile du client\n0601020304\n0601020305\n",
        "0601020304,x\n33601020305,y\n0601020304,z\n",
    ],
)
def test_files_of_many_kinds_are_read(content: str | bytes, optout: Command) -> None:
    done = optout("import", optout.file(content))

    assert (done.status, done.stderr) == (0, "")
    assert optout.entries() == [("*", NUMBER, "import"), ("*", "+33601020305", "import")]


def test_lines_that_cannot_be_read_are_named_and_all_others_taken(optout: Command) -> None:
    lines = ["msisdn;account", "0601020304;masociete", 'x"y;', "0601020305;nobody", "1" * 9000, "", '"0601020306;']
    done = optout("import", optout.file("\n".join([*lines, "0601020304;masociete", "0601020307"])))
    found = done.stderr.splitlines()

    assert done.status == 1
    assert [line.rpartition("list.csv:")[2].partition(":")[0] for line in found] == ["3", "4", "5"]
    assert found[1].endswith("names an account that is not of this configuration")
    assert optout.entries() == [
        ("*", "+33601020306", "import"),
        ("*", "+33601020307", "import"),
        ("masociete", NUMBER, "import"),
    ]
    assert done.stdout == "added: 3, on the list before: 1, SMS cancelled: 0, lines that could not be read: 3\n"


def test_programs_get_the_counts_and_the_lines(optout: Command) -> None:
    done = optout("import", optout.file("0601020304\nx\n"), "--json", "--account", "masociete")

    assert (done.status, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {
        "added": 1,
        "known": 0,
        "cancelled": 0,
        "bad": 1,
        "bad_lines": [{"line": 2, "reason": "characters that belong to no number"}],
    }


def test_what_is_exported_is_imported_as_it_was(optout: Command) -> None:
    optout("add", NUMBER, "--note", 'said "no", twice;\nreally')
    optout("add", "0601020305", "--account", "masociete")
    exported = optout("export").stdout
    for number in (NUMBER, "0601020305"):
        optout("remove", number)
    done = optout("import", optout.file(exported))
    keys = ("account", "msisdn", "since_at", "note")
    before, after = (list(csv.DictReader(io.StringIO(text))) for text in (exported, optout("export").stdout))

    assert (done.status, len(before)) == (0, 2)
    assert [[one[key] for key in keys] for one in before] == [[one[key] for key in keys] for one in after]
    assert before[0]["note"] == 'said "no", twice; really'


def test_what_stands_in_a_note_does_not_move_the_cursor(optout: Command) -> None:
    optout("import", optout.file("msisdn,note\n0601020304,\x1b[2Jgone\n"))

    assert "\x1b" not in optout("list").stdout


@pytest.mark.slow
def test_thousands_are_taken_in_pieces_and_a_second_time_change_nothing(optout: Command) -> None:
    numbers = "".join(f"06{place:08}\n" for place in range(3000))
    first, second = (optout("import", optout.file(numbers)) for _ in range(2))

    assert first.stdout.startswith("added: 3000, on the list before: 0,")
    assert second.stdout.startswith("added: 0, on the list before: 3000,")
    assert len(optout.entries()) == 3000


# --- carriers --------------------------------------------------------------------------------------------------------


class Keeper(FakeCarrier):
    """A carrier with a list."""

    numbers: Sequence[str] | Untold = ()

    async def add_optout(self, msisdn: str) -> Untold | None:
        raise AssertionError(msisdn)

    async def remove_optout(self, msisdn: str) -> Untold | None:
        raise AssertionError(msisdn)

    async def list_optouts(self) -> Sequence[str] | Untold:
        return self.numbers


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """What the configuration's carrier is built as."""
    built = Keeper()
    monkeypatch.setattr(command, "build_provider", lambda *_: built)
    return built


def test_the_list_of_a_carrier_is_taken_over_for_the_accounts_that_use_it(keeper: Keeper, optout: Command) -> None:
    keeper.numbers = [NUMBER, "+1", "+33601020305"]
    done = optout("import", "--from-carrier", "carrier")

    assert done.status == 1
    assert done.stderr == "carrier, number 2: no such country code, or too short or too long\n"
    assert optout.entries() == [("masociete", NUMBER, "carrier"), ("masociete", "+33601020305", "carrier")]
    assert keeper.is_closed


def test_a_carrier_that_does_not_tell_is_status_4(keeper: Keeper, optout: Command) -> None:
    keeper.numbers = Untold(reason="busy")
    done = optout("import", "--from-carrier", "carrier")

    assert (done.status, done.stderr) == (4, "carrier did not tell: busy\n")


def test_a_carrier_without_a_list_is_status_2(monkeypatch: pytest.MonkeyPatch, optout: Command) -> None:
    monkeypatch.setattr(command, "build_provider", lambda *_: FakeCarrier())
    done = optout("import", "--from-carrier", "carrier")

    assert (done.status, done.stdout) == (2, "")
    assert "carrier keeps no list that can be asked for" in done.stderr


def test_a_carrier_that_wants_to_know_is_told_of_changes_by_hand(config: Path, run: Run) -> None:
    config.write_text(render_config(account={"keyid": KEYID}, provider={"sync_optouts": True}))
    settings = load(config, environ={}).store
    asyncio.run(migrate(settings))
    optout = Command(run, config)
    optout("add", NUMBER, "--account", "masociete")

    async def look() -> list[tuple[str, str, bool]]:
        store = await Store.open(settings)
        found = await rows(store, tables.carrier_optout)
        await store.close()
        return [(one["provider"], one["msisdn"], one["is_listed"]) for one in found]

    listed = asyncio.run(look())
    optout("remove", NUMBER)

    assert listed == [("carrier", NUMBER, True)]
    assert asyncio.run(look()) == [("carrier", NUMBER, False)]


# --- a mail ----------------------------------------------------------------------------------------------------------


def write_mail(config: Path) -> str:
    mail = config.with_name("mail.eml")
    mail.write_text(
        "From: Alerte <alerte@masociete.com>\nMessage-ID: <1@masociete.com>\n\n"
        f"<envoi>\n<keyid>{KEYID}</keyid>\n<emailId>1</emailId>\n<emailNot>not@masociete.com</emailNot>\n"
        "<num1>0601020304</num1>\n<num2>0601020305</num2>\n<sms>Salut</sms>\n</envoi>\n"
    )
    return str(mail)


@pytest.mark.slow
def test_lint_foresees_what_the_list_does_to_a_mail(optout: Command, run: Run) -> None:
    optout("add", NUMBER)
    some = run("lint", write_mail(optout.config), "--config", str(optout.config))
    optout("add", "0601020305", "--account", "masociete")
    none = run("lint", write_mail(optout.config), "--config", str(optout.config), "--json")
    (not_,) = [one["body"] for one in json.loads(none.stdout)["reports"] if one["kind"] == "not"]

    assert (some.status, none.status) == (1, 1)
    assert "SMS that would go: 1 of 2" in some.stdout
    assert "refused: code 11 Le numéro de téléphone est dans la liste noire (the number is on the STOP list)" in (
        some.stdout
    )
    assert "<code1>11</code1>\n<tel1>0601020304</tel1>" in not_
    assert "<code2>11</code2>\n<tel2>0601020305</tel2>" in not_


def test_the_configuration_says_what_makes_no_sense(config: Path, run: Run) -> None:
    config.write_text(render_config(account={"keyid": KEYID, "reply_to": "sendsms@gw.example.org"}))
    own = run("check-config", str(config))
    config.write_text(render_config(account={"keyid": KEYID, "reply_to": "desk@help.example"}))
    deaf = run("check-config", str(config))
    config.write_text(render_config(account={"keyid": KEYID, "commercial": True, "heeds_stop": False}))
    unheeding = run("check-config", str(config))

    assert (own.status, deaf.status, unheeding.status) == (3, 0, 3)
    assert "accounts[0].reply_to: is an address of this gateway: its replies would go to nobody" in own.stderr
    assert "none of its carriers has a callback_secret" in deaf.stdout + deaf.stderr
    assert "heeds_stop must be true for a commercial account" in unheeding.stdout + unheeding.stderr
