"""iSendPro's side of its REST interface: what the platform checks, and how it answers.

Errors of the request as a whole are HTTP 400 and one entry without `tel`; what is wrong with one number is told in that
number's entry, with HTTP 200. Where the platform's documents are silent (no text, text longer than `smslong`, odd
tracker) the code is 999.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gateway.sandbox.faults import Shape
from gateway.text.gsm import count_parts
from gateway.text.msisdn import Msisdn, parse_number
from gateway.text.originator import is_wellformed

MOST_NUMBERS = 500

RESERVED_PREFIX = "+336000000"
"""06000000CC answers code CC."""

CUTTING_NUMBER = "+33699000006"
"""Is accepted, and then the connection is cut."""

LABELS: Mapping[int, str] = MappingProxyType(
    {
        0: "Votre message a bien ete envoye",
        1: "Le champ Login est vide",
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
        33: "Cet émetteur n'est pas autorisé!",
        34: "La valeur de smslong doit être un entier !",
    }
)
_OTHER_LABEL = "Une erreur est survenue. Merci de contacter le service technique"

_TRACKER = re.compile(r"[0-9A-Za-z]{1,49}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The request as a whole is wrong."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One SMS of a request, and what is answered about it."""

    number: str  # as it came
    msisdn: str | None  # E.164; None: not a number
    text: str
    tracker: str | None
    parts: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that is right as a whole."""

    keyid: str
    originator: str | None
    smslong: int | None
    nostop: bool
    ucs2: bool
    date_envoi: str | None
    is_trial: bool
    lines: Sequence[Line]

    @property
    def cuts(self) -> bool:
        """True when a reserved number asks for the connection to be cut."""
        return any(line.msisdn == CUTTING_NUMBER for line in self.lines)


class _Wrong(Exception):
    """Ends the reading of a request."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def read_request(body: bytes, *, is_multi: bool) -> Request | Rejected:
    """Return what a call to `/sms` or `/smsmulti` asks for, each number with its code."""
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        return Rejected(code=999)
    if not isinstance(found, dict):
        return Rejected(code=999)
    try:
        return _read(found, is_multi=is_multi)
    except _Wrong as wrong:
        return Rejected(code=wrong.code)


def render_lines(lines: Sequence[Line], shape: Shape | None = None) -> bytes:
    """Return the answer about these SMS, in the documented shape or another."""
    entries: list[dict[str, object]] = [
        {
            "code": str(line.code) if shape is Shape.STRING_CODES else line.code,
            "tel": line.number,
            "message": LABELS.get(line.code, _OTHER_LABEL),
        }
        for line in lines
    ]
    match shape:
        case Shape.FLAT:
            return _to_json({"etat": entries[0]})
        case Shape.SINGLE_OBJECT:
            return _to_json({"etat": {"etat": entries[0]}})
        case Shape.STRING_CODES | None:
            return _to_json({"etat": {"etat": entries}})


def render_rejection(rejected: Rejected) -> bytes:
    """Return the answer about a request as a whole: a string code, and no `tel`."""
    label = LABELS.get(rejected.code, _OTHER_LABEL)
    return _to_json({"etat": {"etat": [{"code": str(rejected.code), "message": label}]}})


def render_count(request: Request) -> bytes:
    """Return the answer of `/comptage`."""
    line = request.lines[0]
    entry = {"nb_caractere": str(len(line.text)), "nb_sms": str(line.parts), "tel": line.number}
    return _to_json({"etat": {"etat": [entry]}})


def render_credit(credit: str, quantity: str | None) -> bytes:
    """Return the answer of `/credit`, which has one `etat` only."""
    return _to_json({"etat": {"credit": credit} if quantity is None else {"credit": credit, "quantite": quantity}})


def _to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _read(fields: Mapping[str, object], *, is_multi: bool) -> Request:
    keyid = fields.get("keyid")
    if not isinstance(keyid, str) or not keyid.strip():
        raise _Wrong(1)
    numbers = _read_numbers(fields.get("num"), is_multi=is_multi)
    originator = _read_originator(fields.get("emetteur"))
    smslong = _read_smslong(fields.get("smslong"))
    texts = _read_texts(fields.get("sms"), count=len(numbers), is_multi=is_multi)
    trackers = _read_trackers(fields.get("tracker"), count=len(numbers), is_multi=is_multi)
    date_envoi = fields.get("date_envoi")
    if date_envoi is not None and not (isinstance(date_envoi, str) and _DATE.fullmatch(date_envoi)):
        raise _Wrong(999)
    ucs2 = _is_on(fields.get("ucs2"))
    return Request(
        keyid=keyid.strip(),
        originator=originator,
        smslong=smslong,
        nostop=_is_on(fields.get("nostop")),
        ucs2=ucs2,
        date_envoi=date_envoi,
        is_trial=_is_on(fields.get("sandbox")),
        lines=[
            _judge(number, text, tracker, ucs2=ucs2, smslong=smslong)
            for number, text, tracker in zip(numbers, texts, trackers, strict=True)
        ],
    )


def _judge(number: str, text: str, tracker: str | None, *, ucs2: bool, smslong: int | None) -> Line:
    # International comes without plus, of any country; national begins with 0.
    found = parse_number(number if number[:1] in {"0", "+"} else f"+{number}")
    msisdn = found.e164 if isinstance(found, Msisdn) else None
    parts = count_parts(text, ucs2).parts
    if msisdn is None:
        code = 7
    elif msisdn.startswith(RESERVED_PREFIX):
        code = int(msisdn.removeprefix(RESERVED_PREFIX))
    else:
        code = 999 if smslong is not None and parts > smslong else 0
    return Line(number=number, msisdn=msisdn, text=text, tracker=tracker, parts=parts, code=code)


def _read_numbers(value: object, *, is_multi: bool) -> Sequence[str]:
    items = value if isinstance(value, list) and is_multi else [value]
    if len(items) > MOST_NUMBERS:
        raise _Wrong(23)
    numbers = [str(item).strip() for item in items if isinstance(item, str | int) and not isinstance(item, bool)]
    if not numbers or len(numbers) != len(items) or not all(numbers):
        raise _Wrong(6)
    return numbers


def _read_originator(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Wrong(33)
    if not value.strip():
        raise _Wrong(16)
    if not is_wellformed(value):
        raise _Wrong(33)
    return value


def _read_smslong(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or not _INTEGER.fullmatch(str(value).strip()):
        raise _Wrong(34)
    return int(value)


def _read_texts(value: object, *, count: int, is_multi: bool) -> Sequence[str]:
    items = value if isinstance(value, list) and is_multi else [value]
    texts = [item for item in items if isinstance(item, str) and item]
    if len(texts) != len(items) or len(texts) not in {1, count}:
        raise _Wrong(999)
    return texts * count if len(texts) == 1 else texts


def _read_trackers(value: object, *, count: int, is_multi: bool) -> Sequence[str | None]:
    if value is None:
        return [None] * count
    items = value if isinstance(value, list) and is_multi else [value]
    trackers = [item for item in items if isinstance(item, str) and _TRACKER.fullmatch(item)]
    if len(trackers) != len(items) or len(trackers) != count:
        raise _Wrong(999)
    return trackers


def _is_on(value: object) -> bool:
    return str(value) == "1"
