"""`mail2sms quota`: what accounts used of their quotas (docs/protocol.md §10.5). A running gateway need not be told."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

import typer

from gateway.cli import new_group
from gateway.cli.arguments import check_account
from gateway.cli.exits import ConfigOption, JsonOption
from gateway.cli.opening import with_store
from gateway.clock import SystemClock
from gateway.config import load
from gateway.policy.accounts import Account
from gateway.policy.addresses import parse_address
from gateway.policy.quotas import Quota, Unit
from gateway.store import Store
from gateway.store.quotas import Standing
from gateway.text.msisdn import Malformed, parse_number

_MICROS = 1_000_000

AccountOption = Annotated[str | None, typer.Option("--account", metavar="NAME", help="One account; all unless given.")]
MostOption = Annotated[
    int, typer.Option("--most", min=1, max=100_000, help="Senders and numbers that are shown of each quota.")
]

quota = new_group()


@quota.callback()
def _quota() -> None:
    """Show and reset what accounts used of their quotas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a sender, a number, or all together ("") used of a quota; money in the unit of `part_price`."""

    subject: str
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """How many SMS a quota held back since `began_at`, as far as it was not told yet."""

    subject: str
    sms: int
    began_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLine:
    """One quota and who used the most of it."""

    quota: str
    limit: str
    most: float
    used: tuple[Used, ...]
    held_back: tuple[HeldBack, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """One account; `hour_parts` and `usual_parts` are known where its volume is watched."""

    account: str
    quotas: tuple[QuotaLine, ...]
    hour_parts: int
    usual_parts: int | None


@quota.command("show")
def show(
    *, account: AccountOption = None, most: MostOption = 5, config: ConfigOption, as_json: JsonOption = False
) -> None:
    """Print what counts now of each quota, the most used first, and what was held back and not told yet.

    Numbers are printed whole.
    """
    settings = load(config)
    if account is not None:
        check_account(account, settings)
    now = SystemClock().now()

    async def read(store: Store) -> list[AccountLine]:
        return [
            _line(one, await store.quota_standing(one.name, now, most))
            for one in settings.accounts
            if account in {None, one.name}
        ]

    found = with_store(settings, read, read_only=True)
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=datetime.isoformat))
    else:
        _print(found)


@quota.command("reset")
def reset(
    account: Annotated[str, typer.Argument(metavar="NAME", help="The account.")],
    subject: Annotated[
        str | None, typer.Argument(metavar="[NUMBER|SENDER]", help="Of one number or sender alone; all unless given.")
    ] = None,
    *,
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Let an account, or one number or sender of it, begin anew: it has used nothing.

    What was held back stays refused, and is not told any more. The volume stays as it is.
    """
    settings = load(config)
    check_account(account, settings)
    who = None if subject is None else _read_subject(subject)
    removed = with_store(settings, lambda store: store.reset_quotas(account, who))
    if as_json:
        print(json.dumps({"account": account, "subject": who, "counters": removed}))
    else:
        whose = account if who is None else f"{who} of {account}"
        print(f"{whose}: {removed} {'counter' if removed == 1 else 'counters'} reset")


def _read_subject(text: str) -> str:
    """Return the number (E.164) or the sender that is meant."""
    if "@" in text:
        address = parse_address(text)
        if address is None:
            raise typer.BadParameter(f"{text} is not a mail address", param_hint="NUMBER|SENDER")
        return str(address).lower()
    number = parse_number(text)
    if isinstance(number, Malformed):
        raise typer.BadParameter(f"{text} is not a number: {number.reason}", param_hint="NUMBER|SENDER")
    return number.e164


def _line(account: Account, standing: Standing) -> AccountLine:
    return AccountLine(
        account=account.name,
        quotas=tuple(_quota_line(one, standing) for one in account.quotas),
        hour_parts=standing.hour_parts,
        usual_parts=standing.usual_parts,
    )


def _quota_line(one: Quota, standing: Standing) -> QuotaLine:
    scale = _MICROS if one.unit is Unit.COST else 1
    used = [each for each in standing.used if each.quota == one.key]
    return QuotaLine(
        quota=one.key,
        limit=one.sentence,
        most=one.most / scale,
        used=tuple(Used(subject=each.subject, used=each.used / scale) for each in used),
        held_back=tuple(
            HeldBack(subject=each.subject, sms=each.sms, began_at=each.began_at, last_at=each.last_at)
            for each in standing.overruns
            if each.quota == one.key
        ),
    )


def _print(found: Sequence[AccountLine]) -> None:
    for account in found:
        if not account.quotas:
            print(f"{account.account}: no quotas")
        for line in account.quotas:
            print(f"{account.account}: {line.limit}")
            for one in line.used:
                print(f"  {one.subject or 'used'}: {one.used:g} of {line.most:g}")
            for held in line.held_back:
                whose = f"{held.subject}: " if held.subject else ""
                print(f"  {whose}{held.sms} held back since {held.began_at:%Y-%m-%d %H:%M:%S} UTC")
        usual = "" if account.usual_parts is None else f", {account.usual_parts} usual"
        if account.hour_parts or usual:
            print(f"{account.account}: {account.hour_parts} parts this hour{usual}")
