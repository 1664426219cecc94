"""`mail2sms credit`: what accounts may still send (docs/protocol.md §10.2). A running gateway need not be told."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from gateway.cli import new_group
from gateway.cli.arguments import check_account, not_an_account
from gateway.cli.exits import ConfigOption, JsonOption
from gateway.cli.opening import with_store
from gateway.clock import SystemClock
from gateway.config import load
from gateway.store import Store
from gateway.store.base import Credit

_MOST_PARTS = 1_000_000_000

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The account.")]
PartsArgument = Annotated[int, typer.Argument(metavar="PARTS", min=0, max=_MOST_PARTS, help="What it has from now on.")]
MoreArgument = Annotated[int, typer.Argument(metavar="PARTS", min=1, max=_MOST_PARTS, help="So many more.")]

credit = new_group()


@credit.callback()
def _credit() -> None:
    """Show and change what accounts may still send, counted in parts."""


@credit.command("show")
def show(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One account; all unless given.")] = None,
    *,
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Print what is left, what SMS under way have reserved, and what was spent.

    Of the accounts of the configuration, and of those that were in it once.
    """
    settings = load(config)
    known = {one.account: one for one in with_store(settings, Store.credits, read_only=True)}
    names = [account.name for account in settings.accounts]
    names += sorted(known.keys() - set(names))
    if name is not None and name not in names:
        raise not_an_account(name)
    _print([(one, known.get(one)) for one in names if name in (None, one)], as_json=as_json)


@credit.command("add")
def add(name: NameArgument, parts: MoreArgument, *, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Give an account so many parts more.

    If it had no limit, it has one now: these parts.
    """
    _change(name, config, lambda store, now: store.add_credit(name, parts, now), as_json=as_json)


@credit.command("set")
def put(name: NameArgument, parts: PartsArgument, *, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Set what an account may still send, whatever it was.

    What SMS under way have reserved is not part of it.
    """
    _change(name, config, lambda store, now: store.set_credit(name, parts, now), as_json=as_json)


@credit.command("unlimited")
def unlimited(name: NameArgument, *, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Let an account send without a limit."""
    _change(name, config, lambda store, now: store.set_credit(name, None, now), as_json=as_json)


def _change(
    name: str, config: ConfigOption, step: Callable[[Store, datetime], Awaitable[Credit]], *, as_json: bool
) -> None:
    settings = load(config)
    check_account(name, settings)
    now = SystemClock().now()
    changed = with_store(settings, lambda store: step(store, now))
    _print([(name, changed)], as_json=as_json)


def _print(found: Sequence[tuple[str, Credit | None]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_plain(name, one) for name, one in found]))
        return
    for name, one in found:
        left = "unlimited" if one is None or one.balance is None else f"{one.balance} parts left"
        moved = "" if one is None else f", {one.reserved} reserved, {one.spent} spent"
        print(f"{name}: {left}{moved}")


def _plain(name: str, one: Credit | None) -> dict[str, object]:
    if one is None:
        return {"account": name, "balance": None, "reserved": 0, "spent": 0, "updated_at": None}
    return asdict(one) | {"updated_at": one.updated_at.isoformat()}
