"""Carriers are reached, believed and asked what is left; nothing is sent."""

import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from gateway.doctor import Level, Section
from gateway.sandbox import Sandbox
from tests.doctor.conftest import KEY, Write, find, look, told
from tests.smtp.house import make_certificate
from tests.support.rawhttp import RawServer, answer, closed_port

CARRIERS, CLOCK = Section.CARRIERS, Section.CLOCK


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as opened:
        yield opened


def say(etat: object, *headers: str) -> bytes:
    return answer(json.dumps({"etat": {"etat": etat}}).encode(), *headers)


async def test_a_carrier_that_knows_the_key_is_sent_nothing(write: Write, sandbox: Sandbox) -> None:
    provider = {"keyid": KEY, "callback_secret": "0123456789abcdef"}
    http = {"listen": "127.0.0.1:0", "public_url": "https://gw.example.org"}
    checkup = await look(write(carrier=sandbox.url, provider=provider, http=http), CARRIERS)

    assert find(checkup, "reached within").level is Level.OK
    assert find(checkup, "takes the key; 500.0 EUR, about 10000 SMS left").level is Level.OK
    assert find(checkup, "https://gw.example.org/receipts/carrier/…callback_secret…").level is Level.OK
    assert find(checkup, "carrier in a box").level is Level.WARNING
    assert (sandbox.messages, sandbox.calls) == ((), 0)


async def test_no_credit_is_a_failure_and_little_is_a_warning(write: Write, sandbox: Sandbox) -> None:
    little = await look(write(carrier=sandbox.url, provider={"keyid": KEY, "low_balance": 501}), CARRIERS)
    sandbox.misbehave("no_credit")
    gone = await look(write(carrier=sandbox.url, provider={"keyid": KEY}), CARRIERS)

    assert find(little, "less than low_balance (501)").level is Level.WARNING
    assert find(gone, "nothing is left there").level is Level.FAILURE


async def test_a_key_it_does_not_know_is_a_failure(write: Write) -> None:
    async with RawServer(say({"code": 3, "message": f"bad {KEY}"})) as server:
        checkup = await look(write(carrier=server.url, provider={"keyid": KEY}), CARRIERS)

    finding = find(checkup, "does not take the key", "code 3")
    assert finding.level is Level.FAILURE
    assert KEY not in str(checkup)


async def test_the_clients_keys_are_tried_where_they_are_passed_on(write: Write) -> None:
    bodies = []

    def refuse_one(request: object) -> list[bytes]:
        bodies.append(getattr(request, "body", b""))
        return [say({"code": 3}) if b"bbbb" in bodies[-1] else say({"credit": "7.5"})]

    more = [{"name": "other", "keyid": "b" * 32, "domains": ["other.example"]}]
    async with RawServer(pieces_for=refuse_one) as server:
        checkup = await look(write(carrier=server.url, more_accounts=more), CARRIERS)

    assert find(checkup, 'with the key of account "masociete": takes the key; 7.5 EUR').level is Level.OK
    assert find(checkup, 'with the key of account "other": does not take the key').level is Level.FAILURE


async def test_a_carrier_in_trouble_is_a_failure(write: Write) -> None:
    async with RawServer(answer(b"oops", status="500 Internal Server Error")) as server:
        checkup = await look(write(carrier=server.url, provider={"keyid": KEY}), CARRIERS)

    assert find(checkup, "does not say what is left", "HTTP 500 oops").level is Level.FAILURE


async def test_a_carrier_that_is_not_there_is_asked_nothing_more(write: Write) -> None:
    away = f"http://127.0.0.1:{await closed_port()}"
    checkup = await look(write(carrier=away, provider={"keyid": KEY}), CARRIERS)

    assert find(checkup, "cannot be reached", "connection refused").level is Level.FAILURE
    assert not any("what is left" in line for line in told(checkup))


async def test_a_certificate_nobody_vouches_for_is_a_failure(write: Write, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem.certificate, pem.key)
    async with RawServer(say({"credit": "1"}), tls=context) as server:
        url = f"https://localhost:{server.port}"
        distrusted = await look(write(carrier=url, provider={"keyid": KEY}), CARRIERS)
        trusted = await look(write(carrier=url, provider={"keyid": KEY, "ca_file": str(pem.certificate)}), CARRIERS)

    assert find(distrusted, "its certificate is not believed: self-signed certificate").level is Level.FAILURE
    assert find(trusted, "takes the key; 1 EUR left").level is Level.OK


async def test_what_a_webhook_cannot_be_asked_is_unknown(write: Write, sandbox: Sandbox) -> None:
    described = {"kind": "webhook", "base_url": None, "url": f"{sandbox.url}/send?to={{to}}&text={{text}}"}
    checkup = await look(write(provider={**described, "body": "{text}", "content_type": "text"}), CARRIERS)

    assert find(checkup, "has no call that sends and costs nothing").level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("ahead", "level"),
    [(timedelta(0), Level.OK), (timedelta(seconds=60), Level.WARNING), (timedelta(hours=-2), Level.FAILURE)],
    ids=["agrees", "a minute", "two hours"],
)
async def test_our_clock_is_held_against_the_carriers(write: Write, ahead: timedelta, level: Level) -> None:
    def tell_time(_request: object) -> list[bytes]:
        theirs = format_datetime(datetime.now(UTC) - ahead, usegmt=True)  # noqa: TID251 - it is the real clock that is looked at
        return [say({"credit": "1"}, f"Date: {theirs}")]

    async with RawServer(pieces_for=tell_time) as server:
        checkup = await look(write(carrier=server.url, provider={"keyid": KEY}), CLOCK)

    assert find(checkup, "carrier").level is level
