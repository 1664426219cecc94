"""The mails of a proof: each asks for SMS to numbers that no other mail has, so that every SMS has one owner."""

from dataclasses import dataclass
from enum import Enum, unique

RECIPIENT = "sendsms@gw.example.org"
MOST_NUMBERS = 16
MOST_ORDERS = 600_000
_FIRST_NUMBER = 610_000_000

_HEADERS = """\
From: {sender}
To: {recipient}
Subject: Envoi {id}
Message-ID: <{id}@client.example>
MIME-Version: 1.0
"""
_PLAIN = "Content-Type: text/plain; charset=us-ascii\n\n{envoi}"
_LISTED = """\
Content-Type: multipart/mixed; boundary="=_envoi"

--=_envoi
Content-Type: text/plain; charset=us-ascii

{envoi}--=_envoi
Content-Type: text/csv; charset=us-ascii; name="mobiles.csv"
Content-Disposition: attachment; filename="mobiles.csv"

{numbers}
--=_envoi
Content-Type: text/plain; charset=us-ascii; name="message.csv"
Content-Disposition: attachment; filename="message.csv"

Bonjour
--=_envoi--
"""


@unique
class Customer(Enum):
    """Whose mail it is: the account's choice for an SMS of unknown fate (docs/protocol.md §9)."""

    HOLD = "hold"  # never twice
    RESEND = "resend"  # never lost, at most twice

    @property
    def keyid(self) -> str:
        """The key of the account."""
        return f"{self.value}-a296464ce012b8ab710aa296464ce012b8ab"

    @property
    def domain(self) -> str:
        """The domain its mails come from and its reports go to."""
        return f"{self.value}.example"

    @property
    def most_sms(self) -> int:
        """How often the carrier may see one SMS of it at most."""
        return 1 if self is Customer.HOLD else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One mail, always the same bytes."""

    email_id: str
    customer: Customer
    numbers: tuple[str, ...]  # as written, 06...
    wants_ack: bool
    mail: bytes

    @property
    def sender(self) -> str:
        """Who it comes from, in the envelope and in From:."""
        return f"alerte@{self.customer.domain}"


def write_order(
    number: int, customer: Customer, *, numbers: int, wants_ack: bool = True, is_listed: bool = False
) -> Order:
    """Return the `number`-th mail, with so many numbers, in the envoi or in mobiles.csv."""
    if not (0 <= number < MOST_ORDERS and 1 <= numbers <= MOST_NUMBERS):
        raise ValueError("there are not so many numbers")
    email_id = f"proof-{number}"
    tels = tuple(f"0{_FIRST_NUMBER + number * MOST_NUMBERS + index}" for index in range(numbers))
    elements = [f"<keyid>{customer.keyid}</keyid>", f"<emailId>{email_id}</emailId>"]
    if wants_ack:
        elements.append(f"<emailAck>ack@{customer.domain}</emailAck>")
    elements.append(f"<emailNot>not@{customer.domain}</emailNot>")
    if not is_listed:
        names = ["num"] if numbers == 1 else [f"num{position}" for position in range(1, numbers + 1)]
        elements += [f"<{name}>{tel}</{name}>" for name, tel in zip(names, tels, strict=True)]
        elements.append("<sms>Bonjour</sms>")
    envoi = "\n".join(("<envoi>", *elements, "</envoi>", ""))
    layout = _HEADERS + (_LISTED if is_listed else _PLAIN)
    mail = layout.format(
        sender=f"alerte@{customer.domain}", recipient=RECIPIENT, id=email_id, envoi=envoi, numbers="\n".join(tels)
    )
    return Order(
        email_id=email_id,
        customer=customer,
        numbers=tels,
        wants_ack=wants_ack,
        mail=mail.replace("\n", "\r\n").encode("ascii"),
    )
