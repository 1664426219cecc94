"""Passwords of `[[users]]`: hashed by argon2id, and checked in threads, a few at a time.

Promises: an unknown name costs as much time as a wrong password; no more than `WIDTH` hashes are worked out at once
(each may take 64 MiB), and no more than `MAX_WAITING` clients wait for theirs.

Diagnostics: `Busy` when a password cannot be checked now.
"""

import asyncio
import base64
import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import GatewayError

WIDTH = 2
MAX_WAITING = 50
PATIENCE_S = 20.0
MAX_PASSWORD_BYTES = 1_024

_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>\d{1,7}),t=(?P<time>\d{1,3}),p=(?P<lanes>\d{1,2})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}",
    re.ASCII,
)
_MAX_MEMORY_KIB, _MAX_PASSES = 262_144, 10
"""A check takes a second or two at most: nothing can break it off."""

_HASHER = PasswordHasher()  # RFC 9106's second recommendation: 64 MiB, three passes, four lanes


class Busy(GatewayError):
    """Too many passwords wait to be checked."""

    temporary = True


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who may authenticate. `account` is None for who may not send."""

    name: str
    password_hash: str
    account: str | None


def hash_password(password: str) -> str:
    """Return what stands in `password_hash`. Takes a tenth of a second and 64 MiB."""
    return _HASHER.hash(_to_bytes(password))


def is_hash(text: str) -> bool:
    """Tell whether it is a hash of ours, at a cost that can be borne."""
    found = _HASH.fullmatch(text)
    if found is None:
        return False
    memory, passes, lanes = (int(found[name]) for name in ("memory", "time", "lanes"))
    return 8 * lanes <= memory <= _MAX_MEMORY_KIB and 1 <= passes <= _MAX_PASSES and lanes >= 1


def is_password(text: str) -> bool:
    """Tell whether it can be a password: not empty, no NUL, of a length that can be sent."""
    return 0 < len(_to_bytes(text)) <= MAX_PASSWORD_BYTES and "\0" not in text


class Passwords:
    """Everybody's, of one configuration."""

    def __init__(self, users: Iterable[User]) -> None:
        self._users = {user.name: user for user in users}
        self._decoy = _make_decoy(self._users.values())
        self._free = asyncio.Semaphore(WIDTH)
        self._waiting = 0

    @property
    def can_open_anything(self) -> bool:
        """True when somebody may send by authenticating."""
        return any(user.account is not None for user in self._users.values())

    def knows(self, name: str) -> bool:
        """True for the name of a user."""
        return name in self._users

    async def check(self, name: str, password: str) -> User | None:
        """Return the user whose name and password these are. Raises Busy."""
        if self._waiting >= MAX_WAITING:
            raise Busy("too many passwords wait to be checked")
        user = self._users.get(name)
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._free.acquire()
        except TimeoutError as error:
            raise Busy("a password waited too long to be checked") from error
        finally:
            self._waiting -= 1
        try:
            is_right = await asyncio.to_thread(_verify, user.password_hash if user else self._decoy, password)
        finally:
            self._free.release()
        return user if is_right else None


def _verify(known: str, password: str) -> bool:
    try:
        return _HASHER.verify(known, _to_bytes(password))
    except (VerificationError, InvalidHashError):
        return False


def _to_bytes(password: str) -> bytes:
    """One form for what terminals and programs write differently, `é` as one character or as two."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _make_decoy(users: Iterable[User]) -> str:
    """Return a hash of nothing known, as costly as the first user's."""
    found = _HASH.fullmatch(next((user.password_hash for user in users), ""))
    memory, passes, lanes = (found["memory"], found["time"], found["lanes"]) if found else ("65536", "3", "4")
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}"
