"""docs/protocol.md §3 to §7: what becomes of an envoi."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.accounts import Account
from gateway.policy.admission import Admission, Fault, QueuedSms, RefusedSms, admit, read_email_id, read_tracker
from gateway.policy.texts import TEXT_PROFILES
from gateway.protocol.codes import Code
from gateway.protocol.envoi import Envoi, Mode, Recipient
from gateway.text.msisdn import Msisdn
from tests.support.accounts import make_account
from tests.support.envois import make_envoi

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)  # 10:30 in Paris
NIGHT = datetime(2026, 3, 4, 20, 30, tzinfo=UTC)
ISENDPRO = TEXT_PROFILES["isendpro"]
LONG = "x" * 200


def decide(envoi: Envoi, account: Account | None = None, now: datetime = NOW) -> Admission:
    return admit(envoi, account or make_account(), now, ISENDPRO)


def queued(admission: Admission) -> QueuedSms:
    (sms,) = admission.sms
    assert isinstance(sms, QueuedSms)
    return sms


def refused(admission: Admission) -> RefusedSms:
    (sms,) = admission.sms
    assert isinstance(sms, RefusedSms)
    return sms


def test_plain_envoi_is_queued_for_now() -> None:
    assert decide(make_envoi()) == Admission(
        fault=None,
        sms=(
            QueuedSms(
                position=1,
                tel="0601020304",
                msisdn=Msisdn(e164="+33601020304"),
                text="Salut ca va ?",
                parts=1,
                ucs2=False,
                route="",
                due_at=NOW,
                deliver_at=None,
                expires_at=NOW + timedelta(days=1),
                notes=(),
            ),
        ),
        originator=None,
        max_parts=1,
        nostop=False,
        notes=(),
    )


@pytest.mark.parametrize(
    ("elements", "settings", "code"),
    [
        ({"fault": Code.C102_FILE_INVALID}, {}, Code.C102_FILE_INVALID),
        ({"fault": Code.C23_TOO_MANY_NUMBERS, "recipients": ()}, {}, Code.C23_TOO_MANY_NUMBERS),
        ({"fault": Code.C6_NUMBER_MISSING, "emetteur": ""}, {}, Code.C6_NUMBER_MISSING),
        ({"recipients": ()}, {}, Code.C6_NUMBER_MISSING),
        ({"emetteur": ""}, {}, Code.C16_ORIGINATOR_EMPTY),
        ({"emetteur": "abc"}, {}, Code.C33_ORIGINATOR_NOT_ALLOWED),
        ({"emetteur": "123456"}, {}, Code.C33_ORIGINATOR_NOT_ALLOWED),
        ({"emetteur": "Ma-Societe"}, {}, Code.C33_ORIGINATOR_NOT_ALLOWED),
        ({"emetteur": "MaSociete"}, {"originators": ("Autre",)}, Code.C33_ORIGINATOR_NOT_ALLOWED),
        ({"emetteur": "MASOCIETE"}, {"originators": ("MaSociete",)}, Code.C33_ORIGINATOR_NOT_ALLOWED),
        ({"smslong": "deux"}, {}, Code.C34_SMSLONG_MALFORMED),
        ({"smslong": "0"}, {}, Code.C34_SMSLONG_MALFORMED),
        ({"smslong": "000"}, {}, Code.C34_SMSLONG_MALFORMED),
        ({"smslong": "-1"}, {}, Code.C34_SMSLONG_MALFORMED),
        ({"smslong": "1.5"}, {}, Code.C34_SMSLONG_MALFORMED),
        ({"smslong": "²"}, {}, Code.C34_SMSLONG_MALFORMED),
        ({"smslong": "٢"}, {}, Code.C34_SMSLONG_MALFORMED),
        ({"date_envoi": "demain"}, {}, Code.C999_ERROR),
        ({"date_envoi": "2026-3-5 10:00"}, {}, Code.C999_ERROR),
        ({"date_envoi": "05/03/2026 10:00"}, {}, Code.C999_ERROR),
        ({"date_envoi": "2026-02-30 10:00"}, {}, Code.C999_ERROR),
        ({"date_envoi": "2026-03-05 24:00"}, {}, Code.C999_ERROR),
        ({"date_envoi": "2026-03-05 10:00:00"}, {}, Code.C999_ERROR),
        ({"date_envoi": "0000-01-01 00:00"}, {}, Code.C999_ERROR),
        ({"date_envoi": "2027-03-06 10:30"}, {}, Code.C999_ERROR),
        ({"date_envoi": "9999-12-31 23:59"}, {}, Code.C999_ERROR),
    ],
)
def test_fault_of_the_whole_envoi_sends_nothing(
    elements: dict[str, object], settings: dict[str, object], code: Code
) -> None:
    admission = decide(make_envoi(**elements), make_account(**settings))  # type: ignore[arg-type]

    assert admission.fault is not None
    assert (admission.fault.code, admission.sms) == (code, ())


def test_more_numbers_than_the_account_may_is_code_23() -> None:
    three = make_envoi("0601020304", "0601020305", "0601020306")
    expected = Fault(code=Code.C23_TOO_MANY_NUMBERS, reason="more than 2 numbers")

    assert decide(three, make_account(max_recipients=2)).fault == expected
    assert len(decide(three, make_account(max_recipients=3)).sms) == 3


@pytest.mark.parametrize(
    ("emetteur", "originators"), [("MaSociete", ()), ("MaSociete", ("Autre", "MaSociete")), ("3 Suisses", ())]
)
def test_originator_that_may_be_used_is_used(emetteur: str, originators: tuple[str, ...]) -> None:
    assert decide(make_envoi(emetteur=emetteur), make_account(originators=originators)).originator == emetteur


@pytest.mark.parametrize(
    ("tel", "countries", "code"),
    [
        ("12345", ("FR",), Code.C7_NUMBER_MALFORMED),
        ("06010203045", ("FR",), Code.C7_NUMBER_MALFORMED),
        ("06010203O4", ("FR",), Code.C7_NUMBER_MALFORMED),
        ("", ("FR",), Code.C7_NUMBER_MALFORMED),
        ("+447700900123", ("FR",), Code.C27_COUNTRY_NOT_ALLOWED),
        ("00447700900123", ("FR",), Code.C27_COUNTRY_NOT_ALLOWED),
        ("0601020304", ("BE",), Code.C27_COUNTRY_NOT_ALLOWED),
        ("+80012345678", ("FR",), Code.C27_COUNTRY_NOT_ALLOWED),
    ],
)
def test_number_that_is_none_or_abroad_is_refused_alone(tel: str, countries: tuple[str, ...], code: Code) -> None:
    admission = decide(make_envoi("0601020304", tel), make_account(countries=(*countries, "FR")[:1]))
    bad = admission.sms[1]

    assert isinstance(bad, RefusedSms)
    assert (bad.tel, bad.code, bad.position) == (tel, code, 2)
    assert (bad.msisdn is None) is (code is Code.C7_NUMBER_MALFORMED)
    assert isinstance(admission.sms[0], QueuedSms) is (countries == ("FR",))


@pytest.mark.parametrize("tel", ["+447700900123", "00447700900123"])
def test_number_abroad_goes_when_the_account_has_the_country(tel: str) -> None:
    admission = decide(make_envoi(tel), make_account(countries=("FR", "GB")))

    assert queued(admission).msisdn.e164 == "+447700900123"


@pytest.mark.parametrize("tel", ["0701020304", "06.01.02.03.04", "+33 6 01 02 03 04", "33601020304"])
def test_number_is_repeated_as_submitted(tel: str) -> None:
    assert queued(decide(make_envoi(tel))).tel == tel


def test_number_listed_twice_is_sent_twice() -> None:
    assert len(decide(make_envoi("0601020304", "0601020304")).sms) == 2


def test_each_number_has_its_own_text() -> None:
    recipients = (
        Recipient(position=1, tel="0601020304", text="un"),
        Recipient(position=7, tel="0601020305", text=None),
        Recipient(position=9, tel="0601020306", text="trois"),
    )
    first, second, third = decide(make_envoi(recipients=recipients)).sms

    assert isinstance(first, QueuedSms)
    assert isinstance(second, RefusedSms)
    assert isinstance(third, QueuedSms)
    assert (first.text, third.text) == ("un", "trois")
    assert (second.position, second.code, second.reason) == (7, Code.C999_ERROR, "no text")


@pytest.mark.parametrize(
    ("smslong", "settings", "parts"),
    [
        # absent: the account's default, cut (docs/protocol.md §6.4)
        (None, {}, 1),
        ("", {}, 1),
        (None, {"default_smslong": 2}, 2),
        # given: that many, up to the account's and the carrier's most
        ("2", {}, 2),
        ("02", {}, 2),
        ("999", {}, 2),
        ("9" * 5000, {}, 2),
        ("1", {"too_long": "cut"}, 1),
        ("999", {"max_smslong": 1, "too_long": "cut"}, 1),
    ],
)
def test_long_text_goes_in_as_many_parts_as_allowed(
    smslong: str | None, settings: dict[str, object], parts: int
) -> None:
    sms = queued(decide(make_envoi(text=LONG, smslong=smslong), make_account(**settings)))

    assert (sms.parts, len(sms.text)) == (parts, 160 if parts == 1 else 200)
    assert bool(sms.notes) is (parts == 1)


@pytest.mark.parametrize(
    ("smslong", "settings", "reason"),
    [
        ("1", {}, "the text needs 2 parts, 1 allowed"),
        (None, {"too_long": "refuse"}, "the text needs 2 parts, 1 allowed"),
        ("2", {"max_smslong": 1}, "the text needs 2 parts, 1 allowed"),
    ],
)
def test_longer_text_than_asked_for_is_refused(smslong: str | None, settings: dict[str, object], reason: str) -> None:
    sms = refused(decide(make_envoi(text=LONG, smslong=smslong), make_account(**settings)))

    assert (sms.code, sms.reason) == (Code.C999_ERROR, reason)


@pytest.mark.parametrize(
    ("smslong", "settings", "expected"),
    [
        (None, {}, 1),
        ("3", {}, 3),
        ("6", {}, 6),
        ("7", {}, 6),
        ("999", {}, 6),
        ("999", {"max_smslong": 10}, 6),
        ("999", {"max_smslong": 4}, 4),
        (None, {"default_smslong": 8, "max_smslong": 8}, 6),
    ],
)
def test_carrier_is_told_the_most_parts(smslong: str | None, settings: dict[str, object], expected: int) -> None:
    assert decide(make_envoi(smslong=smslong), make_account(**settings)).max_parts == expected


@pytest.mark.parametrize(
    ("asked", "settings", "nostop", "length", "notes"),
    [
        (False, {"commercial": False}, False, 160, 0),
        (False, {"commercial": True}, False, 141, 0),
        (True, {"commercial": True}, False, 141, 1),
        (True, {"commercial": True, "nostop": True}, True, 160, 0),
        (False, {"commercial": True, "nostop": True}, False, 141, 0),
        (True, {"commercial": False, "nostop": True}, True, 160, 0),
        (True, {"commercial": False}, False, 160, 1),
    ],
)
def test_stop_mention_takes_its_place_unless_the_account_is_cleared(
    *, asked: bool, settings: dict[str, object], nostop: bool, length: int, notes: int
) -> None:
    admission = decide(make_envoi(text=LONG, nostop=asked), make_account(**settings))

    assert (admission.nostop, len(queued(admission).text), len(admission.notes)) == (nostop, length, notes)


def test_text_outside_gsm_goes_as_ucs2_when_asked_for() -> None:
    assert queued(decide(make_envoi(text="漢", ucs2=True))).ucs2 is True
    assert queued(decide(make_envoi(text="漢", ucs2=False))).text == "?"


@pytest.mark.parametrize(
    ("date_envoi", "zone", "expected"),
    [
        ("", "Europe/Paris", NOW),
        ("2026-03-04 10:30", "Europe/Paris", NOW),
        ("2026-03-04 10:29", "Europe/Paris", NOW),  # past
        ("0001-01-01 00:00", "Europe/Paris", NOW),
        ("2026-03-04 10:31", "Europe/Paris", NOW + timedelta(minutes=1)),
        ("2026-03-04 10:31", "UTC", NOW + timedelta(minutes=61)),
        ("2026-07-14 12:00", "Europe/Paris", datetime(2026, 7, 14, 10, tzinfo=UTC)),
        ("2026-03-29 02:30", "Europe/Paris", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # skipped by the change
        ("2026-10-25 02:30", "Europe/Paris", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # comes twice
    ],
)
def test_later_date_is_when_it_is_sent(date_envoi: str, zone: str, expected: datetime) -> None:
    sms = queued(decide(make_envoi(date_envoi=date_envoi), make_account(timezone=zone, validity_s=60)))

    assert (sms.due_at, sms.expires_at) == (expected, expected + timedelta(minutes=1))


@given(date=st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}\Z"))
def test_no_date_breaks_anything(date: str) -> None:
    admission = decide(make_envoi(date_envoi=date), make_account(validity_s=31_536_000))

    assert admission.fault is not None or queued(admission).due_at >= NOW


@pytest.mark.parametrize(
    ("settings", "now", "date_envoi", "due_at"),
    [
        ({"commercial": False}, NIGHT, None, NIGHT),
        ({"commercial": True}, NOW, None, NOW),
        ({"commercial": True}, NIGHT, "2026-03-05 08:00", datetime(2026, 3, 5, 7, tzinfo=UTC)),
        ({"commercial": True, "outside_hours": "hold"}, NIGHT, None, datetime(2026, 3, 5, 7, tzinfo=UTC)),
        ({"commercial": True, "outside_hours": "hold"}, NOW, "2026-03-08 12:00", datetime(2026, 3, 9, 7, tzinfo=UTC)),
    ],
)
def test_commercial_sms_keep_to_the_hours(
    settings: dict[str, object], now: datetime, date_envoi: str | None, due_at: datetime
) -> None:
    admission = decide(make_envoi(date_envoi=date_envoi), make_account(**settings), now)

    assert queued(admission).due_at == due_at
    assert queued(admission).expires_at == due_at + timedelta(days=1)
    assert bool(admission.notes) is ("outside_hours" in settings)


@pytest.mark.parametrize(("now", "date_envoi"), [(NIGHT, None), (NOW, "2026-03-04 20:00"), (NOW, "2026-03-08 12:00")])
def test_commercial_sms_outside_hours_are_code_24(now: datetime, date_envoi: str | None) -> None:
    admission = decide(make_envoi(date_envoi=date_envoi), make_account(commercial=True), now)

    assert refused(admission).code is Code.C24_OUTSIDE_HOURS


@pytest.mark.parametrize(
    ("email_id", "mode", "expected"),
    [
        (None, Mode.LENIENT, None),
        ("", Mode.LENIENT, None),
        ("1548", Mode.LENIENT, "1548"),
        ("1548", Mode.STRICT, "1548"),
        ("0001548", Mode.STRICT, "0001548"),
        ("cron-é 7", Mode.LENIENT, "cron-é 7"),
        ("cron-7", Mode.STRICT, None),
        ("١٢", Mode.STRICT, None),
        ("9" * 64, Mode.STRICT, "9" * 64),
        ("9" * 65, Mode.LENIENT, None),
        ("a\x1bb", Mode.LENIENT, None),
        ("a\u2028b", Mode.LENIENT, None),
    ],
)
def test_id_is_taken_or_counts_as_absent(email_id: str | None, mode: Mode, expected: str | None) -> None:
    taken, notes = read_email_id(make_envoi(email_id=email_id), mode)

    assert taken == expected
    assert bool(notes) is (expected is None and bool(email_id))


@pytest.mark.parametrize(
    ("tracker", "expected", "notes"),
    [
        (None, None, ()),
        ("", None, ()),
        ("monCompte_monId", "monCompte_monId", ()),
        ("t" * 49, "t" * 49, ()),
        ("t" * 50, "t" * 49, ("tracker cut to 49 characters",)),
    ],
)
def test_tracker_is_kept_up_to_49_characters(tracker: str | None, expected: str | None, notes: tuple[str, ...]) -> None:
    assert read_tracker(make_envoi(tracker=tracker)) == (expected, notes)


def test_same_facts_give_the_same_decision() -> None:
    envoi = make_envoi("0601020304", "12345", text="Bonjour Ö 漢")

    assert decide(envoi) == decide(envoi)


# --- routes and dates ------------------------------------------------------------------------------------------------


def test_a_number_is_given_the_route_of_its_longest_prefix() -> None:
    routes = ({"prefixes": ("+336", "+337"), "providers": ("mobile",)}, {"prefixes": ("+33601",), "providers": ("x",)})
    admission = decide(make_envoi("0601020304", "0602030405", "0102030405"), make_account(routes=routes))

    assert [sms.route for sms in admission.sms if isinstance(sms, QueuedSms)] == ["+33601", "+336", ""]


def test_a_date_that_the_carrier_waits_for_makes_the_sms_due_at_once() -> None:
    account = make_account(scheduling="carrier", validity_s=3600)
    sms = queued(decide(make_envoi(date_envoi="2026-03-06 10:00"), account))
    at = datetime(2026, 3, 6, 9, 0, tzinfo=UTC)

    assert (sms.due_at, sms.deliver_at, sms.expires_at) == (NOW, at, at + timedelta(hours=1))


@pytest.mark.parametrize("date_envoi", [None, "2026-03-04 10:00"])
def test_without_a_date_to_come_the_carrier_waits_for_nothing(date_envoi: str | None) -> None:
    sms = queued(decide(make_envoi(date_envoi=date_envoi), make_account(scheduling="carrier")))

    assert (sms.due_at, sms.deliver_at) == (NOW, None)


def test_the_gateway_waits_unless_the_account_says_otherwise() -> None:
    sms = queued(decide(make_envoi(date_envoi="2026-03-06 10:00")))

    assert (sms.due_at, sms.deliver_at) == (datetime(2026, 3, 6, 9, 0, tzinfo=UTC), None)


def test_hours_are_those_of_the_date_that_the_carrier_waits_for() -> None:
    account = make_account(scheduling="carrier", commercial=True)
    late = decide(make_envoi(date_envoi="2026-03-06 22:00"), account)
    held = make_account(scheduling="carrier", commercial=True, outside_hours="hold")
    sms = queued(decide(make_envoi(date_envoi="2026-03-06 22:00"), held, NIGHT))
    opening = datetime(2026, 3, 7, 7, 0, tzinfo=UTC)

    assert refused(late).code is Code.C24_OUTSIDE_HOURS
    assert (sms.due_at, sms.deliver_at) == (NIGHT, opening)


def test_for_opening_hours_alone_it_is_the_gateway_that_waits() -> None:
    account = make_account(scheduling="carrier", commercial=True, outside_hours="hold")
    sms = queued(decide(make_envoi(), account, NIGHT))

    assert (sms.due_at, sms.deliver_at) == (datetime(2026, 3, 5, 7, 0, tzinfo=UTC), None)
