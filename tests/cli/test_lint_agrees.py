"""What `lint` says is what the gateway does: each mail of the examples, the flows and the golden mails, by both."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from string import Template

import pytest

from gateway.cli.examples import HERE as EXAMPLES
from gateway.cli.examples import load_example
from gateway.cli.lint import examine
from gateway.cli.mail_file import receive
from gateway.config import Config, load
from gateway.daemon.building import build_intake, inline_reader, report_rules
from gateway.intake import Reply, Submission
from gateway.intake.findings import PLACEHOLDER_ID, Findings
from gateway.lifecycle import Accepted
from gateway.outcomes import Attempt, Outcomes
from gateway.policy.accounts import Accounts
from gateway.protocol.envoi import Mode
from gateway.store import Store, migrate, tables
from gateway.worker import Bell
from tests.store.samples import rows
from tests.support.clock import ManualClock

TESTS = Path(__file__).parents[1]
FLOWS = TESTS / "flows"
GOLDEN = sorted((TESTS / "protocol" / "golden" / "mails").glob("*.eml"))
REFUSED_AT_RCPT = "10-other-recipient"  # before there is a mail
FOLDERS = [
    path.parent
    for root in (EXAMPLES, FLOWS)
    for path in sorted(root.glob("*/01.eml"))
    if path.parent.name != REFUSED_AT_RCPT
]
SENDER = "alerte@masociete.com"
OTHER_KEY = """
[[accounts]]
name = "golden"
keyid = "k"
domains = ["masociete.com"]
providers = ["carrier"]
"""

Message = tuple[int, str, str | None, str | None, int | None]
"""Position, number as submitted, number, text, and the code if it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of one mail."""

    reply: Reply
    sms: tuple[Message, ...]
    reports: tuple[tuple[str, str, str], ...]  # kind, recipient, body


@dataclass(kw_only=True)
class Gateway:
    """The stage on a real store; every SMS it stores is claimed, and taken by the carrier."""

    settings: Config
    store: Store
    clock: ManualClock = field(default_factory=ManualClock)

    async def take(self, submission: Submission) -> Done:
        """Submit the mail, play the carrier, and return what came of it."""
        intake = build_intake(
            self.settings,
            store=self.store,
            clock=self.clock,
            reader=inline_reader(self.settings),
            on_admitted=lambda _: None,
            on_report=lambda: None,
        )
        sms_before, reports_before = await rows(self.store, tables.sms), await rows(self.store, tables.report)
        reply = await intake.submit(submission)
        new = [row for row in await rows(self.store, tables.sms) if row not in sms_before]
        await self._play_the_carrier()
        known = {row["id"] for row in reports_before}
        reports = [row for row in await rows(self.store, tables.report) if row["id"] not in known]
        return Done(
            reply=reply,
            sms=tuple((row["position"], row["tel"], row["msisdn"], row["text"], row["code"]) for row in new),
            reports=tuple((row["kind"].value, row["recipient"], row["body"].decode("iso-8859-1")) for row in reports),
        )

    async def _play_the_carrier(self) -> None:
        outcomes = Outcomes(
            store=self.store,
            clock=self.clock,
            accounts=lambda: Accounts(self.settings.accounts),
            rules=report_rules(self.settings),
            mailer_bell=Bell(),
            dispatcher_bell=Bell(),
        )
        now = self.clock.now()
        for lane in await self.store.due_lanes(now):
            claimed = await self.store.claim_sms(
                lane=lane, provider="carrier", now=now, lease_until=now + timedelta(minutes=1), limit=500
            )
            attempts = [Attempt(sms=sms, verdict=Accepted(raw="ok")) for sms in claimed]
            await outcomes.record(attempts, duration_ms=1)


@asynccontextmanager
async def open_gateway(folder: Path, more: str = "") -> AsyncIterator[Gateway]:
    config = folder / "gateway.toml"
    template = Template((FLOWS / "gateway.toml").read_text("utf-8"))
    addresses = {"smarthost": "127.0.0.1:9", "carrier": "http://127.0.0.1:9", "store": "sqlite:///gateway.db"}
    config.write_text(template.substitute(addresses) + more, "utf-8")
    settings = load(config, environ={})
    await migrate(settings.store)
    store = await Store.open(settings.store)
    try:
        yield Gateway(settings=settings, store=store)
    finally:
        await store.close()


def submission_of(mail: bytes, settings: Config, sender: str = SENDER) -> Submission:
    content = receive(mail, settings.smtp)
    assert isinstance(content, bytes)
    return Submission(
        content=content,
        envelope_from=sender,
        peer="127.0.0.1",
        listener="main",
        networks=settings.smtp.networks,
        mode=settings.smtp.mode,
    )


def as_done(findings: Findings) -> Done:
    """Return what is foreseen in the form of what came; a mail that was here before causes no SMS."""
    is_known = findings.email_id is not None and findings.email_id.state in ("used", "same mail")
    return Done(
        reply=findings.reply,
        sms=()
        if is_known
        else tuple((one.position, one.tel, one.msisdn, one.text, one.code or None) for one in findings.sms),
        reports=tuple(
            (one.kind, one.recipient, one.body)
            for one in findings.reports
            if one.recipient is not None and one.body is not None
        ),
    )


def without_id(done: Done) -> Done:
    """Leave out the id that only a stored mail has."""
    text = done.reply.text
    is_new = text.startswith("Ok: queued as ")
    reply = replace(done.reply, text=f"Ok: queued as {PLACEHOLDER_ID}") if is_new else done.reply
    return replace(done, reply=reply, reports=tuple(sorted(done.reports)), sms=tuple(sorted(done.sms)))


async def both(
    gateway: Gateway, mail: bytes, *, sender: str = SENDER, mode: Mode | None = None
) -> tuple[Findings, Done, Done]:
    """Return what lint finds, that as what would come, and what came."""
    submission = submission_of(mail, gateway.settings, sender)
    submission = replace(submission, mode=mode or submission.mode)
    findings = await examine(gateway.settings, submission, mode=mode, now=gateway.clock.now())
    came = await gateway.take(submission)
    gateway.clock.advance(60)
    return findings, as_done(findings), came


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
async def test_lint_says_what_the_gateway_does_and_the_files_expect(folder: Path, tmp_path: Path) -> None:
    example = load_example(folder)
    sender = SENDER if not (folder / "envelope.json").exists() else str(read_envelope(folder)["sender"])
    foreseen = []
    async with open_gateway(tmp_path) as gateway:
        for mail, begin in zip(example.mails, example.expected.replies, strict=True):
            _, would_come, came = await both(gateway, mail, sender=sender)
            foreseen.append(would_come)

            assert without_id(would_come) == without_id(came)
            assert str(would_come.reply).startswith(begin)

    bodies = [body for done in foreseen for _, _, body in done.reports]
    sent = [
        (str(number).removeprefix("+"), text)
        for done in foreseen
        for _, _, number, text, code in done.sms
        if not code and not is_refused_by_the_carrier(str(number))
    ]

    assert sorted(sent) == sorted((sms.number, sms.text) for sms in example.expected.sms)
    if folder.name != "19-some-numbers-wrong":  # whose Not has the carrier's word on one number
        assert sorted(bodies) == sorted(body.decode("iso-8859-1") for body in example.expected.reports)


def is_refused_by_the_carrier(number: str) -> bool:
    """The sandbox refuses the numbers 06000000CC with the code CC."""
    return number.startswith("+336000000")


def read_envelope(folder: Path) -> dict[str, object]:
    envelope = json.loads((folder / "envelope.json").read_text("utf-8"))
    assert isinstance(envelope, dict)
    return envelope


@pytest.mark.slow
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("mail", GOLDEN, ids=lambda mail: str(mail.stem))
async def test_lint_says_what_the_gateway_does_in_both_modes(mail: Path, mode: Mode, tmp_path: Path) -> None:
    content = read(mail)
    async with open_gateway(tmp_path, OTHER_KEY) as gateway:
        findings, would_come, came = await both(gateway, content, mode=mode)

    assert without_id(would_come) == without_id(came)
    assert findings.ok == bool(came.sms and all(code is None for *_, code in came.sms))


def read(mail: Path) -> bytes:
    return mail.read_bytes()


def test_there_are_mails_to_compare() -> None:
    assert (len(FOLDERS) > 30, len(GOLDEN) > 10) == (True, True)
