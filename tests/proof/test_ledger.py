"""What is found wrong in what came in, and what is not."""

from collections.abc import Sequence

import pytest

from gateway.proof.house import find_miscounts
from gateway.proof.ledger import Ledger, find_faults, find_untidiness
from gateway.proof.orders import Customer, Order, write_order
from gateway.sandbox.messages import CarriedSms
from gateway.smtp.mailbox import ReceivedMail
from gateway.store.base import Tally

ORDER = write_order(7, Customer.HOLD, numbers=2)
ALARM = write_order(8, Customer.RESEND, numbers=2)
SILENT = write_order(9, Customer.HOLD, numbers=2, wants_ack=False)


def carried(*numbers: str) -> list[CarriedSms]:
    return [
        CarriedSms(
            id=1,
            api="isendpro",
            number="33" + number[1:],
            text="Bonjour",
            originator=None,
            tracker="T",
            parts=1,
            time="",
            msisdn="+33" + number[1:],
            batch=1,
            key="…",
            nostop=False,
            ucs2=False,
            smslong=None,
            date_envoi=None,
            trial=False,
            state="waiting",
            state_at="",
            deliver_at=None,
            message_id=None,
            long_number=None,
            receipts_to=None,
            replies_to=None,
        )
        for number in numbers
    ]


def mail(message_id: str, *body: str) -> ReceivedMail:
    content = "\r\n".join((f"Message-ID: <{message_id}>", "", *body, ""))
    return ReceivedMail(order=1, envelope_from="", recipients=("a@b",), content=content.encode(), options=())


def ack(order: Order, message_id: str = "ack", code: int = 0) -> ReceivedMail:
    return mail(message_id, "<etatAck>", f"<emailId>{order.email_id}</emailId>", f"<code>{code}</code>", "</etatAck>")


def told(order: Order, *codes: int, message_id: str = "not") -> ReceivedMail:
    lines = ["<etatNot>", f"<emailId>{order.email_id}</emailId>", "</etatNot>"]
    for position, (code, number) in enumerate(zip(codes, order.numbers, strict=False), start=1):
        lines += [f"<code{position}>{code}</code{position}>", f"<tel{position}>{number}</tel{position}>"]
    return mail(message_id, *lines)


def faults(order: Order, sms: Sequence[str], *mails: ReceivedMail) -> list[str]:
    ledger = Ledger()
    ledger.take_sms(carried(*sms))
    ledger.take_mails(mails)
    return [str(fault) for fault in find_faults(ledger.look_up(order))]


ONE, TWO = ORDER.numbers


@pytest.mark.parametrize(
    ("order", "sms", "mails"),
    [
        pytest.param(ORDER, ORDER.numbers, (ack(ORDER), told(ORDER, 0, 0)), id="all-sent"),
        pytest.param(ORDER, (ONE,), (ack(ORDER), told(ORDER, 999, 999)), id="unknown-sent-or-not"),
        pytest.param(ORDER, ORDER.numbers, (ack(ORDER), ack(ORDER), told(ORDER, 0, 0)), id="a-copy-of-the-ack"),
        pytest.param(ALARM, ALARM.numbers * 2, (ack(ALARM), told(ALARM, 0, 0)), id="sent-again-as-chosen"),
        pytest.param(SILENT, SILENT.numbers, (told(SILENT, 0, 0),), id="no-ack-wanted"),
    ],
)
def test_what_is_promised_is_no_fault(order: Order, sms: Sequence[str], mails: tuple[ReceivedMail, ...]) -> None:
    assert faults(order, sms, *mails) == []


@pytest.mark.parametrize(
    ("order", "sms", "mails", "says"),
    [
        pytest.param(ORDER, (), (), ["lost: proof-7 has no Ack", "lost: proof-7 has no Not"], id="lost"),
        pytest.param(
            ORDER,
            (ONE, ONE, TWO),
            (ack(ORDER), told(ORDER, 0, 0)),
            [f"doubled: proof-7: {ONE} was sent 2 times"],
            id="sent-twice",
        ),
        pytest.param(
            ALARM,
            (*ALARM.numbers, *ALARM.numbers, ALARM.numbers[1]),
            (ack(ALARM), told(ALARM, 0, 0)),
            [f"doubled: proof-8: {ALARM.numbers[1]} was sent 3 times"],
            id="sent-three-times",
        ),
        pytest.param(
            ORDER,
            (ONE,),
            (ack(ORDER), told(ORDER, 0, 0)),
            [f"lost: proof-7: {TWO} is answered 0 and never was at the carrier"],
            id="told-sent",
        ),
        pytest.param(
            ORDER,
            (ONE, TWO),
            (ack(ORDER), told(ORDER, 0)),
            [f"lost: proof-7: nothing is said about {TWO}"],
            id="not-told",
        ),
        pytest.param(
            ORDER,
            (ONE, TWO),
            (ack(ORDER), ack(ORDER, "other", 1), told(ORDER, 0, 0)),
            ["doubled: proof-7 has 2 different Acks, not 1", "wrong: proof-7: its Ack says 1"],
            id="taken-for-a-duplicate",
        ),
        pytest.param(
            ORDER,
            (ONE, TWO),
            (ack(ORDER), told(ORDER, 0, 0), told(ORDER, 0, 0, message_id="other")),
            ["doubled: proof-7 has 2 different Nots, not 1"],
            id="two-nots",
        ),
        pytest.param(
            ORDER,
            (ONE,),
            (ack(ORDER), told(ORDER, 0, 12)),
            [f"wrong: proof-7: {TWO} is answered 12"],
            id="another-code",
        ),
        pytest.param(
            SILENT,
            SILENT.numbers,
            (ack(SILENT), told(SILENT, 0, 0)),
            ["doubled: proof-9 has 1 different Acks, not 0"],
            id="an-ack-unasked",
        ),
    ],
)
def test_what_is_not_as_promised_is_found(
    order: Order, sms: Sequence[str], mails: tuple[ReceivedMail, ...], says: list[str]
) -> None:
    assert says == faults(order, sms, *mails)


def test_a_stop_excuses_neither_an_unknown_fate_nor_a_copy() -> None:
    ledger = Ledger()
    ledger.take_sms(carried(ONE))
    ledger.take_mails((ack(ORDER), ack(ORDER), told(ORDER, 0, 999)))
    found = [str(fault) for fault in find_untidiness(ledger.look_up(ORDER))]

    assert found == [
        f"wrong: proof-7: {TWO} was sent 0 times and is answered 999",
        "wrong: proof-7: 1 reports came twice",
    ]


def test_what_belongs_to_nobody_is_found() -> None:
    ledger = Ledger()
    ledger.take_sms(carried("0699999999"))
    ledger.take_mails((ack(ALARM), mail("other", "Bonjour")))
    found = [str(fault) for fault in ledger.find_strays([ORDER])]

    assert found == [
        "wrong: SMS that nobody asked for, to 1 numbers",
        "wrong: reports of 1 mails that were never sent",
        "wrong: 1 mails that are no reports",
    ]


def test_orders_are_complete_with_the_reports_they_want() -> None:
    ledger = Ledger()
    ledger.take_mails((told(ORDER, 0, 0), told(SILENT, 0, 0)))

    assert ledger.is_complete([SILENT])
    assert not ledger.is_complete([SILENT, ORDER])


def test_the_store_has_each_mail_once() -> None:
    right = Tally(mails=2, sms={"accepted": 3, "expired": 1}, reports={"sent": 3})
    wrong = Tally(mails=1, sms={"accepted": 5}, reports={"sent": 3})

    assert find_miscounts([ORDER, SILENT], right) == []
    assert [str(fault) for fault in find_miscounts([ORDER, SILENT], wrong)] == [
        "lost: the store has 1 mails, not 2",
        "doubled: the store has 5 SMS, not 4",
    ]
