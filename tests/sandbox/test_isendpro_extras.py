"""iSendPro's calls that do not send."""

import io
import zipfile

import httpx
import pytest

from gateway.sandbox import Api, Sandbox, SandboxOptions
from tests.sandbox.calls import DEADLINE_S, KEY, MULTI, SMS, send


async def entries(client: httpx.AsyncClient, method: str, path: str, fields: object) -> list[dict[str, object]]:
    answer = await client.request(method, f"/cgi-bin/{path}", json=fields)
    found: list[dict[str, object]] = answer.json()["etat"]["etat"]
    return found


def unzip(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


# --- counting, credit, HLR -------------------------------------------------------------------------------------------


async def test_comptage_counts_what_the_network_counts(client: httpx.AsyncClient) -> None:
    fields = {**SMS, "comptage": "1", "sms": "€" * 81, "smslong": "999", "date_envoi": "2026-05-01 10:00"}
    [entry] = await entries(client, "POST", "comptage", fields)

    assert entry == {"nb_caractere": "162", "nb_sms": "2", "tel": "0612340001"}


@pytest.mark.parametrize("change", [{"comptage": "2"}, {"comptage": None}, {"gmt_zone": "x"}, {"sms": ""}])
async def test_comptage_checks_as_sms_does(client: httpx.AsyncClient, change: dict[str, object]) -> None:
    [entry] = await entries(client, "POST", "comptage", {**SMS, "comptage": "1", **change})

    assert entry["code"] == "999"


async def test_credit_runs_down_by_the_part_until_it_is_gone() -> None:
    async with (
        Sandbox(options=SandboxOptions(sms=3)) as sandbox,
        httpx.AsyncClient(base_url=sandbox.url, timeout=DEADLINE_S, trust_env=False) as client,
    ):
        long = await send(client, {**SMS, "sms": "x" * 161})
        trial = await send(client, {**SMS, "sandbox": 1})
        several = await send(client, MULTI, "/cgi-bin/smsmulti")
        told = await client.get("/cgi-bin/credit", params={"keyid": KEY, "credit": "2"})

    assert (long, trial) == ((200, [(0, "0612340001")]), (200, [(0, "0612340001")]))
    assert several == (200, [(0, "0612340001"), (12, "33612340002")])
    assert told.json() == {"etat": {"credit": "0.0", "quantite": "0"}}


async def test_what_is_not_taken_is_not_charged(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await client.put("/sandbox/credit", json={"isendpro": 1})
    sandbox.misbehave("500", count=1)
    await client.post("/cgi-bin/sms", json=SMS)
    await send(client, {**SMS, "num": "0600000021"})

    assert (await client.get("/sandbox/credit")).json() == {"isendpro": 1.0, "smspartner": None}


@pytest.mark.parametrize("credit", ["3", "", None])
async def test_credit_wants_to_know_in_which_form(client: httpx.AsyncClient, credit: str | None) -> None:
    query = {"keyid": KEY} if credit is None else {"keyid": KEY, "credit": credit}

    assert (await client.get("/cgi-bin/credit", params=query)).status_code == 400


async def test_hlr_names_an_operator(client: httpx.AsyncClient) -> None:
    fields = {"keyid": KEY, "getHLR": "1", "num": ["0612340000", "33612340001", "0600000021", "x"]}
    found = await entries(client, "POST", "hlr", fields)

    assert [entry["operateur"] for entry in found] == ["ORAN", "SFR0", "?", "?"]
    assert [entry["tel"] for entry in found] == fields["num"]


# --- the blacklist ---------------------------------------------------------------------------------------------------


async def test_listed_number_is_refused_until_it_is_taken_off(client: httpx.AsyncClient) -> None:
    query = {"keyid": KEY, "num": "0612340001"}
    put = await client.post("/cgi-bin/setlistenoire", params={**query, "setlisteNoire": "1"})
    refused = await send(client, MULTI, "/cgi-bin/smsmulti")
    listed = await client.post("/cgi-bin/getlistenoire", params={"keyid": KEY, "getListeNoire": "1"})
    off = await client.post("/cgi-bin/dellistenoire", params={**query, "delListeNoire": "1"})
    taken = await send(client, SMS)

    done = {"etat": {"etat": [{"tel": "0612340001", "listeNoire": "OK"}]}}
    assert (put.json(), off.json()) == (done, done)
    assert refused == (200, [(11, "0612340001"), (0, "33612340002")])
    assert unzip(listed.content) == {"listenoire.csv": "numero;date\r\n33612340001;2026-03-04 10:30:00\r\n"}
    assert taken == (200, [(0, "0612340001")])


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("setlistenoire", {"num": "0612340001", "setlisteNoire": "1"}, "1"),
        ("setlistenoire", {"keyid": KEY, "num": "0612340001", "setListeNoire": "1"}, "999"),
        ("setlistenoire", {"keyid": KEY, "setlisteNoire": "1"}, "6"),
        ("dellistenoire", {"keyid": KEY, "num": "x", "delListeNoire": "1"}, "7"),
        ("getlistenoire", {"keyid": KEY}, "999"),
    ],
)
async def test_blacklist_call_that_is_wrong(
    client: httpx.AsyncClient, path: str, query: dict[str, str], code: str
) -> None:
    answer = await client.post(f"/cgi-bin/{path}", params=query)

    assert (answer.status_code, answer.json()["etat"]["etat"][0]["code"]) == (400, code)


# --- the report of sends ---------------------------------------------------------------------------------------------


async def test_campaign_is_a_file_of_what_was_sent(client: httpx.AsyncClient) -> None:
    await send(client, {**SMS, "num": "0699000003", "sms": 'Un "mot"; deux\nlignes'})
    query = {"keyid": KEY, "rapportCampagne": "1"}
    now = {"date_deb": "2026-03-04 10:30", "date_fin": "2026-03-04 10:30"}
    found = await client.get("/cgi-bin/campagne", params={**query, **now})
    later = {"date_deb": "2026-03-04 10:31", "date_fin": "2026-03-05 00:00"}
    nothing = await client.get("/cgi-bin/campagne", params={**query, **later})

    header = "date;numero;emetteur;message;nb_sms;etat;tracker\r\n"
    row = '2026-03-04 10:30:00;0699000003;MaSociete;"Un ""mot""; deux\nlignes";1;waiting;T1\r\n'
    assert unzip(found.content) == {"campagne.csv": header + row}
    assert unzip(nothing.content) == {"campagne.csv": header}


@pytest.mark.parametrize("date", ["", "2026-03-04", "2026-02-30 10:00"])
async def test_campaign_wants_dates(client: httpx.AsyncClient, date: str) -> None:
    query = {"keyid": KEY, "rapportCampagne": "1", "date_deb": date, "date_fin": "2026-03-04 10:30"}

    assert (await client.get("/cgi-bin/campagne", params=query)).status_code == 400


# --- directories, links, sub-accounts --------------------------------------------------------------------------------


async def test_directory_is_made_filled_and_sent_to(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    made = {"keyid": KEY, "repertoireEdit": "create", "repertoireNom": "Test"}
    [entry] = await entries(client, "POST", "repertoire", made)
    change = {"keyid": KEY, "repertoireId": entry["repertoireId"], "num": ["0612340001", "x", "0612340002"]}
    added = await entries(client, "PUT", "repertoire", {**change, "repertoireEdit": "add"})
    await entries(client, "PUT", "repertoire", {**change, "repertoireEdit": "del", "num": ["0612340002"]})
    sent = await send(
        client, {"keyid": KEY, "repertoireId": entry["repertoireId"], "sms": "Bonjour"}, "/cgi-bin/smsmulti"
    )

    assert [(one["code"], one["tel"]) for one in added] == [("0", "0612340001"), ("7", "x"), ("0", "0612340002")]
    assert sent == (200, [(0, "0612340001")])
    assert len(sandbox.messages) == 1


@pytest.mark.parametrize(
    ("method", "fields", "code"),
    [
        ("POST", {"repertoireEdit": "create"}, "999"),
        ("POST", {"repertoireEdit": "add", "repertoireNom": "x"}, "999"),
        ("PUT", {"repertoireEdit": "add", "repertoireId": "1", "num": ["0612340001"]}, "999"),
        ("PUT", {"repertoireEdit": "add", "repertoireId": "1", "num": []}, "6"),
    ],
)
async def test_directory_call_that_is_wrong(
    client: httpx.AsyncClient, method: str, fields: dict[str, object], code: str
) -> None:
    [entry] = await entries(client, method, "repertoire", {"keyid": KEY, **fields})

    assert entry["code"] == code


async def test_directory_that_there_is_not_gets_nothing(client: httpx.AsyncClient) -> None:
    fields = {"keyid": KEY, "repertoireId": "7", "sms": "Bonjour"}

    assert await send(client, fields, "/cgi-bin/smsmulti") == (400, ["6"])


async def test_link_is_shortened(client: httpx.AsyncClient) -> None:
    [entry] = await entries(client, "POST", "shortlink", {"keyid": KEY, "shortlink": "https://example.org/long"})

    assert (entry["code"], str(entry["shortlink"])[:10]) == (250, "ww.sms.ht/")


async def test_subaccount_pays_with_its_own_credit(client: httpx.AsyncClient) -> None:
    await client.put("/sandbox/credit", json={"isendpro": 10})
    made = {"subAccountEdit": "addAccount", "subAccountLogin": "agence", "subAccountPassword": "secret"}
    [entry] = await entries(client, "POST", "subaccount", {"keyid": KEY, **made})
    key = entry["subAccountKeyId"]
    poor = await send(client, {**SMS, "keyid": key})
    credit = {"subAccountEdit": "addCredit", "subAccountKeyId": key, "subAccountAddCredit": "4"}
    [changed] = await entries(client, "PUT", "subaccount", {"keyid": KEY, **credit})
    rich = await send(client, {**SMS, "keyid": key})
    told = await client.post("/cgi-bin/credit", data={"keyid": str(key), "credit": "1"})

    assert (entry["code"], entry["subAccountLogin"]) == (230, "agence")
    assert (changed["code"], changed["subAccountKeyid"]) == ("0", key)
    assert (poor, rich) == ((200, [(12, "0612340001")]), (200, [(0, "0612340001")]))
    assert told.json() == {"etat": {"credit": "3.95"}}
    assert (await client.get("/sandbox/credit")).json()["isendpro"] == 6.0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"subAccountEdit": "addCredit", "subAccountKeyId": "nobody"}, "3"),
        ({"subAccountEdit": "addCredit"}, "999"),
        ({"subAccountEdit": "other"}, "999"),
        ({"subAccountEdit": "setRestriction", "subAccountKeyId": "x", "subAccountRestrictionStop": "2"}, "999"),
    ],
)
async def test_subaccount_call_that_is_wrong(client: httpx.AsyncClient, fields: dict[str, object], code: str) -> None:
    [entry] = await entries(client, "PUT", "subaccount", {"keyid": KEY, **fields})

    assert entry["code"] == code


@pytest.mark.parametrize(("euros", "code"), [("NaN", "999"), ("-1", "999"), ("x", "999"), ("11", "12")])
async def test_credit_that_cannot_be_given_away(client: httpx.AsyncClient, euros: str, code: str) -> None:
    await client.put("/sandbox/credit", json={"isendpro": 10})
    made = {"subAccountEdit": "addAccount", "subAccountLogin": "agence", "subAccountPassword": "secret"}
    [entry] = await entries(client, "POST", "subaccount", {"keyid": KEY, **made})
    credit = {"subAccountEdit": "addCredit", "subAccountKeyId": entry["subAccountKeyId"]}
    [refused] = await entries(client, "PUT", "subaccount", {"keyid": KEY, **credit, "subAccountAddCredit": euros})

    assert refused["code"] == code


# --- starting again --------------------------------------------------------------------------------------------------


async def test_reset_forgets_everything_but_the_addresses(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.call_back(Api.ISENDPRO, "http://127.0.0.1:9/")
    await client.put("/sandbox/credit", json={"isendpro": 0})
    await client.post("/cgi-bin/setlistenoire", params={"keyid": KEY, "num": "0612340001", "setlisteNoire": "1"})
    await client.post("/v1/send", json={"apiKey": KEY, "phoneNumbers": "0699000003", "message": "x"})
    sandbox.misbehave("500")
    reset = await client.post("/sandbox/reset")
    emptied = (sandbox.messages, sandbox.replies, sandbox.faults)
    addresses = (await client.get("/sandbox/callbacks")).json()["addresses"]

    assert (reset.status_code, emptied) == (204, ((), (), ()))
    assert addresses == {"isendpro": "http://127.0.0.1:9/", "smspartner": None}
    assert await send(client, SMS) == (200, [(0, "0612340001")])


@pytest.mark.parametrize("told", [{"isendpro": -1}, {"isendpro": "much"}, {"nobody": 1}])
async def test_credit_that_is_none_is_refused(client: httpx.AsyncClient, told: object) -> None:
    assert (await client.put("/sandbox/credit", json=told)).status_code == 400
