"""`mail2sms carrier`: what a carrier can be asked, whichever it is; what it cannot do is said."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway.cli import new_group
from gateway.cli.arguments import read_number
from gateway.cli.exits import BAD, STORE_OR_NETWORK, ConfigOption, JsonOption
from gateway.clock import SystemClock
from gateway.config import load
from gateway.providers.base import (
    CountsParts,
    KeepsOptOuts,
    LooksAtNumbers,
    Provider,
    SendOptions,
    TellsBalance,
    Untold,
)
from gateway.providers.registry import build_provider
from gateway.text.visible import visible

T = TypeVar("T")

_MOST_TEXT = 10_000

NumbersArgument = Annotated[list[str], typer.Argument(metavar="NUMBER…", help="Telephone numbers.")]

carrier = new_group()


@carrier.callback()
def _carrier(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The carrier, as the configuration names it.")],
) -> None:
    """Ask a carrier what is left, how long a text is, or who wants no SMS."""
    context.obj = name


@carrier.command("credit")
def credit(context: typer.Context, *, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Print what is left of our credit there."""

    async def ask(provider: Provider) -> None:
        if not isinstance(provider, TellsBalance):
            raise _cannot(provider, "does not tell what is left")
        balance = _told(await provider.balance())
        if as_json:
            amount = None if balance.amount is None else str(balance.amount)
            _print_json({"provider": provider.name, "amount": amount, "currency": balance.currency, "sms": balance.sms})
            return
        parts = [] if balance.amount is None else [visible(f"{balance.amount} {balance.currency or ''}".strip())]
        parts += [] if balance.sms is None else [f"about {balance.sms} SMS"]
        print(f"{provider.name}: {', '.join(parts) or 'nothing that can be counted'}")

    _ask(context, config, ask)


@carrier.command("count")
def count(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Where it would go.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; - reads it from stdin.")],
    *,
    config: ConfigOption,
    originator: Annotated[str | None, typer.Option(help="The sender it would show.")] = None,
    nostop: Annotated[bool, typer.Option("--nostop", help="Without the STOP mention.")] = False,
    ucs2: Annotated[bool, typer.Option("--ucs2", help="With letters beyond the GSM alphabet.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print how many parts a text takes, as the carrier counts and bills. Nothing is sent."""
    text = sys.stdin.read(_MOST_TEXT + 1).removesuffix("\n") if text == "-" else text
    if len(text) > _MOST_TEXT:
        raise typer.BadParameter(f"longer than {_MOST_TEXT} characters", param_hint="TEXT")
    msisdn = read_number(number)
    options = SendOptions(account_key="", originator=originator, nostop=nostop, ucs2=ucs2)

    async def ask(provider: Provider) -> None:
        if not isinstance(provider, CountsParts):
            raise _cannot(provider, "does not count parts; mail2sms lint does")
        counted = _told(await provider.count_parts(text, msisdn=msisdn, options=options))
        if as_json:
            _print_json({"provider": provider.name, "parts": counted.parts, "characters": counted.characters})
            return
        length = "" if counted.characters is None else f", {counted.characters} characters"
        print(f"{provider.name}: {counted.parts} part{'' if counted.parts == 1 else 's'}{length}")

    _ask(context, config, ask)


@carrier.command("hlr")
def hlr(context: typer.Context, numbers: NumbersArgument, *, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Print at which operator each number is. The carrier may charge for the question.

    Exit status 1 when one of them is in use nowhere, as far as the carrier knows.
    """
    msisdns = list(dict.fromkeys(map(read_number, numbers)))

    async def ask(provider: Provider) -> None:
        if not isinstance(provider, LooksAtNumbers):
            raise _cannot(provider, "does not look at numbers")
        size, found = provider.numbers_size, {}
        for start in range(0, len(msisdns), size):
            found.update(
                {facts.msisdn: facts for facts in _told(await provider.look_at_numbers(msisdns[start : start + size]))}
            )
        if as_json:
            _print_json(
                [
                    {
                        "msisdn": msisdn,
                        "operator": found[msisdn].operator if msisdn in found else None,
                        "code": found[msisdn].code if msisdn in found else None,
                        "told": msisdn in found,
                    }
                    for msisdn in msisdns
                ]
            )
        else:
            for msisdn in msisdns:
                facts = found.get(msisdn)
                code = "" if facts is None or facts.code is None else f" (code {facts.code.value}, {facts.code.label})"
                print(f"{msisdn}  {'not told' if facts is None else visible(facts.operator or f'no operator{code}')}")
        if any(facts.operator is None for facts in found.values()) or len(found) < len(msisdns):
            raise typer.Exit(BAD)

    _ask(context, config, ask)


@carrier.command("optouts")
def optouts(
    context: typer.Context,
    *,
    config: ConfigOption,
    add: Annotated[str | None, typer.Option(metavar="NUMBER", help="Put a number on it.")] = None,
    remove: Annotated[str | None, typer.Option(metavar="NUMBER", help="Take a number off it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the STOP list that the carrier keeps, or change it.

    Ours is another one: mail2sms optout.
    """
    if add is not None and remove is not None:
        raise typer.BadParameter("one at a time", param_hint="--add, --remove")
    change = None if add is None and remove is None else read_number(add or remove or "")

    async def ask(provider: Provider) -> None:
        if not isinstance(provider, KeepsOptOuts):
            raise _cannot(provider, "keeps no STOP list that can be asked for")
        if change is not None:
            failed = await (provider.add_optout(change) if add is not None else provider.remove_optout(change))
            _told(failed or change)
            if as_json:
                _print_json({"msisdn": change, "listed": add is not None})
            else:
                print(f"{change} is {'' if add is not None else 'not '}on the STOP list of {provider.name}")
            return
        listed = _told(await provider.list_optouts())
        if as_json:
            _print_json(list(listed))
            return
        for msisdn in listed:
            print(visible(msisdn))

    _ask(context, config, ask)


def _ask(context: typer.Context, config: Path, step: Callable[[Provider], Awaitable[None]]) -> None:
    """Take the step with the carrier that was named, and close it."""
    settings = load(config)
    chosen = next((one for one in settings.providers if one.name == context.obj), None)
    if chosen is None:
        known = ", ".join(one.name for one in settings.providers)
        raise typer.BadParameter(f"{context.obj} is no carrier of this configuration: {known}", param_hint="NAME")

    async def run() -> None:
        provider = build_provider(chosen, SystemClock())
        try:
            await step(provider)
        finally:
            await provider.close()

    asyncio.run(run())


def _told(answer: T | Untold) -> T:
    """Return the answer; exit status 4, with the reason, if there is none."""
    if isinstance(answer, Untold):
        sys.stderr.write(f"the carrier did not tell: {visible(answer.reason)}\n")
        raise typer.Exit(STORE_OR_NETWORK)
    return answer


def _cannot(provider: Provider, what: str) -> typer.BadParameter:
    return typer.BadParameter(f"{provider.name} {what}", param_hint="NAME")


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))
