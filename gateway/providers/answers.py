"""What an HTTP answer means when its body does not say: the part that all carriers have in common.

A body that can be read always wins over the status; these rules are for proxies, front pages and broken servers.
"""

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import NoReturn

from gateway.lifecycle import Hold, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.providers.transport import Broken

RETRY_AFTER_LIMIT = timedelta(hours=1)
"""A carrier's wish is honoured up to here; beyond, it is more likely a mistake than a plan."""

_REFUSED = frozenset({400, 404, 405, 413, 422})
_ACCOUNT = frozenset({401, 403})


def decode_object(body: bytes) -> dict[str, object] | None:
    """Return the JSON object in `body`; None if it is anything else, says a thing twice, or is made to do harm."""
    found = _decode(body, parse_float=float)
    return found if isinstance(found, dict) else None


def decode_exactly(body: bytes) -> object:
    """Return the JSON value in `body`, its fractions as Decimal; None for what `decode_object` does not read."""
    return _decode(body, parse_float=_read_decimal)


def describe_broken(outcome: Broken) -> str:
    """Return how a call broke, with what had come of its answer."""
    if outcome.status is None:
        return outcome.reason
    return f"{outcome.reason}; HTTP {outcome.status} {outcome.body.decode('utf-8', 'replace')}"


def _decode(body: bytes, *, parse_float: Callable[[str], object]) -> object:
    try:
        # Bytes that are not UTF-8 can only stand in labels, which nobody reads; they must not hide a code.
        return json.loads(
            body.decode("utf-8-sig", "replace"),
            parse_float=parse_float,
            parse_constant=_reject,
            object_pairs_hook=_without_repetition,
        )
    except (ValueError, RecursionError):  # 100,000 "[" are a RecursionError
        return None


def _read_decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:  # an exponent of more digits than there are
        raise ValueError(text) from error


def verdict_of_status(
    status: int, *, raw: str, retry_at: datetime | None, not_taken: Collection[int] = frozenset({429})
) -> Verdict:
    """Return what a status proves when the body is unreadable.

    `not_taken` lists the statuses of which this carrier guarantees that nothing was done. A 408, 500, 502, 504 or 200
    proves nothing: a proxy may have given up waiting after the carrier acted.
    """
    if status in not_taken:
        return NotSent(raw=raw, hold=Hold.PROVIDER, code=Code.C29_OVERFLOW, retry_at=retry_at)
    if status in _ACCOUNT:
        return NotSent(raw=raw, hold=Hold.ACCOUNT)
    if status in _REFUSED or 300 <= status < 400:  # a redirect is never followed: the call went no further
        return Refused(raw=raw, code=Code.C999_ERROR)
    return Uncertain(raw=raw)


def read_retry_after(value: str | None, now: datetime) -> datetime | None:
    """Return the instant a Retry-After header asks for, between now and an hour from now; None if it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = min(int(value[:9]), int(RETRY_AFTER_LIMIT.total_seconds()))
        return now + timedelta(seconds=seconds)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return min(max(at, now), now + RETRY_AFTER_LIMIT)


def _reject(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are not JSON


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found
