"""Envelope addresses, as narrow as this gateway needs them (docs/protocol.md §1.1).

Promises: what is returned is `local@domain`, ASCII, at most 254 octets, without quotes, comments, source routes,
blanks, control characters or encoded words, exactly as the client wrote it: no two systems see two addresses in it.
"""

import re
from dataclasses import dataclass

MAX_ADDRESS_BYTES = 254

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # an underscore: names of machines on a LAN have them
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ENCODED_WORD = "=?"  # legal in an atom, but a parser behind us may decode it into another address


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What stands behind `FROM:` or `TO:`. `address` is None when it is malformed and "" for the null path `<>`."""

    address: str | None
    parameters: tuple[str, ...] = ()


def is_address(text: str) -> bool:
    """Tell whether `text` is a dot-atom address of at most 254 octets."""
    return len(text) <= MAX_ADDRESS_BYTES and _ENCODED_WORD not in text and _ADDRESS.fullmatch(text) is not None


def parse_path(argument: str, keyword: str, *, lenient: bool) -> Path | None:
    """Return what follows `keyword` ("FROM:", "TO:") in a command's argument, or None when there is nothing there.

    lenient: blanks behind the colon and an address without angle brackets are understood, as scripts write them.
    """
    if argument[: len(keyword)].upper() != keyword:
        return None
    text = argument[len(keyword) :]
    if lenient:
        text = text.lstrip(" \t")
    if not text:
        return None
    if text.startswith("<"):
        address, bracket, rest = text[1:].partition(">")
        if not bracket or rest[:1].strip(" "):  # something glued to the bracket
            return Path(address=None)
    elif lenient:
        address, _, rest = text.partition(" ")
    else:
        return Path(address=None)
    if address and not is_address(address):
        return Path(address=None)
    return Path(address=address, parameters=tuple(rest.split()))
