"""The console put together: everything that the HTTP listener answers for it."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.console.audit import Audit
from gateway.console.composer import Composer
from gateway.console.configured import Configured
from gateway.console.door import HEADERS, Door, Refusal
from gateway.console.ledger import Ledger
from gateway.console.login import Login
from gateway.console.overview import Overview
from gateway.console.queue import QueuePages
from gateway.console.rendering import ROOT, STATIC, environment, read_static, static_version
from gateway.console.search import Search
from gateway.console.sessions import Sessions
from gateway.console.stoplist import StopList
from gateway.console.story import StoryPages
from gateway.console.surroundings import Surroundings
from gateway.console.visit import Visit

_KEPT = "public, max-age=31536000, immutable"


class Console:
    """What is answered below `/console`, and at `/`, which leads there."""

    def __init__(self, around: Surroundings) -> None:
        environment()  # a template that is not there is found now
        sessions = Sessions(around.store, around.clock, around.users)
        door = Door(around, sessions)
        ledger = Ledger(around.store, around.clock)
        self._around = around
        self._door = door
        self._files = {name: (read_static(name), content_type) for name, content_type in STATIC.items()}
        self._pages = [
            *Login(around, door, sessions, ledger).routes,
            *Overview(around, door).routes,
            *Search(around, door).routes,
            *StoryPages(around, door).routes,
            *QueuePages(around, door, ledger).routes,
            *Composer(around, door, ledger).routes,
            *StopList(around, door, ledger).routes,
            *Configured(around, door).routes,
            *Audit(around, door).routes,
        ]

    @property
    def routes(self) -> list[Route]:
        """What the HTTP listener is to answer."""
        return [
            Route("/", self._lead, methods=["GET"]),
            Route(f"{ROOT}/static/{static_version()}/{{name}}", self._send_file, methods=["GET"]),
            *self._pages,
            Route(f"{ROOT}/{{rest:path}}", self._door.page(_find_nothing), methods=["GET", "POST"]),
        ]

    async def _lead(self, _request: Request) -> Response:
        if not self._around.users():
            return PlainTextResponse("Not Found", status_code=404)
        return RedirectResponse(ROOT, status_code=303, headers=HEADERS)

    async def _send_file(self, request: Request) -> Response:
        """The same for everybody, and nobody's secret: the one thing that a browser may keep."""
        found = self._files.get(request.path_params["name"])
        if found is None or not self._around.users() or self._around.place.is_exposed:
            return PlainTextResponse("not found\n", status_code=404, headers=HEADERS)
        content, content_type = found
        return Response(content, headers={**HEADERS, "Cache-Control": _KEPT, "Content-Type": content_type})


async def _find_nothing(_visit: Visit) -> Response:
    raise Refusal(404, "error.no_page")
