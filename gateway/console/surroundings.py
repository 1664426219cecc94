"""What the console is given by the daemon: the seam to everything it shows and does."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.clock import Clock
from gateway.console.roles import ConsoleUser
from gateway.intake.findings import Findings
from gateway.lifecycle import SmsId
from gateway.policy.accounts import Accounts
from gateway.providers.settings import CarrierSettings
from gateway.store import Store
from gateway.store.base import RenderNot
from gateway.store.two_way import StopRules
from gateway.store.words import RenderReceipts
from gateway.stories import Action, Done, Filter, Found, FoundPage, Page, QueuePage, Story

CheckPassword = Callable[[str, str], Awaitable[bool]]
"""Tells whether it is the password of the user of that name, at the same cost for any; raises a temporary GatewayError
when it cannot be told now."""

Act = Callable[[Action, Sequence[SmsId], str, bool], Awaitable[Done]]
"""Does it to these SMS in somebody's name, perhaps at the risk of a double, and wakes whoever has work by it."""

Examine = Callable[[str, bytes], Awaitable[Findings]]
"""Returns what would become of the mail from that envelope sender, brought from this machine."""

Deliver = Callable[[str, str, bytes], Awaitable[str]]
"""Hands a mail (sender, recipient, content) to our own SMTP listener, and returns its reply, `250 ...` or another.

Raises DeliveryFailed."""


class TellsStories(Protocol):
    """What `gateway.stories.Stories` tells."""

    async def find(self, text: str) -> list[Found]:
        """Return what the text may mean."""

    async def story(self, id: str) -> Story | None:  # noqa: A002 the name it has there
        """Return the life of a mail."""

    async def search(self, wanted: Filter, page: Page) -> FoundPage:
        """Return the mails that are as wanted."""

    async def queue(self, wanted: Filter, page: Page) -> QueuePage:
        """Return the SMS that wait, as wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierHealth:
    """How a carrier is, as far as this process knows."""

    name: str
    kind: str
    is_open: bool  # it may be asked now
    opens_in_s: float  # until it may; 0: now
    is_suspect: bool = False  # it did not answer last
    waiting_accounts: tuple[str, ...] = ()  # that it has turned away
    left: float | None = None  # what is left there; None: it does not tell, or has not
    currency: str = ""
    is_low: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the console is reached, and how safely."""

    hosts: frozenset[str] = frozenset()  # names it is called by, in lower case, beside addresses and localhost
    is_secure: bool = False  # over TLS, by a proxy in front: cookies go nowhere else
    is_exposed: bool = False  # in clear beyond this machine: nothing is served


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All of it. What a reload may change is asked for each time."""

    clock: Clock
    store: Store
    stories: TellsStories
    place: Place
    users: Callable[[], Mapping[str, ConsoleUser]]
    check_password: CheckPassword
    accounts: Callable[[], Accounts]
    carriers: Callable[[], Sequence[CarrierSettings]]
    health: Callable[[], Sequence[CarrierHealth]]
    stop_rules: Callable[[], StopRules]
    writers: Callable[[datetime], tuple[RenderNot, RenderReceipts]]
    act: Act
    on_reports: Callable[[], None]  # reports were staged
    on_optouts: Callable[[], None]  # carriers are to be told
    examine: Examine
    deliver: Deliver
    recipient: str  # where envois are sent
    hostname: str  # our own name
    find_obstacles: Callable[[], Awaitable[Sequence[str]]]
    certificate_ends_at: Callable[[], datetime | None] = lambda: None  # of the listeners; None: they have none
