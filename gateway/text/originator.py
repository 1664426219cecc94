"""The originator: the name an SMS comes from (docs/protocol.md §3, `emetteur`)."""

import re

_WELLFORMED = re.compile(r"(?=[0-9 ]*[A-Za-z])[A-Za-z0-9 ]{4,11}")


def is_wellformed(originator: str) -> bool:
    """Tell whether a handset shows it: 4 to 11 of `A-Z a-z 0-9` and space, at least one of them a letter."""
    return _WELLFORMED.fullmatch(originator) is not None
