"""T2, T5, T6: no mail for others, no second mail within one, nothing said in clear counts over TLS."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.carriers import Carrier, accepts
from tests.faults.field import make_mail
from tests.smtp.house import client_context, make_certificate
from tests.support.configuration import RECIPIENT, SENDER
from tests.threats.attacker import (
    DEADLINE_S,
    ENVOI,
    OPENING,
    STRANGER,
    connected,
    from_headers,
    greeted,
    is_served,
    siege,
    submit,
)

pytestmark = pytest.mark.slow

NOT_OURS = [
    "victim@victim.example",
    "sendsms@victim.example",
    "sendsms%victim.example@gw.example.org",
    "victim%victim.example@gw.example.org",
    "victim.example!sendsms@gw.example.org",
    "@gw.example.org:victim@victim.example",
    "@victim.example:sendsms@gw.example.org",
    '"sendsms@gw.example.org"@victim.example',
    '"sendsms"@gw.example.org',
    "sendsms@gw.example.org@victim.example",
    "sendsms@gw.example.org, victim@victim.example",
    "sendsms@gw.example.org victim@victim.example",
    "sendsms(victim@victim.example)@gw.example.org",
    "sendsms@gw.example.org(comment)",
    "sendsms@gw.example.org.",
    "sendsms@gw.example.org\0",
    "sendsms\0@gw.example.org",
    "sendsms@gw.example.org\x7f",
    "sendsms@gw.example.org\r",
    "send\rsms@gw.example.org",
    "=?utf-8?q?sendsms?=@gw.example.org",
    "sendsms@=?utf-8?q?gw.example.org?=",
    "sendsms+x@gw.example.org",
    "sendsms@[127.0.0.1]",
    "sendsms",
    "postmaster",
    "sendsms@xn--gw-example-org.example",
    "s\u0435ndsms@gw.example.org",
    "a" * 300 + "@gw.example.org",
    "",
]


NO_SENDERS = ["", "<>", "a\0@b.example", '"a"@b.example', "a@b.example\r", "=?utf-8?q?a?=@b.example", "a@b.example\x7f"]


async def test_no_recipient_is_taken_but_our_own(tmp_path: Path) -> None:
    """T2: whoever asks, a trusted client or a stranger; the reply repeats nothing of what it asked."""
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, smtp={"max_errors": 1_000}) as ground:
        for source in ("127.0.0.1", STRANGER):
            async with greeted(ground, source=source) as raw:
                assert (await raw.ask(f"MAIL FROM:<{SENDER}>"))[:3] == "250"
                replies = {address: await raw.ask(f"RCPT TO:<{address}>") for address in NOT_OURS}
                options = [
                    await raw.ask(f"RCPT TO:<{RECIPIENT}> {one}") for one in ("NOTIFY=SUCCESS", "ORCPT=rfc822;x")
                ]
                others = [
                    await raw.ask(command)
                    for command in ("VRFY x", "EXPN x", "TURN", "ETRN x", "HELP", "SEND FROM:<a>")
                ]

                assert {address: reply[:1] for address, reply in replies.items()} == dict.fromkeys(NOT_OURS, "5")
                assert not [reply for reply in replies.values() if "victim" in reply]
                assert {reply[:3] for reply in (*options, *others)} <= {"500", "502", "555"}
                assert (await raw.ask("DATA"))[:9] == "503 5.5.1"

        async with greeted(ground) as raw:
            replies = {sender: await raw.ask(f"MAIL FROM:<{sender}>") for sender in NO_SENDERS}

            assert {sender: reply[:1] for sender, reply in replies.items()} == dict.fromkeys(NO_SENDERS, "5")
        assert (carrier.requests, ground.mailbox.mails) == ([], [])


SMUGGLING = [
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
    b"\r\r\n.\r\n", b"\r\n.\r\r\n", b"\r\n. \r\n", b"\r\n \r\n.\n", b"\x85.\x85", b"\r\n\x0b.\r\n", b"\r\n.\x0c\r\n",
    b"\n\n.\n\n", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\r\0\n.\r\0\n",
]  # fmt: skip


async def test_a_mail_within_a_mail_never_becomes_an_order(tmp_path: Path) -> None:
    """T5: pipelined behind each end of data that some other program might see; also from a legacy network."""
    outer = make_mail("outer", "0601020304").removesuffix(b"\r\n")
    within = make_mail("within", "0601020305")
    rest = (
        b"MAIL FROM:<alerte@masociete.com>\r\nRCPT TO:<sendsms@gw.example.org>\r\nDATA\r\n" + within + b".\r\nQUIT\r\n"
    )
    legacy = {"networks": ["127.0.0.0/30"], "bare_lf_networks": ["127.0.0.2/32"]}
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, smtp=legacy) as ground:
        answers = {}
        for ending in SMUGGLING:
            for source in ("127.0.0.1", "127.0.0.2"):
                async with connected(ground.gateway.smtp, source=source) as raw:
                    await raw.send(OPENING + outer + ending + rest)
                    codes = [line[:3] for line in await raw.rest() if line[3:4] != "-"]
                    answers[ending, source] = codes[5:]

        # Where CRLF.CRLF stands the mail is over, refused for its bare CR; what follows is the client's own next mail
        ended = {ending: codes for (ending, _), codes in answers.items() if b"\r\n.\r\n" in ending}
        assert ended == {b"\r\r\n.\r\n": ["554", "250", "250", "354", "250", "221"]}
        # Anywhere else all of it was one mail, refused: for a bare CR, LF or NUL, or because it holds two envois
        assert {tuple(codes) for (ending, _), codes in answers.items() if ending not in ended} == {("554", "221")}
        assert {sms["tel"] for sms in ground.sms()} == {"0601020305"}


async def test_what_comes_in_clear_never_counts_over_tls(tmp_path: Path) -> None:
    """T6: commands behind STARTTLS, a name and a mail begun before it; TLS twice, stripped, renegotiated."""
    pem = make_certificate(tmp_path)
    context = client_context(pem)
    context.check_hostname = False
    smtp = {"starttls": {"certificate": str(pem.certificate), "key": str(pem.key), "required": True}}
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, smtp=smtp) as ground:
        for injected in (
            b"EHLO evil\r\n",
            b"MAIL FROM:<evil@masociete.com>\r\n",
            b"\r\n",
            b"x",
            OPENING + ENVOI.encode(),
        ):
            async with greeted(ground) as raw:
                await raw.send(b"STARTTLS\r\n" + injected)
                lines = await raw.rest()

                assert [line[:9] for line in lines] == ["554 5.7.0"], injected
        async with greeted(ground) as raw:  # behind the answer, where the handshake is to begin
            assert (await raw.ask("STARTTLS"))[:3] == "220"
            await raw.send(b"EHLO evil\r\nMAIL FROM:<evil@masociete.com>\r\n")

            assert b"250" not in await raw.all()
        async with greeted(ground) as raw:
            assert (await raw.ask(f"MAIL FROM:<{SENDER}>"))[:9] == "530 5.7.0"  # stripping it gives no mail
            assert (await raw.ask("STARTTLS"))[:3] == "220"
            await raw.begin_tls(context)
            assert (await raw.ask(f"MAIL FROM:<{SENDER}>"))[:3] == "503"  # HELO was forgotten
            assert (await raw.ask("EHLO a"))[:3] == "250"
            assert (await raw.ask("STARTTLS"))[:3] == "503"
            for command in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>", "DATA"):
                assert (await raw.ask(command))[:1] in {"2", "3"}
            assert (await raw.ask(make_mail("tls", "0601020304") + b"."))[:3] == "250"
        assert "renegotiation" in await renegotiate(*ground.gateway.smtp)
        assert [protocol for protocol in ("tls1", "tls1_1") if await speaks(protocol, *ground.gateway.smtp)] == []
        await ground.until(lambda: ground.states() == ["accepted"])
        assert len(ground.events("starttls_injected")) == 5


async def renegotiate(host: str, port: int) -> str:
    """Return what openssl says when its client asks for another handshake in the middle."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-starttls", "smtp", "-tls1_2", "-connect", f"{host}:{port}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        await process.stdout.readuntil(b"250 ")  # the handshake is over
        process.stdin.write(b"R\n")
        said = await process.stdout.read()
        await process.wait()
    return said.decode("latin-1").lower()


async def speaks(protocol: str, host: str, port: int) -> bool:
    """Tell whether the gateway and openssl agree on this version, with all that openssl can do."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-starttls", "smtp", f"-{protocol}", "-cipher", "ALL:@SECLEVEL=0"),
        *("-connect", f"{host}:{port}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await process.communicate()
    return b"Verification" in said and b"Cipher is (NONE)" not in said


PIECES = st.one_of(
    st.sampled_from(
        [
            *(b"EHLO a", b"HELO", b"MAIL FROM:<alerte@masociete.com>", b"RCPT TO:<sendsms@gw.example.org>", b"DATA"),
            *(
                b".",
                b"..",
                b"RSET",
                b"NOOP",
                b"QUIT",
                b"STARTTLS",
                b"AUTH PLAIN AGEAYg==",
                b"AUTH LOGIN",
                b"*",
                b"BDAT 3",
            ),
            *(
                b"\r\n",
                b"\n",
                b"\r",
                b"\r\n.\r\n",
                b"\0",
                b"MAIL FROM:<",
                b"<envoi>",
                b"\x16\x03\x01",
                b"GET / HTTP/1.1",
            ),
            *(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", b"\r\n\r\n\0\r\nQUIT\n", b"x" * 3_000),
        ]
    ),
    st.binary(max_size=20),
)


async def test_no_babble_harms_the_dialogue(tmp_path: Path) -> None:
    """Whatever is said, and wherever the connection ends: codes from the list, no order, no traceback."""
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        loop = asyncio.get_running_loop()

        @settings(
            max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(st.lists(PIECES, max_size=14), st.booleans(), st.booleans())
        def babble(pieces: list[bytes], is_lined: bool, is_half_closed: bool) -> None:
            said = (b"\r\n" if is_lined else b"").join(pieces)
            asyncio.run_coroutine_threadsafe(say(said, is_half_closed=is_half_closed), loop).result(DEADLINE_S)

        async def say(said: bytes, *, is_half_closed: bool) -> None:
            async with connected(ground.gateway.smtp) as raw:
                await raw.send(said)
                if not is_half_closed:
                    return
                raw.writer.write_eof()
                lines = await raw.rest()

                assert [line for line in lines if line[:3] not in CODES] == []

        await asyncio.to_thread(babble)
        assert (await submit(ground, from_headers(f"From: {SENDER}"))).startswith("250 ")
        assert [sms["tel"] for sms in ground.sms()] == ["0601020304"]
        assert ground.events("session_failed") == []


CODES = {
    *("220", "221", "250", "334", "354", "421", "451", "454", "500", "501", "502", "503", "504", "521", "530", "535"),
    *("538", "550", "552", "553", "554", "555"),
}


@pytest.mark.parametrize("version", [1, 2])
async def test_a_header_of_a_proxy_cannot_be_forged_or_overlong(tmp_path: Path, version: int) -> None:
    """Whoever is no proxy gets nowhere with it; and from one, what is too long or malformed ends the connection."""
    listeners = [
        {"name": "behind", "listen": ["127.0.0.1:0"], "networks": ["192.0.2.7/32"], "proxies": ["127.0.0.5/32"]}
    ]
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    good, bad = (
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", [b"PROXY TCP4 " + b"1" * 5_000, b"PROXY TCP4 1.2.3 1 1 1\r\n"])
        if version == 1
        else (
            signature + b"\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\0\1\0\2",
            [signature + b"\x21\x11\xff\xff" + b"x" * 70_000, signature + b"\x21\x11\0\2ab", signature[:-1] + b"x" * 9],
        )
    )
    async with (
        Carrier(accepts) as carrier,
        siege(tmp_path, carrier, smtp={"listen": [], "listeners": listeners}) as ground,
    ):
        order = OPENING + make_mail("forged", "0601020304") + b".\r\nQUIT\r\n"
        async with connected(ground.gateway.smtp) as raw:  # no proxy: what it says of itself is not even read
            await raw.send(good + order)
            assert [line[:9] for line in await raw.rest()] in ([], ["554 5.7.1"])
        for header in bad:
            async with connected(ground.gateway.smtp, source="127.0.0.5") as raw:
                await raw.send(header + order)
                assert b"250" not in await raw.all(), header[:20]
        assert ground.sms() == []
        async with connected(ground.gateway.smtp, source="127.0.0.5") as raw:
            await raw.send(good + order)
            codes = [line[:3] for line in await raw.rest() if line[3:4] != "-"]

        assert codes == ["220", "250", "250", "250", "354", "250", "221"]
        await ground.until(lambda: ground.states() == ["accepted"])


async def test_a_client_that_half_closes_at_any_stage_is_answered_or_forgotten(tmp_path: Path) -> None:
    """Behind each line of an order, in clear: only a mail whose dot has come is taken, and then it is answered."""
    lines = [*OPENING.splitlines(keepends=True), *make_mail("half", "0601020304").splitlines(keepends=True), b".\r\n"]
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        last = []
        for count in range(len(lines) + 1):
            async with connected(ground.gateway.smtp) as raw:
                await raw.send(b"".join(lines[:count]))
                raw.writer.write_eof()
                said = await raw.rest()
                last.append(said[-1][:3] if said else "")

        assert last[:-1] == ["220", "250", "250", "250", *["354"] * (len(lines) - 4)]
        assert last[-1] == "250"
        await ground.until(lambda: ground.states() == ["accepted"])
        await is_served(ground, "after")
