"""What goes back to the sender, as values (docs/protocol.md §8). `report_xml` writes them, byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
    ALARM = "alarm"  # nor this: of a quota that is spent, or an unusual volume (docs/protocol.md §10.5, §10.6)


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


@unique
class NetworkWord(Enum):
    """What the network said in the end about one SMS (docs/protocol.md §8.6)."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    NOTHING = "nothing"  # a carrier took it, and that is all that is known
    NOT_ASKED = "not_asked"  # it was not sent, or nobody knows: what the Not said stands


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsReceipt:
    """How one SMS ended. `code` is a reason of the annex, used unless it was delivered."""

    tel: str | None
    word: NetworkWord
    code: Code = Code.C999_ERROR
    at: datetime | None = None  # in the account's time zone; None is written `?`


@dataclass(frozen=True, slots=True, kw_only=True)
class Ar:
    """What became of the SMS of one envoi in the network, in order of position, laid out as a Not."""

    email_id: str | None
    receipts: Sequence[SmsReceipt]
