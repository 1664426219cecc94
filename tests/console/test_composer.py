"""Envois written by hand: judged while one types, sent by the front door, and read as they were meant."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.envoi_mail import Draft, Incomplete, Kind, Written, suggest_email_id, to_wire, write_mail
from gateway.protocol.envoi import Envoi
from gateway.protocol.reading import Limits, Mode
from gateway.reader.mail import MailRead, Reading, read_mail
from tests.console.house import MAIL_ID, House, Operator, shown
from tests.support.accounts import KEYID, make_account

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
FIELDS: dict[str, str | list[str]] = {
    "account": "masociete",
    "sender": "console@masociete.com",
    "kind": "same",
    "numbers": "0612345678",
    "text": "Bonjour",
    "email_id": "4711",
}


def draft(**changes: object) -> Draft:
    values: dict[str, object] = {
        "account": "masociete",
        "sender": "console@masociete.com",
        "kind": Kind.SAME,
        "numbers": "0612345678",
        "text": "Bonjour",
        "email_id": "4711",
    }
    return Draft(**(values | changes))  # type: ignore[arg-type]


def write(**changes: object) -> Written:
    return write_mail(
        draft(**changes), make_account(), recipient="sendsms@gw.example.org", hostname="gw.example.org", now=NOW
    )


# --- the mail --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"sender": "nobody"}, "compose.no_sender"),
        ({"sender": "a@b\r\nBcc: c@d"}, "compose.no_sender"),
        ({"numbers": " ,\n"}, "compose.no_numbers"),
        ({"text": "  "}, "compose.no_text"),
        ({"kind": Kind.OWN, "numbers": "0612345678"}, "compose.no_own_text"),
        ({"kind": Kind.OWN, "numbers": "\n"}, "compose.no_numbers"),
        ({"kind": Kind.CSV, "numbers": ""}, "compose.no_numbers"),
        ({"kind": Kind.CSV, "text": ""}, "compose.no_text"),
    ],
)
def test_what_is_missing_is_said(changes: dict[str, object], missing: str) -> None:
    with pytest.raises(Incomplete) as caught:
        write(**changes)

    assert caught.value.key == missing


def test_the_key_is_in_the_mail_and_not_in_what_is_shown() -> None:
    written = write()

    assert KEYID not in written.shown
    assert read_strictly(written).keyid == KEYID


def test_every_option_has_its_element() -> None:
    written = write(
        numbers="0612345678, 0612345679;0612345670",
        originator="MaSociete",
        tracker="t1",
        smslong="3",
        nostop=True,
        ucs2=True,
        date="2026-12-24T18:00",
        ack_to="a@masociete.com",
        not_to="n@masociete.com",
    )

    assert re.findall(r"<(\w+)>(.*)</\1>", written.shown) == [
        ("keyid", "********"),
        ("emailId", "4711"),
        ("num1", "0612345678"),
        ("num2", "0612345679"),
        ("num3", "0612345670"),
        ("sms", "Bonjour"),
        ("emetteur", "MaSociete"),
        ("tracker", "t1"),
        ("smslong", "3"),
        ("nostop", "1"),
        ("ucs2", "1"),
        ("date_envoi", "2026-12-24 18:00"),
        ("emailAck", "a@masociete.com"),
        ("emailNot", "n@masociete.com"),
    ]


def test_a_line_break_is_written_as_the_protocol_writes_it() -> None:
    assert to_wire("\nBonjour\nà tous\n") == "BonjourÖà tous"  # docs/protocol.md §6.1


def test_an_emailid_of_ours_is_of_digits_alone() -> None:
    assert re.fullmatch(r"20260304093000\d{4}", suggest_email_id(NOW))


TEXTS = st.text(st.characters(categories=("L", "N", "P", "S"), include_characters=" \n"), min_size=1, max_size=60).map(
    lambda text: " ".join(text.strip().split(" "))
)
"""What people type: no control characters; blanks in a row are one, as everywhere in the protocol."""


def read_strictly(written: Written) -> Envoi:
    """Return the envoi as a strict reader has it."""
    content = re.sub(rb"\r?\n", b"\r\n", written.mail)
    answer = read_mail(content, Mode.STRICT, Limits())
    assert isinstance(answer, MailRead), answer
    assert isinstance(answer.reading, Reading), answer.reading
    return answer.reading.envoi


def meant(text: str) -> str:
    """Return what a text is once it is read: without the blanks around it, and around its line breaks as typed."""
    return to_wire(text).strip()


@given(text=TEXTS.filter(lambda text: bool(text.strip())))
def test_a_text_for_all_arrives_as_it_was_typed(text: str) -> None:
    envoi = read_strictly(write(numbers="0612345678\n0612345679", text=text))

    assert [(one.tel, one.text) for one in envoi.recipients] == [
        ("0612345678", meant(text)),
        ("0612345679", meant(text)),
    ]
    assert (envoi.keyid, envoi.email_id, envoi.notes) == (KEYID, "4711", ())


@given(
    texts=st.lists(
        TEXTS.map(lambda text: text.replace("\n", "")).filter(lambda text: bool(text.strip())), min_size=1, max_size=5
    )
)
def test_a_text_for_each_arrives_as_it_was_typed(texts: list[str]) -> None:
    numbers = "\n".join(f"061234567{place} = {text}" for place, text in enumerate(texts))
    envoi = read_strictly(write(kind=Kind.OWN, numbers=numbers, text=""))

    assert [one.text for one in envoi.recipients] == [text.strip() for text in texts]


def test_a_text_with_values_goes_as_the_two_files() -> None:
    written = write(
        kind=Kind.CSV, numbers="0612345678;;Anne;;12:30\n\n0612345679;;Ève & <co>;;7", text="Bonjour [1],\nà [2]"
    )
    envoi = read_strictly(written)  # docs/protocol.md §4

    assert [(one.tel, one.text) for one in envoi.recipients] == [
        ("0612345678", "Bonjour Anne,Öà 12:30"),
        ("0612345679", "Bonjour Ève & <co>,Öà 7"),
    ]
    assert [name for name, _content in written.files] == ["mobiles.csv", "message.csv"]


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_the_verdict_is_shown_while_one_types(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    await operator.get("/console/compose")
    answer = await operator.post("/console/compose/verdict", FIELDS, **{"hx-request": "true"})

    assert answer.status_code == 200
    assert "<b>not</b> taken" in shown(answer)
    assert "<html" not in answer.text
    assert [sender for sender, _mail in console.examined] == ["console@masociete.com"]
    assert console.delivered == []


@pytest.mark.slow
async def test_a_draft_that_is_not_finished_is_not_examined(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    answer = await operator.post("/console/compose/verdict", {**FIELDS, "text": ""})

    assert "There is no text yet." in shown(answer)
    assert console.examined == []


@pytest.mark.slow
async def test_the_verdict_is_not_asked_for_without_end(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    statuses = [(await operator.post("/console/compose/verdict", FIELDS)).status_code for _ in range(22)]

    assert statuses == [200] * 20 + [429] * 2


@pytest.mark.slow
async def test_sending_goes_by_the_front_door_and_leads_to_the_story(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    answer = await operator.post("/console/compose", FIELDS)
    noted = [one for one in await console.store.console_actions(before=None, limit=5) if one.action != "login"]

    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/mail/{MAIL_ID}")
    assert [(sender, recipient) for sender, recipient, _mail in console.delivered] == [
        ("console@masociete.com", "sendsms@gw.example.org")
    ]
    assert [(one.who, one.action, one.object) for one in noted] == [("otto", "compose", "masociete, emailId 4711")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "status", "said"),
    [
        ("refused", 422, "Not taken: 550 5.7.1 <b>no</b>"),
        ("down", 502, "sent again with the same emailId, it goes once"),
        ("missing", 422, "There is no recipient yet."),
    ],
)
async def test_what_was_typed_is_kept_when_it_does_not_go(
    operator: Operator, console: House, trouble: str, status: int, said: str
) -> None:
    console.is_down = trouble == "down"
    console.reply = "550 5.7.1 <b>no</b>" if trouble == "refused" else console.reply
    await operator.log_in("otto")
    fields = {**FIELDS, "text": "</textarea><script>", "numbers": "" if trouble == "missing" else "0612345678"}
    answer = await operator.post("/console/compose", fields)

    assert answer.status_code == status
    assert said in shown(answer)
    assert "&lt;/textarea&gt;&lt;script&gt;</textarea>" in answer.text
    assert 'value="4711"' in answer.text
