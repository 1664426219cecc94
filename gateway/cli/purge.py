"""`mail2sms purge`."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gateway.cli.exits import ConfigOption, JsonOption
from gateway.cli.opening import with_store
from gateway.clock import SystemClock
from gateway.config import load
from gateway.retention import RetentionSettings
from gateway.retention import purge as purge_step
from gateway.store import Store

_DaysOption = typer.Option(metavar="DAYS", min=1, max=36_500, help="Instead of the setting of the same name.")


def purge(
    *,
    config: ConfigOption,
    contents_days: Annotated[int | None, _DaysOption] = None,
    records_days: Annotated[int | None, _DaysOption] = None,
    as_json: JsonOption = False,
) -> None:
    """Erase now what is older than it is to be kept.

    The gateway does so by itself once an hour, as [retention] says; here is how to do it at once, or with other days,
    also while it works. Contents (mails, texts, answers, reports) go first, records later; what still waits for
    anything is left alone, and used emailIds are kept for ever. Erased is erased: make a backup first, or none at all.
    """
    settings = load(config)
    kept = settings.retention.model_dump()
    wanted = {"contents_days": contents_days, "records_days": records_days}
    kept |= {name: days for name, days in wanted.items() if days is not None}
    if kept["records_days"] < kept["contents_days"]:
        raise typer.BadParameter("less than what contents are kept for", param_hint="--records-days")
    retention = RetentionSettings.model_validate(kept)
    erased = with_store(settings, lambda store: _purge(store, retention))
    if as_json:
        print(json.dumps(erased))
    else:
        print(
            f"Contents of {erased['contents_mails']} mails and {erased['contents_replies']} replies erased; records of "
            f"{erased['mails']} mails, {erased['replies']} replies and {erased['refusals']} refusals."
        )


async def _purge(store: Store, retention: RetentionSettings) -> dict[str, int]:
    now = SystemClock().now()
    erased = dict.fromkeys(("contents_mails", "contents_replies", "mails", "replies", "refusals"), 0)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("mails", total=None)
        is_last = False
        while not is_last:
            step = await purge_step(store, retention, now=now)
            erased["contents_mails"] += step.contents.mails
            erased["contents_replies"] += step.contents.replies
            erased["mails"] += step.records.mails
            erased["replies"] += step.records.replies
            erased["refusals"] += step.records.refusals
            progress.update(bar, completed=erased["contents_mails"] + erased["mails"])
            is_last = step.is_last
    return erased
