"""The console in a browser, before a real gateway with a carrier in a box: what operators do at night."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio
import tomlkit

from gateway.cli.examples.client import submit
from gateway.clock import SystemClock
from gateway.config import load
from gateway.console.rendering import LIVE, environment
from gateway.daemon import Daemon
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.smtp.passwords import hash_password
from gateway.store import migrate
from tests.support.accounts import KEYID
from tests.support.browser import Browser, Tab, chromium
from tests.support.configuration import RECIPIENT, SENDER, render_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

PASSWORD = "correct horse battery"
PAYLOAD = "<script>document.title = 'taken over'</script>"
NUMBER = "0612345678"
PAGES = ("", "/search", "/queue", "/compose", "/optouts", "/configured", "/audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A gateway at work, and a browser."""

    daemon: Daemon
    sandbox: Sandbox
    browser: Browser

    @property
    def url(self) -> str:
        """Where the console is."""
        assert self.daemon.addresses.http is not None
        return "http://{}:{}/console".format(*self.daemon.addresses.http)

    async def send(self, email_id: str, *, text: str = "Bonjour", number: str = NUMBER, more: str = "") -> str:
        """A mail was taken; return its id."""
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        mail = (
            f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nMessage-ID: <{email_id}@masociete.com>\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\n"
            f"<envoi><keyid>{KEYID}</keyid><emailId>{email_id}</emailId><num>{number}</num>"
            f"<sms>{escaped}</sms>{more}</envoi>\r\n"
        )
        host, port = self.daemon.addresses.smtp[0]
        reply = await submit(host, port, mail.encode(), sender=SENDER, recipient=RECIPIENT)
        assert reply.startswith("250"), reply
        return reply.rpartition(" ")[2]

    @asynccontextmanager
    async def visit(
        self, user: str, *, width: int = 1280, language: str = "en", theme: str = "light"
    ) -> AsyncIterator[Tab]:
        """A tab in which that user is logged in, and in which nothing may go wrong."""
        async with self.browser.visit(width=width, language=language, theme=theme) as tab:
            await tab.go(f"{self.url}/login")
            await tab.fill("input[name=name]", user)
            await tab.fill("input[name=password]", PASSWORD)
            await tab.click_through("form.stack button")
            await tab.wait_for("location.pathname === '/console'")
            yield tab

            assert [one for one in tab.troubles if '"htmx:' not in one] == []  # it tells of every request that is cut


@pytest.fixture(scope="module")
def password_hash() -> str:
    return hash_password(PASSWORD)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def night(tmp_path_factory: pytest.TempPathFactory, password_hash: str) -> AsyncIterator[Night]:
    """One for all: its start is what takes long."""
    environment().globals["live"] = "every 500ms"
    async with Sandbox() as sandbox, Mailbox() as mailbox:
        text = render_config(smarthost=mailbox.address, carrier=sandbox.url, http={"listen": "127.0.0.1:0"})
        roles = {"vera": "view", "otto": "operate", "ada": "admin"}
        users = [{"name": name, "password_hash": password_hash, "roles": [role]} for name, role in roles.items()]
        path = tmp_path_factory.mktemp("night") / "gateway.toml"
        path.write_text(text + tomlkit.dumps({"users": users}), "utf-8")
        path.chmod(0o600)
        config = load(path, environ={})
        await migrate(config.store)
        async with Daemon(config) as daemon, chromium() as browser:
            yield Night(daemon=daemon, sandbox=sandbox, browser=browser)
    environment().globals["live"] = LIVE


LATER = f"<date_envoi>{SystemClock().now() + timedelta(days=5):%Y-%m-%d %H:%M}</date_envoi>"
"""So that an SMS waits."""


async def test_a_mail_is_found_and_its_story_told_as_text(night: Night) -> None:
    mail_id = await night.send("4711", text=PAYLOAD)
    async with night.visit("otto") as tab:
        await tab.press("/", 191)
        await tab.wait_for("location.pathname === '/console'")
        await tab.go(f"{night.url}/search")
        await tab.fill("input[name=q]", NUMBER)
        await tab.click_through("form[role=search] button")
        await tab.wait_for_text("4711")
        await tab.click_through(".list tbody a")
        await tab.wait_for_text("+33612345678")
        await tab.wait_for_text(PAYLOAD)

        assert str(await tab.evaluate("location.pathname")) == f"/console/mail/{mail_id}"
        assert await tab.evaluate("document.title") == "4711 · SMS gateway"

        await tab.go(f"{night.url}/mail/{mail_id}/source")
        await tab.wait_for_text("&lt;script>")

        assert await tab.evaluate("document.title") != "taken over"


async def test_sms_are_held_released_and_cancelled_and_pages_follow_by_themselves(night: Night) -> None:
    mail_id = await night.send("4712", number="0612340002", more=LATER)
    async with night.visit("otto") as tab, night.visit("vera") as watcher:
        await watcher.go(f"{night.url}/mail/{mail_id}")
        await watcher.evaluate("window.stayed = true")
        await watcher.wait_for("document.querySelector('h3 .state.queued')")

        await tab.go(f"{night.url}/queue?number=0612340002")
        await tab.click("input[name=sms]")
        await tab.click_through("button[value=hold]")
        await tab.wait_for_text("Done to 1 of 1 SMS.")
        await watcher.wait_for("document.querySelector('h3 .state.held')")

        await tab.go(f"{night.url}/mail/{mail_id}")
        await tab.click_through("button[value=release]")
        await tab.wait_for_text("Done to 1 of 1 SMS.")
        await watcher.wait_for("document.querySelector('h3 .state.queued')")

        await tab.go(f"{night.url}/mail/{mail_id}")
        await tab.click_through("button[value=cancel]")
        await tab.wait_for_text("This cannot be undone.")
        await tab.click_through("button.danger")
        await tab.wait_for_text("Done to 1 of 1 SMS.")
        await watcher.wait_for("document.querySelector('h3 .state.cancelled')")

        assert await watcher.evaluate("window.stayed") is True
    async with night.visit("ada") as admin:
        await admin.go(f"{night.url}/audit")
        said = [line for line in (await admin.text()).splitlines() if mail_id in line]

        assert ["otto" in line for line in said] == [True, True, True]


async def test_an_envoi_is_judged_while_one_types_and_sent_by_the_front_door(night: Night) -> None:
    async with night.visit("otto") as tab:
        await tab.go(f"{night.url}/compose")
        await tab.fill("textarea[name=numbers]", "0612345678, 12")
        await tab.fill("textarea[name=text]", "Tom & <Jerry>\nça va 5 €")
        await tab.wait_for_text("1 of 2 SMS would go.")
        await tab.fill("textarea[name=numbers]", "0612345678")
        await tab.wait_for_text("1 of 1 SMS would go.")
        await tab.click_through("#send")
        await tab.wait_for("document.querySelector('h3 .state.accepted')")

        assert str(await tab.evaluate("location.pathname")).startswith("/console/mail/")
    async with httpx.AsyncClient(base_url=night.sandbox.url) as client:
        messages = (await client.get("/sandbox/messages")).json()

    assert "Tom & <Jerry>" in json.dumps(messages, ensure_ascii=False)


async def test_who_may_only_view_sees_masks_and_no_way_to_act(night: Night) -> None:
    mail_id = await night.send("4713", text="Un secret", more=LATER)
    async with night.visit("vera") as tab:
        for page in ("", "/queue", "/search", f"/mail/{mail_id}"):
            await tab.go(f"{night.url}{page}")
            text = await tab.text()

            assert "Un secret" not in text
            assert "12345678" not in text
        await tab.wait_for_text("+33*****678")

        assert await tab.evaluate("document.querySelectorAll('main form[method=post]').length") == 0
        assert "Write" not in await tab.text()


async def test_every_page_fits_a_telephone_in_french_and_in_the_dark(night: Night) -> None:
    mail_id = await night.send("4714" * 12, text="m" * 150, more=LATER)
    async with night.visit("ada", width=390, language="fr-FR,fr;q=0.9", theme="dark") as tab:
        for page in (*PAGES, f"/mail/{mail_id}", f"/mail/{mail_id}/source"):
            await tab.go(f"{night.url}{page}")
            facts = await tab.evaluate(
                "({wide: document.documentElement.scrollWidth, language: document.documentElement.lang,"
                " titles: document.querySelectorAll('main h1').length, mains: document.querySelectorAll('main').length,"
                " ink: getComputedStyle(document.body).backgroundColor,"
                " bare: [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
                ".filter(e => !e.labels.length && !e.ariaLabel).length})"
            )

            assert facts == {
                "wide": 390,
                "language": "fr",
                "titles": 1,
                "mains": 1,
                "ink": "rgb(16, 19, 23)",
                "bare": 0,
            }, page
        await tab.go(night.url)
        await tab.wait_for_text("Vue d’ensemble")
        await tab.click_through("footer button[value=light]")
        await tab.wait_for("getComputedStyle(document.body).backgroundColor !== 'rgb(16, 19, 23)'")
        await tab.click_through("footer button[value=en]")
        await tab.wait_for_text("Overview")


async def test_the_keyboard_leads_everywhere_and_a_lost_gateway_is_said_to_be_lost(night: Night) -> None:
    async with night.visit("otto") as tab:
        await tab.press("Tab", 9)

        assert await tab.evaluate("document.activeElement.className") == "skip"

        await tab.go(f"{night.url}/search")
        await tab.evaluate("document.activeElement.blur()")
        await tab.press("/", 191)

        assert await tab.evaluate("document.activeElement.name") == "q"

        await tab.go(night.url)
        await tab.wait_for("document.querySelector('.lost').hidden")
        await tab.call("Network.emulateNetworkConditions", {
            "offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        })  # fmt: skip
        await tab.wait_for("!document.querySelector('.lost').hidden")
        await tab.call("Network.emulateNetworkConditions", {
            "offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        })  # fmt: skip
        await tab.wait_for("document.querySelector('.lost').hidden")
        tab.troubles[:] = [one for one in tab.troubles if "ERR_INTERNET_DISCONNECTED" not in one]
