"""Who did what in the console."""

from starlette.responses import Response
from starlette.routing import Route

from gateway.console.door import Door
from gateway.console.rendering import ROOT, render
from gateway.console.roles import Role
from gateway.console.surroundings import Surroundings
from gateway.console.visit import Visit

_PAGE_SIZE = 50
_LONGEST_ID = 40


class Audit:
    """The page for admins."""

    def __init__(self, around: Surroundings, door: Door) -> None:
        self._around = around
        self._door = door

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        return [Route(f"{ROOT}/audit", self._door.page(self._show, role=Role.ADMIN), methods=["GET"])]

    async def _show(self, visit: Visit) -> Response:
        before = visit.query.one("before")[:_LONGEST_ID] or None
        rows = await self._around.store.console_actions(before=before, limit=_PAGE_SIZE + 1)
        shown = rows[:_PAGE_SIZE]
        return render("audit.html", visit, rows=shown, next=shown[-1].id if len(rows) > _PAGE_SIZE else None)
