"""Mail addresses and domains, read strictly: what cannot be mistaken is taken, the rest is not an address.

One rule for addresses that come in and for those that reports go to: two programs that read one address differently are
how mail ends up where nobody meant it to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_ADDRESS_CHARS = 254
"""RFC 5321 §4.5.3.1.3, without the angle brackets."""

_MAX_DOMAIN_CHARS = 253
_MAX_LOCAL_CHARS = 64
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # an underscore: names of machines on a LAN have them
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An ASCII `local@domain`; the domain is in lower case."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def parse_address(text: str) -> Address | None:
    """Return the address that `text` is, or None: no quotes, comments, brackets, routes or encoded words."""
    return _parse_address(text) if len(text) <= MAX_ADDRESS_CHARS else None


@lru_cache(maxsize=1_024)  # the same few addresses stand in nearly all mails
def _parse_address(text: str) -> Address | None:
    local, at, domain = text.rpartition("@")
    domain = domain.lower()
    if not at or not text.isascii() or "=?" in local:
        return None
    if len(local) > _MAX_LOCAL_CHARS or not _LOCAL.fullmatch(local) or not is_domain(domain):
        return None
    return Address(local=local, domain=domain)


def is_domain(text: str) -> bool:
    """True for a host or domain name in lower-case ASCII."""
    return len(text) <= _MAX_DOMAIN_CHARS and _DOMAIN.fullmatch(text) is not None


def to_ascii_domain(text: str) -> str | None:
    """Return the domain in lower-case ASCII (IDNA), or None when it is none."""
    if len(text) > _MAX_DOMAIN_CHARS:
        return None
    try:
        domain = text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return domain if is_domain(domain) else None


def matches(domain: str, patterns: Sequence[str]) -> bool:
    """True when the domain is one of the patterns, or lies below a `*.` one (docs/protocol.md §1.3)."""
    return any(domain.endswith(pattern[1:]) if pattern.startswith("*.") else domain == pattern for pattern in patterns)
