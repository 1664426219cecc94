"""`mail2sms sandbox`."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from gateway.sandbox import Sandbox, load_script
from gateway.sandbox.box import USUAL


def sandbox(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where; port 0: a free one.")] = USUAL,
    script: Annotated[Path | None, typer.Option(metavar="FILE", help="Trouble to make, as JSON.")] = None,
) -> None:
    """Run the carrier in a box: it takes SMS and sends nothing.

    Prints one line `ready` with its address and runs until it is stopped. What it was given is listed at
    /sandbox/messages; trouble is ordered at /sandbox/faults.
    """
    asyncio.run(_run_until_told(listen, script))


async def _run_until_told(listen: str, script: Path | None) -> None:
    """Be the sandbox until SIGINT or SIGTERM, which by itself would not end the first process of a container."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with Sandbox(listen, faults=() if script is None else load_script(script)) as box:
        print(f"ready http={box.url}", flush=True)
        await told.wait()
