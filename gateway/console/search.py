"""Finding a mail: by whatever an operator has in hand, or by what is known of it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.responses import Response
from starlette.routing import Route

from gateway.console.door import Door
from gateway.console.forms import Form
from gateway.console.rendering import ROOT, render
from gateway.console.surroundings import Surroundings
from gateway.console.visit import Visit
from gateway.lifecycle import SmsState
from gateway.stories import Filter, Found, Page

_PAGE_SIZE = 30
_LONGEST = 200
_FIELDS = ("number", "email_id", "text", "account", "provider", "state", "since", "until")


class Search:
    """The page of searches."""

    def __init__(self, around: Surroundings, door: Door) -> None:
        self._around = around
        self._door = door

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        return [Route(f"{ROOT}/search", self._door.page(self._show), methods=["GET"])]

    async def _show(self, visit: Visit) -> Response:
        asked = {name: visit.query.one(name)[:_LONGEST] for name in _FIELDS}
        words, after = visit.query.one("q")[:_LONGEST], visit.query.one("after")[:_LONGEST]
        wanted, wrong = read_filter(visit.query)
        rows: Sequence[Found] = ()
        following = None
        if words:
            rows = await self._around.stories.find(words)
        elif not wrong:
            page = await self._around.stories.search(wanted, Page(size=_PAGE_SIZE, after=after or None))
            rows, following = page.rows, page.next
        return render(
            "search.html",
            visit,
            words=words,
            asked=asked,
            wrong=wrong,
            rows=rows,
            next=following,
            is_filtered=any(asked.values()),
            states=[state.value for state in SmsState],
            accounts=[account.name for account in self._around.accounts()],
            carriers=[carrier.name for carrier in self._around.carriers()],
        )


def read_filter(form: Form) -> tuple[Filter, str | None]:
    """Return what is asked for, and the name of a field that cannot be read."""
    wrong = None
    instants: dict[str, datetime | None] = {}
    for name in ("since", "until"):
        try:
            instants[name] = _read_instant(form.one(name))
        except ValueError:
            instants[name], wrong = None, name
    state = next((state for state in SmsState if state.value == form.one("state")), None)
    wanted = Filter(
        account=_some(form, "account"),
        provider=_some(form, "provider"),
        states=() if state is None else (state,),
        since=instants["since"],
        until=instants["until"],
        number=_some(form, "number"),
        email_id=_some(form, "email_id"),
        text=_some(form, "text"),
    )
    return wanted, wrong


def _some(form: Form, name: str) -> str | None:
    return form.one(name)[:_LONGEST] or None


def _read_instant(text: str) -> datetime | None:
    """Return what a browser's field for date and time holds, in this machine's zone."""
    if not text:
        return None
    return datetime.fromisoformat(text[:16]).astimezone().astimezone(UTC)
