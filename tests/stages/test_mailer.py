"""Reports on their way back: the mail byte for byte, and what the smarthost's answers do to the row."""

import asyncio
import quopri
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.lifecycle import ReportEvent, ReportId, ReportState
from gateway.mailer import Mailer, ReportSettings, UnsafeHeader, render_mail
from gateway.mailer.mail import is_plain_address
from gateway.protocol.codes import AckCode
from gateway.protocol.report import Ack, ReportKind
from gateway.protocol.report_xml import render_ack
from gateway.smtp.mailbox import Mailbox, Step
from gateway.store import StoreUnavailable, tables
from gateway.store.base import NewReport
from gateway.store.outgoing import ClaimedReport
from gateway.worker import Bell
from tests.stages.rig import WatchedStore
from tests.store.samples import new_order, new_report, row, rows
from tests.support.clock import START, ManualClock

ACK = render_ack(Ack(email_id="1548", code=AckCode.A0_PROCESSED))
LATIN = "<message>Votre message a bien été envoyé</message>\n".encode("iso-8859-1")

REPORT = ClaimedReport(
    id=ReportId("01J"),
    epoch=1,
    attempt=1,
    kind=ReportKind.ACK,
    recipient="ack@masociete.com",
    message_id="<01J@gw.example.org>",
    in_reply_to="<m1@masociete.com>",
    body=ACK,
    created_at=START,
    expires_at=START + timedelta(days=5),
)


def render(report: ClaimedReport = REPORT, *, is_8bit_offered: bool = True) -> bytes:
    return render_mail(report, sender="sendsms@gw.example.org", is_8bit_offered=is_8bit_offered)


# --- the mail --------------------------------------------------------------------------------------------------------


def test_an_ascii_report_is_7bit_and_exact() -> None:
    assert render().decode("ascii") == (
        "Date: Wed, 04 Mar 2026 09:30:00 +0000\r\n"
        "From: sendsms@gw.example.org\r\n"
        "To: ack@masociete.com\r\n"
        "Subject: PUSH MSISDN: etatAck\r\n"
        "Message-ID: <01J@gw.example.org>\r\n"
        "In-Reply-To: <m1@masociete.com>\r\n"
        "References: <m1@masociete.com>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=ISO-8859-1\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        '<?xml version="1.0" encoding="ISO-8859-1"?>\r\n'
        "<etatAck>\r\n"
        "<emailId>1548</emailId>\r\n"
        "<code>0</code>\r\n"
        "<message>Votre email a bien ete traite</message>\r\n"
        "</etatAck>\r\n"
    )


def test_a_warning_is_no_answer_to_a_mail() -> None:
    head = render(replace(REPORT, kind=ReportKind.CREDIT, in_reply_to=None)).partition(b"\r\n\r\n")[0].decode("ascii")

    assert head.split("\r\n")[2:7] == [
        "To: ack@masociete.com",
        "Subject: PUSH MSISDN: SMS credit / credit SMS",
        "Message-ID: <01J@gw.example.org>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ]


def test_a_reply_is_a_persons_mail_in_utf_8_with_a_subject_of_its_own() -> None:
    report = replace(REPORT, kind=ReportKind.REPLY, subject="SMS reply: +33*****304", body="à 10h 👍\n".encode())
    head, _, body = render(report).partition(b"\r\n\r\n")

    assert head.decode("ascii").split("\r\n")[3:] == [
        "Subject: SMS reply: +33*****304",
        "Message-ID: <01J@gw.example.org>",
        "In-Reply-To: <m1@masociete.com>",
        "References: <m1@masociete.com>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    assert body.decode() == "à 10h 👍\r\n"


@pytest.mark.parametrize("subject", ["a\r\nBcc: x@y.test", "été", "a\nb"])
def test_a_subject_that_no_header_can_hold_does_not_leave(subject: str) -> None:
    with pytest.raises(UnsafeHeader):
        render(replace(REPORT, kind=ReportKind.REPLY, subject=subject))


def test_a_latin_report_is_8bit_where_it_is_offered() -> None:
    head, _, body = render(replace(REPORT, body=LATIN)).partition(b"\r\n\r\n")

    assert head.endswith(b"Content-Transfer-Encoding: 8bit")
    assert body == LATIN.replace(b"\n", b"\r\n")


def test_a_latin_report_is_quoted_printable_elsewhere() -> None:
    head, _, body = render(replace(REPORT, body=LATIN), is_8bit_offered=False).partition(b"\r\n\r\n")

    assert head.endswith(b"Content-Transfer-Encoding: quoted-printable")
    assert body == b"<message>Votre message a bien =E9t=E9 envoy=E9</message>\r\n"


def test_a_line_longer_than_smtp_allows_is_quoted_printable() -> None:
    body = b"<emailId>" + b"1" * 1000 + b"</emailId>\n"
    mail = render(replace(REPORT, body=body))

    assert max(len(line) for line in mail.split(b"\r\n")) <= 76
    assert quopri.decodestring(mail.partition(b"\r\n\r\n")[2]).replace(b"\r\n", b"\n") == body


@given(
    text=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00"), max_size=1200),
    is_8bit_offered=st.booleans(),
)
def test_whatever_the_encoding_the_client_reads_the_same_bytes(text: str, is_8bit_offered: bool) -> None:
    body = f"<a>\n{text}\n</a>\n".encode("iso-8859-1")
    mail = render(replace(REPORT, body=body), is_8bit_offered=is_8bit_offered)
    read = message_from_bytes(mail).get_payload(decode=True)

    assert isinstance(read, bytes)
    assert read.replace(b"\r\n", b"\n") == body
    assert b"\n" not in mail.replace(b"\r\n", b"")
    assert is_8bit_offered or mail.isascii()


@pytest.mark.parametrize(
    "hostile",
    ["<a@b>\r\nBcc: x@y.test", "<a@b>\nBcc: x@y.test", "no brackets", "<a b@c>", "<é@b>", "<" + "a" * 1000 + "@b>", ""],
)
def test_a_message_id_that_is_none_is_not_repeated(hostile: str) -> None:
    mail = render(replace(REPORT, in_reply_to=hostile))

    assert b"In-Reply-To" not in mail
    assert b"References" not in mail
    assert b"Bcc" not in mail


@pytest.mark.parametrize(
    "field",
    [
        {"recipient": "a@b.example\r\nBcc: x@y.test"},
        {"recipient": "a@b.example, x@y.test"},
        {"recipient": "é@b.example"},
        {"message_id": "<x@y>\r\nBcc: x@y.test"},
        {"message_id": "<é@y>"},
        {"message_id": "<x@y>\r\n\r\ntext"},
    ],
)
def test_a_header_that_would_not_say_what_is_meant_stops_the_report(field: dict[str, str]) -> None:
    with pytest.raises(UnsafeHeader):
        render(replace(REPORT, **field))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "is_plain"),
    [
        ("ack@masociete.com", True),
        ("a.b+c_d@x-y.example", True),
        ("a@[192.0.2.1]", True),
        ("a", False),
        ("@b", False),
        ("a@", False),
        ("a@b@c", False),
        ('"a b"@c', False),
        ("a b@c", False),
        ("a@b c", False),
        ("<a@b>", False),
        ("a@b\n", False),
        ("a@b\x7f", False),
        ("a" * 65 + "@b", False),
    ],
)
def test_plain_addresses_are_told_from_others(address: str, is_plain: bool) -> None:
    assert is_plain_address(address) is is_plain


# --- the smarthost ---------------------------------------------------------------------------------------------------


class Post:
    """A mailer at work between a store and a mailbox."""

    def __init__(
        self, store: WatchedStore, clock: ManualClock, smarthost: str, timeout_s: float = 30, connections: int = 1
    ) -> None:
        self.store = store
        self.clock = clock
        self.bell = Bell()
        settings = ReportSettings(
            smarthost=smarthost, sender="sendsms@gw.example.org", timeout_s=timeout_s, connections=connections
        )
        self.mailer = Mailer(
            store=store, settings=settings, hostname="gw.example.org", clock=clock, bell=self.bell, poll_s=3600
        )

    async def stage(self, *reports: NewReport) -> None:
        await self.store.admit(new_order(reports=reports))
        self.bell.ring()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.bell.ring()

    async def report(self, report: NewReport) -> tuple[ReportState, str | None]:
        found = await row(self.store, tables.report, id=report.id)
        return found["state"], found["reason"]


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as opened:
        yield opened


@asynccontextmanager
async def at_work(post: Post) -> AsyncIterator[None]:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(post.mailer.run())
        yield
        post.mailer.stop()


def post_to(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox, timeout_s: float = 30, connections: int = 1
) -> Post:
    host, port = mailbox.address
    return Post(store, clock, f"{host}:{port}", timeout_s, connections)


async def test_a_report_leaves_with_a_null_sender(store: WatchedStore, clock: ManualClock, mailbox: Mailbox) -> None:
    post, report = post_to(store, clock, mailbox), replace(new_report(), body=ACK)
    async with at_work(post):
        await post.stage(report)
        mail = (await mailbox.wait_for(1))[0]
        await store.wait_for_report_moves(1)

    assert (mail.envelope_from, mail.recipients) == ("", ("ops@acme.example",))
    assert mail.content.endswith(ACK.replace(b"\n", b"\r\n"))
    assert f"Message-ID: {report.message_id}\r\n".encode() in mail.content
    assert await post.report(report) == (ReportState.SENT, "250 2.0.0 Kept")


async def test_8bit_is_announced_when_it_is_used(store: WatchedStore, clock: ManualClock, mailbox: Mailbox) -> None:
    post = post_to(store, clock, mailbox)
    async with at_work(post):
        await post.stage(replace(new_report(), body=ACK), replace(new_report(), body=LATIN))
        mails = await mailbox.wait_for(2)

    assert [mail.is_8bitmime for mail in mails] == [False, True]


async def test_a_smarthost_without_8bit_gets_ascii(store: WatchedStore, clock: ManualClock) -> None:
    async with Mailbox(has_8bitmime=False) as mailbox:
        post = post_to(store, clock, mailbox)
        async with at_work(post):
            await post.stage(replace(new_report(), body=LATIN))
            mail = (await mailbox.wait_for(1))[0]

    assert mail.content.isascii()


async def test_a_line_with_a_dot_keeps_its_dot(store: WatchedStore, clock: ManualClock, mailbox: Mailbox) -> None:
    post = post_to(store, clock, mailbox)
    async with at_work(post):
        await post.stage(replace(new_report(), body=b".\n..\n<a/>\n"))
        mail = (await mailbox.wait_for(1))[0]

    assert mail.content.endswith(b"\r\n\r\n.\r\n..\r\n<a/>\r\n")


async def test_one_connection_serves_many_reports(store: WatchedStore, clock: ManualClock, mailbox: Mailbox) -> None:
    post = post_to(store, clock, mailbox)
    async with at_work(post):
        await post.stage(*[new_report() for _ in range(10)])
        await mailbox.wait_for(10)
        await post.stage(new_report())
        await mailbox.wait_for(11)

    assert mailbox.connections == 1


async def test_a_connection_that_is_no_longer_fresh_is_opened_again(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post = post_to(store, clock, mailbox)
    async with at_work(post):
        await post.stage(new_report())
        await store.wait_for_report_moves(1)
        clock.advance(21)
        await post.stage(new_report())
        await mailbox.wait_for(2)

    assert mailbox.connections == 2


async def test_a_kept_connection_that_died_costs_nothing(store: WatchedStore, clock: ManualClock) -> None:
    async with Mailbox() as first:
        post = post_to(store, clock, first)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(post.mailer.run())
            await post.stage(new_report())
            await store.wait_for_report_moves(1)
            await first.__aexit__(None, None, None)
            async with Mailbox(port=first.address[1]) as second:
                await post.stage(new_report())
                await second.wait_for(1)
                await store.wait_for_report_moves(2)
                post.mailer.stop()

    assert store.report_events == [ReportEvent.TAKEN, ReportEvent.TAKEN]


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        (Step.CONNECT, "554 5.3.2 Not for you"),
        (Step.CONNECT, "421 4.3.2 Busy"),
        (Step.MAIL, "550 5.1.8 No null sender here"),
        (Step.MAIL, "451 4.3.0 Later"),
        (Step.RCPT, "450 4.2.0 Greylisted"),
        (Step.DATA, "451 4.3.0 Later"),
        (Step.DOT, "452 4.3.1 Full"),
        (Step.DOT, "421 4.3.2 Closing"),
    ],
)
async def test_what_may_pass_is_tried_again_later(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox, step: Step, reply: str
) -> None:
    post, report = post_to(store, clock, mailbox), new_report()
    mailbox.refuse(step, reply)
    async with at_work(post):
        await post.stage(report)
        await store.wait_for_report_moves(1)
        state, reason = await post.report(report)

        assert state is ReportState.DUE
        assert reason is not None
        assert reply[:3] in reason

        await post.pass_time(60)
        await post.pass_time(15)
        await store.wait_for_report_moves(2)

    assert store.report_events == [ReportEvent.DEFERRED, ReportEvent.TAKEN]
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("step", [Step.RCPT, Step.DATA, Step.DOT])
async def test_a_report_that_is_refused_for_good_has_failed(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox, step: Step
) -> None:
    post, report = post_to(store, clock, mailbox), new_report()
    mailbox.refuse(step, "550 5.1.1 Nobody of that name")
    with structlog.testing.capture_logs() as lines:
        async with at_work(post):
            await post.stage(report, new_report())
            await store.wait_for_report_moves(2)

    assert store.report_events == [ReportEvent.GIVEN_UP, ReportEvent.TAKEN]
    [failed] = [line for line in lines if line["event"] == "report_failed"]
    assert (failed["report_id"], failed["log_level"]) == (report.id, "warning")
    assert failed["reason"] == "not taken: 550 5.1.1 Nobody of that name"
    assert await post.report(report) == (ReportState.FAILED, "not taken: 550 5.1.1 Nobody of that name")


async def test_a_report_whose_answer_was_lost_goes_again_as_the_same_mail(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post = post_to(store, clock, mailbox)
    mailbox.hang_up_after_dot()
    async with at_work(post):
        await post.stage(new_report())
        await store.wait_for_report_moves(1)
        await post.pass_time(75)
        mails = await mailbox.wait_for(2)

    assert mails[0].content == mails[1].content


async def test_a_smarthost_that_is_down_is_asked_with_one_report_at_a_time(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post = post_to(store, clock, mailbox)
    mailbox.refuse(Step.CONNECT, "421 4.3.2 Busy", times=2)
    reports = [new_report() for _ in range(5)]
    async with at_work(post):
        await post.stage(*reports)
        await store.wait_for_report_moves(5)

        assert mailbox.connections == 1

        await post.pass_time(1)
        await store.wait_for_report_moves(6)

        assert mailbox.connections == 2

        await post.pass_time(200)
        await mailbox.wait_for(5)

    assert mailbox.connections == 3
    assert store.report_events.count(ReportEvent.POSTPONED) == 4
    attempts = sorted(stored["attempts"] for stored in await rows(store, tables.report))
    assert attempts in ([1, 1, 1, 1, 3], [1, 1, 1, 2, 2])  # those that were not tried count nothing


@pytest.mark.parametrize("events", [ReportEvent.DEFERRED, ReportEvent.TAKEN])
async def test_the_mailer_wakes_when_a_report_is_due_and_no_bell_rings(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox, events: ReportEvent
) -> None:
    post, soon = post_to(store, clock, mailbox), timedelta(milliseconds=50)
    await store.admit(new_order(reports=[new_report(due_at=START + soon), new_report(due_at=START + 2 * soon)]))
    if events is ReportEvent.DEFERRED:
        mailbox.refuse(Step.RCPT, "450 4.2.0 Greylisted")
    async with at_work(post):  # whose poll is an hour
        clock.advance(0.05)
        await store.wait_for_report_moves(1)
        clock.advance(0.05)
        await store.wait_for_report_moves(2)

    assert store.report_events == [events, ReportEvent.TAKEN]


@pytest.mark.slow
async def test_a_report_that_is_put_off_again_and_again_is_tried_for_five_days(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post, end = post_to(store, clock, mailbox), START + timedelta(days=5)
    report = replace(new_report(), expires_at=end)
    mailbox.refuse(Step.RCPT, "450 4.2.0 Greylisted", times=200)
    tried_at: list[timedelta] = []
    async with at_work(post):
        await post.stage(report)
        while clock.now() <= end:
            await store.wait_for_report_moves(len(tried_at) + 1)
            tried_at.append(clock.now() - START)
            due_at = await store.next_report_due_at(clock.now())
            if due_at is None:
                break
            await post.pass_time((due_at - clock.now()).total_seconds())

    assert [round(after / timedelta(minutes=1)) for after in tried_at[:2]] == [0, 1]
    assert tried_at[3] < timedelta(minutes=10) < tried_at[4] < timedelta(minutes=20)
    assert (tried_at[-1], len(tried_at) > 96) == (timedelta(days=5), True)
    assert await post.report(report) == (ReportState.FAILED, "not taken: 450 4.2.0 Greylisted")


async def test_no_more_connections_are_open_at_a_time_than_allowed(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post = post_to(store, clock, mailbox, connections=2)
    mailbox.delay(Step.DOT, 0.01)
    async with at_work(post):
        await post.stage(*[new_report() for _ in range(40)])
        await mailbox.wait_for(40)

    assert mailbox.connections == 2


async def test_a_recipient_that_is_refused_or_put_off_delays_nobody_else(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post = post_to(store, clock, mailbox)
    mailbox.refuse(Step.RCPT, "550 5.1.1 Nobody of that name")
    mailbox.refuse(Step.RCPT, "450 4.2.0 Greylisted")
    async with at_work(post):
        await post.stage(*[new_report() for _ in range(20)])
        await store.wait_for_report_moves(20)  # and no time passes

    assert store.report_events == [ReportEvent.GIVEN_UP, ReportEvent.DEFERRED, *[ReportEvent.TAKEN] * 18]
    assert mailbox.connections == 1


@pytest.mark.parametrize("step", list(Step))
async def test_a_smarthost_that_says_nothing_is_left_in_time(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox, step: Step
) -> None:
    post, report = post_to(store, clock, mailbox, timeout_s=0.05), new_report()
    mailbox.delay(step, 60)
    async with at_work(post):
        await post.stage(report)
        await store.wait_for_report_moves(1)
        mailbox.delay(step, 0)
        await post.pass_time(75)
        await mailbox.wait_for(1)
        await store.wait_for_report_moves(2)

    assert store.report_events == [ReportEvent.DEFERRED, ReportEvent.TAKEN]
    assert mailbox.connections == 2  # one on which an answer may still come is not used again


async def test_a_report_not_taken_in_its_time_has_failed(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post, report = post_to(store, clock, mailbox), new_report()
    mailbox.refuse(Step.RCPT, "450 4.2.0 Greylisted", times=2)
    async with at_work(post):
        await post.stage(report)
        await store.wait_for_report_moves(1)
        await post.pass_time((report.expires_at - START).total_seconds())
        await store.wait_for_report_moves(2)

    assert store.report_events == [ReportEvent.DEFERRED, ReportEvent.GIVEN_UP]


async def test_an_unsafe_report_is_given_up_and_somebody_is_told(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post, report = post_to(store, clock, mailbox), replace(new_report(), message_id="<a@b>\r\nBcc: x@y.test")
    with structlog.testing.capture_logs() as lines:
        async with at_work(post):
            await post.stage(report)
            await store.wait_for_report_moves(1)

    assert mailbox.mails == []
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["report_failed"]


async def test_a_report_that_a_dead_process_was_sending_goes_again(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post, report = post_to(store, clock, mailbox), new_report()
    await post.stage(report)
    await store.claim_reports(now=START, lease_until=START + timedelta(minutes=5), limit=1)
    await store.recover_reports(await store.sending_reports(1), START + timedelta(days=1))
    clock.advance(86_400)
    async with at_work(post):
        await mailbox.wait_for(1)
        await store.wait_for_report_moves(1)

    assert (await post.report(report))[0] is ReportState.SENT


async def test_a_report_does_not_go_twice_because_the_store_was_away(
    store: WatchedStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    post, reports = post_to(store, clock, mailbox), [new_report(), new_report()]
    store.settle_errors.append(StoreUnavailable("the store is locked by somebody else"))
    async with at_work(post):
        await post.stage(*reports)
        await store.wait_for_report_moves(2)

    assert store.report_events == [ReportEvent.TAKEN, ReportEvent.TAKEN]
    assert len(mailbox.mails) == 2


@pytest.mark.parametrize("value", ["smarthost", "smarthost:", ":25", "smarthost:0", "smarthost:99999", "smarthost:x"])
def test_a_smarthost_is_host_and_port(value: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        ReportSettings(smarthost=value, sender="a@b.example")


def test_a_smarthost_may_be_an_ipv6_address() -> None:
    settings = ReportSettings(smarthost="[::1]:2525", sender="a@b.example")

    assert settings.smarthost_address == ("::1", 2525)


def test_the_sender_is_an_address() -> None:
    with pytest.raises(ValueError, match="address"):
        ReportSettings(sender="a@b\r\nBcc: x")
