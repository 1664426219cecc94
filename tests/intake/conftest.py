"""The real stage on a real store, with what it left there readable as rows."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.identity.vouching import Vouching
from gateway.intake import Intake, IntakeRules, Reply, Submission
from gateway.policy.accounts import Accounts
from gateway.policy.texts import TEXT_PROFILES
from gateway.protocol.envoi import Mode
from gateway.protocol.reading import Limits
from gateway.reader.inline import InlineReader, Reader
from gateway.reports import ReportRules
from gateway.store import Store, StoreSettings, migrate
from tests.support.accounts import make_account
from tests.support.clock import ManualClock

ACCOUNTS = Accounts(
    [
        make_account(),
        make_account(name="mairie", keyid="5f0b1d8f0c7e4c0d", domains=("mairie.example",)),
        make_account(name="fenced", keyid="fenced-key", domains=("fenced.example",), networks=("10.0.0.0/8",)),
        make_account(name="strict", keyid="strict-key", domains=("masociete.com", "strict.fr"), mode="strict"),
        make_account(name="shop", keyid="shop-key", domains=("shop.fr",), commercial=True),
    ]
)
RULES = IntakeRules(
    reports=ReportRules(hostname="gw.example.org", validity_s=3600), own_addresses=frozenset({"sendsms@masociete.com"})
)
READER = InlineReader(Limits())
FIRST_ID = "<1@client.masociete.com>"
ARRIVAL = Submission(
    content=b"",
    envelope_from="alerte@masociete.com",
    peer="127.0.0.1",
    listener="main",
    networks=(ip_network("127.0.0.0/8"),),
    mode=Mode.LENIENT,
)


def write_mail(
    body: str,
    *,
    sender: str = "alerte@masociete.com",
    message_id: str = FIRST_ID,
    content_type: str = "text/plain; charset=utf-8",
    headers: tuple[str, ...] = (),
) -> bytes:
    """Return a mail as it stands on the wire."""
    lines = [
        f"From: {sender}",
        f"Message-ID: {message_id}",
        "MIME-Version: 1.0",
        f"Content-Type: {content_type}",
        "Content-Transfer-Encoding: 8bit",
        *headers,
        "",
        *body.splitlines(),
        "",
    ]
    return "\r\n".join(lines).encode()


def write_envoi(**elements: str | None) -> str:
    """Return the first example of the source; each element given replaces its own, None leaves it out."""
    values: dict[str, str | None] = {
        "keyid": "a296464ce012b8ab710a",
        "num": "0601020304",
        "sms": "Salut ca va ?",
        "emailNot": "not@masociete.com",
        "emailAck": "ack@masociete.com",
        "emailId": "1548",
    }
    values |= elements
    inside = "\n".join(f"<{name}>{value}</{name}>" for name, value in values.items() if value is not None)
    return f"<envoi>\n{inside}\n</envoi>"


@dataclass(kw_only=True)
class Desk:
    """An intake, what it stored, and how often it rang."""

    store: Store
    database: Path
    clock: ManualClock
    rings: list[str] = field(default_factory=list)

    def intake(
        self,
        *,
        accounts: Accounts = ACCOUNTS,
        rules: IntakeRules = RULES,
        store: Store | None = None,
        reader: Reader = READER,
        vouching: Vouching | None = None,
    ) -> Intake:
        """Return the stage on this desk's store, or on another."""
        return Intake(
            accounts=accounts,
            text_profiles={"carrier": TEXT_PROFILES["isendpro"]},
            store=store or self.store,
            clock=self.clock,
            rules=rules,
            reader=reader,
            vouching=vouching,
            on_admitted=lambda account: self.rings.append(f"dispatcher {account}"),
            on_report=lambda: self.rings.append("mailer"),
        )

    async def submit(self, content: bytes, *, intake: Intake | None = None, **facts: object) -> Reply:
        """Hand a mail in."""
        submission = replace(ARRIVAL, content=content, **facts)  # type: ignore[arg-type]
        return await (intake or self.intake()).submit(submission)

    async def send(self, *, message_id: str | None = None, **elements: str | None) -> Reply:
        """Hand in the example with some elements changed."""
        return await self.submit(self.example(message_id=message_id or FIRST_ID, **elements))

    @staticmethod
    def example(*, message_id: str = FIRST_ID, **elements: str | None) -> bytes:
        """Return the example as a mail, with some elements changed."""
        return write_mail(write_envoi(**elements), message_id=message_id)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Return what the store holds."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def reports(self) -> list[tuple[str, str, str]]:
        """Return kind, recipient and body of each report, oldest first, Ack before Not."""
        found = self.rows("SELECT kind, recipient, body FROM report ORDER BY created_at, kind")
        return [(str(kind), str(to), str(body, "iso-8859-1")) for kind, to, body in found if isinstance(body, bytes)]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Return what copies an empty store of this version to a place: migrating takes longer than a test."""
    first = tmp_path_factory.mktemp("empty") / "gateway.db"

    def copy(place: Path) -> None:
        shutil.copyfile(first, place)

    asyncio.run(migrate(StoreSettings(url=f"sqlite:///{first}")))
    return copy


@pytest.fixture
async def desk(tmp_path: Path, empty_store: Callable[[Path], None]) -> AsyncIterator[Desk]:
    database = tmp_path / "gateway.db"
    empty_store(database)
    store = await Store.open(StoreSettings(url=f"sqlite:///{database}"))
    yield Desk(store=store, database=database, clock=ManualClock())
    await store.close()
