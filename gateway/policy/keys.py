"""Keys of accounts: the one in force and, while it is being changed, the one before (docs/protocol.md §10.1)."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2s
from typing import Annotated

from pydantic import AfterValidator, SecretStr


def _check_keyid(keyid: SecretStr) -> SecretStr:
    text = keyid.get_secret_value()
    if not (1 <= len(text) <= 128 and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("a key is 1 to 128 printable ASCII characters without blanks")  # never shows the key
    return keyid


Keyid = Annotated[SecretStr, AfterValidator(_check_keyid)]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOwner:
    """Whose a key is. `is_previous`: it is good until the operator takes it out."""

    name: str
    is_previous: bool


class KeyRing:
    """All keys there are, as digests. Raises ValueError, with a sentence for the operator, when two are the same."""

    __slots__ = ("_digests",)

    def __init__(self, keys: Iterable[tuple[str, KeyOwner]]) -> None:
        by_digest: dict[bytes, KeyOwner] = {}
        for key, owner in keys:
            first = by_digest.setdefault(_digest(key), owner)
            if first is not owner:
                raise ValueError(_say_same(first, owner))
        self._digests = tuple(by_digest.items())

    def find(self, key: str) -> KeyOwner | None:
        """Return whose key it is, in a time that tells nothing about the keys.

        Digests are compared, so lengths do not show, and all of them always are.
        """
        digest = _digest(key)
        found = None
        for known, owner in self._digests:
            if hmac.compare_digest(known, digest):
                found = owner
        return found


def _say_same(first: KeyOwner, second: KeyOwner) -> str:
    if first.name == second.name:
        return f'account "{first.name}": keyid and previous_keyid are the same key'
    return f'accounts "{first.name}" and "{second.name}" have the same key'


def _digest(key: str) -> bytes:
    # Not OpenSSL's: for so little it takes longer to find its algorithm than to use it
    return blake2s(key.encode("utf-8", "surrogatepass")).digest()
