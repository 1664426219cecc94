"""What must be true at the end, whatever happened in between."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from gateway.sandbox.messages import CarriedSms
from gateway.smtp.mailbox import ReceivedMail
from tests.power.relay import Order

_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>\r]+>)\r$", re.MULTILINE | re.IGNORECASE)
_EMAIL_ID = re.compile(rb"<emailId>([^<]+)</emailId>")
_ANSWER = re.compile(rb"<code\d*>(\d+)</code\d*>\r\n<tel\d*>(\d+)</tel\d*>")


def reported(mails: Iterable[ReceivedMail], kind: bytes) -> dict[str, dict[str, bytes]]:
    """Return the bodies of the reports of one kind by emailId and Message-ID: a double is there once."""
    found: dict[str, dict[str, bytes]] = {}
    for mail in mails:
        email_id, message_id = _EMAIL_ID.search(mail.content), _MESSAGE_ID.search(mail.content)
        assert email_id, mail.content
        assert message_id, mail.content
        if b"<" + kind + b">" in mail.content:
            found.setdefault(email_id[1].decode(), {})[message_id[1].decode()] = mail.content
    return found


def is_complete(mails: Sequence[ReceivedMail], orders: Sequence[Order]) -> bool:
    """True when each order has its Ack and its Not."""
    if len(mails) < 2 * len(orders):
        return False
    wanted = {order.email_id for order in orders}
    return wanted <= reported(mails, b"etatAck").keys() and wanted <= reported(mails, b"etatNot").keys()


def count_doubles(mails: Iterable[ReceivedMail]) -> int:
    """Return how many reports came again, with the Message-ID they had."""
    seen = Counter(found[1] for mail in mails if (found := _MESSAGE_ID.search(mail.content)))
    return sum(count - 1 for count in seen.values())


def find_wrongs(orders: Sequence[Order], carried: Sequence[CarriedSms], mails: Sequence[ReceivedMail]) -> list[str]:
    """Return what was lost, sent twice, or told wrongly; nothing is as it should be."""
    at_carrier = Counter(sms["number"][-9:] for sms in carried)
    wrongs = [f"{number} was sent {count} times" for number, count in at_carrier.items() if count > 1]
    acks, nots = reported(mails, b"etatAck"), reported(mails, b"etatNot")
    for order in orders:
        for kind, reports in (("Ack", acks), ("Not", nots)):
            if (count := len(reports.get(order.email_id, ()))) != 1:
                wrongs.append(f"{order.email_id} has {count} {kind}s")
        for body in nots.get(order.email_id, {}).values():
            wrongs += _judge_not(order, body, at_carrier)
    return wrongs


def _judge_not(order: Order, body: bytes, at_carrier: Counter[str]) -> Iterable[str]:
    """0 is never said of what the carrier has not, and nothing else of an SMS but that it may have been sent (999)."""
    told = {number.decode()[-9:]: int(code) for code, number in _ANSWER.findall(body)}
    for number in order.numbers:
        code = told.get(number[-9:])
        if code not in {0, 999}:
            yield f"{order.email_id}: {number} is answered {code}"
        if code == 0 and not at_carrier[number[-9:]]:
            yield f"{order.email_id}: {number} is answered 0 and never was at the carrier"
