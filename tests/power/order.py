"""Whether a 250 was ever said before the mail it answers was synchronised: read from the trace, without any image."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.power.judge import Said
from tests.power.trace import Call, Event

_MAIL_ID = re.compile(rb"01[0-9A-Z]{18}")
_FRAME_HEADER_BYTES = 24
"""Before each page in SQLite's write-ahead log; bytes 4 to 8 are not zero in the last frame of a transaction."""


@dataclass(slots=True, eq=False)
class _Transaction:
    """The frames up to a commit; durable once a sync of the log that began after them has ended."""

    is_whole: bool = False
    is_durable: bool = False


def find_early_replies(events: Iterable[Event]) -> Iterator[str]:
    """Return the mails that were answered 250 before the transaction that stored them was synchronised.

    A mail's transaction is the one in whose frames its id is seen first.
    """
    transactions: dict[str, _Transaction] = {}
    current, whole = _Transaction(), list[_Transaction]()
    covered: dict[Call, list[_Transaction]] = {}
    answered: set[str] = set()
    for event in events:
        call = event.call
        if call.path.endswith("-wal") and call.is_sync:
            if not event.is_end:
                covered[call] = list(whole)
            else:
                for transaction in covered.pop(call) if call.result == 0 else ():
                    transaction.is_durable = True
                    whole.remove(transaction)
        elif call.path.endswith("-wal") and call.name == "pwrite64" and event.is_end:
            if len(call.data) == _FRAME_HEADER_BYTES:
                current.is_whole = any(call.data[4:8])
                continue
            for mail_id in _MAIL_ID.findall(call.data):
                transactions.setdefault(mail_id.decode(), current)
            if current.is_whole:
                whole.append(current)
                current = _Transaction()
        elif not event.is_end:
            said = Said()
            said.hear(call)
            for mail_id in said.taken - answered:
                answered.add(mail_id)
                if mail_id not in transactions or not transactions[mail_id].is_durable:
                    yield mail_id
