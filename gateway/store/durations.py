"""How long the store takes, from the question to its answer: for a write, until it is on disk.

Diagnostics: metrics `mail2sms_store_seconds`, `mail2sms_store_failures_total`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import Counter, Histogram

from gateway.metrics import REGISTRY

Kind = Literal["read", "write"]

_SECONDS = Histogram(
    "mail2sms_store_seconds",
    "Time of steps of the store, with the wait for their turn and, for a write, the flush to disk.",
    ("kind",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
_FAILURES = Counter(
    "mail2sms_store_failures_total", "Steps of the store that did not come to their end.", ("kind",), registry=REGISTRY
)
_SECONDS_OF = {kind: _SECONDS.labels(kind) for kind in ("read", "write")}
_FAILURES_OF = {kind: _FAILURES.labels(kind) for kind in ("read", "write")}


@contextmanager
def timed(kind: Kind) -> Iterator[None]:
    """The time that the block takes is counted; or that it failed, was cut off or came too late."""
    began = time.perf_counter()
    try:
        yield
    except BaseException:
        _FAILURES_OF[kind].inc()
        raise
    _SECONDS_OF[kind].observe(time.perf_counter() - began)
