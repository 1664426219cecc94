"""French public holidays, from the `holidays` library (docs/protocol.md §6.6)."""

from datetime import date
from functools import lru_cache

import holidays

_COUNTRY = "FR"

SUBDIVISIONS = tuple(
    code
    for code in holidays.list_supported_countries(include_aliases=False)[_COUNTRY]
    if not code.startswith("Zone")  # the zones of school holidays, which close nothing
)
"""Parts of France with holidays of their own: Alsace and Moselle, overseas."""


@lru_cache(maxsize=256)
def public_holidays(year: int, subdivision: str | None) -> frozenset[date]:
    """Return the public holidays of one year, in metropolitan France or in one of `SUBDIVISIONS`."""
    return frozenset(holidays.country_holidays(_COUNTRY, subdiv=subdivision, years=year))
