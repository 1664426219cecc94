"""`mail2sms sandbox`."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from gateway.sandbox import Api, Sandbox, SandboxOptions, load_script
from gateway.sandbox.box import USUAL
from gateway.sandbox.callbacks import is_address


def sandbox(
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where; port 0: a free one.")] = USUAL,
    script: Annotated[Path | None, typer.Option(metavar="FILE", help="Trouble to make, as JSON.")] = None,
    receipt_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=86_400, help="How long an SMS takes to its telephone.")
    ] = 1.0,
    credit: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Euros on each account; absent: no end of them.")
    ] = None,
    sms: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=1_000_000_000, help="The same, as a number of SMS.")
    ] = None,
    callback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[API=]URL",
            help="Where a client wants receipts and answers; API is isendpro (also without a name) or smspartner. "
            "May be given for each.",
        ),
    ] = None,
) -> None:
    """Run the carriers in a box: they take SMS and send nothing.

    Speaks iSendPro's interface below /cgi-bin and SMS Partner's below /v1, for any key. Prints one line `ready` with
    its address and runs until it is stopped. The page at / shows the telephones, and lets them answer.

    What it was given is listed at /sandbox/messages; trouble is ordered at /sandbox/faults, answers at
    /sandbox/replies; calls to the client are listed at /sandbox/callbacks. The numbers 06000000CC answer code CC;
    0699000001 to 0699000006 are delivered, not delivered, never heard of again, answer STOP, answer OUI, and cut the
    connection. docs/sandbox.md tells the rest.
    """
    if credit is not None and sms is not None:
        raise typer.BadParameter("say either --credit or --sms")
    options = SandboxOptions(
        receipt_delay_s=receipt_delay,
        credit=None if credit is None else _read_euros(credit),
        sms=sms,
        callbacks=_read_callbacks(callback or []),
    )
    asyncio.run(_run_until_told(listen, script, options))


def _read_euros(text: str) -> Decimal:
    try:
        euros = Decimal(text)
    except InvalidOperation:
        euros = Decimal("NaN")
    if not euros.is_finite() or not 0 <= euros <= 1_000_000_000:
        raise typer.BadParameter(f"--credit wants an amount like 12.50, not {text}")
    return euros


def _read_callbacks(told: Sequence[str]) -> Mapping[Api, str]:
    found = {}
    for one in told:
        name, _, address = one.partition("=")
        if name not in {api.value for api in Api}:
            name, address = Api.ISENDPRO.value, one
        if not is_address(address):
            raise typer.BadParameter(f"--callback wants http://HOST:PORT/PATH, or smspartner=http://..., not {one}")
        found[Api(name)] = address
    return found


async def _run_until_told(listen: str, script: Path | None, options: SandboxOptions) -> None:
    """Be the sandbox until SIGINT or SIGTERM, which by itself would not end the first process of a container."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with Sandbox(listen, faults=() if script is None else load_script(script), options=options) as box:
        print(f"ready http={box.url}", flush=True)
        await told.wait()
