"""`mail2sms forget`."""

import json
from dataclasses import replace
from typing import Annotated

import typer

from gateway.cli.arguments import read_number
from gateway.cli.exits import BAD, OK, ConfigOption, JsonOption
from gateway.cli.opening import with_store
from gateway.clock import SystemClock
from gateway.config import load
from gateway.store import Store
from gateway.store.purging import Forgotten

_AT_ONCE = 200


def forget(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Of whom; national or international.")],
    *,
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Erase everything that names a telephone number, at once.

    The SMS to it and the replies from it lose number and text; the mails that carried it, carriers' answers and
    reports lose their contents. What became of each SMS stays, without the number; so do used emailIds, and the STOP
    list, which is what the person asked for. Mails of which anything still waits are left alone and counted: exit
    status 1, forget the number again when they are done. Backups, the log, and what carriers and mail servers keep are
    theirs to forget.
    """
    settings = load(config)
    msisdn = read_number(number)
    forgotten = with_store(settings, lambda store: _forget(store, msisdn))
    if as_json:
        names = ("sms", "mails", "replies", "waiting", "is_on_stop_list")
        print(json.dumps({name: getattr(forgotten, name) for name in names}))
    else:
        _tell(forgotten)
    raise typer.Exit(BAD if forgotten.waiting else OK)


def _tell(forgotten: Forgotten) -> None:
    print(f"Forgot {forgotten.sms} SMS, the contents of {forgotten.mails} mails, and {forgotten.replies} replies.")
    if forgotten.is_on_stop_list:
        print("The number stays on the STOP list: nothing will be sent to it.")
    if forgotten.waiting:
        print(f"{forgotten.waiting} SMS are in mails that are not over yet: forget the number again when they are.")


async def _forget(store: Store, msisdn: str) -> Forgotten:
    now = SystemClock().now()
    all_of_it = await store.forget(msisdn, now=now, limit=_AT_ONCE)
    last = all_of_it
    while last.sms or last.replies:
        last = await store.forget(msisdn, now=now, limit=_AT_ONCE)
        all_of_it = replace(
            last,
            sms=all_of_it.sms + last.sms,
            mails=all_of_it.mails + last.mails,
            replies=all_of_it.replies + last.replies,
        )
    return all_of_it
