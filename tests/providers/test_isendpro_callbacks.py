"""iSendPro's callbacks: GET and POST, three notations, names and statuses that are hardly documented."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.providers.base import Callback, CallbackUnreadable, Fate, ParsesCallbacks, Receipt, Reply
from gateway.providers.isendpro import IsendproSettings
from gateway.providers.isendpro_callbacks import IsendproCallbacks
from gateway.providers.transport import RAW_LIMIT
from tests.providers.carriers import KEY, provider_at

TRACKER = "01K4Z7Q2W8X9Y0ABCDEF"
FORM = "application/x-www-form-urlencoded"


def read(callback: Callback, **settings: object) -> Sequence[Receipt | Reply]:
    """Return what the callback says by these settings."""
    return IsendproCallbacks(IsendproSettings.model_validate({"name": "carrier", **settings})).parse(callback)


def get(**fields: str) -> Callback:
    return Callback(method="GET", query=tuple(fields.items()))


def post(body: bytes | str, content_type: str = FORM, **query: str) -> Callback:
    content = body.encode() if isinstance(body, str) else body
    return Callback(method="POST", query=tuple(query.items()), content_type=content_type, body=content)


def receipt(callback: Callback, **settings: object) -> Receipt:
    [found] = read(callback, **settings)
    assert isinstance(found, Receipt)
    return found


def reply(callback: Callback, **settings: object) -> Reply:
    [found] = read(callback, **settings)
    assert isinstance(found, Reply)
    return found


async def test_carrier_reads_callbacks() -> None:
    async with provider_at("isendpro", "http://127.0.0.1:9") as provider:
        assert isinstance(provider, ParsesCallbacks)
        [found] = provider.parse_callback(get(tracker=TRACKER, tel="0612340001", statut="0"))

    assert isinstance(found, Receipt)


# --- receipts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "callback",
    [
        get(tracker=TRACKER, tel="0612340001", statut="0", date="2026-03-02 09:51:46"),
        get(Tracker=TRACKER.lower(), TEL="33612340001", STATUT=" 0 ", date_ar="02/03/2026 09:51:46"),
        get(ref=TRACKER, num="+33612340001", status="0", timestamp="1772441506"),
        get(id=TRACKER, msisdn="0033612340001", etat="0", date_reception="2026-03-02T09:51:46+01:00"),
        post(f"tracker={TRACKER}&tel=0612340001&statut=0&date=2026-03-02+09%3A51%3A46"),
        post(f"tracker={TRACKER}&tel=0612340001&statut=0&date=2026-03-02+09%3A51%3A46", ""),
        post(
            json.dumps({"tracker": TRACKER, "phone": "0612340001", "code": 0, "date": 1772441506}), "application/json"
        ),
        post(json.dumps([{"tracker": TRACKER, "tel": 33612340001, "code": "0", "date": "20260302095146"}]), ""),
        post("statut=0&date=2026-03-02+09%3A51%3A46", tracker=TRACKER, tel="0612340001"),
        post("\ufeff" + json.dumps({"tracker": TRACKER, "tel": "0612340001", "statut": 0, "date": 1772441506})),
    ],
)
def test_receipt_is_read_in_every_notation(callback: Callback) -> None:
    found = receipt(callback)

    assert (found.tracker, found.msisdn, found.fate) == (TRACKER, "+33612340001", Fate.DELIVERED)
    assert found.at == datetime(2026, 3, 2, 8, 51, 46, tzinfo=UTC)
    assert (found.code, found.cost, found.provider_ref) == (None, None, None)


@pytest.mark.parametrize("status", ["1", "00", "-1", "delivered", "OK", "999"])
def test_only_0_means_something_unless_the_operator_says_so(status: str) -> None:
    assert receipt(get(tracker=TRACKER, statut=status)).fate is Fate.UNKNOWN


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        ("0", Fate.UNKNOWN),
        ("DELIVRD", Fate.DELIVERED),
        ("delivrd", Fate.DELIVERED),
        ("2", Fate.UNDELIVERED),
        ("21", Fate.REFUSED),
        ("1", Fate.TAKEN),
        ("3", Fate.UNKNOWN),
    ],
)
def test_statuses_mean_what_the_settings_say(status: str, fate: Fate) -> None:
    lists = {
        "status_delivered": ["delivrd"],
        "status_undelivered": ["2", "20"],
        "status_refused": ["21"],
        "status_taken": ["1"],
    }

    assert receipt(get(tracker=TRACKER, statut=status), **lists).fate is fate


def test_names_are_those_of_the_settings() -> None:
    found = receipt(get(x=TRACKER, y="0", tel="0612340001"), callback_tracker=["X"], callback_status=["Y"])

    assert (found.tracker, found.fate, found.msisdn) == (TRACKER, Fate.DELIVERED, "+33612340001")


def test_first_name_of_the_list_wins_and_an_empty_field_is_not_there() -> None:
    found = receipt(get(id="other", tracker=TRACKER, statut="", code="0", tel="", num="0612340001"))

    assert (found.tracker, found.fate, found.msisdn) == (TRACKER, Fate.DELIVERED, "+33612340001")


def test_field_that_comes_twice_counts_once_and_the_query_goes_before_the_body() -> None:
    query = (("tracker", TRACKER), ("statut", "0"), ("statut", "4"))
    found = receipt(Callback(method="POST", query=query, content_type=FORM, body=b"tracker=OTHER&statut=5"))

    assert (found.tracker, found.fate) == (TRACKER, Fate.DELIVERED)


def test_several_receipts_may_come_at_once() -> None:
    entries = [{"tracker": f"T{number}", "statut": number} for number in range(3)]
    found = read(post(json.dumps(entries), "application/json"))

    assert [(one.tracker, one.fate) for one in found if isinstance(one, Receipt)] == [
        ("T0", Fate.DELIVERED),
        ("T1", Fate.UNKNOWN),
        ("T2", Fate.UNKNOWN),
    ]


def test_tracker_with_nothing_known_beside_it_is_kept() -> None:
    found = receipt(get(tracker=TRACKER, dlr="7"))

    assert found.fate is Fate.UNKNOWN
    assert "dlr=7" in found.raw


def test_receipt_needs_neither_number_nor_date() -> None:
    found = receipt(get(tracker=TRACKER, statut="0", tel="abc", date="hier"))

    assert (found.msisdn, found.at) == (None, None)
    assert "hier" in found.raw


def test_label_beside_a_status_makes_no_reply() -> None:
    found = receipt(get(tracker=TRACKER, statut="4", tel="0612340001", message="Numero injoignable"))

    assert found.fate is Fate.UNKNOWN


# --- replies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "callback",
    [
        get(tel="0612340001", message="Ça marche\n€", date="2026-03-02 09:51:46"),
        get(num="33612340001", reponse="Ça marche\n€", date="2026-03-02 09:51:46"),
        post(urlencode({"tel": "0612340001", "texte": "Ça marche\n€", "date": "2026-03-02 09:51:46"})),
        post(
            json.dumps({"msisdn": "+33612340001", "text": "Ça marche\n€", "timestamp": 1772441506}), "application/json"
        ),
        post(
            json.dumps({"msisdn": "0612340001", "sms": "Ça marche\n€", "timestamp": 1772441506}, ensure_ascii=False),
            "application/json; charset=utf-8",
        ),
    ],
)
def test_reply_is_read_in_every_notation(callback: Callback) -> None:
    found = reply(callback)

    assert (found.msisdn, found.text) == ("+33612340001", "Ça marche\n€")
    assert found.at == datetime(2026, 3, 2, 8, 51, 46, tzinfo=UTC)
    assert (found.tracker, found.reference, found.part, found.is_stop) == (None, None, None, False)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("tel=0612340001&message=" + quote("déjà reçu", encoding="utf-8"), FORM),
        ("tel=0612340001&message=" + quote("déjà reçu", encoding="iso-8859-1"), FORM),
        ("tel=0612340001&message=déjà reçu".encode(), FORM),
        ("tel=0612340001&message=déjà reçu".encode("iso-8859-1"), FORM),
        ("tel=0612340001&message=déjà reçu".encode("iso-8859-15"), f"{FORM}; charset=ISO-8859-15"),
        (json.dumps({"tel": "0612340001", "message": "déjà reçu"}, ensure_ascii=False).encode("iso-8859-1"), ""),
    ],
)
def test_text_is_read_as_utf_8_or_else_as_iso_8859_1(body: bytes | str, content_type: str) -> None:
    assert reply(post(body, content_type)).text == "déjà reçu"


def test_text_in_the_query_may_be_iso_8859_1_too() -> None:
    query = parse_qsl("tel=0612340001&message=d%E9j%E0", errors="surrogateescape")

    assert reply(Callback(method="GET", query=query)).text == "déjà"


def test_reply_may_name_the_sms_it_answers() -> None:
    assert reply(get(tel="0612340001", tracker=TRACKER, message="OUI")).tracker == TRACKER


def test_reply_is_no_receipt_because_of_a_number_that_is_no_status() -> None:
    found = reply(get(tel="0612340001", code="36180", message="OUI"))

    assert found.text == "OUI"


@pytest.mark.parametrize("text", ["STOP", "stop pub", " Stop.", "«STOP»"])
def test_stop_beside_a_status_of_no_meaning_is_not_lost(text: str) -> None:
    found = read(get(tel="0612340001", tracker=TRACKER, code="36180", message=text))

    assert [type(one) for one in found] == [Reply, Receipt]
    assert isinstance(found[0], Reply)
    assert found[0].text == text
    assert not found[0].is_stop


def test_text_is_fit_for_any_database() -> None:
    body = '{"tel": "0612340001", "message": "a\\u0000b\\ud83d"}'

    assert reply(post(body, "application/json")).text == "a\ufffdb?"


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        (get(), r"lacks our tracker \(callback_tracker\); its fields are: none"),
        (get(foo="secret-1", bar="0612340001"), "its fields are: foo, bar"),
        (get(tel="0612340001", statut="0"), r"our tracker \(callback_tracker\); its fields are: tel, statut"),
        (get(tracker="not one of ours!", statut="0"), "our tracker"),
        (get(message="secret-1"), r"a number that can be read \(callback_number\); its fields are: message"),
        (get(tel="secret-1", message="STOP"), "a number that can be read"),
        (get(tracker=TRACKER, message="secret-1"), "a number that can be read"),
        (post("{secret-1", "application/json"), "began like JSON and is none"),
        (post("[" * 10_000), "began like JSON and is none"),
        (post("[]", "application/json"), "holds no object"),
        (post("[1]", "application/json"), "holds no object"),
        (post(json.dumps([{"tracker": "T1"}] * 501)), "more than 500 entries"),
        (post("&".join(f"x{number}=1" for number in range(300))), "more than 200 fields"),
        (get(**{"<b>secret-1</b>": "x"}), "its fields are: none"),
    ],
)
def test_what_says_nothing_is_refused_with_what_to_do_and_without_content(callback: Callback, reason: str) -> None:
    with pytest.raises(CallbackUnreadable, match=reason) as refused:
        read(callback)

    assert "secret-1" not in str(refused.value)
    assert "0612340001" not in str(refused.value)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_request_is_kept_as_it_came_without_the_key() -> None:
    found = receipt(post(f"statut=0&keyid={KEY}", tracker=TRACKER), keyid=KEY)

    assert found.raw == f"POST tracker={TRACKER} statut=0&keyid=***"


def test_what_is_kept_has_a_bound() -> None:
    assert len(receipt(get(tracker=TRACKER, statut="0", x="y" * 16_000)).raw) == RAW_LIMIT


def test_nothing_of_a_reply_prints() -> None:
    printed = repr(reply(get(tel="0612340001", message="Bonjour", date="2026-03-02 09:51:46")))

    assert "Bonjour" not in printed
    assert "612340001" not in printed


# --- the settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lists",
    [{"status_undelivered": ["0"]}, {"status_taken": ["A"], "status_refused": ["a"]}, {"status_taken": ["1", "1"]}],
)
def test_status_with_two_meanings_is_refused(lists: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="stands twice"):
        IsendproSettings.model_validate({"name": "carrier", **lists})


# --- anything at all -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["tel", "statut", "code", "tracker", "id", "message", "texte", "date", "x", ""])
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from([TRACKER, "0", "0612340001", "STOP", "2026-03-02 09:51", "\ud83d", "\udce9", "\x00"]),
)
SCALARS = VALUES | st.none() | st.booleans() | st.integers() | st.floats()
BODIES = (
    st.binary(max_size=60)
    | st.lists(st.tuples(NAMES, st.text(max_size=12)), max_size=6).map(lambda pairs: urlencode(pairs).encode())
    | (
        st.dictionaries(NAMES, SCALARS, max_size=6) | st.lists(st.dictionaries(NAMES, SCALARS), max_size=3) | SCALARS
    ).map(lambda value: json.dumps(value).encode())
)


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    BODIES,
    st.sampled_from(["", FORM, "application/json", "x; charset=utf-8"]),
)
def test_any_request_is_read_or_refused(query: list[tuple[str, str]], body: bytes, content_type: str) -> None:
    try:
        found = read(Callback(method="POST", query=query, content_type=content_type, body=body))
    except CallbackUnreadable:
        return

    for one in found:
        kept = [one.raw, one.text if isinstance(one, Reply) else ""]
        assert all("\x00" not in text and text.encode() is not None for text in kept)
        assert one.msisdn is None or one.msisdn.startswith("+")
        assert one.tracker is None or one.tracker.isalnum()


@given(st.sampled_from(["0", "1", "x"]), st.sampled_from(["0612340001", "+33612340001"]), st.permutations(range(4)))
def test_query_form_and_json_say_the_same(status: str, number: str, order: list[int]) -> None:
    pairs = [("tracker", TRACKER), ("statut", status), ("tel", number), ("date", "2026-03-02 09:51")]
    pairs = [pairs[position] for position in order]
    told = [
        receipt(callback)
        for callback in (
            Callback(method="GET", query=pairs),
            post(urlencode(pairs)),
            post(json.dumps(dict(pairs)), "application/json"),
        )
    ]

    assert len({(one.tracker, one.fate, one.msisdn, one.at) for one in told}) == 1
