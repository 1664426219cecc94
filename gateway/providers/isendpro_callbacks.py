"""iSendPro's callbacks: receipts and replies. Hardly anything about them is documented.

Known: our `tracker` comes back in the query of a GET; one client has met `tel` and `statut`, and takes 0 for delivered.
So names and statuses are settings (`callback_...`, `status_...`), GET and POST are taken, and a query, a form or JSON.

Which is which. What has a status is a receipt; what has a text and no status is a reply. But `code` and `etat` could
stand in a reply too, and `message` in a receipt. So a status that means nothing to us makes no receipt without our
tracker, and beside a text that begins with STOP it is taken for both: a receipt of unknown meaning harms nobody, a lost
STOP does.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

from gateway.providers.base import Callback, CallbackUnreadable, Fate, Receipt, Reply
from gateway.providers.isendpro_answers import international
from gateway.providers.isendpro_dates import read_date
from gateway.providers.isendpro_settings import IsendproDialect
from gateway.providers.transport import recorded
from gateway.text.msisdn import Msisdn, parse_number

_MOST_ENTRIES = 500
_MOST_FIELDS = 200
_TRACKER = re.compile(r"[0-9A-Za-z]{1,49}")
_STOP = re.compile(r"\W*stop\b", re.IGNORECASE)
_SHOWN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_MOST_SHOWN = 12
_CHARSET = re.compile(r"charset=\"?(utf-8|iso-8859-1|iso-8859-15|windows-1252)\b", re.IGNORECASE)

Fields = Mapping[str, str]
"""What one entry says: names in lower case, the first of each, values cleaned; empty ones are not there."""


class IsendproCallbacks:
    """Reads them by the names and statuses of the settings."""

    def __init__(self, settings: IsendproDialect) -> None:
        self._name = settings.name
        self._keyid = "" if settings.keyid is None else settings.keyid.get_secret_value()
        self._fates = settings.fates
        self._number = _fold(settings.callback_number)
        self._status = _fold(settings.callback_status)
        self._tracker = _fold(settings.callback_tracker)
        self._date = _fold(settings.callback_date)
        self._text = _fold(settings.callback_text)

    def parse(self, callback: Callback) -> Sequence[Receipt | Reply]:
        """Return what the request says; CallbackUnreadable if it says nothing that iSendPro is known to say."""
        query = [(name, _mend(value)) for name, value in callback.query]
        body = _decode(callback.body, callback.content_type)
        raw = recorded(f"{callback.method} {urlencode(query, errors='replace')} {body}".strip(), secret=self._keyid)
        entries = _read_entries(body) or [[]]
        return [word for entry in entries for word in self._read(_gather([*query, *entry]), raw)]

    def _read(self, fields: Fields, raw: str) -> list[Receipt | Reply]:
        status, text = _first(fields, self._status), _first(fields, self._text)
        number = _read_number(_first(fields, self._number))
        tracker = _read_tracker(_first(fields, self._tracker))
        date = _first(fields, self._date)
        at = None if date is None else read_date(date)
        fate = Fate.UNKNOWN if status is None else self._fates.get(status.strip().casefold(), Fate.UNKNOWN)
        is_told = status is not None and (fate is not Fate.UNKNOWN or tracker is not None)
        is_reply = text is not None and (not is_told or (fate is Fate.UNKNOWN and bool(_STOP.match(text))))
        found: list[Receipt | Reply] = []
        if is_reply and text is not None and number is not None:
            found.append(Reply(msisdn=number, text=text, tracker=tracker, at=at, raw=raw))
        if tracker is not None and (status is not None or text is None):
            found.append(Receipt(tracker=tracker, msisdn=number, fate=fate, at=at, raw=raw))
        if not found:
            raise CallbackUnreadable(self._explain(fields, is_reply=is_reply))
        return found

    def _explain(self, fields: Fields, *, is_reply: bool) -> str:
        """Return what an operator should look at, without any value."""
        lacks = "a number that can be read (callback_number)" if is_reply else "our tracker (callback_tracker)"
        names = [name for name in fields if _SHOWN_NAME.fullmatch(name)][:_MOST_SHOWN]
        shown = ", ".join(names) if names else "none"
        return f"a callback of {self._name} lacks {lacks}; its fields are: {shown}. Name the right ones in the settings"


def _fold(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.casefold() for name in names)


def _first(fields: Fields, names: Sequence[str]) -> str | None:
    return next((fields[name] for name in names if name in fields), None)


def _gather(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in pairs:
        if value.strip() and len(fields) < _MOST_FIELDS:
            fields.setdefault(name.strip().casefold(), _clean(value))
    return fields


def _clean(value: str) -> str:
    """Return a value fit for any database: no NUL, no half of a surrogate pair."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _mend(value: str) -> str:
    """Return a value of the query, which may hold bytes that are not UTF-8 (as surrogates): then it is ISO-8859-1."""
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        return value.encode("utf-8", "surrogateescape").decode("iso-8859-1")
    except UnicodeEncodeError:
        return _clean(value)


def _decode(body: bytes, content_type: str) -> str:
    named = _CHARSET.search(content_type)
    for charset in (*(named.groups() if named else ()), "utf-8-sig"):
        try:
            return body.decode(charset)
        except UnicodeDecodeError:
            continue
    return body.decode("iso-8859-1")


def _read_entries(body: str) -> list[list[tuple[str, str]]]:
    """Return what a body says, one list of fields for each entry; JSON if it looks like it, else a form."""
    body = body.strip()
    if not body.startswith(("{", "[")):
        return [_read_form(body)] if body else []
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise CallbackUnreadable("a callback began like JSON and is none") from None
    items = found if isinstance(found, list) else [found]
    entries = [item for item in items if isinstance(item, dict)]
    if not entries or len(items) > _MOST_ENTRIES:
        raise CallbackUnreadable(f"a callback in JSON holds no object, or more than {_MOST_ENTRIES} entries")
    return [
        [
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in entry.items()
            if _is_plain(value)
        ]
        for entry in entries
    ]


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _read_form(body: str) -> list[tuple[str, str]]:
    """Return the fields of a form: UTF-8, or else ISO-8859-1 as a whole."""
    for encoding, errors in (("utf-8", "strict"), ("iso-8859-1", "strict")):
        try:
            return parse_qsl(body, encoding=encoding, errors=errors, max_num_fields=_MOST_FIELDS)
        except UnicodeDecodeError:
            continue
        except ValueError:
            break
    raise CallbackUnreadable(f"a callback is a form with more than {_MOST_FIELDS} fields")


def _read_number(text: str | None) -> str | None:
    digits = None if text is None else international(text)
    number = None if digits is None else parse_number(f"+{digits}")
    return number.e164 if isinstance(number, Msisdn) else None


def _read_tracker(text: str | None) -> str | None:
    return text.strip().upper() if text is not None and _TRACKER.fullmatch(text.strip()) else None
