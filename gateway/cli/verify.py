"""`mail2sms verify`."""

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from gateway.cli.exits import BAD, OK, ConfigOption, JsonOption
from gateway.cli.plain import new_table_console
from gateway.cli.progress import show_progress
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.store.verifying import Finding
from gateway.store.verifying import verify as look


def verify(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A backup; none: the store itself.")] = None,
    *,
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Look for anything wrong in the store, or in a backup of it.

    Changes nothing and disturbs no gateway at work. Looks at the file, its version, and what must hold across the rows:
    every Not made, every attempt accounted for, every emailId claimed, credit that adds up, nothing stuck. Exit status
    0 when all is well, 1 when something is wrong, 4 when it cannot be read.
    """
    findings = asyncio.run(_verify(load(config), file))
    is_well = not any(finding.problem is not None and finding.is_counted for finding in findings)
    if as_json:
        print(json.dumps({"ok": is_well, "checks": [asdict(finding) for finding in findings]}))
    else:
        _print_table(findings)
        print("All is well." if is_well else "Something is wrong.")
    raise typer.Exit(OK if is_well else BAD)


async def _verify(config: Config, file: Path | None) -> list[Finding]:
    with show_progress() as tell:
        return [
            finding
            async for finding in look(
                config.store,
                file,
                now=SystemClock().now(),
                reconcile_window=timedelta(seconds=config.janitor.reconcile_window_s),
                receipt_window=timedelta(seconds=config.janitor.receipt_window_s),
                tell=tell,
            )
        ]


def _print_table(findings: list[Finding]) -> None:
    console = new_table_console()
    table = Table("Check", "Found", "What", box=None, pad_edge=False)
    for finding in findings:
        if finding.problem is None:
            table.add_row(Text(finding.check, no_wrap=True), Text("ok", style="green"), Text())
            continue
        style = "bold red" if finding.is_counted else "yellow"
        what = finding.problem + (f": {', '.join(finding.examples)}" if finding.examples else "")
        more = finding.count - len(finding.examples)
        what += f" and {more} more" if finding.examples and more > 0 else ""
        found = str(finding.count) if finding.count else ("wrong" if finding.is_counted else "note")
        table.add_row(Text(finding.check, no_wrap=True), Text(found, style=style), Text(what))
    console.print(table)
