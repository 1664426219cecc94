"""`mail2sms queue`: SMS that wait, and what to do about them. A running gateway need not be told."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from gateway.cli import new_group
from gateway.cli.exits import BAD, ConfigOption, JsonOption
from gateway.cli.opening import new_stories, with_store, with_stories
from gateway.cli.plain import new_console, printed_json, read_since, shown_time
from gateway.cli.sharing import with_options
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.building import report_rules
from gateway.lifecycle import SmsState
from gateway.policy.accounts import Accounts
from gateway.reports import ReportWriter
from gateway.store import Store
from gateway.store.base import RenderNot
from gateway.store.operating import MOST
from gateway.store.words import RenderReceipts
from gateway.stories import Action, Done, Filter, Moved, Page, QueueRow, Stories
from gateway.stories.desk import Desk
from gateway.stories.masking import mask_row
from gateway.text.visible import visible

OPERATOR = "operator"

AccountOption = Annotated[str | None, typer.Option("--account", metavar="NAME", help="Of this account.")]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="That this carrier has, or had, last.")
]
StateOption = Annotated[
    list[SmsState] | None, typer.Option("--state", help="In this state; repeatable. Unless given: what waits.")
]
OlderOption = Annotated[
    str | None,
    typer.Option("--older-than", metavar="TIME", help='Came before: "2h" ago, "2026-11-22 14:03" (UTC).'),
]
NumberOption = Annotated[str | None, typer.Option("--number", metavar="NUMBER", help="To this number, as you like.")]
EnvoiOption = Annotated[
    str | None, typer.Option("--envoi", metavar="ID", help="Of this mail or envoi: any id, or the emailId.")
]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="SMS, by id (see `queue list`).")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask; needed where an SMS may go twice.")]
MaskOption = Annotated[bool, typer.Option("--mask", help="Hide numbers and texts.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")]

queue = new_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """By what SMS are chosen; each mark is an option of its own."""

    account: AccountOption = None
    provider: ProviderOption = None
    older_than: OlderOption = None
    number: NumberOption = None
    envoi: EnvoiOption = None


@queue.callback()
def _queue() -> None:
    """Show SMS that wait; hold, release, try again or cancel them."""


@queue.command("list")
@with_options
def show_all(
    *,
    config: ConfigOption,
    marks: Marks,
    state: StateOption = None,
    limit: LimitOption = 100,
    masked: MaskOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print SMS that wait, the longest in its state first: held, uncertain, being sent, queued.

    With --state also those that are at their end. Times are in UTC.
    """
    settings = load(config)
    wanted = _filter(marks, state)
    _note_strangers(settings, wanted)
    rows = with_stories(settings, lambda stories: _read(stories, wanted, limit))
    rows = [mask_row(row) for row in rows] if masked else rows
    if as_json:
        print(printed_json(rows))
        return
    console = new_console()
    for row in rows:
        number_ = row.msisdn or row.tel
        console.print(
            visible(
                f"{row.sms_id}  {row.state.value:<9}  {row.account}  {number_}  since {shown_time(row.since_at)}: "
                f"{row.waits_for}"
            )
        )
    console.print(f"{len(rows)} SMS" + (f"; --limit {limit} was reached" if len(rows) >= limit else ""))


@queue.command("show")
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of an SMS.")],  # noqa: A002
    *,
    config: ConfigOption,
    masked: MaskOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print one SMS, whatever its state. `mail2sms why` tells its whole story.

    Exit status 1 when there is no such SMS.
    """
    settings = load(config)
    rows = with_stories(settings, lambda stories: _by_ids(stories, [id]))
    rows = [mask_row(row) for row in rows] if masked else rows
    if as_json:
        print(printed_json(rows))
    else:
        console = new_console()
        for row in rows:
            _show_row(console, row)
    if not rows:
        print(f"{visible(id)} is no SMS of this store", file=sys.stderr)
        raise typer.Exit(BAD)


def _show_row(console: Console, row: QueueRow) -> None:
    values = {
        "SMS": row.sms_id,
        "mail": row.mail_id,
        "account": row.account,
        "carrier": row.provider or "(none yet)",
        "state": f"{row.state.value} since {shown_time(row.since_at)} UTC",
        "because": row.reason or "",
        "to": row.tel if row.msisdn is None else f"{row.tel} = {row.msisdn}",
        "text": row.text if row.text is not None else "(erased)",
        "parts": str(row.parts),
        "attempts": str(row.attempts),
        "waits for": row.waits_for,
    }
    for name, value in values.items():
        console.print(visible(f"{name}: {value}".rstrip()))


# --- moves -----------------------------------------------------------------------------------------------------------


@queue.command("hold")
@with_options
def hold(
    ids: IdsArgument = None,
    *,
    config: ConfigOption,
    marks: Marks,
    as_json: JsonOption = False,
) -> None:
    """Keep SMS from being sent until they are released. They still expire at the end of their validity."""
    wanted = _filter(marks, [SmsState.QUEUED])
    _act(Action.HOLD, ids, wanted, config, as_json=as_json)


@queue.command("release")
@with_options
def release(
    ids: IdsArgument = None,
    *,
    config: ConfigOption,
    marks: Marks,
    as_json: JsonOption = False,
) -> None:
    """Let go what is held, also by the restoring of a backup."""
    wanted = _filter(marks, [SmsState.HELD])
    _act(Action.RELEASE, ids, wanted, config, as_json=as_json)


@queue.command("retry")
@with_options
def retry(
    ids: IdsArgument = None,
    *,
    config: ConfigOption,
    marks: Marks,
    state: StateOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try SMS now that wait for a later attempt.

    Those that are `uncertain` too, with --yes or after a question: a carrier may have sent them, and they would come
    twice.
    """
    wanted = _filter(marks, state or [SmsState.QUEUED, SmsState.UNCERTAIN])
    _act(Action.RETRY, ids, wanted, config, yes=yes, as_json=as_json)


@queue.command("cancel")
@with_options
def cancel(
    ids: IdsArgument = None,
    *,
    config: ConfigOption,
    marks: Marks,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Never send SMS that wait, queued or held. Their senders are told, with code 999."""
    wanted = _filter(marks, [SmsState.QUEUED, SmsState.HELD])
    _act(Action.CANCEL, ids, wanted, config, yes=yes, as_json=as_json)


def _act(
    action: Action,
    ids: Sequence[str] | None,
    wanted: Filter,
    config: ConfigOption,
    *,
    yes: bool = False,
    as_json: bool,
) -> None:
    settings = load(config)
    if not ids and not _is_limited(wanted):
        raise typer.BadParameter(
            "say which: ids, or --account, --provider, --older-than, --number or --envoi", param_hint="ID"
        )
    _note_strangers(settings, wanted)

    async def do(store: Store) -> list[Done]:
        clock = SystemClock()
        stories = new_stories(settings, store, clock)
        rows = await (_by_ids(stories, ids) if ids else _read(stories, wanted, 100_000))
        may_double = _may_double(action, rows, yes=yes)
        if action is Action.CANCEL and not ids and not yes:
            _ask(f"Cancel {len(rows)} SMS for good?")
        desk = Desk(store, clock, lambda now: _writers(settings, now))
        chosen = [row.sms_id for row in rows]
        return [
            await desk.act(action, chosen[begin : begin + MOST], by=OPERATOR, may_double=may_double)
            for begin in range(0, len(chosen), MOST)
        ]

    done = with_store(settings, do)
    _tell(action, done, set(ids or ()), as_json=as_json)


def _may_double(action: Action, rows: Sequence[QueueRow], *, yes: bool) -> bool:
    uncertain = sum(row.state is SmsState.UNCERTAIN for row in rows)
    if action is not Action.RETRY or not uncertain:
        return False
    if not yes:
        _ask(f"{uncertain} of these SMS may have been sent: sent again, they may come twice. Send them all the same?")
    return True


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        print(f"{question} Say --yes.", file=sys.stderr)
        raise typer.Exit(BAD)
    if not typer.confirm(question):
        raise typer.Exit(BAD)


def _tell(action: Action, done: Sequence[Done], ids: set[str], *, as_json: bool) -> None:
    moved: list[Moved] = [one for part in done for one in part.moved]
    missing = sorted({one.upper() for one in ids} - {one.sms_id for one in moved})
    changed = sum(one.has_changed for one in moved)
    reports = sum(part.reports for part in done)
    if as_json:
        print(printed_json({"action": action, "moved": moved, "missing": missing, "reports": reports}))
    else:
        for one in moved:
            after = f"{one.before.value} -> {one.after.value}" if one.has_changed else f"stays {one.before.value}"
            print(visible(f"{one.sms_id}  {one.account}  {after}: {one.note}"))
        for name in missing:
            print(f"{visible(name)}  is no SMS of this store")
        print(f"{action.value}: {changed} of {len(moved) + len(missing)} SMS; reports that follow: {reports}")
    if not changed or missing:
        raise typer.Exit(BAD)


# --- what the commands share -----------------------------------------------------------------------------------------


def _filter(marks: Marks, states: Sequence[SmsState] | None) -> Filter:
    older_than = marks.older_than
    return Filter(
        account=marks.account,
        provider=marks.provider,
        states=tuple(states or ()),
        until=None if older_than is None else read_since(older_than, SystemClock().now(), option="--older-than"),
        number=marks.number,
        envoi=marks.envoi,
    )


def _note_strangers(settings: Config, wanted: Filter) -> None:
    """Say which names are not of the configuration: there may be SMS of them from before, or somebody mistyped."""
    named = {"an account": (wanted.account, settings.accounts), "a carrier": (wanted.provider, settings.providers)}
    for kind, (name, known) in named.items():
        if name is not None and name not in {one.name for one in known}:
            print(f"note: {visible(name)} is not {kind} of this configuration", file=sys.stderr)


def _is_limited(wanted: Filter) -> bool:
    marks = (wanted.account, wanted.provider, wanted.until, wanted.number, wanted.envoi)
    return any(mark is not None for mark in marks)


async def _read(stories: Stories, wanted: Filter, limit: int) -> list[QueueRow]:
    """Return all of them, up to a limit."""
    rows: list[QueueRow] = []
    after: str | None = None
    while len(rows) < limit:
        page = await stories.queue(wanted, Page(size=min(MOST, limit - len(rows)), after=after))
        rows += page.rows
        after = page.next
        if after is None:
            break
    return rows


async def _by_ids(stories: Stories, ids: Sequence[str]) -> list[QueueRow]:
    """Return the SMS of these ids, in their order; those that are none are left out."""
    rows = []
    for one in dict.fromkeys(ids):
        page = await stories.queue(Filter(envoi=one, states=tuple(SmsState)), Page(size=MOST))
        rows += [row for row in page.rows if row.sms_id == one.upper()]
    return rows


def _writers(settings: Config, now: datetime) -> tuple[RenderNot, RenderReceipts]:
    accounts = Accounts(settings.accounts)
    return ReportWriter(now=now, rules=report_rules(settings), accounts=lambda: accounts).both
