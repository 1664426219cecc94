"""For forty canned mails, and some more, the reason that is given is the right one, word for word."""

import asyncio

import pytest

from gateway.cli.examples.client import submit
from gateway.config import Config
from gateway.daemon import Daemon
from gateway.daemon.building import report_rules, stop_rules
from gateway.policy.accounts import Accounts
from gateway.reports import ReportWriter
from gateway.store.stoplist import OptOut, OptOutSource
from gateway.stories import Stories
from tests.stories.canned import Canned, plain, read_all
from tests.stories.conftest import SUNDAY, SundayClock

DEADLINE_S = 60.0
LOOK_S = 0.05


async def prepare(daemon: Daemon, config: Config) -> None:
    """A number is on the STOP list, and one account has no credit."""
    accounts = Accounts(config.accounts)
    stop = OptOut(account="*", msisdn="+33600000999", since_at=SUNDAY, source=OptOutSource.OPERATOR)
    writer = ReportWriter(now=SUNDAY, rules=report_rules(config), accounts=lambda: accounts)
    await daemon.store.stop([stop], stop_rules(config), SUNDAY, *writer.both)
    await daemon.store.set_credit("pauvre", 0, SUNDAY)


async def reason_of(stories: Stories, canned: Canned) -> str:
    found = await stories.find(canned.ask)
    if not found:
        return "nothing found"
    story = await stories.story(found[0].id)
    assert story is not None
    return plain(story.reason)


async def wait_for_reason(stories: Stories, canned: Canned, deadline_at: float) -> str:
    """The reason, once it is what it should be, or when there is no time left."""
    loop = asyncio.get_running_loop()
    said = await reason_of(stories, canned)
    while said != canned.expect and loop.time() < deadline_at:
        await asyncio.sleep(LOOK_S)
        said = await reason_of(stories, canned)
    return said


@pytest.mark.slow
async def test_every_canned_mail_is_explained(config: Config) -> None:
    clock = SundayClock()
    mails = read_all()
    async with Daemon(config, clock=clock) as daemon:
        await prepare(daemon, config)
        host, port = daemon.addresses.smtp[0]
        for one in mails:
            await submit(host, port, one.content, sender=one.sender, recipient=one.recipient)
        await daemon.parts.turnaways.store()
        accounts = Accounts(config.accounts)
        stories = Stories(daemon.store, clock, lambda: accounts, is_serving=lambda: True)
        until = asyncio.get_running_loop().time() + DEADLINE_S
        said = {one.name: await wait_for_reason(stories, one, until) for one in mails}

    assert {one.name: one.expect for one in mails} == said
    assert len(mails) >= 40
