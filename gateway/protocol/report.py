"""What goes back to the sender, as values (docs/protocol.md §8). `report_xml` writes them, byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique

from gateway.protocol.codes import AckCode, Code


@unique
class ReportKind(Enum):
    """What a mail that goes back is."""

    ACK = "ack"
    NOT = "not"
    RECEIPTS = "receipts"  # etatAr: the network's later words (docs/protocol.md §8.6)
    REPLY = "reply"  # what somebody answered by SMS (docs/protocol.md §8.6)
    CREDIT = "credit"  # no report of the source: the account's contact is told of its credit (docs/protocol.md §10.3)


@unique
class ReportFormat(Enum):
    """The layout of a Not (docs/protocol.md §8.2)."""

    SOURCE = "source"  # byte for byte as the source: several roots
    WELLFORMED = "wellformed"  # one <reponse> root around the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The mail was registered, was seen before, or carries no id."""

    email_id: str | None
    code: AckCode


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsAnswer:
    """What became of one SMS. `tel` is the number as submitted; None is written `?`."""

    tel: str | None
    code: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """What became of the SMS of one envoi, in order of position; one answer alone has the form without numbers."""

    email_id: str | None
    answers: Sequence[SmsAnswer]
