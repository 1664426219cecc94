"""How SMS Partner answers: JSON, or XML without names; and the four shapes of its errors.

1. `code` and `message`. 2. Code 9 with a list of what is wrong with the form, under `errors` (`error` for a bulk call).
3. Code 55 with what is wrong with each number under `errors`, its code a string. 4. Code 11 with `error` as an object,
and the balance.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from gateway.sandbox.orders import Answer

LABELS: Mapping[int, str] = MappingProxyType(
    {
        1: "La clé API est requise",
        2: "Le champ phoneNumbers est requis",
        3: "Le messageId est requis",
        4: "Le message est introuvable",
        5: "La liste des numéros est vide",
        6: "Le format n'est pas correct",
        9: "Le téléphone ({number}) n'est pas un numéro de mobile",
        10: "Clef API incorrecte",
        11: "NOCREDITS",
        13: "Aucun prix par défaut n'a été trouvé pour les numéros suivant ({number})",
        14: "Le numéro ({number}) est dans la liste des STOP SMS",
        15: "Le numéro ({number}) est déjà présent dans la liste",
        20: "Compte désactivé",
        22: "SMS Marketing: heure non valide, entre 8h et 22h",
        23: "SMS Marketing: date non valide, pas d'envoi dimanche et jours fériés",
        30: "Compte bloqué",
        40: "L'accès à l'API est refusé",
        42: "Le nombre de caractères pour un sms Low Cost est 160",
        43: "Le message est requis",
        44: "L'émetteur est invalide",
        45: "La date est requise",
        46: "L'heure est requise",
        47: "Le chiffre des minutes est invalide",
        48: "Les minutes doivent être comprises entre 5 et 55, pas de 5",
        49: "La date est invalide",
        50: "Le nombre de numéros autorisés est de 500 maxi",
        51: "La gamme lowcost n'est pas éligible",
        52: "Le nombre de SMS concaténés ne peut excéder 10 SMS",
        55: "Aucun numéro à envoyer",
        90: "Le JSON est malformé: erreur de syntaxe",
        96: "L'IP n'est pas autorisée",
        500: "Problème lors de l'ajout du sms dans la file d'attente",
        992: "Sender non autorisé",
    }
)
_OTHER_LABEL = "Une erreur est survenue"

OF_NUMBERS = frozenset({9, 13, 14, 15})
"""Codes that are said of a number, not of the call."""

_OF_FORM = frozenset({1, 2, 3, 5, 6, 9, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 90})
"""What is wrong with the call itself: HTTP 400. Everything else is HTTP 200: only these are documented."""

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One thing that is wrong with a form."""

    field: str
    message: str


class Wrong(Exception):
    """Ends the reading of a call: it is refused as a whole, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Complained(Exception):
    """Ends the reading of a call: its form is wrong."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        super().__init__(len(complaints))
        self.complaints = complaints


def label_of(code: int, number: str = "") -> str:
    """Return what SMS Partner says with a code."""
    return LABELS.get(code, _OTHER_LABEL).format(number=number)


def render(fields: Mapping[str, object], *, wants_xml: bool, status: int = 200) -> Answer:
    """Return the fields as an answer."""
    if wants_xml:
        return Answer(body=_to_xml(fields), status=status, media_type="application/xml")
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
    return Answer(body=body, status=status)


def refuse(code: int, *, wants_xml: bool, number: str = "") -> Answer:
    """Return shape 1."""
    fields = {"success": False, "code": code, "message": label_of(code, number)}
    return render(fields, wants_xml=wants_xml, status=400 if code in _OF_FORM else 200)


def complain(complaints: Sequence[Complaint], *, wants_xml: bool, key: str = "errors") -> Answer:
    """Return shape 2."""
    items = [{"elementId": f"children[{one.field}].data", "message": one.message} for one in complaints]
    return render({"success": False, "code": 9, key: items}, wants_xml=wants_xml, status=400)


def refuse_numbers(refused: Sequence[tuple[str, int]], *, wants_xml: bool) -> Answer:
    """Return shape 3, about these numbers (E.164) and their codes."""
    fields = {"success": False, "code": 55, "message": label_of(55), "errors": explain_numbers(refused)}
    return render(fields, wants_xml=wants_xml)


def explain_numbers(refused: Sequence[tuple[str, int]]) -> Sequence[Mapping[str, object]]:
    """Return what is said about each number in shape 3."""
    return [
        {"success": False, "code": str(code), "message": label_of(code, number), "phoneNumber": number}
        for number, code in refused
    ]


def refuse_credit(left: Decimal, price: Decimal, *, wants_xml: bool) -> Answer:
    """Return shape 4; `solde` is a number here and a string in `/me`."""
    balance: dict[str, float] = {"creditSms": int(left / price), "creditSmsLowCost": int(left / price), "toSend": 0}
    fields = {"success": False, "code": 11, "error": {"message": label_of(11)}, "credits": balance}
    balance["solde"] = float(left) if left % 1 else int(left)
    return render(fields, wants_xml=wants_xml)


def _to_xml(fields: Mapping[str, object]) -> bytes:
    """Return the values in order, without their names; only those of a user have some."""
    entries = "".join(_entry(value, is_user=name == "user") for name, value in fields.items())
    return f"<?xml version='1.0' encoding='UTF-8'?>\n<result>{entries}</result>\n".encode("utf-8", "replace")


def _entry(value: object, *, is_user: bool = False) -> str:
    if isinstance(value, Mapping) and is_user:
        return f"<entry>{''.join(f'<{name}>{_content(one)}</{name}>' for name, one in value.items())}</entry>"
    return f"<entry>{_content(value)}</entry>"


def _content(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(map(_entry, value.values()))
    if isinstance(value, list | tuple):
        return "".join(map(_entry, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = _NOT_XML.sub("\ufffd", "" if value is None else str(value)).replace("]]>", "]]]]><![CDATA[>")
    return f"<![CDATA[{text}]]>"
