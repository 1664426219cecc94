"""What is around the gateway under proof: its folder, its store, a carrier sandbox and a mailbox, all on loopback."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template

from gateway.clock import Clock
from gateway.pauses import PausePoint
from gateway.proof.ledger import Fault, Harm, Ledger
from gateway.proof.orders import RECIPIENT, Customer, Order
from gateway.proof.process import GatewayProcess, ProofBroken
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox, Step
from gateway.store import Store, StoreSettings, migrate
from gateway.store.base import Tally

QUIET_S = 60.0
LEASES_S = 120.0
"""Within this time after the last start everything has its end; on PostgreSQL so much later, for another node might be
at work on what a dead one has claimed."""

_LOOK_AGAIN_S = 0.05
_ENDED: Mapping[str, frozenset[str]] = {
    "sms": frozenset({"accepted", "delivered", "undelivered", "refused", "expired", "cancelled"}),
    "reports": frozenset({"sent"}),
}
"""The states in which nothing more happens by itself, and in which nothing was lost."""

# The window is short, so that the fate of an SMS nobody learns of is told while one looks on. So are the leases, which
# PostgreSQL waits for
_CONFIG = Template("""\
[smtp]
hostname = "gw.example.org"
listen = ["127.0.0.1:0"]
recipients = ["$recipient"]

[store]
url = "$store"

[reports]
smarthost = "$smarthost"
sender = "$recipient"
timeout_s = 5

[janitor]
every_s = 0.2
reconcile_window_s = 0.5

[[providers]]
name = "carrier"
kind = "sandbox"
base_url = "$carrier/cgi-bin"
timeout_s = 5
""")
_ACCOUNT = Template("""
[[accounts]]
name = "$name"
keyid = "$keyid"
domains = ["$domain"]
providers = ["carrier"]
on_unknown = "$name"
""")


class WatchedMailbox(Mailbox):
    """A mailbox that can be told to say nothing at a step of the dialogue, and tells when it is there."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_at: Step | None = None
        self._reached = asyncio.Event()

    def fall_silent_at(self, step: Step | None) -> None:
        """Whoever is at this step from now on waits for ever; None: nobody."""
        self._silent_at = step
        self._reached.clear()

    async def reached(self) -> None:
        """Return when somebody waits. The caller sets the deadline."""
        await self._reached.wait()

    async def turn(self, step: Step) -> str | None:
        if step is self._silent_at:
            self._reached.set()
            await asyncio.get_running_loop().create_future()  # until the client is gone
        return await super().turn(step)


async def make_template(folder: Path) -> Path:
    """There is an empty store that houses copy; return its file."""
    file = folder / "template.db"
    await migrate(StoreSettings(url=f"sqlite:///{file}"))
    return file


async def prepare_database(settings: StoreSettings) -> None:
    """The database has the tables of this version, and nobody's rows. Raises ProofBroken when it has."""
    await migrate(settings)
    if (await _tally(settings)).mails:
        raise ProofBroken(
            "the database of --store has mails in it: a proof wants an empty one, and leaves its own there"
        )


class House:
    """One gateway's surroundings; the gateway itself comes and goes (`start`)."""

    def __init__(self, folder: Path, clock: Clock, *, store: Path | StoreSettings, quiet_s: float) -> None:
        folder.mkdir()
        if isinstance(store, Path):
            store = StoreSettings(url=f"sqlite:///{shutil.copyfile(store, folder / 'gateway.db')}")
        self.ledger = Ledger()
        self.mailbox = WatchedMailbox()
        self.sandbox = Sandbox()
        self.config = folder / "gateway.toml"
        self.store = store
        self._clock = clock
        self._quiet_s = quiet_s

    @property
    def log(self) -> str:
        """Everything the gateway has logged, in all its lives."""
        return self.config.with_suffix(".log").read_text("utf-8", "replace")

    async def start(self, *, pause: PausePoint | None = None, passes: int = 1) -> GatewayProcess:
        """A gateway is starting."""
        return await GatewayProcess.start(self.config, pause=pause, passes=passes)

    def book(self) -> None:
        """What came in so far is in the ledger, and in memory no more."""
        self.ledger.take_sms(self.sandbox.messages)
        self.sandbox.clear()
        self.ledger.take_mails(self.mailbox.mails)
        self.mailbox.clear()

    async def quieten(self, orders: list[Order]) -> list[Fault]:
        """Every order has its reports and every row its end; else say what is missing. A gateway must be running."""
        deadline = self._clock.monotonic() + self._quiet_s
        left: dict[str, int] | None = None
        while self._clock.monotonic() < deadline:
            self.book()
            if self.ledger.is_complete(orders):  # only then is it worth while to ask the store
                left = _count_left(await self.tally())
                if not left:
                    return []
            await asyncio.sleep(_LOOK_AGAIN_S)
        if left is None:
            left = _count_left(await self.tally())
        rows = ", ".join(f"{number} {name}" for name, number in left.items()) or "none"
        return [Fault(harm=Harm.LOST, text=f"not at an end after {self._quiet_s:.0f} s; rows on their way: {rows}")]

    async def tally(self) -> Tally:
        """Count the rows; the gateway is not disturbed."""
        return await _tally(self.store)


async def _tally(settings: StoreSettings) -> Tally:
    store = await Store.open(settings, read_only=True)
    try:
        return await store.tally()
    finally:
        await store.close()


def _count_left(tally: Tally) -> dict[str, int]:
    states = {"sms": tally.sms, "reports": tally.reports}
    return {
        f"{kind} {state}": number
        for kind, found in states.items()
        for state, number in found.items()
        if state not in _ENDED[kind]
    }


def find_miscounts(orders: list[Order], tally: Tally) -> list[Fault]:
    """Return what the store has too few or too many of: each mail is in it once, with each SMS and each report."""
    wanted = {
        "mails": (len(orders), tally.mails),
        "SMS": (sum(len(order.numbers) for order in orders), sum(tally.sms.values())),
        "reports": (sum(1 + order.wants_ack for order in orders), sum(tally.reports.values())),
    }
    return [
        Fault(harm=Harm.LOST if found < asked else Harm.DOUBLED, text=f"the store has {found} {name}, not {asked}")
        for name, (asked, found) in wanted.items()
        if found != asked
    ]


@asynccontextmanager
async def house(
    folder: Path, clock: Clock, *, store: Path | StoreSettings, quiet_s: float = QUIET_S
) -> AsyncIterator[House]:
    """A house stands in this folder until the block ends, on a copy of this SQLite file, or on this very database."""
    here = House(folder, clock, store=store, quiet_s=quiet_s)
    async with here.mailbox, here.sandbox:
        host, port = here.mailbox.address
        text = _CONFIG.substitute(
            recipient=RECIPIENT, store=here.store.url, smarthost=f"{host}:{port}", carrier=here.sandbox.url
        )
        text += "".join(_ACCOUNT.substitute(name=one.value, keyid=one.keyid, domain=one.domain) for one in Customer)
        here.config.write_text(text, "utf-8")
        here.config.chmod(0o600)  # a gateway that finds fault with it says so in every life
        yield here
