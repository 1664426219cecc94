"""SMS that wait, and what operators do about them: hold, release, retry, cancel.

What cannot be undone is asked twice: cancelling, and trying again an SMS that the carrier may have sent.
"""

from dataclasses import replace

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.console.door import Door, Refusal, local_path
from gateway.console.ledger import Ledger
from gateway.console.rendering import ROOT, render
from gateway.console.roles import Role
from gateway.console.search import read_filter
from gateway.console.surroundings import Surroundings
from gateway.console.visit import Visit
from gateway.lifecycle import SmsId, SmsState
from gateway.stories import Action, Done, Page

_PAGE_SIZE = 50
_MOST_AT_ONCE = 500
_LONGEST_ID = 40
_FIELDS = ("account", "provider", "state", "number")
_WAITING = (SmsState.QUEUED, SmsState.HELD, SmsState.SENDING, SmsState.UNCERTAIN)


class QueuePages:
    """The list of what waits, and the actions on it."""

    def __init__(self, around: Surroundings, door: Door, ledger: Ledger) -> None:
        self._around = around
        self._door = door
        self._ledger = ledger

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        door = self._door
        return [
            Route(f"{ROOT}/queue", door.page(self._show), methods=["GET"]),
            Route(f"{ROOT}/live/queue", door.page(self._show_part, is_live=True), methods=["GET"]),
            Route(f"{ROOT}/act", door.page(self._act, role=Role.OPERATE), methods=["POST"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        return render("queue.html", visit, **await self._look(visit))

    async def _show_part(self, visit: Visit) -> Response:
        return render("queue_live.html", visit, **await self._look(visit))

    async def _look(self, visit: Visit) -> dict[str, object]:
        wanted, _ = read_filter(visit.query)
        waiting = tuple(state for state in wanted.states if state in _WAITING)  # the others are for the search
        wanted = replace(wanted, states=waiting)
        after = visit.query.one("after") or None
        try:
            page = await self._around.stories.queue(wanted, Page(size=_PAGE_SIZE, after=after))
        except ValueError as error:
            if after is None:
                raise
            raise Refusal(400, "error.form") from error  # no `next` of ours
        return {
            "rows": page.rows,
            "next": page.next,
            "asked": {name: visit.query.one(name) for name in _FIELDS},
            "query": visit.request.url.query,
            "states": [state.value for state in _WAITING],
            "accounts": [account.name for account in self._around.accounts()],
            "carriers": [carrier.name for carrier in self._around.carriers()],
            "actions": [action.value for action in Action],
        }

    async def _act(self, visit: Visit) -> Response:
        form = visit.form
        action = next((one for one in Action if one.value == form.one("action")), None)
        ids = [SmsId(one[:_LONGEST_ID]) for one in dict.fromkeys(form.all("sms"))][:_MOST_AT_ONCE]
        back = local_path(form.one("back"))
        if action is None:
            raise Refusal(400, "error.form")
        if not ids:
            return RedirectResponse(back, status_code=303)
        states = await self._around.store.sms_states(ids)
        doubtful = [one for one in ids if states.get(one) is SmsState.UNCERTAIN] if action is Action.RETRY else []
        if form.one("sure") != "yes" and (action is Action.CANCEL or doubtful):
            given = {"action": action.value, "ids": ids, "doubtful": len(doubtful), "back": back}
            return render("confirm.html", visit, **given)
        done = await self._around.act(action, ids, visit.who, bool(doubtful))
        await self._note(visit, done)
        return render("acted.html", visit, done=done, changed=sum(one.has_changed for one in done.moved), back=back)

    async def _note(self, visit: Visit, done: Done) -> None:
        changed = [one for one in done.moved if one.has_changed]
        mails = list(dict.fromkeys(one.mail_id for one in done.moved))
        shown = ", ".join(mails[:5]) + (f" and {len(mails) - 5} more" if len(mails) > 5 else "")
        outcome = f"{len(changed)} of {len(done.moved)} SMS moved"
        await self._ledger.note(visit, done.action.value, about=shown, outcome=outcome)
