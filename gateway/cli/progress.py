"""A bar on stderr for long work on the store, where stderr is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gateway.store.files import Tell


@contextmanager
def show_progress() -> Iterator[Tell]:
    """Yields what hears of progress: one bar for each step of the work."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bars: dict[str, TaskID] = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in bars:
                bars[step] = progress.add_task(step, total=total or None)
            progress.update(bars[step], completed=done)

        yield tell
