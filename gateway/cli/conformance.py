"""`mail2sms conformance`."""

import asyncio
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.cli.exits import BAD, OK, JsonOption
from gateway.cli.plain import new_table_console
from gateway.clock import SystemClock
from gateway.conformance import (
    Case,
    Identity,
    Level,
    Play,
    Result,
    Run,
    Target,
    Verdict,
    load_corpus,
    to_json,
    to_junit,
)

_STYLES = {Result.PASSED: "green", Result.FAILED: "bold red", Result.SKIPPED: "yellow"}

AddressArgument = Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where the gateway under test takes mail.")]
ReportsOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Listen here for Ack and Not: the smarthost of the gateway."),
]
SandboxOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The carrier sandbox behind the gateway: compare the SMS.")
]
LevelOption = Annotated[
    Level, typer.Option(help="lenient: tolerances must be granted; strict: they may be refused as documented.")
]
KeyOption = Annotated[str, typer.Option(metavar="KEY", help="The keyid of the account to play with.")]
DomainOption = Annotated[str, typer.Option(help="A domain of that account.")]
OtherDomainOption = Annotated[
    str | None, typer.Option(metavar="DOMAIN", help="A domain of another account of the gateway.")
]
RecipientOption = Annotated[str, typer.Option(metavar="ADDR", help="The address that mails for the gateway go to.")]
SenderOption = Annotated[
    str | None, typer.Option(metavar="ADDR", help="Who the mails come from; alerte@DOMAIN unless given.")
]
OnlyOption = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Play these cases: 6*, *files*, or a section as 6.2.")
]
JunitOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML, too.")]
TimeoutOption = Annotated[float, typer.Option(metavar="S", min=0.1, max=3600, help="Seconds that each case may take.")]


def conformance(
    address: AddressArgument,
    *,
    reports: ReportsOption = None,
    sandbox: SandboxOption = None,
    level: LevelOption = Level.LENIENT,
    account_key: KeyOption = "a296464ce012b8ab710a",
    domain: DomainOption = "masociete.com",
    other_domain: OtherDomainOption = None,
    recipient: RecipientOption = "sendsms@isendpro-api.com",
    sender: SenderOption = None,
    only: OnlyOption = None,
    as_json: JsonOption = False,
    junit: JunitOption = None,
    timeout: TimeoutOption = 20.0,
) -> None:
    """Play a corpus of mails against any gateway and judge what comes back.

    The gateway must have a sandbox for its carrier: its SMS are meant for nobody. Exit status 0 when every case that
    was played has passed, 1 when not, 4 when an address cannot be reached.
    """
    target = Target(
        smtp=_read_address(address, "HOST:PORT"),
        reports=None if reports is None else _read_address(reports, "--reports"),
        sandbox=sandbox,
    )
    identity = Identity(
        key=account_key,
        domain=domain.lower(),
        recipient=recipient,
        sender=sender or f"alerte@{domain.lower()}",
        other_domain=other_domain,
    )
    _check_printable(identity)
    cases = _choose(load_corpus(), only)
    play = Play(target, identity, level=level, timeout_s=timeout, clock=SystemClock())
    run = _show_progress(play, cases)
    if junit is not None:
        junit.write_text(to_junit(run), "utf-8")
    if as_json:
        print(to_json(run))
    else:
        _print_table(run)
    raise typer.Exit(OK if run.is_passed else BAD)


def _read_address(text: str, option: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise typer.BadParameter(f"{text} is not HOST:PORT", param_hint=option)
    return host, int(port)


def _check_printable(identity: Identity) -> None:
    """Refuse what cannot stand in a mail as it is."""
    for value in (identity.key, identity.domain, identity.recipient, identity.sender, identity.other_domain or ""):
        if not (value.isascii() and value.isprintable()):
            raise typer.BadParameter(f"{value!r} is not printable ASCII")


def _choose(cases: Sequence[Case], only: str | None) -> Sequence[Case]:
    if only is None:
        return cases
    chosen = [case for case in cases if fnmatch.fnmatchcase(case.name, only) or only.removeprefix("§") in case.sections]
    if not chosen:
        raise typer.BadParameter(f"no case is called {only}", param_hint="--only")
    return chosen


def _show_progress(play: Play, cases: Sequence[Case]) -> Run:
    """Play, with a bar on stderr where it is a terminal."""
    columns = (TextColumn("Playing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("cases", total=len(cases))
        return asyncio.run(play.play(cases, lambda: progress.advance(task)))


def _print_table(run: Run) -> None:
    console = new_table_console()
    table = Table("Case", "Section", "Verdict", "What differed", box=None, pad_edge=False)
    for verdict in run.verdicts:
        table.add_row(
            Text(verdict.case, no_wrap=True),
            Text(" ".join(f"§{section}" for section in verdict.sections)),
            Text(verdict.result.value, style=_STYLES[verdict.result]),
            Text(_explain(verdict)),
        )
    console.print(table)
    for remark in run.remarks:
        console.print(remark)
    counts = ", ".join(f"{run.count(result)} {result.value}" for result in Result)
    console.print(f"{counts}; level {run.level.value}, run {run.run}, {run.duration_s:.1f} s")


def _explain(verdict: Verdict) -> str:
    return "\n".join(verdict.differences) or verdict.remark
