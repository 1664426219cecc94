"""docs/protocol.md §1, §7, §8: one mail in, one reply out, and what is on disk by then."""

import asyncio
import re
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import pytest
import structlog
from structlog.testing import capture_logs

from gateway.intake import Intake, Reply
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Accounts
from gateway.protocol.envoi import Mode
from gateway.protocol.reading import Limits
from gateway.reader.inline import InlineReader
from gateway.store import Store, StoreUnavailable, StoreUnusable
from gateway.store.base import AdmitOutcome, Order, Refusal
from tests.intake.conftest import RULES, Desk, write_envoi, write_mail
from tests.support.accounts import make_account

QUEUED = re.compile(r"250 2\.0\.0 Ok: queued as [0-9A-Z]{20}")
STRANGER = "550 5.7.1 You may not send SMS through this gateway"

ACK = """<?xml version="1.0" encoding="ISO-8859-1"?>
<etatAck>
<emailId>{email_id}</emailId>
<code>{code}</code>
<message>{label}</message>
</etatAck>
"""
ACK_0 = ACK.format(email_id="1548", code=0, label="Votre email a bien ete traite")
ACK_1 = ACK.format(email_id="1548", code=1, label="emailId deja traite")
ACK_2 = ACK.format(email_id="?", code=2, label="emailId non renseigne")


def one_not(code: int, tel: str, label: str, email_id: str = "1548") -> str:
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        f"<etatNot>\n<emailId>{email_id}</emailId>\n</etatNot>\n"
        f"<etat>\n<code>{code}</code>\n<tel>{tel}</tel>\n<message>{label}</message>\n</etat>\n"
    )


# --- taken -----------------------------------------------------------------------------------------------------------


async def test_mail_sms_and_ack_are_on_disk_before_the_250(desk: Desk) -> None:
    reply = await desk.send(emetteur="MaSociete", smslong="2", tracker="monCompte_monId")
    (mail_id,) = desk.rows("SELECT id FROM mail")[0]

    assert str(reply) == f"250 2.0.0 Ok: queued as {mail_id}"
    assert desk.rows("SELECT account, peer, listener, proof, envelope_from, header_from, message_id FROM mail") == [
        (
            "masociete",
            "127.0.0.1",
            "main",
            "network",
            "alerte@masociete.com",
            "alerte@masociete.com",
            "<1@client.masociete.com>",
        )
    ]
    assert desk.rows("SELECT email_id, customer_tracker, not_to, fault FROM envoi") == [
        ("1548", "monCompte_monId", "not@masociete.com", None)
    ]
    assert desk.rows("SELECT tel, msisdn, text, parts, originator, max_parts, state, code FROM sms") == [
        ("0601020304", "+33601020304", "Salut ca va ?", 1, "MaSociete", 2, "queued", None)
    ]
    assert desk.reports() == [("ack", "ack@masociete.com", ACK_0)]
    assert desk.rings == ["dispatcher masociete", "mailer"]


async def test_report_refers_to_the_mail_and_has_an_id_of_its_own(desk: Desk) -> None:
    await desk.send()

    assert desk.rows("SELECT message_id = '<' || id || '@gw.example.org>', in_reply_to FROM report") == [
        (1, "<1@client.masociete.com>")
    ]


async def test_each_sms_has_its_own_tracker(desk: Desk) -> None:
    await desk.send(num=None, num1="0601020304", num2="0601020305")
    trackers = {str(tracker) for (tracker,) in desk.rows("SELECT tracker FROM sms")}

    assert len(trackers) == 2
    assert all(re.fullmatch("[0-9A-Z]{20}", tracker) for tracker in trackers)


async def test_sms_are_named_in_the_order_of_the_mail_so_that_they_leave_in_it(desk: Desk) -> None:
    numbers = {f"num{x}": f"0601{x:06d}" for x in range(1, 21)}
    await desk.send(num=None, **numbers)

    assert [position for (position,) in desk.rows("SELECT position FROM sms ORDER BY due_at, id")] == [*range(1, 21)]


async def test_what_is_wrong_with_all_of_it_is_noted_once(desk: Desk) -> None:
    await desk.send(num=None)

    assert desk.rows("SELECT notes FROM mail") == [('["there is no number"]',)]


async def test_mail_without_from_is_judged_by_its_envelope_sender(desk: Desk) -> None:
    reply = await desk.submit(write_envoi().replace("\n", "\r\n").encode())

    assert QUEUED.fullmatch(str(reply))


async def test_some_refused_sms_do_not_hold_up_the_others(desk: Desk) -> None:
    await desk.send(num=None, num1="0601020304", num2="12345")

    assert desk.rows("SELECT position, state, code FROM sms ORDER BY position") == [
        (1, "queued", None),
        (2, "refused", 7),
    ]
    assert [kind for kind, _, _ in desk.reports()] == ["ack"]


async def test_when_every_sms_is_refused_the_not_goes_at_once(desk: Desk) -> None:
    await desk.send(num=None, num1="+447700900123", num2="12345")
    expected = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        "<etatNot>\n<emailId>1548</emailId>\n</etatNot>\n"
        "<etat1>\n<code1>27</code1>\n<tel1>+447700900123</tel1>\n"
        "<message1>L'indicatif pays du téléphone n'est pas autorisé !</message1>\n</etat1>\n"
        "<etat2>\n<code2>7</code2>\n<tel2>12345</tel2>\n"
        "<message2>Un numéro de téléphone est sur 10 chiffres</message2>\n</etat2>\n"
    )

    assert desk.reports() == [("ack", "ack@masociete.com", ACK_0), ("not", "not@masociete.com", expected)]
    assert desk.rings == ["mailer"]


@pytest.mark.parametrize(
    ("elements", "code", "tel", "label"),
    [
        ({"num": None}, 6, "?", "Vous devez saisir un numéro de téléphone"),
        ({"emetteur": ""}, 16, "0601020304", "L'émetteur ne peut pas être vide"),
        ({"emetteur": "123456"}, 33, "0601020304", "Cet émetteur n'est pas autorisé!"),
        ({"smslong": "deux"}, 34, "0601020304", "La valeur de smslong doit être un entier !"),
        (
            {"num": None, "num1": "0601020304", "num2": "0601020305", "smslong": "x"},
            34,
            "?",
            "La valeur de smslong doit être un entier !",
        ),
        (
            {"date_envoi": "demain"},
            999,
            "0601020304",
            "Une erreur est survenue. Merci de contacter le service technique",
        ),
    ],
)
async def test_fault_of_the_whole_envoi_gives_ack_0_and_one_etat(
    desk: Desk, elements: dict[str, str | None], code: int, tel: str, label: str
) -> None:
    reply = await desk.send(**elements)

    assert QUEUED.fullmatch(str(reply))
    assert desk.reports() == [
        ("ack", "ack@masociete.com", ACK_0),
        ("not", "not@masociete.com", one_not(code, tel, label)),
    ]
    assert desk.rows("SELECT fault FROM envoi") == [(code,)]
    assert desk.rows("SELECT count(*) FROM sms") == [(0,)]
    assert desk.rings == ["mailer"]


async def test_commercial_sms_by_night_are_refused_with_code_24(desk: Desk) -> None:
    desk.clock.advance(12 * 3600)
    mail = write_mail(write_envoi(keyid="shop-key", emailNot="not@shop.fr", emailAck=None), sender="a@shop.fr")
    await desk.submit(mail)
    label = "Pas d'envoi commercial entre 20h et 08h, ni les dimanches et jours fériés"

    assert desk.reports() == [("not", "not@shop.fr", one_not(24, "0601020304", label))]


async def test_mail_without_id_sends_nothing_and_gets_ack_2(desk: Desk) -> None:
    reply = await desk.send(emailId=None)

    assert QUEUED.fullmatch(str(reply))
    assert desk.reports() == [("ack", "ack@masociete.com", ACK_2)]
    assert desk.rows("SELECT count(*) FROM envoi") == [(0,)]
    assert desk.rings == ["mailer"]


async def test_large_mail_is_read_like_any_other(desk: Desk) -> None:
    numbers = {f"num{position}": f"06{position:08}" for position in range(1, 501)}
    texts = {f"sms{position}": "é" * 150 for position in range(1, 501)}
    reply = await desk.send(num=None, sms=None, **numbers, **texts)

    assert QUEUED.fullmatch(str(reply))
    assert desk.rows("SELECT count(*), max(position) FROM sms WHERE state = 'queued'") == [(500, 500)]


# --- the same again --------------------------------------------------------------------------------------------------


async def test_same_mail_again_gets_the_first_reply_and_causes_nothing(desk: Desk) -> None:
    first = await desk.send()
    desk.rings.clear()
    desk.clock.advance(60)
    again = await desk.send()

    assert str(again) == str(first)
    assert desk.rows("SELECT count(*) FROM mail") == [(1,)]
    assert len(desk.reports()) == 1
    assert desk.rings == []


async def test_other_mail_with_the_id_gets_ack_1_at_its_own_address(desk: Desk) -> None:
    await desk.send()
    desk.rings.clear()
    desk.clock.advance(60)
    reply = await desk.send(message_id="<2@client.masociete.com>", emailAck="second@masociete.com", sms="autre")

    assert QUEUED.fullmatch(str(reply))
    assert desk.reports()[1:] == [("ack", "second@masociete.com", ACK_1)]
    assert desk.rows("SELECT text FROM sms") == [("Salut ca va ?",)]
    assert desk.rings == ["mailer"]


async def test_of_copies_arriving_together_exactly_one_is_sent(desk: Desk) -> None:
    intake = desk.intake()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(desk.submit(write_mail(write_envoi(), message_id=f"<{number}@x.fr>"), intake=intake))
            for number in range(10)
        ]

    assert all(QUEUED.fullmatch(str(task.result())) for task in tasks)
    assert desk.rows("SELECT count(*) FROM sms") == [(1,)]
    assert sorted(body for _, _, body in desk.reports()) == [ACK_0, *[ACK_1] * 9]


async def test_accounts_may_use_the_same_id(desk: Desk) -> None:
    await desk.send()
    await desk.submit(write_mail(write_envoi(keyid="5f0b1d8f0c7e4c0d"), sender="it@mairie.example"))

    assert desk.rows("SELECT account FROM envoi ORDER BY account") == [("mairie",), ("masociete",)]


# --- reports only where allowed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "note"),
    [
        ("victim@elsewhere.example", "outside the account's report_domains: no report"),
        ("SendSMS@masociete.com", "an address of this gateway: no report"),
        ("ack@masociete.com, b@masociete.com", "not one plain address: no report"),
    ],
)
async def test_no_report_goes_to_another_address(desk: Desk, address: str, note: str) -> None:
    await desk.send(emailAck=address, emailNot=address, num="12345")
    ((notes,),) = desk.rows("SELECT notes FROM mail")

    assert desk.reports() == []
    assert f"emailAck {note}" in str(notes)
    assert f"emailNot {note}" in str(notes)


async def test_no_report_is_written_when_none_is_asked_for(desk: Desk) -> None:
    await desk.send(emailAck=None, emailNot=None, num="12345")
    await desk.send(emailAck="", emailNot="", message_id="<2@x.fr>")
    await desk.send(emailAck=None, emailId=None, message_id="<3@x.fr>")

    assert desk.reports() == []
    assert desk.rings == []


# --- known clients with a wrong mail ---------------------------------------------------------------------------------


class Wrong(NamedTuple):
    keyid: str | None
    domain: str  # of the sender, and of the Not
    code: int
    label: str


WRONG = [
    Wrong("", "masociete.com", 1, "Le champ Login est vide"),
    Wrong(None, "masociete.com", 1, "Le champ Login est vide"),
    Wrong("wrong", "masociete.com", 3, "Vos identifiants sont incorrects"),
    Wrong("fenced-key", "fenced.example", 14, "L'adresse IP n'est pas autorisée"),
    Wrong("5f0b1d8f0c7e4c0d", "masociete.com", 30, "Erreur sur le domaine de connexion"),
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_known_client_is_told_what_is_wrong(desk: Desk, wrong: Wrong) -> None:
    body = write_envoi(keyid=wrong.keyid, emailNot=f"not@{wrong.domain}")
    reply = await desk.submit(write_mail(body, sender=f"alerte@{wrong.domain}"))
    ((stored_reply, cause),) = desk.rows("SELECT reply, cause FROM refusal")

    assert str(reply).startswith(f"550 5.7.1 Refused with code {wrong.code}: ")
    assert stored_reply == str(reply)
    assert str(cause).startswith(f"code {wrong.code}: ")
    assert desk.reports() == [("not", f"not@{wrong.domain}", one_not(wrong.code, "0601020304", wrong.label))]
    assert desk.rings == ["mailer"]
    assert desk.rows("SELECT count(*) FROM mail") == [(0,)]


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_mail_mails_nobody_the_owner_of_the_domain_does_not_allow(desk: Desk, wrong: Wrong) -> None:
    body = write_envoi(keyid=wrong.keyid, emailNot="victim@elsewhere.example")
    reply = await desk.submit(write_mail(body, sender=f"alerte@{wrong.domain}"))
    ((cause,),) = desk.rows("SELECT cause FROM refusal")

    assert f"code {wrong.code}" in str(reply)
    assert "emailNot outside the account's report_domains: no report" in str(cause)
    assert (desk.reports(), desk.rings) == ([], [])


async def test_id_that_is_none_is_not_repeated(desk: Desk) -> None:
    await desk.send(keyid="wrong", emailId="9" * 65, num=None)

    assert desk.reports() == [
        ("not", "not@masociete.com", one_not(3, "?", "Vos identifiants sont incorrects", email_id="?"))
    ]


async def test_wrong_mail_does_not_use_up_its_id(desk: Desk) -> None:
    await desk.send(keyid="wrong")
    reply = await desk.send()

    assert QUEUED.fullmatch(str(reply))
    assert desk.rows("SELECT state FROM sms") == [("queued",)]


@pytest.mark.parametrize("body", ["<envoi>\n<num>0601020304</num>\n", "Bonjour", "<envoi/>\n<envoi/>"])
async def test_mail_that_is_no_envoi_is_refused_with_the_reason(desk: Desk, body: str) -> None:
    reply = await desk.submit(write_mail(body))

    assert (reply.code, reply.enhanced) == (554, "5.6.0")
    assert desk.rows("SELECT account, reply FROM refusal") == [("masociete", str(reply))]
    assert desk.reports() == []


async def test_known_client_is_told_that_its_headers_cannot_be_read(desk: Desk) -> None:
    reply = await desk.submit(write_mail(write_envoi(), headers=("X-Long: " + "x" * 9000,)))

    assert (reply.code, reply.enhanced) == (554, "5.6.0")
    assert desk.rows("SELECT account, message_id FROM refusal") == [(None, None)]


async def test_null_sender_and_automatic_answers_are_never_orders(desk: Desk) -> None:
    bounce = await desk.submit(write_mail(write_envoi()), envelope_from="")
    automatic = await desk.submit(write_mail(write_envoi(), headers=("Auto-Submitted: auto-replied",)))

    assert str(bounce) == "550 5.7.1 A bounce (null sender) is not an order"
    assert str(automatic) == "550 5.7.1 An automatic answer (Auto-Submitted) is not an order"
    assert desk.rows("SELECT count(*) FROM mail") == [(0,)]
    assert desk.reports() == []


# --- strangers -------------------------------------------------------------------------------------------------------

ANYTHING = [
    write_mail(write_envoi()),
    write_mail("<envoi><num>"),
    write_mail("Bonjour"),
    write_mail(write_envoi(keyid="wrong")),
    write_mail(write_envoi(), sender="a@elsewhere.example"),
    write_mail(write_envoi(), headers=("Auto-Submitted: auto-replied",)),
    write_mail(write_envoi(), headers=("X-Long: " + "x" * 9000,)),
    b"",
]


@pytest.mark.parametrize("content", ANYTHING)
async def test_stranger_learns_nothing_and_leaves_nothing(desk: Desk, content: bytes) -> None:
    reply = await desk.submit(content, peer="192.0.2.1")

    assert str(reply) == STRANGER
    assert desk.rows("SELECT (SELECT count(*) FROM mail) + (SELECT count(*) FROM refusal)") == [(0,)]
    assert desk.reports() == []


@pytest.mark.parametrize(
    "content",
    [
        write_mail(write_envoi(), sender="a@elsewhere.example"),
        write_mail("Bonjour", sender="a@elsewhere.example"),
        write_mail(write_envoi(), headers=("From: other@masociete.com",)),
        write_mail(write_envoi(), sender="a@masociete.com, b@masociete.com"),
    ],
)
async def test_known_client_with_a_strangers_mail_learns_as_little(desk: Desk, content: bytes) -> None:
    reply = await desk.submit(content)

    assert str(reply) == STRANGER
    assert desk.rows("SELECT account, reply FROM refusal") == [(None, STRANGER)]
    assert desk.reports() == []


async def test_login_proves_a_client_from_anywhere(desk: Desk) -> None:
    reply = await desk.submit(write_mail(write_envoi()), peer="192.0.2.1", authenticated_account="masociete")

    assert QUEUED.fullmatch(str(reply))
    assert desk.rows("SELECT proof FROM mail") == [("smtp_auth",)]


# --- how it is read --------------------------------------------------------------------------------------------------

UNESCAPED = write_envoi(sms="Tom & Jerry")


@pytest.mark.parametrize(
    ("keyid", "listener_mode", "code"),
    [
        ("a296464ce012b8ab710a", Mode.LENIENT, 250),
        ("a296464ce012b8ab710a", Mode.STRICT, 554),
        ("strict-key", Mode.LENIENT, 554),  # the domain is also a lenient account's: read twice
        ("strict-key", Mode.STRICT, 554),
    ],
)
async def test_mode_is_the_accounts_or_else_the_listeners(
    desk: Desk, keyid: str, listener_mode: Mode, code: int
) -> None:
    mail = write_mail(UNESCAPED.replace("a296464ce012b8ab710a", keyid))
    reply = await desk.submit(mail, mode=listener_mode)

    assert reply.code == code


async def test_strict_account_takes_digits_only_as_id(desk: Desk) -> None:
    mail = write_mail(write_envoi(keyid="strict-key", emailId="cron-7", emailAck="a@strict.fr"), sender="a@strict.fr")
    await desk.submit(mail)

    assert desk.reports() == [("ack", "a@strict.fr", ACK_2)]


async def test_what_is_done_in_a_thread_has_a_deadline_and_small_mails_need_none(desk: Desk) -> None:
    rules, reader = replace(RULES, deciding_deadline_s=1e-9), InlineReader(Limits(), deadline_s=1e-9)
    impatient = desk.intake(rules=rules, reader=reader)
    many = {f"num{position}": "0601020304" for position in range(1, 52)}
    small = await desk.submit(write_mail(write_envoi()), intake=impatient)
    long = await desk.submit(write_mail(write_envoi() + "\n" + "x\n" * 40_000), intake=impatient)
    wide = await desk.submit(write_mail(write_envoi(num=None, **many)), intake=impatient)

    assert [reply.code for reply in (small, long, wide)] == [250, 451, 451]
    assert str(long) == "451 4.3.0 Reading the mail takes too long at the moment, try again later"
    assert str(wide) == "451 4.3.0 Deciding about the mail takes too long at the moment, try again later"
    assert desk.rows("SELECT count(*) FROM mail") == [(1,)]


async def test_new_accounts_judge_the_next_mail(desk: Desk) -> None:
    intake = desk.intake()
    before = await desk.submit(write_mail(write_envoi(keyid="new-key"), sender="a@new.fr"), intake=intake)
    intake.reconfigure(Accounts([make_account(name="new", keyid="new-key", domains=("new.fr",))]), {})
    after = await desk.submit(write_mail(write_envoi(keyid="new-key"), sender="a@new.fr"), intake=intake)

    assert (before.code, after.code) == (550, 250)


# --- when the store cannot -------------------------------------------------------------------------------------------


class BrokenStore(Store):
    """A store that fails on command."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def admit(self, order: Order) -> AdmitOutcome:
        raise self._error

    async def refuse(self, refusal: Refusal) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnavailable("locked"), "451 4.3.0 The mail cannot be stored at the moment, try again later"),
        (StoreUnavailable("disk", is_full=True), "452 4.3.1 No room for the mail at the moment, try again later"),
    ],
)
@pytest.mark.parametrize("body", [write_envoi(), write_envoi(keyid="wrong"), "Bonjour"])
async def test_store_that_cannot_now_means_come_back(desk: Desk, error: Exception, expected: str, body: str) -> None:
    intake = desk.intake(store=BrokenStore(error))
    reply = await desk.submit(write_mail(body), intake=intake)

    assert str(reply) == expected
    assert desk.rings == []


async def test_unusable_store_is_not_hidden(desk: Desk) -> None:
    intake = desk.intake(store=BrokenStore(StoreUnusable("corrupt")))

    with pytest.raises(StoreUnusable):
        await desk.submit(write_mail(write_envoi()), intake=intake)


async def test_stranger_needs_no_store(desk: Desk) -> None:
    intake = desk.intake(store=BrokenStore(StoreUnavailable("locked")))
    reply = await desk.submit(write_mail(write_envoi()), intake=intake, peer="192.0.2.1")

    assert str(reply) == STRANGER


# --- what is told ----------------------------------------------------------------------------------------------------


async def _logged(intake: Intake, desk: Desk, content: bytes, **facts: object) -> dict[str, object]:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await desk.submit(content, intake=intake, **facts)
    (line,) = lines
    return dict(line)


def _report_ids(line: dict[str, object]) -> list[object]:
    found = line["report_ids"]
    assert isinstance(found, list)
    return found


async def test_each_mail_is_one_line_of_the_log(desk: Desk) -> None:
    intake = desk.intake()
    two = write_mail(write_envoi(num=None, num1="0601020304", num2="12345"))
    admitted = await _logged(intake, desk, two)
    again = await _logged(intake, desk, two)
    duplicate = await _logged(intake, desk, write_mail(write_envoi(), message_id="<2@x.fr>"))
    without_id = await _logged(intake, desk, write_mail(write_envoi(emailId=None), message_id="<3@x.fr>"))
    fault = await _logged(intake, desk, write_mail(write_envoi(emailId="2", smslong="x"), message_id="<4@x.fr>"))
    refused = await _logged(intake, desk, write_mail(write_envoi(keyid="wrong")))
    stranger = await _logged(intake, desk, write_mail(write_envoi()), peer="192.0.2.1")
    told = {key: admitted[key] for key in ("event", "log_level", "account", "sms", "refused", "code", "ack", "peer")}
    ids_of_reports = {row[0] for row in desk.rows("SELECT id FROM report")}

    assert told == {
        "event": "envoi_admitted",
        "log_level": "info",
        "account": "masociete",
        "sms": 1,
        "refused": 1,
        "code": None,
        "ack": 0,
        "peer": "127.0.0.1",
    }
    assert [admitted["mail_id"]] == [again["first_mail_id"]]
    assert (again["event"], duplicate["event"]) == ("mail_retransmitted", "mail_duplicate")
    assert duplicate["envoi_id"] == admitted["envoi_id"]
    told_ids = [_report_ids(line) for line in (admitted, duplicate, without_id, fault, refused)]
    assert ids_of_reports == set(chain.from_iterable(told_ids))
    assert (without_id["event"], without_id["ack"], without_id["envoi_id"]) == ("envoi_admitted", 2, None)
    assert (fault["event"], fault["code"], fault["sms"]) == ("envoi_admitted", 34, 0)
    assert (refused["event"], refused["log_level"], refused["account"]) == ("mail_refused", "warning", "masociete")
    assert (stranger["event"], stranger["peer"], stranger["reply"]) == ("mail_refused", "192.0.2.1", STRANGER)


@pytest.mark.parametrize("keyid", ["a296464ce012b8ab710a", "wrong-secret"])
async def test_log_holds_no_text_no_number_and_no_key(desk: Desk, keyid: str) -> None:
    body = write_envoi(keyid=keyid, num=None, num1="0601020304", num2="06O1020305", sms="texte du message ê")
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await desk.submit(write_mail(body))
    said = repr(lines)

    assert not [secret for secret in (keyid, "601020304", "06O1020305", "message ê") if secret in said]


def _count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_mails_and_sms_are_counted(desk: Desk) -> None:
    mails = _count("mail2sms_mails_total", outcome="admitted")
    queued = _count("mail2sms_sms_admitted_total", decision="queued")
    refused = _count("mail2sms_sms_admitted_total", decision="refused")
    await desk.send(num=None, num1="0601020304", num2="0601020305", num3="12345")

    assert _count("mail2sms_mails_total", outcome="admitted") - mails == 1
    assert _count("mail2sms_sms_admitted_total", decision="queued") - queued == 2
    assert _count("mail2sms_sms_admitted_total", decision="refused") - refused == 1


def test_reply_is_one_line() -> None:
    assert str(Reply(code=250, enhanced="2.0.0", text="Ok")) == "250 2.0.0 Ok"
