"""What a supervisor, a load balancer and Prometheus ask: alive, ready, and how much waits.

`/livez` answers as long as the event loop turns. `/readyz` is 200 when mail is taken and stored, else 503 with one line
per reason. `/metrics` is the registry, with the rows that wait counted at that moment.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime

import structlog
from prometheus_client import Gauge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.clock import Clock
from gateway.metrics import REGISTRY, render_metrics
from gateway.store.base import Backlog

_log = structlog.get_logger(__name__)

_SMS_ROWS = Gauge("mail2sms_sms_rows", "SMS that are not final, by state.", ("state",), registry=REGISTRY)
_REPORT_ROWS = Gauge("mail2sms_report_rows", "Reports that are not final, by state.", ("state",), registry=REGISTRY)

_SMS_AGE = Gauge(
    "mail2sms_sms_oldest_age_seconds", "How long the oldest SMS is in its state.", ("state",), registry=REGISTRY
)
_REPORT_AGE = Gauge(
    "mail2sms_report_oldest_age_seconds", "How long the oldest report is in its state.", ("state",), registry=REGISTRY
)

FindObstacles = Callable[[], Awaitable[Sequence[str]]]
"""Returns why the gateway is not ready, one sentence each; nothing when it is."""

CountBacklog = Callable[[], Awaitable[Backlog | None]]
"""Returns the rows that wait; None when the store cannot say."""


def health_app(
    *, clock: Clock, find_obstacles: FindObstacles, count_backlog: CountBacklog, more_routes: Sequence[Route] = ()
) -> Starlette:
    """Return the application that answers the three, and what else there is."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        obstacles = await find_obstacles()
        text = "".join(f"{obstacle}\n" for obstacle in obstacles) or "ready\n"
        return PlainTextResponse(text, status_code=503 if obstacles else 200)

    async def metrics(_request: Request) -> Response:
        backlog = await count_backlog()
        if backlog is not None:
            now = clock.now()
            _set(_SMS_ROWS, backlog.sms)
            _set(_REPORT_ROWS, backlog.reports)
            _set(_SMS_AGE, _ages(backlog.sms, backlog.oldest_sms, now))
            _set(_REPORT_AGE, _ages(backlog.reports, backlog.oldest_reports, now))
        body, content_type = render_metrics()
        return Response(body, media_type=content_type)

    async def failed(_request: Request, error: Exception) -> Response:
        _log.error("request_failed", exc_info=error)
        return PlainTextResponse("internal error\n", status_code=500)

    app = Starlette(
        routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics), *more_routes],
        exception_handlers={Exception: failed},
    )
    app.router.redirect_slashes = False  # a redirect would repeat what the client wrote
    return app


def _set(gauge: Gauge, values: Mapping[str, float]) -> None:
    for state, value in values.items():
        gauge.labels(state).set(value)


def _ages(states: Iterable[str], oldest: Mapping[str, datetime], now: datetime) -> dict[str, float]:
    """Return the age in each state; 0 where nothing is."""
    return {state: max(0.0, (now - oldest.get(state, now)).total_seconds()) for state in states}
