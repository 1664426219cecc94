"""Five nights: something goes wrong, and the command line alone, and the console alone, say what and what to do."""

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from gateway.clock import SystemClock
from gateway.sandbox import Sandbox
from tests.incidents.night import Night, night_with, short_lived_certificate, until, write_night
from tests.smtp.house import Pem
from tests.support.browser import Browser, chromium
from tests.support.configuration import SENDER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

LIVES_S = (10, 40, 160)
"""Of a certificate, in seconds: the shortest that a gateway starts with on a machine as busy as this one."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for all nights."""
    async with chromium() as opened:
        yield opened


async def test_a_dead_carrier_is_named_with_its_own_words(tmp_path: Path, browser: Browser) -> None:
    async with AsyncExitStack() as carrier:
        sandbox = await carrier.enter_async_context(Sandbox())
        async with night_with(write_night(tmp_path, carrier=sandbox.url)) as night:
            await carrier.aclose()
            await night.send("101")
            await night.wait_for_log("provider_paused")
            why = await night.hear("carrier carrier is in trouble", "why", "101")
            queue = await night.ask("queue", "list")
            doctor = await night.ask("doctor", "--only", "carriers")

            assert "what is wrong there: mail2sms doctor --only carriers" in why
            assert "Connect call failed" in why.splitlines()[0]
            assert "carrier carrier is in trouble, it took nothing at" in queue
            assert "nobody listens there (connection refused)" in doctor
            assert "let the firewall let this machine out to it" in doctor

            async with night.watch(browser) as tab:
                await tab.wait_for_text("Its SMS wait, and go by themselves when it answers again.")
                await tab.click_through("#waits-queued")
                await tab.wait_for_text("carrier carrier is in trouble, it took nothing at")
                await tab.click_through("table.list tbody a")
                await tab.wait_for_text("Connect call failed")


async def test_a_key_that_the_carrier_has_changed_is_said_to_be_wrong(tmp_path: Path, browser: Browser) -> None:
    async with Sandbox() as sandbox, night_with(write_night(tmp_path, carrier=sandbox.url)) as night:
        refused = {"fault": "refuse", "code": 3}
        async with httpx.AsyncClient() as client:
            await client.post(f"{sandbox.url}/sandbox/faults", json=[refused, {**refused, "path": "/cgi-bin/credit"}])
        await night.send("201")
        await night.wait_for_log("account_held")
        await night.send("202")
        why = await night.hear("all of account masociete waits", "why", "202")
        queue = await night.ask("queue", "list")
        doctor = await night.ask("doctor", "--only", "carriers")

        assert "compare its key with that on the carrier's web pages" in why.splitlines()[0]
        assert "systemctl reload mail2sms" in why.splitlines()[0]
        assert queue.count("all of account masociete waits at carrier carrier, which turned it away at") == 2
        assert queue.count("with code 3 Vos identifiants sont incorrects: compare its key") == 2
        assert "33612345678" not in queue.replace("+33612345678", "")
        assert "does not take the key" in doctor

        async with night.watch(browser) as tab:
            await tab.wait_for_text("Turns away: masociete. Look at the key and the credit there, put them right")
            await tab.click_through("#waits-queued")
            await tab.wait_for_text("which turned it away at")
            await tab.wait_for_text("compare its key with that on the carrier's web pages")
            await tab.click_through("table.list tbody a")
            await tab.wait_for_text("systemctl reload mail2sms")


@asynccontextmanager
async def night_that_outlives_its_certificate(folder: Path) -> AsyncIterator[tuple[Night, Pem]]:
    """The gateway has started with a certificate that runs out soon."""
    async with AsyncExitStack() as stack:
        for life_s in LIVES_S:
            place = folder / str(life_s)
            place.mkdir()
            pem, ends_at = short_lived_certificate(place, life=timedelta(seconds=life_s))
            config = write_night(place, smtp={"starttls": {"certificate": str(pem.certificate), "key": str(pem.key)}})
            try:
                night = await stack.enter_async_context(night_with(config))
            except AssertionError:  # it was too slow: it does not start with one that has run out
                assert SystemClock().now() >= ends_at
                continue
            yield night, pem
            return
    raise AssertionError("no gateway starts within the longest of these lives")


def begin_tls(address: tuple[str, int], trusted: Pem) -> str:
    """Return why a client that checks the certificate, but not its name, goes away; nothing if it does not."""
    context = ssl.create_default_context(cafile=trusted.certificate)
    context.check_hostname = False
    with smtplib.SMTP(*address, timeout=30) as client:
        try:
            client.starttls(context=context)
        except ssl.SSLCertVerificationError as refused:
            client.close()
            return refused.verify_message
    return ""


async def test_a_certificate_that_ran_out_is_said_to_have(tmp_path: Path, browser: Browser) -> None:
    async with night_that_outlives_its_certificate(tmp_path) as (night, pem):

        async def is_refused() -> bool:
            return await asyncio.to_thread(begin_tls, night.gateway.smtp, pem) == "certificate has expired"

        assert await until(is_refused)

        why = await night.hear("The TLS handshake came to nothing", "why", "127.0.0.1")
        doctor = await night.ask("doctor", "--only", "tls")

        assert "mail2sms doctor --only tls says whether that has run out" in why
        assert "gw.pem has run out, on" in doctor
        assert "renew it" in doctor
        assert '"event": "certificate_expires"' in night.gateway.read_log()

        async with night.watch(browser) as tab:
            await tab.wait_for_text("The certificate of the listeners has run out, on")
            await tab.wait_for_text("renew it. Clients that check it send nothing any more")
            await tab.click_through("[id^=refusal-]")
            await tab.wait_for_text("does not trust the certificate")
        async with night.watch(browser, language="fr") as tab:
            await tab.wait_for_text("Le certificat de l’écoute SMTP a expiré le")


async def test_a_sender_on_another_server_is_told_apart_and_its_account_is_named(
    tmp_path: Path, browser: Browser
) -> None:
    advice = (
        f"{SENDER} is of account masociete, but 127.0.0.1 is in no network it may send from: if its server has moved, "
        "add 127.0.0.1 to the networks of masociete (192.0.2.10/32), then systemctl reload mail2sms"
    )
    async with night_with(write_night(tmp_path, account={"networks": ["192.0.2.10/32"]})) as night:
        reply = await night.send("401")
        why = await night.hear(advice, "why", SENDER)
        nothing = await night.ask("why", "401")

        assert reply == "550 5.7.1 You may not send SMS through this gateway"
        assert advice in why.splitlines()[0]
        assert "A client that was turned away is found by its address, or its sender's" in nothing

        async with night.watch(browser) as tab:
            await tab.wait_for_text(SENDER)
            await tab.click_through("[id^=refusal-]")
            await tab.wait_for_text(advice)
            await tab.go(f"{night.url}/search?q=401")
            await tab.wait_for_text("A client that was turned away is found by its address, or by its sender’s.")


def zone_at_three_in_the_morning() -> str:
    """Return a time zone in which shops are closed now, whenever that is."""
    ahead = (3 - SystemClock().now().hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}"


async def test_a_mailing_that_waits_for_opening_hours_is_said_to_be_well(tmp_path: Path, browser: Browser) -> None:
    zone = zone_at_three_in_the_morning()
    account = {"commercial": True, "outside_hours": "hold", "timezone": zone}
    told = f"commercial SMS wait for their next opening hour ({zone}), nothing is to be done"
    async with night_with(write_night(tmp_path, account=account)) as night:
        reply = await night.send("501", text="Soldes")
        why = await night.hear(told, "why", "501")
        queue = await night.ask("queue", "list")

        assert reply.startswith("250 ")
        assert told in why.splitlines()[0]
        assert "[accounts.masociete.commercial, accounts.masociete.hours_profile]" in why.splitlines()[0]
        assert told in queue

        async with night.watch(browser) as tab:
            await tab.click_through("#waits-queued")
            await tab.wait_for_text(told)
            await tab.click_through("table.list tbody a")
            await tab.wait_for_text(told)
