"""Whatever comes is answered as an interface does: never a failure of the sandbox itself."""

import json
from collections.abc import Mapping

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.sandbox.app import build_app
from gateway.sandbox.callbacks import is_address, with_query
from gateway.sandbox.carrier import Carrier
from gateway.sandbox.faults import FaultScript
from gateway.sandbox.options import SandboxOptions
from tests.sandbox.calls import KEY
from tests.support.clock import ManualClock

NAMES = (
    *(
        "num",
        "sms",
        "emetteur",
        "tracker",
        "smslong",
        "nostop",
        "ucs2",
        "sandbox",
        "date_envoi",
        "gmt_zone",
        "comptage",
    ),
    *("getHLR", "repertoireEdit", "repertoireId", "repertoireNom", "shortlink", "subAccountEdit", "subAccountKeyId"),
    *("subAccountAddCredit", "subAccountLogin", "subAccountPassword", "phoneNumbers", "message", "sender", "tag"),
    *("scheduledDeliveryDate", "time", "minute", "urlDlr", "urlResponse", "_format", "isUnicode", "gamme", "SMSList"),
    *("to", "from", "SMSStatut_List", "phoneNumber", "messageId", "notifyUrl", "id", "page", "credit"),
)
LIKELY = st.sampled_from(
    [
        *("0612340001", "33612340001", "1", "999", 1, "NaN", "xml", "Bonjour", "é€\U0001f600", "http://127.0.0.1:9/"),
        *("add", "create", "addAccount", "addCredit", "setPrice", "5510001", "1000"),
        *("2026-05-01 10:00", "05/05/2026", "Europe/London"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | LIKELY | LIKELY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)
PATHS = tuple(
    (method, str(getattr(route, "path", "")))
    for route in build_app(Carrier(FaultScript(), ManualClock(), SandboxOptions())).routes
    for method in sorted(getattr(route, "methods", None) or ())
    if str(getattr(route, "path", "")).startswith(("/v1", "/cgi-bin"))
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(call=st.sampled_from(PATHS), fields=FIELDS, has_key=st.sampled_from([True, True, True, False]))
async def test_every_call_is_answered(call: tuple[str, str], fields: Mapping[str, object], has_key: bool) -> None:
    method, path = call
    keys = {"keyid": KEY, "apiKey": KEY} if has_key else {}
    carrier = Carrier(FaultScript(), ManualClock(), SandboxOptions(sms=2))
    transport = httpx.ASGITransport(app=build_app(carrier))
    switches = {"setlisteNoire": "1", "delListeNoire": "1", "getListeNoire": "1", "rapportCampagne": "1"}
    query = {name: str(value)[:50] for name, value in {**fields, **keys, **switches}.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        body = json.dumps({**fields, **keys}).encode("utf-8", "replace")
        answers = [await client.request(method, path, params=query, content=body) for _ in range(2)]

    assert {answer.status_code for answer in answers} <= {200, 400}


@settings(max_examples=300)
@given(beginning=st.sampled_from(["", "http://", "https://", "http://h:", "http://["]), rest=st.text(max_size=30))
def test_address_is_one_or_is_not(beginning: str, rest: str) -> None:
    written = str(with_query(beginning + rest, {"a": "é&="}))

    assert "a=%C3%A9%26%3D" in written or not is_address(beginning + rest)
