"""iSendPro's side of `/sms` and `/smsmulti`: what the platform checks, and how it answers.

Errors of the request as a whole are HTTP 400 and one entry without `tel`; what is wrong with one number is told in that
number's entry, with HTTP 200. Where the platform's documents are silent (no text, text longer than `smslong`, odd
tracker) the code is 999.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gateway.sandbox.account import Purse, StopList
from gateway.sandbox.faults import Shape
from gateway.sandbox.isendpro_zones import ZONES
from gateway.sandbox.orders import MOST_NUMBERS, Answer, Api, Line, Order, reserved_code
from gateway.sandbox.receipts import PARIS
from gateway.text.gsm import count_parts
from gateway.text.msisdn import Msisdn, parse_number
from gateway.text.originator import is_wellformed

LABELS: Mapping[int, str] = MappingProxyType(
    {
        0: "Votre message a bien ete envoye",
        1: "Le champ Login est vide",
        2: "Le champ PWD est vide",
        3: "Vos identifiants sont incorrects",
        6: "Vous devez saisir un numéro de téléphone",
        7: "Un numéro de téléphone est sur 10 chiffres",
        11: "Le numéro de téléphone est dans la liste noire",
        12: "Votre crédit de MT est épuisé",
        14: "L'adresse IP n'est pas autorisée",
        16: "L'émetteur ne peut pas être vide",
        21: "Le numéro de téléphone n'est pas attribué",
        22: "Le téléphone est attribué à un Full MVNO",
        23: "Le nombre maximum de téléphones par requête est de 500",
        24: "Pas d'envoi commercial entre 20h et 08h, ni les dimanches et jours fériés",
        27: "L'indicatif pays du téléphone n'est pas autorisé !",
        29: "Nous ne pouvons donner suite à votre demande (overflow)",
        30: "Erreur sur le domaine de connexion",
        33: "Cet émetteur n'est pas autorisé!",
        34: "La valeur de smslong doit être un entier !",
        230: "Le sous compte a ete ajoute",
        250: "Le lien court a ete genere",
    }
)
_OTHER_LABEL = "Une erreur est survenue. Merci de contacter le service technique"

_TRACKER = re.compile(r"[0-9A-Za-z]{1,49}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)


class Wrong(Exception):
    """Ends the reading of a request: it is wrong as a whole."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def read_fields(body: bytes) -> Mapping[str, object]:
    """Return the fields of a request; Wrong if they are none."""
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise Wrong(999) from None
    if not isinstance(found, dict):
        raise Wrong(999)
    return found


def read_key(fields: Mapping[str, object]) -> str:
    """Return the key, which may be any."""
    keyid = fields.get("keyid")
    if not isinstance(keyid, str) or not keyid.strip():
        raise Wrong(1)
    return keyid.strip()


def read_order(fields: Mapping[str, object], *, is_multi: bool, directories: Mapping[str, Sequence[str]]) -> Order:
    """Return what a call to `/sms` or `/smsmulti` asks for, each number with its code; Wrong if it cannot be had."""
    key = read_key(fields)
    if is_multi and "num" not in fields and "repertoireId" in fields:
        numbers = directories.get(str(fields["repertoireId"])) or ()
        if not numbers:
            raise Wrong(6)
    else:
        numbers = read_numbers(fields.get("num"), is_list=is_multi)
    originator = _read_originator(fields.get("emetteur"))
    smslong = _read_smslong(fields.get("smslong"))
    texts = _read_texts(fields.get("sms"), count=len(numbers), is_multi=is_multi)
    trackers = _read_trackers(fields.get("tracker"), count=len(numbers), is_multi=is_multi)
    date_envoi = fields.get("date_envoi")
    deliver_at = _read_date(date_envoi, fields.get("gmt_zone"))
    ucs2 = _is_on(fields, "ucs2")
    _is_on(fields, "numAzur")  # documented by name only
    return Order(
        api=Api.ISENDPRO,
        key=key,
        originator=originator,
        smslong=smslong,
        nostop=_is_on(fields, "nostop"),
        ucs2=ucs2,
        deliver_at=deliver_at,
        date_envoi=date_envoi if isinstance(date_envoi, str) else None,
        is_trial=_is_on(fields, "sandbox"),
        lines=[
            _judge(number, text, tracker, ucs2=ucs2, smslong=smslong)
            for number, text, tracker in zip(numbers, texts, trackers, strict=True)
        ],
    )


def settle(order: Order, *, stops: StopList, purse: Purse | None, price: Decimal) -> Order:
    """Return the order with the numbers that get nothing (11) and those the credit is not enough for (12).

    What is left is paid for; with no `purse`, nothing is.
    """
    lines = []
    for line in order.lines:
        code = line.code
        if code == 0 and line.msisdn in stops:
            code = 11
        elif code == 0 and purse is not None and not order.is_trial and not purse.spend(price * line.parts):
            code = 12
        lines.append(line if code == line.code else replace(line, code=code))
    return replace(order, lines=lines)


def answer_lines(lines: Sequence[Line], shape: Shape | None = None) -> Answer:
    """Return the answer about these SMS, in the documented shape or another."""
    entries: list[dict[str, object]] = [
        {
            "code": str(line.code) if shape is Shape.STRING_CODES else line.code,
            "tel": line.number,
            "message": label_of(line.code),
        }
        for line in lines
    ]
    match shape:
        case Shape.FLAT:
            return to_answer({"etat": entries[0]})
        case Shape.SINGLE_OBJECT:
            return to_answer({"etat": {"etat": entries[0]}})
        case Shape.STRING_CODES | None:
            return answer_entries(entries)


def answer_entries(entries: Sequence[Mapping[str, object]]) -> Answer:
    """Return an answer in the documented shape."""
    return to_answer({"etat": {"etat": entries}})


def answer_wrong(wrong: Wrong) -> Answer:
    """Return the answer about a request as a whole: HTTP 400, a string code, and no `tel`."""
    entry = {"code": str(wrong.code), "message": label_of(wrong.code)}
    return to_answer({"etat": {"etat": [entry]}}, status=400)


def to_answer(value: object, *, status: int = 200) -> Answer:
    """Return the value as JSON."""
    return Answer(body=json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), status=status)


def label_of(code: int) -> str:
    """Return what the platform says with a code."""
    return LABELS.get(code, _OTHER_LABEL)


def read_msisdn(number: str) -> str | None:
    """Return the number as E.164. International comes without plus, of any country; national begins with 0."""
    found = parse_number(number if number[:1] in {"0", "+"} else f"+{number}")
    return found.e164 if isinstance(found, Msisdn) else None


def read_numbers(value: object, *, is_list: bool) -> Sequence[str]:
    """Return what stands in `num`: 1 to 500 numbers, not looked at yet."""
    items = value if isinstance(value, list) and is_list else [value]
    if len(items) > MOST_NUMBERS:
        raise Wrong(23)
    numbers = [str(item).strip() for item in items if isinstance(item, str | int) and not isinstance(item, bool)]
    if not numbers or len(numbers) != len(items) or not all(numbers):
        raise Wrong(6)
    return numbers


def _judge(number: str, text: str, tracker: str | None, *, ucs2: bool, smslong: int | None) -> Line:
    msisdn = read_msisdn(number)
    parts = count_parts(text, ucs2).parts
    code = 7 if msisdn is None else reserved_code(msisdn)
    if code is None:
        code = 999 if smslong is not None and parts > smslong else 0
    return Line(number=number, msisdn=msisdn, text=text, tracker=tracker, parts=parts, code=code)


def _read_originator(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Wrong(33)
    if not value.strip():
        raise Wrong(16)
    if not is_wellformed(value):
        raise Wrong(33)
    return value


def _read_smslong(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or not _INTEGER.fullmatch(str(value).strip()):
        raise Wrong(34)
    return int(value)


def _read_texts(value: object, *, count: int, is_multi: bool) -> Sequence[str]:
    items = value if isinstance(value, list) and is_multi else [value]
    texts = [item for item in items if isinstance(item, str) and item]
    if len(texts) != len(items) or len(texts) not in {1, count}:
        raise Wrong(999)
    return texts * count if len(texts) == 1 else texts


def _read_trackers(value: object, *, count: int, is_multi: bool) -> Sequence[str | None]:
    if value is None:
        return [None] * count
    items = value if isinstance(value, list) and is_multi else [value]
    trackers = [item for item in items if isinstance(item, str) and _TRACKER.fullmatch(item)]
    if len(trackers) != len(items) or len(trackers) != count:
        raise Wrong(999)
    return trackers


def _read_date(value: object, zone: object) -> datetime | None:
    """Return when to send; None: at once. Without a zone it is meant for Paris."""
    if zone is not None and (not isinstance(zone, str) or zone not in ZONES):
        raise Wrong(999)
    if value is None:
        return None
    try:
        return read_local(value).replace(tzinfo=PARIS if zone is None else ZoneInfo(str(zone))).astimezone(UTC)
    except OverflowError:  # the first and the last day there are
        raise Wrong(999) from None


def read_local(value: object) -> datetime:
    """Return a `YYYY-MM-DD hh:mm` without its zone; Wrong if it is none."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise Wrong(999)
    try:
        return datetime.strptime(value, "%Y-%m-%d %H:%M")  # noqa: DTZ007 - the zone comes apart from it
    except ValueError:
        raise Wrong(999) from None


def _is_on(fields: Mapping[str, object], name: str) -> bool:
    """Tell whether a switch is on. Clients send "1" and 1, and "0" and 0; what is no word at all is wrong."""
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise Wrong(999)
    return str(value) == "1"
