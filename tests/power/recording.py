"""A traced run of the real gateway: mails in, SMS to a carrier in a box, reports to a mailbox."""

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from gateway.cli.examples.client import submit
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.power import trace
from tests.power.count import is_complete
from tests.power.judge import Taken
from tests.power.relay import RECIPIENT, SENDER, Order, write_order
from tests.support.gateway import GatewayProcess, run_command, serve

DATABASE = "gateway.db"
ENTRY = "gateway"
"""The module that is run: the gateway itself."""

_CLIENTS = 6
_AGAIN_EVERY = 10
_DEADLINE_S = 120.0

_CONFIG = Template("""\
[smtp]
hostname = "gw.example.org"
listen = ["127.0.0.1:0"]
recipients = ["sendsms@gw.example.org"]

[store]
url = "sqlite:///$database"
reserve_bytes = 0

[reports]
smarthost = "$smarthost"
sender = "sendsms@gw.example.org"

[janitor]
every_s = 0.5
reconcile_window_s = 1

[[accounts]]
name = "masociete"
keyid = "a296464ce012b8ab710a"
domains = ["masociete.com"]
providers = ["carrier"]

[[providers]]
name = "carrier"
kind = "isendpro"
base_url = "$carrier/cgi-bin"
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a run left in a folder: the trace, the store before and after it, what the clients were told."""

    folder: Path

    @property
    def trace(self) -> Path:
        """Everything the process wrote and said."""
        return self.folder / "trace"

    @property
    def store(self) -> Path:
        """The folder in which the process had its store, and nothing else; as the run left it."""
        return self.folder / "store"

    @property
    def before(self) -> Path:
        """The database before the run."""
        return self.folder / "before.db"

    def read_taken(self) -> list[Taken]:
        """Return the mails that were answered 250."""
        return [
            Taken(
                mail_id=each["mail_id"],
                email_id=each["email_id"],
                numbers=tuple(each["numbers"]),
                mail=each["mail"].encode("ascii"),
            )
            for each in json.loads((self.folder / "taken.json").read_text())
        ]


def write_config(folder: Path, database: Path, mailbox: Mailbox, sandbox: Sandbox) -> Path:
    """A configuration for a store in its place, the sandbox and the mailbox is there; return it."""
    config = folder / "gateway.toml"
    smarthost = "{}:{}".format(*mailbox.address)
    config.write_text(_CONFIG.substitute(database=database, smarthost=smarthost, carrier=sandbox.url))
    return config


async def record(folder: Path, mails: int, *, entry: str = ENTRY, env: Mapping[str, str] | None = None) -> Recording:
    """Run the gateway under strace until so many mails, their SMS and their reports are through, and stop it."""
    recording = Recording(folder=folder)
    recording.store.mkdir()
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        config = write_config(recording.folder, recording.store / DATABASE, mailbox, sandbox)
        migrated = await run_command("migrate", "--config", str(config))
        assert migrated.status == 0, migrated.stderr
        shutil.copyfile(recording.store / DATABASE, recording.before)
        async with serve(config, env=env, command=(*trace.command(recording.trace), entry)) as gateway:
            taken = await _send(gateway, mails)
            orders = [write_order(number) for number in range(1, mails + 1)]
            await mailbox.wait_for(lambda received: is_complete(received, orders), timeout_s=_DEADLINE_S)
            process = gateway.process.pid
            assert await gateway.stop() == 0
        await trace.wait_until_complete(recording.trace, process)
    told = [{**asdict(mail), "mail": mail.mail.decode("ascii")} for mail in taken]
    (recording.folder / "taken.json").write_text(json.dumps(told))
    return recording


async def _send(gateway: GatewayProcess, mails: int) -> Sequence[Taken]:
    """Hand over the mails on a few connections, some emailIds twice; return all that were taken."""
    taken: list[Taken] = []
    numbers = iter(range(1, mails + 1))

    async def hand_over(order: Order, mail: bytes, *, is_first: bool) -> None:
        reply = await submit(*gateway.smtp, mail, sender=SENDER, recipient=RECIPIENT)
        assert reply.startswith("250 "), reply
        numbers = order.numbers if is_first else ()
        taken.append(Taken(mail_id=reply.split()[-1], email_id=order.email_id, numbers=numbers, mail=mail))

    async def client() -> None:
        for number in numbers:
            order = write_order(number)
            await hand_over(order, order.mail, is_first=True)
            if number % _AGAIN_EVERY == 0:
                again = order.mail.replace(b"Message-ID: <", b"Message-ID: <again-")
                await hand_over(order, again, is_first=False)

    async with asyncio.TaskGroup() as group:
        for _ in range(_CLIENTS):
            group.create_task(client())
    return taken
