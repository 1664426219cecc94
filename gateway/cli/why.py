"""`mail2sms why`: what became of a mail, and why. Reads only, also beside a gateway at work."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gateway.cli.exits import BAD, ConfigOption, JsonOption
from gateway.cli.opening import with_stories
from gateway.cli.plain import new_console, printed_json, shown_time
from gateway.config import load
from gateway.stories import Found, Step, StepKind, Stories, Story
from gateway.stories.masking import mask_story
from gateway.text.msisdn import mask
from gateway.text.visible import visible

_OF_REPORTS = frozenset({StepKind.REPORT_WRITTEN, StepKind.REPORT_STANDS, StepKind.NO_REPORT})

_MOST_SMS = 10

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="An emailId, a Message-ID, any id of ours, a carrier's reference, a number, an address of a sender or of "
        'a client, a time in UTC ("2026-11-22 14:03", or "14:03" of today), or words of a refusal.',
    ),
]


def why(
    id: IdArgument,  # noqa: A002
    *,
    config: ConfigOption,
    masked: Annotated[bool, typer.Option("--mask", help="Hide numbers, texts and carriers' answers.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="The whole story of each mail that is meant, and of each of its SMS.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what became of a mail, and why.

    In order: connection, checks, SMS, calls to carriers with their raw answers, reports, what comes next. When several
    mails may be meant they are listed, the newest first. Of mails with many SMS those are told of that did not go as
    they should, and the first ones. Numbers and texts are whole, unless --mask is given. Exit status 1 when nothing is
    found.
    """
    settings = load(config)
    found, stories = with_stories(settings, lambda stories: _tell(stories, id, every=every))
    if masked:
        stories = [mask_story(story) for story in stories]
    if as_json:
        print(printed_json({"found": found, "stories": stories}))
    else:
        _Page(new_console(), masked=masked, every=every).show(id, found, stories)
    if not found:
        raise typer.Exit(BAD)


async def _tell(stories: Stories, text: str, *, every: bool) -> tuple[list[Found], list[Story]]:
    """Return what may be meant, and the stories: of the one that is, or, if asked for, of all."""
    found = await stories.find(text)
    told = [await stories.story(one.id) for one in found] if every or len(found) == 1 else []
    return found, [story for story in told if story is not None]


class _Page:
    """Writes stories for people. What strangers wrote is printed without control characters."""

    def __init__(self, console: Console, *, masked: bool, every: bool) -> None:
        self._console = console
        self._masked = masked
        self._every = every

    def show(self, text: str, found: list[Found], stories: list[Story]) -> None:
        """Print all of it."""
        if not found:
            self._print(f"Nothing is known of {mask(text) if self._masked else text}.")
            self._print(
                "Looked for: emailIds, Message-IDs, ids, numbers, senders and clients, times, words of refusals."
            )
            self._print("A client that was turned away is found by its address, or its sender's, after five seconds.")
            self._print("A mail that never came here leaves nothing: look in the client's own log for this gateway's.")
            return
        if not stories:
            self._list(found)
        for number, story in enumerate(stories):
            if number:
                self._console.print()
            self._tell(story)

    def _list(self, found: list[Found]) -> None:
        self._print(f"{len(found)} are meant; ask again with the id of one, or with --all:")
        for one in found:
            count = f" x{one.count}" if one.count > 1 else ""
            self._print(
                f"{shown_time(one.at)}  {one.id}  {one.account or '-'}  {one.sender or '<>'}: {one.summary}{count}"
            )

    def _tell(self, story: Story) -> None:
        found = story.found
        style = "bold red" if story.troubles else "bold green"
        self._console.print(Text(visible(story.reason), style=style))
        email_id = f", emailId {found.email_id}" if found.email_id else ""
        message_id = f", Message-ID {found.message_id}" if found.message_id else ""
        self._print(f"{found.kind.value} {found.id} of {shown_time(found.at)} UTC{email_id}{message_id}")
        shown, left_out = self._choose(story)
        sms_id, was_report = None, False
        for step in shown:
            is_report = step.kind in _OF_REPORTS
            if (step.sms_id and step.sms_id != sms_id) or (is_report and not was_report):
                self._console.print()
            sms_id, was_report = step.sms_id, is_report
            self._step(step)
        if left_out:
            self._console.print()
            self._print(f"and {left_out} SMS more: --all tells of them")

    def _choose(self, story: Story) -> tuple[list[Step], int]:
        """Return the steps to show, and how many SMS are left out."""
        ids = list(dict.fromkeys(step.sms_id for step in story.steps if step.sms_id))
        if self._every or len(ids) <= _MOST_SMS:
            return list(story.steps), 0
        in_trouble = {step.sms_id for step in story.steps if step.is_trouble}
        chosen = set(sorted(ids, key=lambda one: one not in in_trouble)[:_MOST_SMS])
        steps = [step for step in story.steps if step.sms_id is None or step.sms_id in chosen]
        return steps, len(ids) - len(chosen)

    def _step(self, step: Step) -> None:
        at = shown_time(step.at) if step.kind is not StepKind.NEXT else "next"
        line = Text.assemble((f"  {at:<19}  ", "cyan"), (visible(step.sentence), "red" if step.is_trouble else ""))
        self._console.print(line)

    def _print(self, line: str) -> None:
        self._console.print(visible(line))
