"""What is refused in the SMTP dialogue can be found afterwards, by whoever it was and by what was said."""

import asyncio
from pathlib import Path

import pytest

from gateway.cli.examples.client import submit
from gateway.config import load
from gateway.daemon import Daemon
from gateway.policy.accounts import Accounts
from gateway.smtp.passwords import hash_password
from gateway.store import migrate
from gateway.stories import Stories
from tests.stories.conftest import SundayClock
from tests.support.configuration import write_config

RECIPIENT = "sendsms@gw.example.org"


async def say(daemon: Daemon, *lines: str) -> list[str]:
    """Hold this dialogue; return the replies."""
    reader, writer = await asyncio.open_connection(*daemon.addresses.smtp[0])
    replies = []
    async with asyncio.timeout(30):
        await reader.readline()
        for line in lines:
            writer.write(f"{line}\r\n".encode())
            replies.append((await reader.readline()).decode().rstrip())
    writer.close()
    return replies


@pytest.mark.slow
async def test_wrong_passwords_strangers_and_broken_dialogues_are_kept(tmp_path: Path) -> None:
    path = write_config(tmp_path / "gateway.toml", account={"networks": ["192.0.2.0/24"]})
    user = f'\n[[users]]\nname = "glpi"\npassword_hash = "{hash_password("right")}"\naccount = "masociete"\n'
    path.write_text(path.read_text("utf-8") + user, "utf-8")
    config = load(path, environ={})
    await migrate(config.store)
    clock, accounts = SundayClock(), Accounts(config.accounts)
    async with Daemon(config, clock=clock) as daemon:
        host, port = daemon.addresses.smtp[0]
        await submit(host, port, b"From: x@y.example\r\n\r\nno\r\n", sender="stranger@y.example", recipient=RECIPIENT)
        told = await say(daemon, "HELO client", "AUTH PLAIN AGdscGkAd3Jvbmc=", "AUTH PLAIN AHNlY3JldDEyMwB4", "BOGUS")
        await daemon.parts.turnaways.store()
        stories = Stories(daemon.store, clock, lambda: accounts)
        found = {one.summary: one for one in await stories.find("127.0.0.1")}
        stranger = await stories.find("stranger@y.example")
        story = await stories.story(found["turned away: 535 5.7.8 Name or password is wrong"].id)

    assert [one[:3] for one in told] == ["250", "535", "535", "500"]
    assert sorted(found) == [
        "turned away: 500 5.5.1 Command not recognized",
        "turned away: 535 5.7.8 Name or password is wrong",
        "turned away: 550 5.7.1 You may not send SMS through this gateway",
    ]
    assert [one.sender for one in stranger] == ["stranger@y.example"]
    assert story is not None
    assert story.found.count == 2
    assert "secret123" not in story.steps[0].sentence  # no user is called so: it may be a password
    assert "[users]" in story.reason
