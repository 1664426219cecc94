"""SMS Partner's words for what became of an SMS, in look-ups and callbacks alike."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from gateway.providers.base import Fate, Receipt
from gateway.providers.masking import Record
from gateway.providers.numbers import e164
from gateway.providers.smspartner_wire import read_cost, read_currency, read_instant, read_ref, tracker_of

FATES: Mapping[str, Fate] = MappingProxyType(
    {
        "delivered": Fate.DELIVERED,
        "not delivered": Fate.UNDELIVERED,
        "waiting": Fate.TAKEN,
        "ko": Fate.REFUSED,  # "never sent"
        # The operators' own words: where they appear is not documented
        "delivrd": Fate.DELIVERED,
        "acceptd": Fate.TAKEN,
        "pending": Fate.TAKEN,
        "enroute": Fate.TAKEN,
        "undeliv": Fate.UNDELIVERED,
        "expired": Fate.UNDELIVERED,
        "rejectd": Fate.UNDELIVERED,
        "unknown": Fate.UNKNOWN,
    }
)
"""In any case of letters; a word that is not here is `Fate.UNKNOWN`."""

_STATUS_KEYS = ("status", "statut")
_REF_KEYS = ("msgId", "messageId", "message_id")
_NUMBER_KEYS = ("phone", "phoneNumber", "phone_number", "number")

Fields = Mapping[str, object]


def first(fields: Fields, keys: tuple[str, ...]) -> object:
    """Return what stands under the first of these keys that there is."""
    return next((fields[key] for key in keys if fields.get(key) is not None), None)


def read_receipt(fields: Fields, *, record: Record, ref: str | None = None) -> Receipt | None:
    """Return what these fields say about one SMS; None if they do not say it, or not about whom.

    `ref` is the message id that was asked for, for answers that do not repeat it.
    """
    status, msisdn = first(fields, _STATUS_KEYS), e164(first(fields, _NUMBER_KEYS))
    found_ref = read_ref(first(fields, _REF_KEYS)) or ref
    tracker = tracker_of(fields.get("tag"))
    if not isinstance(status, str) or (tracker is None and (found_ref is None or msisdn is None)):
        return None
    cost, currency = read_cost(fields.get("cost")), read_currency(fields.get("currency"))
    return Receipt(
        tracker=tracker,
        provider_ref=found_ref,
        msisdn=msisdn,
        fate=FATES.get(status.strip().lower(), Fate.UNKNOWN),
        at=read_instant(fields.get("date")),
        cost=cost if currency is not None else None,
        currency=currency if cost is not None else None,
        raw=record(json.dumps(fields, ensure_ascii=False, default=str)),
    )
