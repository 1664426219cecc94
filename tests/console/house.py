"""A console on loopback with a store of its own, and surroundings that remember what was asked of them."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from gateway.console.roles import ConsoleUser, Role
from gateway.console.surroundings import CarrierHealth, Place, Surroundings
from gateway.errors import GatewayError
from gateway.intake.findings import Findings, find_in_form
from gateway.intake.submission import Reply
from gateway.lifecycle import SmsId, SmsState
from gateway.mailer.delivery import DeliveryFailed
from gateway.policy.accounts import Accounts
from gateway.providers.isendpro_settings import IsendproSettings
from gateway.providers.registry import ProviderSettings
from gateway.reports import ReportRules, ReportWriter
from gateway.store import Store
from gateway.store.base import RenderNot
from gateway.store.two_way import StopRules
from gateway.store.words import RenderReceipts
from gateway.stories import (
    Action,
    Done,
    Filter,
    Found,
    FoundKind,
    FoundPage,
    Moved,
    Page,
    QueuePage,
    QueueRow,
    Step,
    StepKind,
    Story,
)
from tests.support.accounts import make_account
from tests.support.clock import START, ManualClock

PASSWORD = "correct horse"
NUMBER = "+33612345678"
MASKED = "+33*****678"
TEXT = "Bonjour, la salle 3 est inond\u00e9e"
MAIL_ID = "01KMAIL0000000000001"
SMS_ID = "01KSMS00000000000001"


class Busy(GatewayError):
    """Passwords cannot be checked now."""

    temporary = True


def found(**changes: object) -> Found:
    """Return a mail that was taken."""
    values: dict[str, object] = {
        "kind": FoundKind.MAIL,
        "id": MAIL_ID,
        "at": START,
        "account": "masociete",
        "peer": "192.0.2.1",
        "sender": "alerte@masociete.com",
        "email_id": "4711",
        "message_id": "<m1@masociete.com>",
        "summary": "1 SMS: 1 queued",
        "states": {"queued": 1},
    }
    return Found(**(values | changes))  # type: ignore[arg-type]


def story(state: SmsState = SmsState.QUEUED, *, sms_id: str = SMS_ID, is_over: bool = False) -> Story:
    """Return the story of a mail with one SMS, which is in this state."""
    sms = SmsId(sms_id)
    queued = {"position": 1, "tel": "0612345678", "msisdn": NUMBER, "text": TEXT, "parts": 1}
    steps = [
        Step(kind=StepKind.CONNECTED, at=START, sentence="192.0.2.1 connected", data={"peer": "192.0.2.1"}),
        Step(kind=StepKind.SMS_QUEUED, at=START, sentence=f"queued for {NUMBER}", data=queued, sms_id=sms),
        Step(kind=StepKind.STANDS, at=START, sentence=f"is {state.value}", data={"state": state.value}, sms_id=sms),
    ]
    if not is_over:
        steps.append(Step(kind=StepKind.NEXT, at=None, sentence="it is sent soon", data={"what": "it is sent soon"}))
    return Story(found=found(), reason=f"waits for {NUMBER}", steps=tuple(steps))


def row(state: SmsState = SmsState.QUEUED, *, sms_id: str = SMS_ID) -> QueueRow:
    """Return an SMS that waits."""
    return QueueRow(
        sms_id=SmsId(sms_id),
        mail_id=MAIL_ID,
        envoi_id="01KENVOI000000000001",
        account="masociete",
        provider="carrier",
        state=state,
        position=1,
        tel="0612345678",
        msisdn=NUMBER,
        text=TEXT,
        parts=1,
        attempts=0,
        since_at=START - timedelta(minutes=3),
        due_at=START,
        expires_at=START + timedelta(days=1),
        reason=None,
        epoch=0,
        waits_for="its turn",
    )


class ToldStories:
    """Tells what it was given, and remembers what it was asked."""

    def __init__(self) -> None:
        self.stories: dict[str, Story] = {}
        self.rows: list[QueueRow] = []
        self.found: list[Found] = []
        self.asked: list[object] = []
        self.next: str | None = None
        self.error: Exception | None = None

    async def find(self, text: str) -> list[Found]:
        self.asked.append(text)
        return self.found

    async def story(self, id: str) -> Story | None:  # noqa: A002 the name it has in the seam
        if self.error is not None:
            raise self.error
        return self.stories.get(id)

    async def search(self, wanted: Filter, page: Page) -> FoundPage:
        self.asked.append(wanted)
        return FoundPage(rows=tuple(self.found), next=self.next)

    async def queue(self, wanted: Filter, page: Page) -> QueuePage:
        self.asked.append(wanted)
        if page.after is not None and page.after != self.next:
            raise ValueError("no place of ours")
        return QueuePage(rows=tuple(self.rows), next=self.next)


@dataclass(slots=True, kw_only=True)
class House:
    """Everything around the console, to look at and to change."""

    store: Store
    clock: ManualClock
    base_url: str = ""
    stories: ToldStories = field(default_factory=ToldStories)
    users: dict[str, ConsoleUser] = field(default_factory=dict)
    is_busy: bool = False
    acted: list[tuple[Action, tuple[str, ...], str, bool]] = field(default_factory=list)
    examined: list[tuple[str, bytes]] = field(default_factory=list)
    delivered: list[tuple[str, str, bytes]] = field(default_factory=list)
    reply: str = f"250 2.0.0 Ok: queued as {MAIL_ID}"
    is_down: bool = False
    checked: int = 0
    rung: list[str] = field(default_factory=list)
    carriers: list[ProviderSettings] = field(default_factory=list)
    health: list[CarrierHealth] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    certificate_ends_at: datetime | None = None
    accounts: Accounts = field(
        default_factory=lambda: Accounts(
            [make_account(), make_account(name="other", keyid="0f" * 16, domains=("o.example",))]
        )
    )

    def __post_init__(self) -> None:
        for name, role in (("vera", Role.VIEW), ("otto", Role.OPERATE), ("ada", Role.ADMIN)):
            self.users[name] = ConsoleUser(name=name, password_hash=f"hash of {name}", role=role)
        self.carriers.append(
            IsendproSettings(
                name="carrier", kind="isendpro", base_url="http://127.0.0.1:9/cgi-bin", keyid="f00dfeedf00dfeed"
            )
        )
        self.health.append(CarrierHealth(name="carrier", kind="isendpro", is_open=True, opens_in_s=0))

    def around(self, place: Place) -> Surroundings:
        """Return what the console is given."""

        async def check_password(name: str, password: str) -> bool:
            self.checked += 1
            if self.is_busy:
                raise Busy("too many passwords wait to be checked")
            return name in self.users and password == PASSWORD

        async def act(action: Action, ids: Sequence[SmsId], by: str, may_double: bool) -> Done:
            self.acted.append((action, tuple(ids), by, may_double))
            moved = [
                Moved(
                    sms_id=one,
                    mail_id=MAIL_ID,
                    account="masociete",
                    before=SmsState.QUEUED,
                    after=SmsState.HELD,
                    has_changed=True,
                    note="waits for you",
                )
                for one in ids
            ]
            return Done(action=action, moved=tuple(moved))

        async def examine(sender: str, mail: bytes) -> Findings:
            self.examined.append((sender, mail))
            reply = Reply(code=550, enhanced="5.7.1", text="<b>not</b> taken")
            return find_in_form(reply, envelope_from=sender, peer="127.0.0.1")

        async def deliver(sender: str, recipient: str, mail: bytes) -> str:
            if self.is_down:
                raise DeliveryFailed("127.0.0.1:25: <refused>")
            self.delivered.append((sender, recipient, mail))
            return self.reply

        async def find_obstacles() -> Sequence[str]:
            return self.obstacles

        return Surroundings(
            clock=self.clock,
            store=self.store,
            stories=self.stories,
            place=place,
            users=lambda: self.users,
            check_password=check_password,
            accounts=lambda: self.accounts,
            carriers=lambda: self.carriers,
            health=lambda: self.health,
            stop_rules=StopRules,
            writers=self.writers,
            act=act,
            on_reports=lambda: self.rung.append("reports"),
            on_optouts=lambda: self.rung.append("optouts"),
            examine=examine,
            deliver=deliver,
            recipient="sendsms@gw.example.org",
            hostname="gw.example.org",
            find_obstacles=find_obstacles,
            certificate_ends_at=lambda: self.certificate_ends_at,
        )

    def writers(self, now: datetime) -> tuple[RenderNot, RenderReceipts]:
        """Return what writes the reports of one transaction."""
        rules = ReportRules(hostname="gw.example.org", validity_s=3600)
        return ReportWriter(now=now, rules=rules, accounts=lambda: self.accounts).both


class Operator:
    """A browser without a screen: keeps cookies, posts the forms that pages have."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.token = ""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Return a page, and remember the token of its forms."""
        answer = await self.client.get(path, headers=headers)
        self._remember(answer)
        return answer

    async def post(self, path: str, fields: dict[str, str | list[str]], **headers: str) -> httpx.Response:
        """Post a form as a page of the console does."""
        answer = await self.client.post(path, data={"token": self.token, **fields}, headers=headers)
        self._remember(answer)
        return answer

    def _remember(self, answer: httpx.Response) -> None:
        found_token = re.search(r'name="token" value="([0-9a-f]{64})"', answer.text)
        if found_token:
            self.token = found_token[1]

    async def log_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        """Log in, and go to where that leads."""
        await self.get("/console/login")
        answer = await self.post("/console/login", {"name": name, "password": password})
        if answer.status_code == 303:
            await self.get(answer.headers["location"])
        return answer


def shown(answer: httpx.Response) -> str:
    """Return what can be read on a page, roughly."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())
