"""`mail2sms carrier`: what a carrier is asked, what is printed, and what is said of one that cannot do it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.lifecycle import Verdict
from gateway.providers.base import Batch
from gateway.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.providers.test_isendpro_stoplist import pack
from tests.support.configuration import write_config
from tests.support.gateway import Finished, run_command
from tests.support.rawhttp import RawRequest, RawServer, answer, closed_port

KEY = "a296464ce012b8ab710a"

ASKED = [
    ["credit"],
    ["count", "0612340001", "Bonjour"],
    ["hlr", "0612340001"],
    ["optouts"],
    ["optouts", "--add", "0612340001"],
]


async def ask(tmp_path: Path, url: str, *arguments: str, **provider: object) -> Finished:
    """Return what the command left behind, with the carrier at `url`."""
    settings = {"keyid": KEY, **provider}
    config = write_config(tmp_path / "gateway.toml", carrier=url, provider=settings)
    return await run_command("carrier", "carrier", *arguments, "--config", str(config))


def say(etat: object) -> bytes:
    return answer(json.dumps({"etat": {"etat": etat}}).encode())


@pytest.mark.slow
async def test_credit_is_printed_for_people_and_for_programs(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        for_people = await ask(tmp_path, sandbox.url, "credit")
        for_programs = await ask(tmp_path, sandbox.url, "credit", "--json")

    assert for_people == Finished(status=0, stdout="carrier: 500.0 EUR, about 10000 SMS\n", stderr="")
    assert json.loads(for_programs.stdout) == {
        "provider": "carrier",
        "amount": "500.0",
        "currency": "EUR",
        "sms": 10000,
    }


@pytest.mark.slow
async def test_parts_are_counted_by_the_carrier(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        for_people = await ask(tmp_path, sandbox.url, "count", "06 12 34 00 01", "x" * 161)
        for_programs = await ask(tmp_path, sandbox.url, "count", "0612340001", "x", "--json")
        messages = sandbox.messages

    assert for_people == Finished(status=0, stdout="carrier: 2 parts, 161 characters\n", stderr="")
    assert json.loads(for_programs.stdout) == {"provider": "carrier", "parts": 1, "characters": 1}
    assert not messages


@pytest.mark.slow
async def test_numbers_are_looked_at(tmp_path: Path) -> None:
    entries = [{"tel": "0612340001", "operateur": "ORAN"}, {"tel": "0612340002", "code": 21}]
    asked = ["hlr", "0612340001", "0612340002", "+33612340003", "06 12 34 00 01"]
    async with RawServer(say(entries)) as server:
        for_people = await ask(tmp_path, server.url, *asked)
        for_programs = await ask(tmp_path, server.url, *asked, "--json")
        in_use = await ask(tmp_path, server.url, "hlr", "0612340001")

    assert for_people == Finished(
        status=1,
        stdout="+33612340001  ORAN\n"
        "+33612340002  no operator (code 21, Le numéro de téléphone n'est pas attribué)\n"
        "+33612340003  not told\n",
        stderr="",
    )
    assert [(one["msisdn"], one["operator"], one["code"], one["told"]) for one in json.loads(for_programs.stdout)] == [
        ("+33612340001", "ORAN", None, True),
        ("+33612340002", None, 21, True),
        ("+33612340003", None, None, False),
    ]
    assert in_use.status == 0


@pytest.mark.slow
async def test_stop_list_of_the_carrier_is_printed_and_changed(tmp_path: Path) -> None:
    paths: list[str] = []

    def keep_list(request: RawRequest) -> Iterator[bytes]:
        paths.append(request.head.split()[1].partition("?")[0])
        is_asked = paths[-1].endswith("/getlistenoire")
        yield answer(pack("0612340001\n0612340002\n")) if is_asked else say({"listeNoire": "OK"})

    async with RawServer(pieces_for=keep_list) as server:
        told = [
            (await ask(tmp_path, server.url, "optouts", *arguments)).stdout
            for arguments in ([], ["--json"], ["--add", "0612340003"], ["--remove", "0612340003", "--json"])
        ]

    assert told == [
        "+33612340001\n+33612340002\n",
        '["+33612340001", "+33612340002"]\n',
        "+33612340003 is on the STOP list of carrier\n",
        '{"msisdn": "+33612340003", "listed": false}\n',
    ]
    assert paths == [
        f"/cgi-bin/{name}" for name in ("getlistenoire", "getlistenoire", "setlistenoire", "dellistenoire")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
async def test_what_is_not_told_is_status_4_with_the_reason(arguments: list[str], tmp_path: Path) -> None:
    async with RawServer(say({"code": 3, "message": f"bad {KEY}"})) as server:
        refused = await ask(tmp_path, server.url, *arguments)
    away = await ask(tmp_path, f"http://127.0.0.1:{await closed_port()}", *arguments)

    reason = "the carrier did not tell: the carrier answered code 3 (Vos identifiants sont incorrects)\n"
    assert refused == Finished(status=4, stdout="", stderr=reason)
    assert (away.status, away.stdout) == (4, "")
    assert away.stderr.startswith("the carrier did not tell: ")
    assert KEY not in away.stderr


class _SendsOnly:
    """A carrier that can do nothing beside what every carrier can."""

    name = "carrier"

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        raise AssertionError(batch)

    async def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["credit"], "carrier does not tell what is left"),
        (["count", "0612340001", "x"], "carrier does not count parts; mail2sms lint does"),
        (["hlr", "0612340001"], "carrier does not look at numbers"),
        (["optouts"], "carrier keeps no STOP list that can be asked for"),
        (["optouts", "--remove", "0612340001"], "carrier keeps no STOP list that can be asked for"),
    ],
)
def test_carrier_that_cannot_do_it_is_status_2_with_a_sentence(
    arguments: list[str], sentence: str, config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = _SendsOnly()
    monkeypatch.setattr("gateway.cli.carrier.build_provider", lambda *_arguments: carrier)
    done = run("carrier", "carrier", *arguments, "--config", str(config))

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert carrier.is_closed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody", "credit"], "nobody is no carrier of this configuration: carrier"),
        (["carrier", "count", "06", "x"], "NUMBER: neither ten digits nor an international number"),
        (["carrier", "count", "0612340001", "x" * 10_001], "TEXT: longer than 10000 characters"),
        (["carrier", "optouts", "--add", "0612340001", "--remove", "0612340001"], "one at a time"),
        (["carrier", "hlr"], "Missing argument"),
        (["carrier"], "Missing command"),
    ],
)
def test_question_that_cannot_be_asked_is_status_2(arguments: list[str], sentence: str, config: Path, run: Run) -> None:
    done = run("carrier", *arguments, *(["--config", str(config)] if len(arguments) > 1 else []))

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr
