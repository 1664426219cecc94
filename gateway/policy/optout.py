"""What counts as STOP in a reply, and which carriers are told of it (docs/protocol.md §5.6, §8.6).

In doubt for the recipient: whoever begins with STOP wants no more, whatever follows ("STOP SMS", "Stop 36111",
"stop by tomorrow"). Words that mean the same and begin ordinary sentences too ("Arrêt de travail reçu") count only when
they are all there is, but for "SMS" and a number. Nothing in a reply takes a number off the list: that is for people to
decide, who can look at what was asked (`mail2sms optout remove`).
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from gateway.policy.accounts import Account

_FIRST_WORDS = frozenset({"stop", "stopsms", "smsstop"})
"""Each says it as the first word."""

_LONE_WORDS = frozenset({"arret", "arreter", "arretez", "desabonner", "desabonnement", "desinscription", "unsubscribe"})
"""Each says it when nothing else is said."""

_FILLERS = frozenset({"sms", "svp"})
_WORD = re.compile(r"[^\W\d_]+")
_LOOKED_AT_CHARS = 200
"""A STOP stands at the beginning; of a longer text only this much is looked at."""


def is_stop(text: str) -> bool:
    """Return whether somebody who answers this wants no more SMS.

    Case, accents, punctuation and the number of a service around the word do not matter.
    """
    words = _WORD.findall(_plain(text))
    if not words:
        return False
    if words[0] in _FIRST_WORDS:
        return True
    return words[0] in _LONE_WORDS and len(text) <= _LOOKED_AT_CHARS and _FILLERS.issuperset(words[1:])


def _plain(text: str) -> str:
    """Return the beginning of the text in small letters without accents; what is wide or invisible made ordinary."""
    decomposed = unicodedata.normalize("NFKD", text[:_LOOKED_AT_CHARS])
    return "".join(one for one in decomposed if unicodedata.category(one) not in {"Mn", "Cf"}).casefold()


def list_keepers(accounts: Iterable[Account], syncing: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """Return the accounts of each of the carriers that are to keep opt-outs too, those without accounts included."""
    owners = tuple(accounts)
    return {name: frozenset(one.name for one in owners if name in one.providers) for name in syncing}


def find_exempt(accounts: Iterable[Account]) -> frozenset[str]:
    """Return the accounts whose SMS go to numbers on the STOP list all the same."""
    return frozenset(account.name for account in accounts if not account.heeds_stop)


def find_sole_users(accounts: Iterable[Account]) -> Mapping[str, str]:
    """Return the account of each carrier that only one account uses: a reply by way of it can be no other's."""
    users: dict[str, set[str]] = {}
    for account in accounts:
        for provider in account.providers:
            users.setdefault(provider, set()).add(account.name)
    return {provider: next(iter(names)) for provider, names in users.items() if len(names) == 1}
