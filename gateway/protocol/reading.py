"""How a mail is read: how strictly, how much of it, what is raised when it cannot be (docs/protocol.md §0, §2.8)."""

from dataclasses import dataclass
from enum import Enum, unique

from gateway.errors import GatewayError


@unique
class Mode(Enum):
    """How strictly a mail is read (docs/protocol.md §0)."""

    LENIENT = "lenient"
    STRICT = "strict"


class Unreadable(GatewayError):
    """This mail is not an envoi; nothing of it is taken (docs/protocol.md §1.4).

    The message is one sentence for the sender, without any text of the mail or of an exception.
    """

    def __init__(self, reason: str, *, where: str = "") -> None:
        super().__init__(f"{reason} ({where})" if where else reason)
        self.reason = reason
        self.where = where


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound on what is read (docs/protocol.md §2.8). Beyond one: `Unreadable`, or code 102 for a CSV file."""

    mail_bytes: int = 10 * 1024 * 1024
    header_block_bytes: int = 64 * 1024  # of the mail, and of each part
    header_lines: int = 1_000
    header_bytes: int = 8 * 1024  # one header, with its continuation lines
    parts: int = 20
    depth: int = 5
    body_bytes: int = 1024 * 1024  # the text part, its transfer encoding undone
    elements: int = 2_000
    value_chars: int = 500  # any other element, a number, a value of mobiles.csv
    text_chars: int = 10_000  # one SMS text, far above what any carrier takes
    total_text_chars: int = 8 * 1024 * 1024  # the texts that one template grows into
    csv_bytes: int = 4 * 1024 * 1024
    csv_lines: int = 10_000  # of mobiles.csv; an account allows 500 or its own number (§4.5)
    csv_line_chars: int = 4 * 1024
    csv_values: int = 20
