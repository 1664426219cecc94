"""`mail2sms doctor`."""

import asyncio
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.exits import (
    BAD,
    CONFIGURATION,
    OK,
    STORE_OR_NETWORK,
    ConfigOption,
    JsonOption,
    SetOption,
    read_overrides,
)
from gateway.cli.progress import show_progress
from gateway.clock import SystemClock
from gateway.config import Config, ConfigError, load
from gateway.doctor import Checkup, Finding, Level, Section, Showing, examine
from gateway.doctor.findings import enumerate_names
from gateway.doctor.subject import CREDENTIALS
from gateway.log import register_secrets, set_up_logging

_FILE_COLUMNS = 160
_INDENT = " " * 11
_BAD = frozenset({Level.WARNING, Level.FAILURE})

_STYLES = {
    Level.OK: "green",
    Level.NOTE: "cyan",
    Level.UNKNOWN: "magenta",
    Level.WARNING: "yellow",
    Level.FAILURE: "bold red",
}
_TITLES = {
    Section.CONFIGURATION: "Configuration",
    Section.RIGHTS: "Users, rights, limits",
    Section.STORE: "Store",
    Section.PORTS: "Addresses",
    Section.LISTENERS: "What listeners show",
    Section.TLS: "TLS",
    Section.DNS: "DNS",
    Section.SMARTHOST: "Smarthost",
    Section.CARRIERS: "Carriers",
    Section.CLOCK: "Clock",
}

_VERDICTS = {
    Level.OK: "All is well",
    Level.NOTE: "All is well",
    Level.UNKNOWN: "Nothing bad was found",
    Level.WARNING: "It works, and something is doubtful",
    Level.FAILURE: "Something is bad",
}

OnlyOption = Annotated[
    list[Section] | None,
    typer.Option(
        "--only",
        metavar="SECTION",
        help=f"One section alone; repeatable: {', '.join(section.value for section in Section)}.",
    ),
]


def doctor(
    config: ConfigOption, only: OnlyOption = None, settings: SetOption = None, *, as_json: JsonOption = False
) -> None:
    """Look at the real installation, and say what to do.

    Sends no SMS and no mail, and changes nothing. Looks at the configuration, rights, store, addresses, what listeners
    show to whom, TLS, DNS, smarthost, carriers and clock, before the first `serve` and beside a gateway at work; takes
    half a minute at most. Run it as the user of the service. Exit status 0 when nothing failed, 1 when something did, 3
    when the configuration cannot be used (then nothing else was looked at), 4 when it is the store that does not work.
    """
    set_up_logging(level="error")
    try:
        loaded = load(config, read_overrides(settings))
    except ConfigError as error:
        _report_unusable(error, as_json=as_json)
        raise typer.Exit(CONFIGURATION) from None
    register_secrets(loaded.secrets)
    checkup = asyncio.run(_examine(loaded, only or ()))
    status = STORE_OR_NETWORK if checkup.has_bad_store else BAD if checkup.worst is Level.FAILURE else OK
    if as_json:
        print(json.dumps(_answer(checkup)))
    else:
        _print(checkup)
    raise typer.Exit(status)


async def _examine(config: Config, only: Sequence[Section]) -> Checkup:
    with show_progress(counts_bytes=False) as tell:
        return await examine(config, clock=SystemClock(), environ=os.environ, only=only, tell=tell)


def _report_unusable(error: ConfigError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ok": False, "errors": [asdict(problem) for problem in error.problems]}))
        return
    sys.stderr.write(f"{error}\n")
    print("The configuration cannot be used; nothing else was looked at.")
    is_about_files = any(
        problem.path.endswith("_file") and "cannot be read" in problem.message for problem in error.problems
    )
    if is_about_files and CREDENTIALS not in os.environ:
        print(
            "Secrets that systemd hands to the service as credentials are not there on the command line. Run it as:\n"
            "  systemd-run --uid=mail2sms --wait --pipe -p LoadCredential=NAME:/etc/mail2sms/NAME "
            "mail2sms doctor --config FILE"
        )


def _answer(checkup: Checkup) -> dict[str, object]:
    return {
        "ok": checkup.worst is not Level.FAILURE,
        "counts": {level.value: checkup.count(level) for level in Level},
        "gateway_pid": checkup.gateway_pid,
        "findings": [
            {"section": one.section.value, "level": one.level.value, "what": one.what, "todo": one.todo}
            for one in checkup.findings
        ],
        "listeners": [asdict(showing) for showing in checkup.showings],
    }


# --- for people ------------------------------------------------------------------------------------------------------


def _print(checkup: Checkup) -> None:
    width = None if sys.stdout.isatty() else _FILE_COLUMNS
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    for section in Section:
        findings = [finding for finding in checkup.findings if finding.section is section]
        if not findings and not (section is Section.LISTENERS and checkup.showings):
            continue
        console.print(Text(_TITLES[section], style="bold"))
        _print_findings(console, sorted(findings, key=lambda finding: finding.level.rank))
        if section is Section.LISTENERS and checkup.showings:
            _print_showings(console, checkup.showings)
        console.print()
    _print_summary(console, checkup)


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    for finding in findings:
        _print_line(console, finding, finding.what)
        # What is to be done about what is bad stands at the end, where it is read
        if finding.todo is not None and finding.level not in _BAD:
            _print_todo(console, finding.todo)


def _print_line(console: Console, finding: Finding, text: str) -> None:
    first, *more = _wrap(console, text)
    console.print(Text(f"  {finding.level.value:8} ", style=_STYLES[finding.level]).append(first, style="default"))
    for line in more:
        console.print(Text(f"{_INDENT}{line}"))


def _print_todo(console: Console, todo: str) -> None:
    first, *more = _wrap(console, todo, 2)
    console.print(Text(f"{_INDENT}→ {first}"))
    for line in more:
        console.print(Text(f"{_INDENT}  {line}"))


def _wrap(console: Console, text: str, less: int = 0) -> list[str]:
    width = max(40, console.width - len(_INDENT) - less)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _print_showings(console: Console, showings: Sequence[Showing]) -> None:
    for listener in dict.fromkeys(showing.listener for showing in showings):
        rows = [showing for showing in showings if showing.listener == listener]
        console.print(Text(f"  {listener} ({', '.join(rows[0].listen)})", style="bold"))
        table = Table("  clients from", "see", "over TLS, too", "may send for", box=None, pad_edge=False)
        for row in rows:
            table.add_row(
                Text(f"  {', '.join(row.clients)}"), Text(_shown(row)), Text(_shown_encrypted(row)), Text(_senders(row))
            )
        console.print(table)


def _shown(row: Showing) -> str:
    if not row.is_let_in:
        return "554: not let in"
    if row.clear is None:
        return "TLS, from the first octet"
    return ", ".join(row.clear) + ("; no mail before TLS" if row.needs_tls else "")


def _shown_encrypted(row: Showing) -> str:
    if row.encrypted is None:
        return "no TLS" if row.is_let_in else ""
    if row.clear is None:
        return ", ".join(row.encrypted)
    more = [one for one in row.encrypted if one not in row.clear]
    return ", ".join(more) or "nothing more"


def _senders(row: Showing) -> str:
    methods: dict[tuple[str, ...], list[str]] = {}
    for method, names in row.senders:
        methods.setdefault(names, []).append(method)
    proofs = [f"{enumerate_names(list(names))} (by {', '.join(by)})" for names, by in methods.items()]
    return "; ".join(proofs) or "nobody"


def _print_summary(console: Console, checkup: Checkup) -> None:
    """What is bad comes last: it is what is read."""
    bad = [one for one in checkup.findings if one.level in _BAD]
    if bad:
        console.print(Text("To do", style="bold"))
        for finding in sorted(bad, key=lambda one: one.level.rank):
            _print_line(console, finding, f"{_TITLES[finding.section]}: {finding.what}")
            _print_todo(console, finding.todo or "")
        console.print()
    counts = ", ".join(f"{checkup.count(level)} {level.value}" for level in Level if checkup.count(level))
    runs = "" if checkup.gateway_pid is None else f"; the gateway runs, pid {checkup.gateway_pid}"
    counted = f": {counts}" if counts else ""
    console.print(Text(f"{_VERDICTS[checkup.worst]}{counted}{runs}.", style=_STYLES[checkup.worst]))
