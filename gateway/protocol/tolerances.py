"""Everything that is put up with in a mail, by name: a closed list (docs/protocol.md §2.11).

A name is for programs and never changes; what was tolerated in a mail is kept with it and shown by `mail2sms lint`.
"""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Self

from gateway.protocol.reading import Mode, Unreadable


@unique
class Tolerance(Enum):
    """What was found, and what was made of it. The value is the name; `is_lenient`: strict mode does not take it."""

    fault: str
    remedy: str
    is_lenient: bool

    HEADER_END = "header_end", "a header block does not end with an empty line", "taken to end there", True
    VARIANTS = "variants", "the mail has several variants of its text", "the plain one was read", True
    MULTIPART_TYPE = "multipart_type", "a multipart is of an unusual type", "read as multipart/mixed", True
    MULTIPART_END = "multipart_end", "the end of a multipart is missing", "taken to be the end of the mail", True
    OTHER_PARTS = "other_parts", "the mail has other parts than its text and the CSV files", "ignored", True
    QUOTED_PRINTABLE = "quoted_printable", "a `=` begins no quoted-printable character", "taken as it is", True
    BASE64_PADDING = "base64_padding", "the padding of a base64 part is missing", "added", True
    CHARSET_MISSING = "charset_missing", "no character set is declared", "guessed", False
    CHARSET_UNKNOWN = "charset_unknown", "the declared character set is not one that is read", "guessed", False
    CHARSET_WRONG = "charset_wrong", "what is declared as UTF-8 is not", "read as windows-1252", False
    CHARSET_WIDENED = (
        "charset_widened",
        "there are bytes that the declared character set does not have",
        "read as windows-1252",
        False,
    )
    CHARSET_UNDEFINED = (
        "charset_undefined",
        "there are bytes that windows-1252 does not define",
        "read as control characters",
        False,
    )
    UTF_16_DAMAGED = "utf_16_damaged", "some of what is UTF-16 is not", "read as replacement characters", False
    NUL_REMOVED = "nul_removed", "there are NUL characters", "removed", False
    TEXT_AROUND = "text_around", "there is text around the <envoi>", "ignored", True
    TEXT_BETWEEN = "text_between", "there is text between the elements", "ignored", True
    STRAY_SIGNS = "stray_signs", "the envoi is not well-formed XML", "stray signs were taken as they are", True
    NAMES_IN_OTHER_CASE = "names_in_other_case", "element names are in another case", "accepted", True
    UNKNOWN_ELEMENTS = "unknown_elements", "there are unknown elements", "ignored", True
    FLAG_VALUE = "flag_value", "the value of an element is neither 0 nor 1", "taken as 0", False
    TEXTS_WITHOUT_NUMBER = "texts_without_number", "there are texts for positions without a number", "ignored", False
    MOBILES_WITH_TEXT = "mobiles_with_text", "mobiles.csv goes with a text in the body", "accepted", True
    MESSAGE_WITH_NUMBERS = "message_with_numbers", "message.csv goes with numbers in the body", "accepted", True
    SINGLE_SEMICOLONS = "single_semicolons", "mobiles.csv has single semicolons", "read as double ones", True
    MESSAGE_STARTS_LATE = "message_starts_late", "message.csv has empty lines before the text", "ignored", True
    MESSAGE_GOES_ON = "message_goes_on", "message.csv goes on after its first line", "ignored", False
    VALUE_MISSING = "value_missing", "some numbers have no value for a placeholder of the text", "left empty", False

    def __new__(cls, name: str, fault: str, remedy: str, is_lenient: bool) -> Self:
        """Make a member whose value is its name."""
        member = object.__new__(cls)
        member._value_ = name
        member.fault = fault
        member.remedy = remedy
        member.is_lenient = is_lenient
        return member

    @property
    def sentence(self) -> str:
        """What the operator is told."""
        return f"{self.fault}: {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerated:
    """Something that was tolerated in one mail; printed as it is kept: its name, and the detail in brackets."""

    tolerance: Tolerance
    detail: str = ""  # names of files, of elements, of character sets we know: never text or a number of the mail

    def __str__(self) -> str:
        return f"{self.tolerance.value} ({self.detail})" if self.detail else self.tolerance.value


def tolerate(tolerance: Tolerance, mode: Mode, notes: list[Tolerated], detail: str = "") -> None:
    """Record it; strict mode raises `Unreadable` instead (docs/protocol.md §0.2)."""
    if mode is Mode.STRICT:
        raise Unreadable(f"{tolerance.fault} ({detail})" if detail else tolerance.fault)
    notes.append(Tolerated(tolerance=tolerance, detail=detail))
