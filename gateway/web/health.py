"""What a supervisor, a load balancer and Prometheus ask: alive, ready, and how much waits.

`/livez` answers as long as the event loop turns. `/readyz` is 200 when mail is taken and stored, else 503 with one line
per reason. `/metrics` is the registry, with the figures of `gauges`.
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.metrics import render_metrics
from gateway.web.gauges import Gauges

_log = structlog.get_logger(__name__)

FindObstacles = Callable[[], Awaitable[Sequence[str]]]
"""Returns why the gateway is not ready, one sentence each; nothing when it is."""


def health_app(*, find_obstacles: FindObstacles, gauges: Gauges, more_routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application that answers the three, and what else there is."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        obstacles = await find_obstacles()
        text = "".join(f"{obstacle}\n" for obstacle in obstacles) or "ready\n"
        return PlainTextResponse(text, status_code=503 if obstacles else 200)

    async def metrics(_request: Request) -> Response:
        await gauges.refresh()
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
