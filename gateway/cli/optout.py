"""`mail2sms optout`: the STOP list (docs/protocol.md §5.6). A running gateway need not be told."""

import asyncio
import csv
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import new_group
from gateway.cli.arguments import check_account, read_number
from gateway.cli.exits import BAD, STORE_OR_NETWORK, ConfigOption, JsonOption
from gateway.cli.opening import opened, with_store
from gateway.cli.optout_file import BadLine, Importing, Listed, NumberFile
from gateway.cli.progress import show_progress
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.building import report_rules, stop_rules
from gateway.policy.accounts import Accounts
from gateway.providers.base import KeepsOptOuts, Untold
from gateway.providers.registry import build_provider
from gateway.reports import ReportWriter
from gateway.store import Store
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.text.msisdn import Malformed, parse_number
from gateway.text.visible import visible

_PAGE = 1000
_MOST_BAD_SHOWN = 1000

NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="As in a mail: 0601020304, +33601020304.")]
AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="One account; `*` is the list that holds for all.")
]

optout = new_group()


@optout.callback()
def _optout() -> None:
    """Show and change the STOP list: numbers that are sent nothing any more."""


@optout.command("list")
def show(*, config: ConfigOption, account: AccountOption = None, as_json: JsonOption = False) -> None:
    """Print who is on the list, whose list it is, since when, and who said so.

    Numbers are whole: this is for the operator's terminal.
    """
    settings = load(config)

    async def print_all(store: Store) -> None:
        is_first = True
        async for one in _entries(store, account):
            if as_json:
                print("[" if is_first else ",", json.dumps(_plain(one)))
            else:
                note = f", {visible(one.note)}" if one.note else ""
                whose = "all accounts" if one.account == EVERYBODY else one.account
                print(f"{one.msisdn}: {whose}, since {_written(one.since_at)}, by {one.source.value}{note}")
            is_first = False
        if as_json:
            print("[]" if is_first else "]")

    with_store(settings, print_all, read_only=True)


@optout.command("add")
def add(
    number: NumberArgument,
    *,
    config: ConfigOption,
    account: AccountOption = None,
    note: Annotated[str | None, typer.Option(help="Why, for whoever looks at the list later.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send this number nothing any more: for one account, or for all.

    SMS that wait for it are cancelled, with code 11.
    """
    settings = load(config)
    msisdn, scope = read_number(number), _read_account(account, settings)
    now = SystemClock().now()
    entry = OptOut(account=scope, msisdn=msisdn, since_at=now, source=OptOutSource.OPERATOR, note=note)
    writer = _new_writer(settings, now)
    stopped = with_store(settings, lambda store: store.stop([entry], stop_rules(settings), now, *writer.both))
    if as_json:
        found = {"account": scope, "msisdn": msisdn, "added": bool(stopped.added)}
        print(json.dumps(found | {"cancelled": len(stopped.cancelled)}))
        return
    what = "is on the list now" if stopped.added else "was on the list"
    print(f"{msisdn} {what} ({_whose(scope)}); SMS cancelled: {len(stopped.cancelled)}")


@optout.command("remove")
def remove(
    number: NumberArgument, *, config: ConfigOption, account: AccountOption = None, as_json: JsonOption = False
) -> None:
    """Let SMS go to this number again: those of one account, or, unless one is given, of all.

    Only do so when its owner asks for it. Exit status 1 when it was not on the list.
    """
    settings = load(config)
    msisdn = read_number(number)
    scope = None if account is None else _read_account(account, settings, may_be_gone=True)
    now = SystemClock().now()

    async def lift(store: Store) -> tuple[Sequence[OptOut], Sequence[OptOut]]:
        removed = await store.lift_stop(msisdn, scope, stop_rules(settings), now)
        return removed, await _everybodys(store, msisdn)

    removed, left = with_store(settings, lift)
    if as_json:
        print(json.dumps([_plain(one) for one in removed]))
    else:
        for one in removed:
            print(f"{msisdn} is not on the list any more ({_whose(one.account)}, since {_written(one.since_at)})")
        if not removed:
            print(f"{msisdn} was not on the list" + ("" if scope is None else f" ({_whose(scope)})"))
        for one in left:
            print(f"{msisdn} is still on the list that holds for all, since {_written(one.since_at)}")
    if not removed:
        raise typer.Exit(BAD)


@optout.command("export")
def export(*, config: ConfigOption, account: AccountOption = None) -> None:
    """Print the list as CSV, with a header; `import` reads it."""
    settings = load(config)

    async def print_all(store: Store) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["account", "msisdn", "since_at", "source", "note"])
        async for one in _entries(store, account):
            note = _as_text(visible(" ".join((one.note or "").split())))  # a line is an entry
            writer.writerow([one.account, one.msisdn, one.since_at.isoformat(), one.source.value, note])

    with_store(settings, print_all, read_only=True)


def _as_text(cell: str) -> str:
    """Return the cell so that no spreadsheet takes it for a formula; `import` removes the sign again."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


# --- import ----------------------------------------------------------------------------------------------------------


@optout.command("import")
def load_list(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE.csv]", help="One number a line, perhaps more.")] = None,
    *,
    config: ConfigOption,
    account: AccountOption = None,
    from_carrier: Annotated[
        str | None, typer.Option(metavar="NAME", help="Take over what this carrier has on a list of its own.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put many numbers on the list, from a file or from a carrier.

    A file is CSV with `,` `;` or a tab, with or without a header; the columns msisdn (or number, phone, tel, ...),
    account, since_at and note are heeded. Without --account and without that column, the list is the one that holds for
    all; that of a carrier is of every account that uses it. Exit status 1 when a line could not be read: it is named,
    and all others are taken.
    """
    settings = load(config)
    scope = None if account is None else _read_account(account, settings)
    if (file is None) is (from_carrier is None):
        raise typer.BadParameter("give a file or --from-carrier, one of the two", param_hint="FILE.csv")
    if from_carrier is not None:
        importing = asyncio.run(_import_from_carrier(settings, from_carrier, scope))
    else:
        importing = _import_file(settings, file or Path(), scope, shows_bad=not as_json)
    _print_imported(importing, as_json=as_json)


def _import_file(settings: Config, file: Path, scope: str | None, *, shows_bad: bool) -> Importing:
    names = {account.name for account in settings.accounts} | {EVERYBODY}
    try:
        stream = file.open("rb")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE.csv") from None
    with stream, show_progress() as tell:
        total = file.stat().st_size
        lines = NumberFile(stream, accounts=names, account=scope, now=SystemClock().now())

        async def take(importing: Importing) -> None:
            for line in lines:
                if isinstance(line, BadLine):
                    importing.count_bad(line, most=_MOST_BAD_SHOWN)
                    if shows_bad:
                        print(f"{file}:{line.number}: {line.reason}", file=sys.stderr)
                else:
                    await importing.take(line)
                tell("numbers", lines.read_bytes, total)
            await importing.finish()

        return asyncio.run(_import(settings, OptOutSource.IMPORT, take))


async def _import_from_carrier(settings: Config, name: str, scope: str | None) -> Importing:
    """Take over a carrier's list: of one account, or of every account that uses the carrier."""
    found = next((one for one in settings.providers if one.name == name), None)
    if found is None:
        raise typer.BadParameter(f"{name} is not a carrier of this configuration", param_hint="--from-carrier")
    users = [scope] if scope else [account.name for account in settings.accounts if name in account.providers]
    provider = build_provider(found, SystemClock())
    try:
        if not isinstance(provider, KeepsOptOuts):
            raise typer.BadParameter(f"{name} keeps no list that can be asked for", param_hint="--from-carrier")
        numbers = await provider.list_optouts()
    finally:
        await provider.close()
    if isinstance(numbers, Untold):
        print(f"{name} did not tell: {numbers.reason}", file=sys.stderr)
        raise typer.Exit(STORE_OR_NETWORK)

    async def take(importing: Importing) -> None:
        now = SystemClock().now()
        for place, number in enumerate(numbers, 1):
            parsed = parse_number(number)
            if isinstance(parsed, Malformed):
                importing.count_bad(BadLine(number=place, reason=parsed.reason), most=_MOST_BAD_SHOWN)
                print(f"{name}, number {place}: {parsed.reason}", file=sys.stderr)
                continue
            for user in users:
                note = f"on the list of {name}"
                await importing.take(Listed(account=user, msisdn=parsed.e164, since_at=now, note=note))
        await importing.finish()

    return await _import(settings, OptOutSource.CARRIER, take)


async def _import(settings: Config, source: OptOutSource, take: Callable[[Importing], Awaitable[None]]) -> Importing:
    async with opened(settings) as store:
        importing = Importing(store, stop_rules(settings), partial(_new_writer, settings), source, SystemClock())
        await take(importing)
        return importing


def _print_imported(importing: Importing, *, as_json: bool) -> None:
    if as_json:
        bad = [{"line": one.number, "reason": one.reason} for one in importing.bad]
        counts = {"added": importing.added, "known": importing.known, "cancelled": importing.cancelled}
        print(json.dumps(counts | {"bad": importing.bad_count, "bad_lines": bad}))
    else:
        print(
            f"added: {importing.added}, on the list before: {importing.known}, "
            f"SMS cancelled: {importing.cancelled}, lines that could not be read: {importing.bad_count}"
        )
    if importing.bad_count:
        raise typer.Exit(BAD)


# --- what the commands share -----------------------------------------------------------------------------------------


def _read_account(name: str | None, settings: Config, *, may_be_gone: bool = False) -> str:
    if name is None or name == EVERYBODY:
        return EVERYBODY
    if not may_be_gone:
        check_account(name, settings, hint="--account")
    return name


def _whose(account: str) -> str:
    return "all accounts" if account == EVERYBODY else f"account {account}"


async def _everybodys(store: Store, msisdn: str) -> Sequence[OptOut]:
    found = await store.optouts(account=EVERYBODY, after=(EVERYBODY, msisdn[:-1]), limit=1)
    return [one for one in found if one.msisdn == msisdn]


async def _entries(store: Store, account: str | None) -> AsyncIterator[OptOut]:
    after: tuple[str, str] | None = None
    while page := await store.optouts(account=account, after=after, limit=_PAGE):
        for one in page:
            yield one
        after = page[-1].account, page[-1].msisdn


def _plain(one: OptOut) -> dict[str, object]:
    return {
        "account": one.account,
        "msisdn": one.msisdn,
        "since_at": one.since_at.isoformat(),
        "source": one.source.value,
        "note": one.note,
    }


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _new_writer(settings: Config, now: datetime) -> ReportWriter:
    accounts = Accounts(settings.accounts)
    return ReportWriter(now=now, rules=report_rules(settings), accounts=lambda: accounts)
