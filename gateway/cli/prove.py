"""`mail2sms prove`."""

import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.cli import new_group
from gateway.cli.exits import BAD, OK, JsonOption
from gateway.cli.plain import new_table_console
from gateway.clock import SystemClock
from gateway.proof import PLANS, Ending, Matrix, MatrixRow, Proof, Rounds, RoundsRun, Step, to_json
from gateway.proof.ledger import Harm
from gateway.proof.results import describe_counts, describe_states
from gateway.store import StoreSettings

_MOST_FAULTS = 20
_MOST_ROUNDS = 10_000

prove = new_group()


@prove.callback()
def _prove() -> None:
    """Prove on this machine what the gateway promises."""


@prove.command("crash")
def crash(
    *,
    step: Annotated[
        list[Step] | None, typer.Option(metavar="NAME", help="Kill at this step only; repeatable. All unless given.")
    ] = None,
    has_steps: Annotated[bool, typer.Option("--steps/--no-steps", help="Without: random moments only.")] = True,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=0, max=_MOST_ROUNDS, help="So many ends at random moments.")
    ] = 10,
    ending: Annotated[
        Ending, typer.Option("--signal", help="How these end: kill (SIGKILL), term (SIGTERM), double (twice SIGTERM).")
    ] = Ending.KILL,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Repeats the moments of another run.")] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Play the rounds on this empty PostgreSQL database; needs --no-steps."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave configurations, stores and logs here; must be empty.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Kill a real gateway at every step, start it again, and print what the carrier and the mailbox saw.

    Everything is on loopback and in a folder of its own; no gateway at work is touched. Exit status 0 when nothing was
    lost, doubled or otherwise than promised, 1 when something was.
    """
    steps: Sequence[Step] = (step or list(Step)) if has_steps else ()
    if not steps and not rounds:
        raise typer.BadParameter("nothing is left to prove", param_hint="--no-steps")
    if store is not None and steps:
        raise typer.BadParameter("steps are played on SQLite: add --no-steps", param_hint="--store")
    database = None if store is None else _read_store(store)
    chosen = random.randrange(1_000_000) if seed is None else seed  # noqa: S311 no secret
    clock = SystemClock()
    with _work_in(folder) as here:
        proof = _show_progress(
            steps, rounds, Matrix(here, clock), Rounds(here, clock, ending=ending, seed=chosen, database=database)
        )
    if as_json:
        print(to_json(proof))
    else:
        print_proof(proof)
    raise typer.Exit(OK if proof.is_right else BAD)


@contextmanager
def _work_in(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="mail2sms-proof-") as name:
            yield Path(name)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise typer.BadParameter(f"{folder} is not empty", param_hint="--folder")
    yield folder.resolve()


def _read_store(url: str) -> StoreSettings:
    try:
        settings = StoreSettings(url=url)
    except ValidationError as error:
        raise typer.BadParameter(f"{url} is not the address of a database", param_hint="--store") from error
    if not url.startswith("postgresql:"):
        raise typer.BadParameter("is for PostgreSQL: an SQLite file is made for each proof", param_hint="--store")
    return settings


def _show_progress(steps: Sequence[Step], rounds: int, matrix: Matrix, random_part: Rounds) -> Proof:
    """Play, with a bar on stderr where it is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        cells = sum(len(PLANS[step].subjects) for step in steps)
        matrix_bar = progress.add_task("Steps", total=cells, visible=bool(steps))
        rounds_bar = progress.add_task("Rounds", total=rounds, visible=bool(rounds))

        async def play() -> Proof:
            began = SystemClock().monotonic()
            rows = await matrix.play(steps, lambda: progress.advance(matrix_bar)) if steps else ()
            run = await random_part.play(rounds, lambda: progress.advance(rounds_bar)) if rounds else None
            return Proof(rows=rows, rounds=run, duration_s=SystemClock().monotonic() - began)

        return asyncio.run(play())


# --- for people ------------------------------------------------------------------------------------------------------


def print_proof(proof: Proof) -> None:
    """Print the matrix, the rounds, and what it all comes to."""
    console = new_table_console()
    if proof.rows:
        _print_matrix(console, proof.rows)
    if proof.rounds is not None:
        _print_rounds(console, proof.rounds)
    counts = ", ".join(f"{sum(fault.harm is harm for fault in proof.faults)} {harm.value}" for harm in Harm)
    console.print(f"{counts}; {len(proof.rows)} kills at steps, {proof.duration_s:.0f} s")


def _print_matrix(console: Console, rows: Sequence[MatrixRow]) -> None:
    table = Table(
        *("Killed at", "Which is", "Of", "SMS", "Code", "Acks", "Nots", "Copies", "Rows", "Verdict"),
        box=None,
        pad_edge=False,
    )
    for row in rows:
        seen = row.seen
        counted = (
            ("",) * 5
            if seen is None
            else (
                describe_counts(seen.sms),
                describe_counts(seen.codes),
                str(len(seen.acks)),
                str(len(seen.nots)),
                str(seen.copies),
            )
        )
        table.add_row(
            Text(row.step.value, no_wrap=True),
            row.about,
            row.subject.value,
            *counted,
            "" if row.tally is None else describe_states(row.tally),
            Text("as promised", style="green")
            if row.is_right
            else Text("\n".join(map(str, row.faults)), style="bold red"),
        )
    console.print(table)


def _print_rounds(console: Console, run: RoundsRun) -> None:
    stop = "" if run.ending is Ending.KILL else f", longest stop {run.longest_stop_s:.1f} s"
    console.print(
        f"{run.rounds} rounds ({run.ending.value}, seed {run.seed}): {run.orders} mails in {run.attempts} attempts, "
        f"{run.sms} SMS asked for, {run.at_carrier} at the carrier, {run.unknown} reported 999, "
        f"{run.reports} reports and {run.copies} copies of them{stop}"
    )
    if run.tally is not None:
        console.print(f"Rows: {run.tally.mails} mails; {describe_states(run.tally)}")
    for fault in run.faults[:_MOST_FAULTS]:
        console.print(Text(str(fault), style="bold red"))
    if len(run.faults) > _MOST_FAULTS:
        console.print(f"... and {len(run.faults) - _MOST_FAULTS} more")
