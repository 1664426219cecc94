"""Who is logged in. The browser holds 256 random bits, the store their digest: whoever reads the store gets nowhere.

A session is made at each log-in, under a new name, so none that somebody planted is ever raised to one. It ends after
`IDLE_S` without its user, after `LONGEST_S` in any case, when it is closed, and when its user, or the user's password,
is not what it was. What a page asks for by itself does not count as its user.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256

from gateway.clock import Clock
from gateway.console.roles import ConsoleUser
from gateway.store import Store
from gateway.store.console import ConsoleSession

IDLE_S = 30 * 60
LONGEST_S = 12 * 3600

_TOKEN_BYTES = 32
_LONGEST_TOKEN = 64
_TOUCH_S = 60
"""That somebody is there is written down once a minute at most."""

_CLOCK_STEP = timedelta(minutes=1)


def new_token() -> str:
    """Return what nobody can guess."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def csrf_of(token: str) -> str:
    """Return what every form of the holder of this token carries."""
    return hmac.new(token.encode(), b"mail2sms console form", sha256).hexdigest()


def is_csrf(given: str, token: str) -> bool:
    """True when the form is of the holder of this token."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), csrf_of(token).encode())


class Sessions:
    """Opens, finds and closes sessions."""

    def __init__(self, store: Store, clock: Clock, users: Callable[[], Mapping[str, ConsoleUser]]) -> None:
        self._store = store
        self._clock = clock
        self._users = users

    async def open(self, user: ConsoleUser) -> str:
        """The user is logged in; return what the browser is to hold."""
        token, now = new_token(), self._clock.now()
        session = ConsoleSession(
            digest=_digest(token), who=user.name, credential=user.credential, created_at=now, seen_at=now
        )
        await self._store.open_session(
            session,
            idle_since=now - timedelta(seconds=IDLE_S),
            created_before=now - timedelta(seconds=LONGEST_S),
        )
        return token

    async def find(self, token: str, *, is_user: bool) -> ConsoleUser | None:
        """Return whose session it is, as configured now; None when there is none, or it is over.

        `is_user`: the user asks, not the page by itself.
        """
        if not token or len(token) > _LONGEST_TOKEN:
            return None
        digest, now = _digest(token), self._clock.now()
        session = await self._store.find_session(digest)
        if session is None:
            return None
        user = self._users().get(session.who)
        idle, age = now - session.seen_at, now - session.created_at
        is_over = idle >= timedelta(seconds=IDLE_S) or age >= timedelta(seconds=LONGEST_S) or age < -_CLOCK_STEP
        if user is None or is_over or not hmac.compare_digest(user.credential, session.credential):
            await self._store.close_session(digest)
            return None
        if is_user and idle >= timedelta(seconds=_TOUCH_S):
            await self._store.touch_session(digest, now)
        return user

    async def close(self, token: str) -> None:
        """The session is over."""
        await self._store.close_session(_digest(token))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
