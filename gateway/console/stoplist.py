"""The STOP list: looked at, added to, taken from (docs/protocol.md §5.6)."""

from collections.abc import Sequence
from datetime import datetime

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.console.door import Door
from gateway.console.ledger import Ledger
from gateway.console.rendering import ROOT, render
from gateway.console.roles import Role
from gateway.console.surroundings import Surroundings
from gateway.console.visit import Visit
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.text.msisdn import Malformed, Msisdn, mask, parse_number

PAGE = f"{ROOT}/optouts"
_PAGE_SIZE = 50
_LONGEST_NUMBER = 40
_LONGEST_NOTE = 200


class StopList:
    """The page of the STOP list."""

    def __init__(self, around: Surroundings, door: Door, ledger: Ledger) -> None:
        self._around = around
        self._door = door
        self._ledger = ledger

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        door = self._door
        return [
            Route(PAGE, door.page(self._show), methods=["GET"]),
            Route(f"{PAGE}/add", door.page(self._add, role=Role.OPERATE), methods=["POST"]),
            Route(f"{PAGE}/remove", door.page(self._remove, role=Role.OPERATE), methods=["POST"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        number = visit.query.one("number")[:_LONGEST_NUMBER]
        if not number:
            return await self._page(visit, note=visit.query.one("done"))
        parsed = parse_number(number)
        if isinstance(parsed, Malformed):
            return await self._page(visit, problem=visit.say("optouts.no_number"), number=number)
        scopes = [EVERYBODY, *(account.name for account in self._around.accounts())]
        found = await self._around.store.optouts_of(parsed.e164, scopes)
        return await self._page(visit, number=number, found=found)

    async def _page(
        self,
        visit: Visit,
        *,
        problem: str | None = None,
        note: str = "",
        number: str = "",
        found: Sequence[OptOut] | None = None,
    ) -> Response:
        after = visit.query.one("after").partition(" ")
        rows = found
        if rows is None:
            place = (after[0], after[2]) if after[2] else None
            rows = await self._around.store.optouts(account=None, after=place, limit=_PAGE_SIZE + 1)
        shown = rows[:_PAGE_SIZE]
        return render(
            "optouts.html",
            visit,
            422 if problem else 200,
            rows=shown,
            number=number,
            problem=problem,
            note=note if note in {"added", "was_there", "removed", "was_not_there"} else "",
            next=f"{shown[-1].account} {shown[-1].msisdn}" if len(rows) > _PAGE_SIZE and visit.sees_all else None,
            accounts=[account.name for account in self._around.accounts()],
            everybody=EVERYBODY,
        )

    async def _add(self, visit: Visit) -> Response:
        parsed, scope = self._read(visit)
        if parsed is None or scope is None:
            return await self._page(visit, problem=visit.say("optouts.no_number"), number=visit.form.one("number"))
        around, now = self._around, visit.now
        note = visit.form.one("note")[:_LONGEST_NOTE] or None
        entry = OptOut(account=scope, msisdn=parsed.e164, since_at=now, source=OptOutSource.OPERATOR, note=note)
        stopped = await around.store.stop([entry], around.stop_rules(), now, *around.writers(now))
        if stopped.reports:
            around.on_reports()
        around.on_optouts()
        outcome = f"{'added' if stopped.added else 'was there'}; {len(stopped.cancelled)} SMS cancelled"
        await self._ledger.note(visit, "optout_add", about=_about(parsed.e164, scope), outcome=outcome)
        return RedirectResponse(f"{PAGE}?done={'added' if stopped.added else 'was_there'}", status_code=303)

    async def _remove(self, visit: Visit) -> Response:
        """Only with the word of an operator that the number's owner asked for it."""
        parsed, scope = self._read(visit)
        if parsed is None or scope is None:
            return await self._page(visit, problem=visit.say("optouts.no_number"))
        if visit.form.one("sure") != "yes":
            return render("optout_confirm.html", visit, number=parsed.e164, account=scope, everybody=EVERYBODY)
        removed = await self._lift(parsed.e164, scope, visit.now)
        outcome = "removed" if removed else "was not there"
        await self._ledger.note(visit, "optout_remove", about=_about(parsed.e164, scope), outcome=outcome)
        return RedirectResponse(f"{PAGE}?done={'removed' if removed else 'was_not_there'}", status_code=303)

    async def _lift(self, msisdn: str, scope: str, now: datetime) -> Sequence[OptOut]:
        removed = await self._around.store.lift_stop(msisdn, scope, self._around.stop_rules(), now)
        self._around.on_optouts()
        return removed

    def _read(self, visit: Visit) -> tuple[Msisdn | None, str | None]:
        parsed = parse_number(visit.form.one("number")[:_LONGEST_NUMBER])
        scope = visit.form.one("account")
        known = {EVERYBODY, *(account.name for account in self._around.accounts())}
        return None if isinstance(parsed, Malformed) else parsed, scope if scope in known else None


def _about(msisdn: str, scope: str) -> str:
    return f"{mask(msisdn)}, {'all accounts' if scope == EVERYBODY else scope}"
