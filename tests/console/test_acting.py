"""What operators do: hold, release, retry, cancel, the STOP list, and who did what."""

from dataclasses import replace

import httpx
import pytest

from gateway.lifecycle import SmsState
from gateway.store import tables
from gateway.store.console import ConsoleAction
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.store.two_way import StopRules
from gateway.stories import Action
from tests.console.house import MAIL_ID, MASKED, NUMBER, House, Operator, row, shown, story
from tests.store.samples import change, new_order, new_sms
from tests.support.clock import START

pytestmark = pytest.mark.slow

BACK = f"/console/mail/{MAIL_ID}"


async def noted(console: House) -> list[tuple[str, str, str, str]]:
    """Return what the account of actions says, but for logging in."""
    actions = await console.store.console_actions(before=None, limit=100)
    return [(one.who, one.action, one.object, one.outcome) for one in reversed(actions) if one.action != "login"]


@pytest.mark.parametrize("action", [Action.HOLD, Action.RELEASE, Action.RETRY])
async def test_an_action_is_done_in_the_users_name_and_written_down(
    operator: Operator, console: House, action: Action
) -> None:
    await operator.log_in("otto")
    answer = await operator.post("/console/act", {"action": action.value, "sms": ["S1", "S2", "S1"], "back": BACK})

    assert answer.status_code == 200
    assert console.acted == [(action, ("S1", "S2"), "otto", False)]
    assert await noted(console) == [("otto", action.value, MAIL_ID, "2 of 2 SMS moved")]
    assert "Done to 2 of 2 SMS." in shown(answer)
    assert f'href="{BACK}"' in answer.text


async def test_cancelling_is_asked_twice(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    asked = await operator.post("/console/act", {"action": "cancel", "sms": "S1", "back": BACK})
    before = list(console.acted)
    await operator.post("/console/act", {"action": "cancel", "sms": "S1", "back": BACK, "sure": "yes"})

    assert "This cannot be undone." in shown(asked)
    assert before == []
    assert console.acted == [(Action.CANCEL, ("S1",), "otto", False)]


async def test_an_sms_that_may_have_been_sent_is_asked_twice(operator: Operator, console: House) -> None:
    first, second = new_sms(1), new_sms(2)
    await console.store.admit(new_order(first, second))
    to_uncertain = tables.sms.update().where(tables.sms.c.id == first.id).values(state=SmsState.UNCERTAIN)
    await change(console.store, to_uncertain)
    await operator.log_in("otto")
    wanted: dict[str, str | list[str]] = {"action": "retry", "sms": [first.id, second.id], "back": BACK}
    asked = await operator.post("/console/act", wanted)
    before = list(console.acted)
    await operator.post("/console/act", {**wanted, "sure": "yes"})

    assert "1 of these SMS may have been sent already" in shown(asked)
    assert before == []
    assert console.acted == [(Action.RETRY, (first.id, second.id), "otto", True)]


async def test_one_that_was_not_sent_is_not_asked_twice_and_may_not_be_doubled(
    operator: Operator, console: House
) -> None:
    sms = new_sms(1)
    await console.store.admit(new_order(sms))
    await operator.log_in("otto")
    await operator.post("/console/act", {"action": "retry", "sms": sms.id, "sure": "yes"})

    assert console.acted == [(Action.RETRY, (sms.id,), "otto", False)]


@pytest.mark.parametrize(("action", "status"), [("explode", 400), ("", 400)])
async def test_an_action_that_there_is_not_is_none(
    operator: Operator, console: House, action: str, status: int
) -> None:
    await operator.log_in("otto")
    answer = await operator.post("/console/act", {"action": action, "sms": "S1"})

    assert answer.status_code == status
    assert console.acted == []


async def test_nothing_picked_is_nothing_done(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    answer = await operator.post("/console/act", {"action": "hold", "back": "/console/queue?state=held"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/queue?state=held")
    assert console.acted == []


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        (SmsState.QUEUED, ["hold", "retry", "cancel"]),
        (SmsState.HELD, ["release", "cancel"]),
        (SmsState.UNCERTAIN, ["retry"]),
        (SmsState.SENDING, []),
        (SmsState.DELIVERED, []),
    ],
)
async def test_a_story_offers_what_can_be_done(
    operator: Operator, console: House, state: SmsState, offered: list[str]
) -> None:
    console.stories.stories[MAIL_ID] = story(state)
    await operator.log_in("otto")
    page = (await operator.get(BACK)).text

    assert [action.value for action in Action if f'name="action" value="{action.value}"' in page] == offered


async def test_the_queue_offers_nothing_to_who_may_only_view(operator: Operator, console: House) -> None:
    console.stories.rows = [row()]
    await operator.log_in("vera")

    assert "checkbox" not in (await operator.get("/console/queue")).text


# --- the STOP list ---------------------------------------------------------------------------------------------------


async def test_a_number_goes_on_the_list_and_what_waits_for_it_is_cancelled(operator: Operator, console: House) -> None:
    sms = replace(new_sms(1), msisdn=NUMBER)
    await console.store.admit(new_order(sms))
    await operator.log_in("otto")
    answer = await operator.post(
        "/console/optouts/add", {"number": "06 12 34 56 78", "account": "*", "note": "by phone"}
    )
    listed = await console.store.optouts(account=None, after=None, limit=5)

    assert answer.headers["location"] == "/console/optouts?done=added"
    assert listed == (
        OptOut(account="*", msisdn=NUMBER, since_at=START, source=OptOutSource.OPERATOR, note="by phone"),
    )
    assert await console.store.sms_states([sms.id]) == {sms.id: SmsState.CANCELLED}
    assert console.rung == ["reports", "optouts"]
    assert await noted(console) == [("otto", "optout_add", f"{MASKED}, all accounts", "added; 1 SMS cancelled")]


@pytest.mark.parametrize("fields", [{"number": "12", "account": "*"}, {"number": NUMBER, "account": "nobody"}])
async def test_what_is_no_number_does_not_go_on_the_list(
    operator: Operator, console: House, fields: dict[str, str | list[str]]
) -> None:
    await operator.log_in("otto")
    answer = await operator.post("/console/optouts/add", fields)

    assert answer.status_code == 422
    assert await console.store.optouts(account=None, after=None, limit=1) == ()


async def test_a_number_leaves_the_list_when_that_was_asked_twice(operator: Operator, console: House) -> None:
    entry = OptOut(account="masociete", msisdn=NUMBER, since_at=START, source=OptOutSource.REPLY)
    await console.store.stop([entry], StopRules(), START, *console.writers(START))
    await operator.log_in("otto")
    fields: dict[str, str | list[str]] = {"number": NUMBER, "account": "masociete"}
    asked = await operator.post("/console/optouts/remove", fields)
    between = await console.store.optouts(account=None, after=None, limit=1)
    done = await operator.post("/console/optouts/remove", {**fields, "sure": "yes"})

    assert "Only its owner can take that back." in shown(asked)
    assert between == (entry,)
    assert done.headers["location"] == "/console/optouts?done=removed"
    assert await console.store.optouts(account=None, after=None, limit=1) == ()
    assert await noted(console) == [("otto", "optout_remove", f"{MASKED}, masociete", "removed")]


async def test_the_list_is_searched_and_paged(operator: Operator, console: House) -> None:
    entries = [
        OptOut(account=EVERYBODY, msisdn=f"+336000000{place:02}", since_at=START, source=OptOutSource.IMPORT)
        for place in range(60)
    ]
    await console.store.stop(entries, StopRules(), START, *console.writers(START))
    await operator.log_in("otto")
    first = await operator.get("/console/optouts")
    second = await operator.client.get("/console/optouts", params={"after": "* +33600000049"})
    one = await operator.client.get("/console/optouts", params={"number": "0600000007"})
    none = await operator.client.get("/console/optouts", params={"number": "0700000007"})

    assert [page.text.count('aria-label="Remove') for page in (first, second, one, none)] == [50, 10, 1, 0]
    assert "after=%2A%20%2B33600000049" in first.text


# --- who did what ----------------------------------------------------------------------------------------------------


async def test_admins_see_who_did_what(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    console.clock.advance(1)
    await operator.post("/console/act", {"action": "hold", "sms": "S1"})
    console.clock.advance(1)
    await operator.post("/console/logout", {})
    console.clock.advance(1)
    await operator.log_in("ada")
    page = shown(await operator.get("/console/audit"))

    assert f"otto 127.0.0.1 Hold {MAIL_ID} 1 of 1 SMS moved" in page
    assert (
        page.index("ada 127.0.0.1 Log in") < page.index("otto 127.0.0.1 Log out") < page.index("otto 127.0.0.1 Log in")
    )


async def test_the_account_is_read_page_by_page(operator: Operator, console: House) -> None:
    await operator.log_in("ada")
    for place in range(70):
        action = ConsoleAction(
            id=f"0A{place:018}", at=START, who="otto", peer="::1", action="hold", object=f"O{place:03}.", outcome="done"
        )
        await console.store.note_action(action)
    first = await operator.get("/console/audit")
    second = await operator.client.get("/console/audit", params={"before": f"0A{21:018}"})

    assert first.text.count("<tr>") == 51
    assert "O020." in second.text
    assert "O021." not in second.text


async def test_an_action_by_one_session_is_seen_by_another(operator: Operator, console: House) -> None:
    console.stories.stories[MAIL_ID] = story()
    await operator.log_in("otto")
    async with httpx.AsyncClient(base_url=console.base_url) as client:
        other = Operator(client)
        await other.log_in("ada")
        console.stories.stories[MAIL_ID] = story(SmsState.HELD)
        page = await other.get(f"/console/live/mail/{MAIL_ID}")

    assert "held" in shown(page)
