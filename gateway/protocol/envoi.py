"""The envoi: what a mail asks for, as values (docs/protocol.md §3).

`read_envoi` goes from the text and files of a mail to an `Envoi`. It judges form only; what an account may do is for
`policy.admission`. It raises `Unreadable` for the mail as a whole and collects everything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.protocol.codes import Code
from gateway.protocol.envoi_csv import Faulty, fill_template, read_message, read_mobiles
from gateway.protocol.envoi_xml import Elements, read_elements
from gateway.protocol.mime import Body
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerance, Tolerated

__all__ = ["MAX_POSITION", "Envoi", "Limits", "Mode", "Recipient", "Unreadable", "read_envoi"]

MAX_POSITION = 500
"""The highest X of `numX` and `smsX`: above it, code 23 (docs/protocol.md §3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One SMS that is asked for. `text` is None when there is none for this number (docs/protocol.md §3)."""

    position: int  # 1 for `num`; X for `numX`; the line for mobiles.csv
    tel: str  # as submitted, blanks around it removed: reports repeat it
    text: str | None  # `Ö` still in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Envoi:
    """Everything an `<envoi>` and its files say. None: the element is absent; "": it is there, empty."""

    keyid: str | None
    email_id: str | None
    email_ack: str | None
    email_not: str | None
    emetteur: str | None
    tracker: str | None
    smslong: str | None
    nostop: bool
    ucs2: bool
    date_envoi: str | None
    recipients: tuple[Recipient, ...]
    fault: Code | None  # found while reading, concerns all of it: 6, 23 (an X above 500) or 102
    notes: tuple[Tolerated, ...]
    fault_reason: str | None = None  # for the operator, without texts or numbers


def read_envoi(body: Body, *, mode: Mode, limits: Limits) -> Envoi:
    """Return what the mail asks for. Raises `Unreadable` for the mail as a whole; everything else is in the envoi.

    `notes` are what was found here, without those of `body`. An envoi with a `fault` has no recipients.
    """
    elements = read_elements(body.text, mode=mode, limits=limits)
    values = elements.values
    notes = [*elements.notes]
    recipients: tuple[Recipient, ...] = ()
    fault, fault_reason = None, None
    try:
        recipients = _Recipients(elements=elements, files=body.files, mode=mode, limits=limits, notes=notes).read()
    except Faulty as faulty:
        fault, fault_reason = faulty.code, faulty.reason
    return Envoi(
        keyid=values.get("keyid"),
        email_id=values.get("emailId") or None,
        email_ack=values.get("emailAck") or None,
        email_not=values.get("emailNot") or None,
        emetteur=values.get("emetteur"),  # an empty one is code 16, not an absent one
        tracker=values.get("tracker") or None,
        smslong=values.get("smslong") or None,
        nostop=_read_flag("nostop", values, notes),
        ucs2=_read_flag("ucs2", values, notes),
        date_envoi=values.get("date_envoi") or None,
        recipients=recipients,
        fault=fault,
        notes=tuple(notes),
        fault_reason=fault_reason,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipients:
    """Works out who is to get what; each method raises `Faulty` for what concerns all of it."""

    elements: Elements
    files: Mapping[str, str]
    mode: Mode
    limits: Limits
    notes: list[Tolerated]

    def read(self) -> tuple[Recipient, ...]:
        has_numbers = bool(self.elements.values.get("num") or self.elements.numbers)
        if "mobiles.csv" in self.files:
            if has_numbers:
                raise Faulty(Code.C102_FILE_INVALID, "mobiles.csv and numbers in the body: which are meant?")  # §4.1
            return self._read_lines()
        if "message.csv" in self.files and not has_numbers:
            raise Faulty(Code.C102_FILE_INVALID, "message.csv without any number")  # docs/protocol.md §4.6
        if not has_numbers:
            raise Faulty(Code.C6_NUMBER_MISSING, "there is no number")
        return self._read_elements()

    def _read_elements(self) -> tuple[Recipient, ...]:
        """Return the recipients of `num` or `numX`, each with its `smsX`, else the common text (§3)."""
        single, numbers = self.elements.values.get("num"), dict(self.elements.numbers)
        if single and numbers:
            raise Unreadable("<num> and <num1>... exclude one another")
        if max(numbers, default=0) > MAX_POSITION:
            raise Faulty(Code.C23_TOO_MANY_NUMBERS, f"a number above position {MAX_POSITION}")
        own = {} if "message.csv" in self.files else self.elements.texts
        common = self._read_common_text()
        if common is not None and "message.csv" in self.files:
            [common] = fill_template(common, [()], notes=self.notes, limits=self.limits)
        if set(own) - set(numbers):
            self.notes.append(Tolerated(tolerance=Tolerance.TEXTS_WITHOUT_NUMBER))
        if single:
            return (Recipient(position=1, tel=single, text=common),)
        return tuple(Recipient(position=x, tel=tel, text=own.get(x, common)) for x, tel in sorted(numbers.items()))

    def _read_lines(self) -> tuple[Recipient, ...]:
        """Return the recipients of mobiles.csv with the common text, filled with the values of each line (§4)."""
        lines = read_mobiles(self.files["mobiles.csv"], mode=self.mode, notes=self.notes, limits=self.limits)
        template = self._read_common_text()
        if template is None:
            raise Faulty(Code.C102_FILE_INVALID, "mobiles.csv without message.csv or text")  # docs/protocol.md §4.6
        if self.elements.texts and "message.csv" not in self.files:
            self.notes.append(Tolerated(tolerance=Tolerance.TEXTS_WITHOUT_NUMBER))
        rows = [line.values for line in lines]
        texts = fill_template(template, rows, notes=self.notes, limits=self.limits)
        return tuple(
            Recipient(position=line.number, tel=line.tel, text=text) for line, text in zip(lines, texts, strict=True)
        )

    def _read_common_text(self) -> str | None:
        """Return the text for all: that of message.csv or of `<sms>`, never both (docs/protocol.md §4.1)."""
        common = self.elements.values.get("sms") or None
        if "message.csv" in self.files:
            if common or self.elements.texts:
                raise Faulty(Code.C102_FILE_INVALID, "message.csv and a text in the body: which is meant?")
            self._tolerate_half("mobiles.csv", Tolerance.MESSAGE_WITH_NUMBERS)
            return read_message(self.files["message.csv"], mode=self.mode, notes=self.notes, limits=self.limits)
        if "mobiles.csv" in self.files and common:
            self._tolerate_half("message.csv", Tolerance.MOBILES_WITH_TEXT)
        return common

    def _tolerate_half(self, counterpart: str, tolerance: Tolerance) -> None:
        """Record that one file stands in for two; strict mode wants both (docs/protocol.md §4.1)."""
        if counterpart in self.files:
            return
        if self.mode is Mode.STRICT:
            raise Faulty(Code.C102_FILE_INVALID, tolerance.fault)
        self.notes.append(Tolerated(tolerance=tolerance))


def _read_flag(name: str, values: Mapping[str, str], notes: list[Tolerated]) -> bool:
    """Return whether the element is `1`; anything else is no, and noted unless it is the plain `0`."""
    value = values.get(name, "")
    if value not in ("", "0", "1"):
        notes.append(Tolerated(tolerance=Tolerance.FLAG_VALUE, detail=name))
    return value == "1"
