"""SMS Partner's answers: every shape, every code, who is meant, what it cost."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.lifecycle import Accepted, Hold, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.providers.handling import Handling
from gateway.providers.masking import recorder
from gateway.providers.smspartner_answers import Question, Said, read_verdicts
from gateway.providers.smspartner_codes import CODES
from gateway.providers.smspartner_statuses import FATES
from gateway.providers.smspartner_wire import read_amount, read_instant, read_ref, share, tracker_of
from tests.support.clock import START

ROOT = Path(__file__).resolve().parents[2]
A, B, C = "+33612340001", "+33612340002", "+33612340003"


def verdicts_of(
    body: object,
    *numbers: str,
    status: int = 200,
    is_bulk: bool = False,
    is_trial: bool = False,
    deliver_at: datetime | None = None,
) -> list[Verdict]:
    question = Question(
        provider="p",
        numbers=numbers or [A],
        is_bulk=is_bulk,
        is_trial=is_trial,
        deliver_at=deliver_at,
        record=recorder(["KEY-KEY-KEY"]),
    )
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return read_verdicts(question, Said(status=status, body=content, retry_at=None))


def short(verdict: Verdict) -> object:
    """Return what matters of a verdict, in one value."""
    match verdict:
        case Accepted():
            return "accepted"
        case Refused(code=code):
            return code
        case NotSent(hold=hold, code=code):
            return (hold, code)
        case Uncertain():
            return "unknown"


def taken(**fields: object) -> dict[str, object]:
    return {"success": True, "code": 200, "message_id": 5510032, "currency": "EUR", **fields}


def item(number: str, **fields: object) -> dict[str, object]:
    return {"success": True, "code": 200, "nbSms": 1, "cost": 0.045, "phoneNumber": number, **fields}


# --- accepted --------------------------------------------------------------------------------------------------------


def test_acceptance_tells_id_parts_and_cost_of_each() -> None:
    found = verdicts_of(
        '{"success":true,"code":200,"message_id":5510032,"nb_sms":4,"cost":0.18,"currency":"EUR"}', A, B
    )

    assert [(one.provider_ref, one.parts, one.cost, one.currency) for one in found if isinstance(one, Accepted)] == [
        ("5510032", 2, Decimal("0.09"), "EUR")
    ] * 2


def test_cost_that_does_not_come_out_even_keeps_its_sum() -> None:
    found = verdicts_of(taken(nb_sms=3, cost=0.1), A, B, C)

    assert [one.cost for one in found if isinstance(one, Accepted)] == [
        Decimal("0.033333"),
        Decimal("0.033333"),
        Decimal("0.033334"),
    ]


@pytest.mark.parametrize(
    "fields", [{"cost": 0.045, "currency": "euros"}, {"cost": -1}, {"cost": "free"}, {"cost": None}]
)
def test_cost_that_cannot_be_read_is_none(fields: dict[str, object]) -> None:
    [found] = verdicts_of(taken(**fields))

    assert isinstance(found, Accepted)
    assert (found.cost, found.currency) == (None, None)


@pytest.mark.parametrize("nb_sms", [1, 0])
def test_fewer_sms_than_numbers_leave_everybody_in_doubt(nb_sms: int) -> None:
    assert [short(one) for one in verdicts_of(taken(nb_sms=nb_sms), A, B)] == ["unknown"] * 2


def test_number_that_a_success_takes_out_is_refused_alone() -> None:
    body = taken(nb_sms=1, cost=0.045, errors=[{"code": "14", "phoneNumber": "0612340002"}])
    found = verdicts_of(body, A, B)

    assert [short(one) for one in found] == ["accepted", Code.C11_NUMBER_BLACKLISTED]
    assert isinstance(found[0], Accepted)
    assert found[0].cost == Decimal("0.045")


@pytest.mark.parametrize("ref", [None, "", " ", 0, "0", True, [], {}, "a b", "x" * 65, 10**30])
def test_success_without_an_id_is_none(ref: object) -> None:
    with capture_logs() as logs:
        found = verdicts_of({"success": True, "code": 200, "message_id": ref}, A)

    assert [short(one) for one in found] == ["unknown"]
    assert [log["event"] for log in logs] == ["answer_unreadable"]


def test_trial_needs_no_id() -> None:
    with capture_logs() as logs:
        [found] = verdicts_of({"success": True, "code": 200, "nb_sms": 1}, is_trial=True)

    assert isinstance(found, Accepted)
    assert found.provider_ref is None
    assert [log["event"] for log in logs] == ["id_missing"]


@pytest.mark.parametrize("code", [200, "200"])
def test_code_may_be_a_string(code: object) -> None:
    assert [short(one) for one in verdicts_of(taken(code=code))] == ["accepted"]


def test_items_are_found_by_number_in_whatever_order() -> None:
    body = taken(
        nbSMS=2,
        SMSResponse_List=[
            item("0612340003", success=False, code="14", message="STOP"),
            item("+33 6 12 34 00 01", nbSms=2, cost="0.09"),
        ],
    )
    found = verdicts_of(body, A, B, C, is_bulk=True)

    assert [short(one) for one in found] == ["accepted", "unknown", Code.C11_NUMBER_BLACKLISTED]
    assert isinstance(found[0], Accepted)
    assert (found[0].parts, found[0].cost) == (2, Decimal("0.09"))
    assert "5510032" in found[1].raw


def test_items_without_a_number_are_found_by_place_if_they_are_as_many() -> None:
    nameless = [item("", phoneNumber=None), item("", phoneNumber=None, success=False, code=9)]

    assert [short(one) for one in verdicts_of(taken(SMSResponse_List=nameless), A, B, is_bulk=True)] == [
        "accepted",
        Code.C7_NUMBER_MALFORMED,
    ]
    assert [short(one) for one in verdicts_of(taken(SMSResponse_List=nameless), A, B, C, is_bulk=True)] == [
        "unknown"
    ] * 3


@pytest.mark.parametrize("listed", [None, [], {}, "x", [7, None]])
def test_bulk_without_items_proves_nothing(listed: object) -> None:
    assert [short(one) for one in verdicts_of(taken(SMSResponse_List=listed), A, B, is_bulk=True)] == ["unknown"] * 2


@pytest.mark.parametrize(
    "fields", [{"code": 500}, {"success": False}, {"success": None}, {"code": None}, {"success": "true"}]
)
def test_item_that_contradicts_itself_proves_nothing(fields: dict[str, object]) -> None:
    [found] = verdicts_of(taken(SMSResponse_List=[item(A, **fields)]), A, is_bulk=True)

    assert isinstance(found, Uncertain)


def test_two_items_about_one_number_that_disagree_are_none() -> None:
    items = [item(A), item(A, success=False, code=14)]

    assert [short(one) for one in verdicts_of(taken(SMSResponse_List=items), A, is_bulk=True)] == ["unknown"]


def test_cost_of_items_without_one_goes_by_parts() -> None:
    items = [item(A, cost=None, nbSms=1), item(B, cost=None, nbSms=2)]
    found = verdicts_of(taken(cost=0.135, SMSResponse_List=items), A, B, is_bulk=True)

    assert [one.cost for one in found if isinstance(one, Accepted)] == [Decimal("0.045"), Decimal("0.09")]


# --- refused ---------------------------------------------------------------------------------------------------------

EXPECTED: Mapping[Handling, Callable[[Code], object]] = {
    Handling.NUMBER: lambda code: code,
    Handling.REFUSED: lambda code: code,
    Handling.RETRY: lambda code: (Hold.SMS, code),
    Handling.HOLD: lambda code: (Hold.ACCOUNT, code),
    Handling.PAUSE: lambda code: (Hold.PROVIDER, code),
    Handling.UNKNOWN: lambda _code: "unknown",
}


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("status", [200, 400, 500])
def test_every_code_is_handled_as_its_table_says(code: int, status: int) -> None:
    handling, ours = CODES[code]
    [found] = verdicts_of({"success": False, "code": code, "message": "?"}, status=status, deliver_at=START)

    assert short(found) == EXPECTED[handling](ours)


def test_code_that_is_not_documented_proves_nothing() -> None:
    assert [short(one) for one in verdicts_of({"success": False, "code": 777})] == ["unknown"]


def test_no_credit_with_an_object_for_an_error() -> None:
    body = {"success": False, "code": 11, "error": {"message": "NOCREDITS"}, "credits": {"creditSms": 0, "solde": 0}}

    assert [short(one) for one in verdicts_of(body, A, B)] == [(Hold.ACCOUNT, Code.C12_NO_CREDIT)] * 2


def test_inner_code_comes_before_the_outer_one() -> None:
    body = {
        "success": False,
        "code": 55,
        "message": "Aucun prix par default n'a ete trouve pour les numeros suivant (1595)",
        "errors": [
            {"success": False, "code": "9", "message": "Le telephone (1595) n'est pas etre un numero de mobile"}
        ],
    }

    assert [short(one) for one in verdicts_of(body)] == [Code.C7_NUMBER_MALFORMED]


@pytest.mark.parametrize("key", ["error", "errors"])
@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("children[phoneNumbers].data", Code.C7_NUMBER_MALFORMED),
        ("children[phoneNumber].data", Code.C7_NUMBER_MALFORMED),
        ("children[sender].data", Code.C33_ORIGINATOR_NOT_ALLOWED),
        ("children[message].data", Code.C999_ERROR),
        ("children[urlDlr].data", Code.C999_ERROR),
        ("data", Code.C999_ERROR),
        ("children[SMSList].children[3].children[phoneNumber].data", Code.C7_NUMBER_MALFORMED),
    ],
)
def test_broken_constraint_is_told_by_its_element(key: str, element: str, expected: Code) -> None:
    body = {"success": False, "code": 9, key: [{"elementId": element, "message": "?"}]}

    assert [short(one) for one in verdicts_of(body, status=400)] == [expected]


def test_wrong_sender_refuses_the_whole_call() -> None:
    body = {"success": False, "code": 9, "errors": [{"elementId": "children[sender].data", "message": "?"}]}

    assert [short(one) for one in verdicts_of(body, A, B)] == [Code.C33_ORIGINATOR_NOT_ALLOWED] * 2


def test_number_that_breaks_a_constraint_takes_only_itself_down() -> None:
    label = "Ce numero de telephone n'est pas valide (0612340002)"
    body = {"success": False, "code": 9, "errors": [{"elementId": "children[phoneNumbers].data", "message": label}]}

    assert [short(one) for one in verdicts_of(body, A, B)] == [(Hold.SMS, Code.C999_ERROR), Code.C7_NUMBER_MALFORMED]


def test_numbers_that_inner_errors_name_are_refused_and_the_others_in_doubt() -> None:
    errors = [{"success": False, "code": "13", "phoneNumber": "+33612340002"}]
    body = {"success": False, "code": 55, "errors": errors}

    assert [short(one) for one in verdicts_of(body, A, B)] == ["unknown", Code.C27_COUNTRY_NOT_ALLOWED]


def test_errors_without_names_go_by_place_if_they_are_as_many() -> None:
    errors = [{"code": "14"}, {"code": "9"}]
    body = {"success": False, "code": 55, "errors": errors}

    assert [short(one) for one in verdicts_of(body, A, B)] == [Code.C11_NUMBER_BLACKLISTED, Code.C7_NUMBER_MALFORMED]
    assert [short(one) for one in verdicts_of(body, A, B, C)] == ["unknown"] * 3


@pytest.mark.parametrize("code", [9, 13, 14, 15])
def test_code_about_one_number_says_nothing_about_several(code: int) -> None:
    body = {"success": False, "code": code, "message": "n'est pas un numero de mobile"}

    assert [short(one) for one in verdicts_of(body, A, B)] == ["unknown"] * 2


def test_label_of_the_outer_code_names_numbers_too() -> None:
    body = {"success": False, "code": 13, "message": "Aucun prix pour les numeros suivant (0612340002, +33612340003)"}

    assert [short(one) for one in verdicts_of(body, B, C)] == [Code.C27_COUNTRY_NOT_ALLOWED] * 2


def test_date_that_is_not_taken_is_waited_for_here() -> None:
    body = {"success": False, "code": 48, "message": "Les minutes doivent etre comprises entre 5 et 55"}
    [found] = verdicts_of(body, deliver_at=START)

    assert isinstance(found, NotSent)
    assert found.retry_at == START
    assert [short(one) for one in verdicts_of(body)] == [Code.C999_ERROR]


def test_key_in_a_label_is_masked_in_all_its_forms() -> None:
    [found] = verdicts_of({"success": False, "code": 10, "message": "KEY-KEY-KEY"})

    assert "KEY-KEY" not in found.raw


# --- XML that nobody asked for ---------------------------------------------------------------------------------------


def test_positional_xml_is_understood() -> None:
    body = (
        "<?xml version='1.0' encoding='UTF-8'?>\n<result>\n<entry>true</entry>\n<entry>200</entry>\n<entry>77</entry>"
        "\n<entry>1</entry><entry>0.045</entry>\n<entry>\n<![CDATA[EUR]]>\n</entry>\n</result>"
    )
    [found] = verdicts_of(body)

    assert isinstance(found, Accepted)
    assert (found.provider_ref, found.parts, found.cost, found.currency) == ("77", 1, Decimal("0.045"), "EUR")


def test_positional_xml_of_a_bulk_send_is_understood() -> None:
    items = (
        "<entry><entry>true</entry><entry>200</entry><entry>1</entry><entry>0.045</entry><entry>+33612340002</entry></entry>"
        "<entry><entry>false</entry><entry>14</entry><entry>0</entry><entry>0</entry><entry>+33612340001</entry></entry>"
    )
    body = (
        "<result><entry>true</entry><entry>200</entry><entry>77</entry><entry>EUR</entry><entry>0.045</entry>"
        f"<entry>1</entry><entry>{items}</entry></result>"
    )

    assert [short(one) for one in verdicts_of(body, A, B, is_bulk=True)] == [Code.C11_NUMBER_BLACKLISTED, "accepted"]


def test_refusal_in_positional_xml_is_understood() -> None:
    body = "<result><entry>false</entry><entry>10</entry><entry><![CDATA[Clef API incorrecte]]></entry></result>"

    assert [short(one) for one in verdicts_of(body)] == [(Hold.ACCOUNT, Code.C3_KEY_UNKNOWN)]


@pytest.mark.parametrize(
    "body",
    [
        "<result><entry>false</entry></result>",
        "<result></result>",
        "<result><entry>true</entry><entry>200</entry></result>",
        "<result><entry>200</entry><entry>true</entry><entry>5</entry></result>",
    ],
)
def test_positional_xml_that_says_less_proves_nothing(body: str) -> None:
    assert [short(one) for one in verdicts_of(body)] == ["unknown"]


# --- how things are written ------------------------------------------------------------------------------------------


@given(st.decimals(0, 1000, places=6), st.lists(st.integers(1, 10), min_size=1, max_size=50))
def test_shares_add_up(total: Decimal, weights: list[int]) -> None:
    found = share(total, weights)

    assert sum(found) == total
    assert all(
        abs(one - total * weight / sum(weights)) <= Decimal("0.000001")
        for one, weight in zip(found, weights, strict=True)
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-02 08:31:07", "2026-03-02T07:31:07+00:00"),
        ("2026-07-02T08:31:07", "2026-07-02T06:31:07+00:00"),
        ("1772440267", "2026-03-02T08:31:07+00:00"),
        (1772440267, "2026-03-02T08:31:07+00:00"),
        ("2026-13-02 08:31:07", None),
        ("0001-01-01 00:00:00", None),
        ("٢٠٢٦-03-02 08:31:07", None),
        (10**40, None),
        (-5, None),
        (True, None),
        (None, None),
    ],
)
def test_dates_are_read_in_all_their_forms(value: object, expected: str | None) -> None:
    found = read_instant(value)

    assert (found.isoformat() if found else None) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("54.120", "54.12"),
        (0, "0"),
        (Decimal("1e-30"), None),
        (Decimal("1e400"), None),
        ("NaN", None),
        (10**9, None),
        ([], None),
    ],
)
def test_amounts_are_read_from_numbers_and_strings(value: object, expected: str | None) -> None:
    found = read_amount(value)

    assert found == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("0q7h2k9m", "0Q7H2K9M"), ("lq7h2k9m", None), ("", None), (7, None), ("a" * 21, None), ("A", None), ("a b", None)],
)
def test_tag_is_a_tracker_only_if_it_stands_for_one_sms(tag: object, expected: str | None) -> None:
    assert tracker_of(tag) == expected


def test_ids_are_read_from_numbers_and_strings() -> None:
    assert [read_ref(value) for value in (5510032, "5510032", " 7 ", "00", -5)] == [
        "5510032",
        "5510032",
        "7",
        None,
        "-5",
    ]


# --- the manual ------------------------------------------------------------------------------------------------------


def test_manual_lists_every_code_as_the_table_has_it() -> None:
    text = (ROOT / "docs" / "carriers.md").read_text("utf-8")
    section = text.partition("## SMS Partner")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    listed = {int(row[0]): (row[2], row[3]) for row in rows if row[0].isdecimal()}

    assert listed == {code: (handling.value, str(ours.value)) for code, (handling, ours) in CODES.items()}


def test_manual_lists_every_status_as_the_table_has_it() -> None:
    text = (ROOT / "docs" / "carriers.md").read_text("utf-8")
    section = text.partition("### What became of an SMS")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]

    assert {row[0].strip("`"): row[1] for row in rows} == {word: fate.value for word, fate in FATES.items()}
