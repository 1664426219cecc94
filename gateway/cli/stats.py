"""`mail2sms stats`: what came, what became of it, what it cost, and how long what waits has been waiting."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.exits import ConfigOption, JsonOption
from gateway.cli.opening import with_stories
from gateway.cli.plain import new_console, printed_json, read_since, shown_time
from gateway.clock import SystemClock
from gateway.config import load
from gateway.lifecycle import SmsState
from gateway.stories import Stats, StatsBy, StatsRow
from gateway.text.spans import write_span
from gateway.text.visible import visible

_COLUMNS = 240


def stats(
    *,
    config: ConfigOption,
    by: Annotated[StatsBy, typer.Option("--by", help="What is counted together.")] = StatsBy.ACCOUNT,
    since: Annotated[
        str, typer.Option(metavar="TIME", help='Mails that came since then: "24h", "7d", "2026-11-22 14:03" (UTC).')
    ] = "24h",
    as_json: JsonOption = False,
) -> None:
    """Count what came and what became of it, and say how long SMS wait.

    SMS, parts and cost of the mails that came since then, and the wait for each carrier. The delivery rate is that of
    the SMS that the network spoke about. Times are in UTC.
    """
    settings = load(config)
    begin = read_since(since, SystemClock().now())
    found = with_stories(settings, lambda stories: stories.stats(by, begin))
    if as_json:
        print(printed_json(found))
    else:
        _show(new_console(), found)


def _show(console: Console, found: Stats) -> None:
    console.width = max(console.width, _COLUMNS)  # rich would make room by leaving out letters, and then all names
    console.print(f"Since {shown_time(found.since)} UTC")
    states = [state.value for state in SmsState if state.value in found.total.states]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(found.by.value)
    for name in ("SMS", "parts", "cost", "delivered", *states):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (*found.rows, found.total):
        table.add_row(visible(row.key), *_cells(row, states))
    console.print(table)
    console.print()
    if not found.waiting:
        console.print("Nothing waits to be sent.")
        return
    waiting = Table(box=None, pad_edge=False, header_style="bold")
    waiting.add_column("waiting for")
    for name in ("SMS", "oldest", "p50", "p95"):
        waiting.add_column(name, justify="right", no_wrap=True)
    for one in found.waiting:
        spans = [write_span(seconds) for seconds in (one.oldest_s, one.p50_s, one.p95_s)]
        waiting.add_row(visible(one.provider), str(one.sms), *spans)
    console.print(waiting)


def _cells(row: StatsRow, states: list[str]) -> list[str]:
    costs = ", ".join(f"{micros / 1_000_000:.2f} {currency}" for currency, micros in sorted(row.costs_micros.items()))
    rate = "-" if row.delivery_rate is None else f"{row.delivery_rate:.1%}"
    return [str(row.sms), str(row.parts), costs or "-", rate, *(str(row.states.get(state, 0)) for state in states)]
