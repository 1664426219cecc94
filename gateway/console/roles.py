"""Who may do what in the console."""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum, unique
from hashlib import sha256


@unique
class Role(Enum):
    """What a user may do in the console."""

    VIEW = "view"  # see what happens, numbers masked and without texts
    OPERATE = "operate"  # see all of it, and act
    ADMIN = "admin"  # and see who did what

    @property
    def rank(self) -> int:
        """The higher may do what the lower may."""
        return list(Role).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleUser:
    """Somebody who may log in."""

    name: str
    password_hash: str = field(repr=False)
    role: Role

    @property
    def credential(self) -> bytes:
        """What a session remembers of the password's hash: with another hash it is over."""
        return sha256(self.password_hash.encode()).digest()

    def may(self, role: Role) -> bool:
        """True when the user has this role, or one above it."""
        return self.role.rank >= role.rank


def highest(roles: Collection[Role]) -> Role | None:
    """Return the role that includes the others; None: there is none."""
    return max(roles, key=lambda role: role.rank, default=None)
