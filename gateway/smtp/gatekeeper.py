"""Who may authenticate, and who has tried too often: one for all listeners.

Promises: names and passwords are checked at equal cost; an address with too many wrong ones is not checked at all any
more, right or wrong, until time has forgiven it. Nobody can lock out somebody at another address.

Diagnostics: events `client_authenticated` (info), `authentication_failed`, `password_exposed` (warning); metric
`mail2sms_smtp_authentications_total`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager

import prometheus_client
import structlog

from gateway.metrics import REGISTRY
from gateway.smtp.passwords import PATIENCE_S, Busy, Passwords, User
from gateway.smtp.peer import Address, client_key
from gateway.smtp.tally import Tally

AUTHENTICATIONS = prometheus_client.Counter(
    "mail2sms_smtp_authentications", "Tries of AUTH, by what became of them.", ["outcome"], registry=REGISTRY
)

FORGIVEN_EVERY_S = 60.0
MAX_AT_ONCE = 20
"""Passwords of one address that wait for one another; a check takes some tenths of a second."""

_log = structlog.get_logger()


class LockedOut(Exception):
    """Too many wrong passwords came from there."""


class Gatekeeper:
    """Knows the users of the configuration in force."""

    def __init__(self, users: Iterable[User], *, max_failures_per_client: int) -> None:
        self._passwords = Passwords(users)
        self._max_failures = max_failures_per_client
        self._trying: Counter[Hashable] = Counter()
        self._turns: dict[Hashable, asyncio.Lock] = {}
        self._failures = Tally(forgiven_every_s=FORGIVEN_EVERY_S, now=_loop_time)

    @property
    def has_users(self) -> bool:
        """True when somebody may send by authenticating."""
        return self._passwords.can_open_anything

    def knows(self, name: str) -> bool:
        """True when a user is called so; any other name may be a password, typed too early, and is not to be kept."""
        return self._passwords.knows(name)

    def reconfigure(self, users: Iterable[User]) -> None:
        """The next passwords are checked against these; wrong ones are not forgotten."""
        self._passwords = Passwords(users)

    async def authenticate(self, peer: Address, name: str, password: str) -> str | None:
        """Return the account of the user whose name and password these are. Raises LockedOut, Busy."""
        key = client_key(peer)
        try:
            async with self._turn_of(key):
                return await self._check(key, name, password)
        except Busy:
            AUTHENTICATIONS.labels("busy").inc()
            raise

    @asynccontextmanager
    async def _turn_of(self, key: Hashable) -> AsyncIterator[None]:
        """One at a time of each address: a flood of guesses is counted one by one. Raises Busy."""
        if self._trying[key] >= MAX_AT_ONCE:
            raise Busy("too many passwords from one address wait to be checked")
        self._trying[key] += 1
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await turn.acquire()
            try:
                yield
            finally:
                turn.release()
        except TimeoutError as error:
            raise Busy("a password waited too long for others of its address") from error
        finally:
            self._trying[key] -= 1
            if not self._trying[key]:
                del self._trying[key], self._turns[key]

    async def _check(self, key: Hashable, name: str, password: str) -> str | None:
        if self._failures.count(key) > self._max_failures - 1:  # they begin to be forgiven at once
            AUTHENTICATIONS.labels("locked_out").inc()
            raise LockedOut
        user = await self._passwords.check(name, password)
        if user is None or user.account is None:
            self._failures.add(key)
            AUTHENTICATIONS.labels("failed").inc()
            known = name if self._passwords.knows(name) else None  # else it may be a password, typed too early
            reason = "the user has no account" if user else "wrong password" if known else "unknown name"
            _log.warning("authentication_failed", user=known, reason=reason)
            return None
        AUTHENTICATIONS.labels("succeeded").inc()
        _log.info("client_authenticated", user=user.name, account=user.account)
        return user.account

    def note_exposed(self) -> None:
        """Somebody has sent a password in clear, although it was not offered."""
        AUTHENTICATIONS.labels("in_clear").inc()
        advice = "whoever listens on the way has it: have it changed, and the client use TLS"
        _log.warning("password_exposed", advice=advice)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
