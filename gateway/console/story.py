"""The page of one mail: its story, what can be done about it, the mail as it came, its reports as they went."""

import re
from dataclasses import dataclass
from itertools import groupby

from starlette.responses import Response
from starlette.routing import Route

from gateway.console.door import Door, Refusal
from gateway.console.rendering import ROOT, render
from gateway.console.roles import Role
from gateway.console.surroundings import Surroundings
from gateway.console.telling import ShownStep, is_over, show_step
from gateway.console.visit import Visit
from gateway.lifecycle import SmsState
from gateway.stories import Action, StepKind, Story
from gateway.text.visible import visible

_MOST_REPORTS = 50
_MOST_RAW_CHARS = 200_000
_MOST_SMS = 500
_KEYID = re.compile(r"(<keyid>)[^<]{1,1000}", re.IGNORECASE)
"""An account's key, also one that is quoted-printable; in base64 nothing can be read."""

APPLIES = {
    Action.HOLD: {SmsState.QUEUED},
    Action.RELEASE: {SmsState.HELD},
    Action.RETRY: {SmsState.QUEUED, SmsState.UNCERTAIN},
    Action.CANCEL: {SmsState.QUEUED, SmsState.HELD},
}
"""Where an SMS must be for an action to be offered; the store has the last word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSms:
    """One SMS of the mail with its steps."""

    id: str
    position: str
    tel: str | None
    state: str | None
    steps: tuple[ShownStep, ...]
    actions: tuple[str, ...]  # that apply to where it is


class StoryPages:
    """The pages of mails."""

    def __init__(self, around: Surroundings, door: Door) -> None:
        self._around = around
        self._door = door

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        door = self._door
        return [
            Route(f"{ROOT}/mail/{{id}}", door.page(self._show), methods=["GET"]),
            Route(f"{ROOT}/live/mail/{{id}}", door.page(self._show_part, is_live=True), methods=["GET"]),
            Route(f"{ROOT}/mail/{{id}}/source", door.page(self._show_source, role=Role.OPERATE), methods=["GET"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        return render("story.html", visit, **await self._look(visit))

    async def _show_part(self, visit: Visit) -> Response:
        return render("story_live.html", visit, **await self._look(visit))

    async def _look(self, visit: Visit) -> dict[str, object]:
        story = await self._around.stories.story(visit.request.path_params["id"])
        if story is None:
            raise Refusal(404, "error.no_mail")
        shown = _sms_of(story, visit)
        return {
            "story": story,
            "found": story.found,
            "steps": [show_step(step, visit) for step in story.steps if step.sms_id is None],
            "sms": shown[:_MOST_SMS],
            "sms_left": max(0, len(shown) - _MOST_SMS),
            "is_over": is_over(story.steps),
            "actions": sorted({action for one in shown for action in one.actions}, key=_order),
        }

    async def _show_source(self, visit: Visit) -> Response:
        """The mail and the reports are texts of strangers, and only for who may see them."""
        id_ = visit.request.path_params["id"]
        mail = await self._around.store.shown_mail(id_)
        reports = await self._around.store.shown_reports(id_, _MOST_REPORTS)
        raw = "" if mail is None else mail.raw.decode("utf-8", "replace")
        return render(
            "source.html",
            visit,
            id=id_,
            mail=mail,
            raw=_visible(_KEYID.sub(r"\1********", raw[:_MOST_RAW_CHARS])),
            cut=max(0, len(raw) - _MOST_RAW_CHARS),
            reports=[(report, _visible(report.body.decode("iso-8859-1"))) for report in reports],
        )


def _visible(text: str) -> str:
    return visible(text.replace("\r", ""), spared="\n\t")


def _order(action: str) -> int:
    return [one.value for one in Action].index(action)


def _sms_of(story: Story, visit: Visit) -> list[ShownSms]:
    steps = [step for step in story.steps if step.sms_id is not None]
    shown = []
    for sms_id, group in groupby(steps, key=lambda step: step.sms_id):
        own = list(group)
        facts: dict[str, object] = {}
        for step in own:
            if step.kind in (StepKind.SMS_QUEUED, StepKind.SMS_REFUSED, StepKind.STANDS):
                facts |= step.data
        state = facts.get("state")
        shown.append(
            ShownSms(
                id=str(sms_id),
                position=str(facts.get("position", "")),
                tel=str(facts.get("msisdn") or facts.get("tel") or "") or None,
                state=None if state is None else str(state),
                steps=tuple(show_step(step, visit) for step in own),
                actions=tuple(
                    action.value for action, states in APPLIES.items() if state in {one.value for one in states}
                ),
            )
        )
    return shown
