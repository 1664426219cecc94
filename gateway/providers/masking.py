"""What may be kept of an answer: nothing secret, in whatever form a carrier repeats it."""

import json
from collections.abc import Callable, Collection
from urllib.parse import quote, quote_plus

from gateway.providers.transport import recorded

Record = Callable[[str], str]
"""Makes of an answer, or of a reason, what may be kept of it."""

_SHORTEST_SECRET = 4


def recorder(secrets: Collection[str]) -> Record:
    """Return what masks these, also as JSON, addresses and forms write them, before it cuts and cleans."""
    forms = {
        form
        for secret in secrets
        if len(secret) >= _SHORTEST_SECRET
        for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret), quote_plus(secret))
    }
    longest_first = sorted(forms, key=len, reverse=True)

    def record(text: str) -> str:
        for form in longest_first:
            text = text.replace(form, "***")
        return recorded(text, secret="")

    return record


def secret_of(callback_url: str | None) -> str:
    """Return the secret in an address of callbacks, its last part; empty if there is none."""
    return "" if callback_url is None else callback_url.rpartition("/")[2]
