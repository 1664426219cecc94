"""A real Postfix before the gateway, and behind it: everything comes as it was sent, once, whatever dies meanwhile."""

import asyncio
import base64
import email.message
import re
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import aiosmtplib
import dkim
import httpx
import pytest

from gateway.config import load
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate
from tests.deploy.postfix import SHIPPED, Postfix, free_port, is_possible, run_postfix
from tests.support.accounts import KEYID
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import GatewayProcess, serve

pytestmark = [
    pytest.mark.slow,
    # Its master gives up root by itself, and runs for nobody else; CI is root
    pytest.mark.skipif(not is_possible(), reason="only root can start Postfix"),
    pytest.mark.timeout(240),
]

DEADLINE_S = 90.0
ACCENTS = "L'été à Noël : 5 € ; ça va où ? Œuvre"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Postfix, and where the gateway is to stand."""

    postfix: Postfix
    config: Path
    sandbox: Sandbox
    mailbox: Mailbox

    async def send(self, *mails: bytes, recipient: str = RECIPIENT) -> list[str]:
        """Hand the mails to Postfix in one session; return its answers."""
        answers = []
        async with aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=self.postfix.port,
            start_tls=False,
            timeout=DEADLINE_S,
            source_address=("127.0.0.7", 0),
        ) as client:
            for content in mails:
                await client.mail(SENDER, options=["BODY=8BITMIME"])
                await client.rcpt(recipient)
                answers.append(str((await client.data(content)).code))
        return answers

    async def texts(self, count: int) -> list[str]:
        """Return what the carrier has, once there are so many."""
        async with asyncio.timeout(DEADLINE_S):
            await self.sandbox.wait_for_messages(count)
        return [message["text"] for message in self.sandbox.messages]


@asynccontextmanager
async def ground(
    folder: Path, sandbox: Sandbox, mailbox: Mailbox, *, milter: int | None = None, **sections: dict[str, object]
) -> AsyncIterator[Ground]:
    """Stand Postfix up. With `milter` it asks OpenDKIM there, and the gateway believes nothing but what that says."""
    port = free_port()
    more = {} if milter is None else {"smtpd_milters": f"inet:127.0.0.1:{milter}", "milter_default_action": "tempfail"}
    smtp: dict[str, object] = {"listen": [f"127.0.0.1:{port}"]}
    account: dict[str, object] = {}
    if milter is not None:
        smtp["networks"], account["auth"] = [], ["authres"]
        sections["senders"] = {"relays": [{"networks": ["127.0.0.1/32"], "authserv_id": "mx.example.org"}]}
    async with run_postfix(gateway=port, sink=mailbox.address[1], more=more) as postfix:
        config = write_config(
            folder / "gateway.toml",
            smarthost=("127.0.0.1", postfix.port),
            carrier=sandbox.url,
            account=account,
            smtp=smtp,
            http={"listen": "127.0.0.1:0"},
            **sections,
        )
        await migrate(load(config, environ={}).store)
        yield Ground(postfix=postfix, config=config, sandbox=sandbox, mailbox=mailbox)


def order(email_id: int, text: str, *, numbers: str = "<num>0601020304</num>", charset: str = "utf-8") -> bytes:
    body = (
        f"<envoi><keyid>{KEYID}</keyid>{numbers}<sms>{text}</sms><emailId>{email_id}</emailId>"
        f"<emailAck>ack@masociete.com</emailAck><emailNot>not@masociete.com</emailNot></envoi>\r\n"
    )
    head = (
        f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nMessage-ID: <{email_id}@masociete.com>\r\nSubject: Alerte\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    return head.encode() + body.encode(charset)


def big(email_id: int, octets: int) -> bytes:
    mail = email.message.EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = SENDER, RECIPIENT, f"<{email_id}@masociete.com>"
    mail.set_content(
        f"<envoi>\n<keyid>{KEYID}</keyid>\n<num>0601020304</num>\n<sms>Gros</sms>\n<emailId>{email_id}</emailId>\n</envoi>\n"
    )
    mail.add_attachment(bytes(octets), maintype="image", subtype="png", filename="logo.png")
    return mail.as_bytes().replace(b"\n", b"\r\n")


def five_hundred(email_id: int) -> bytes:
    mail = email.message.EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = SENDER, RECIPIENT, f"<{email_id}@masociete.com>"
    mail.set_content(
        f"<envoi>\n<keyid>{KEYID}</keyid>\n<sms>Fermé à midi</sms>\n<emailId>{email_id}</emailId>\n</envoi>\n",
        cte="8bit",
    )
    numbers = "".join(f"06{10_000_000 + one}\r\n" for one in range(500))
    mail.add_attachment(numbers.encode(), maintype="text", subtype="csv", filename="mobiles.csv")
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def body_of(mail: bytes) -> bytes:
    return mail.partition(b"\r\n\r\n")[2]


def count_stored(config: Path) -> int:
    with closing(sqlite3.connect(config.with_name("gateway.db"))) as connection:
        return int(connection.execute("SELECT count(*) FROM sms").fetchone()[0])


def raw_mails(config: Path) -> list[bytes]:
    with closing(sqlite3.connect(config.with_name("gateway.db"))) as connection:
        return [bytes(row[0]) for row in connection.execute("SELECT raw FROM mail ORDER BY id")]


async def count_connections(gateway: GatewayProcess) -> float:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{gateway.http}/metrics")).text
    found = re.search(r'mail2sms_smtp_connections_total\{outcome="accepted"\} (\S+)', text)
    return float(found[1]) if found else 0.0


async def test_what_postfix_hands_on_is_what_it_was_given(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> None:
    numbers = "".join(f"<num{one}>06{20_000_000 + one}</num{one}>" for one in range(1, 101))
    mails = [
        order(1, ACCENTS),
        order(2, ACCENTS.replace("Œ", "OE"), charset="iso-8859-15"),
        order(3, "Sur une ligne", numbers=numbers),
        five_hundred(4),
    ]
    async with ground(tmp_path, sandbox, mailbox) as here, serve(here.config):
        answers = await here.send(*mails)
        texts = await here.texts(1 + 1 + 100 + 500)
        reports = await mailbox.wait_for(6, timeout_s=DEADLINE_S)

    kept = raw_mails(here.config)
    assert answers == ["250"] * 4
    assert sorted(map(body_of, kept)) == sorted(map(body_of, mails))
    assert [len(re.findall(rb"^Received: ", raw, re.MULTILINE)) for raw in kept] == [1] * 4
    assert (texts.count("Fermé à midi"), texts.count("Sur une ligne")) == (500, 100)
    assert {recipient for report in reports for recipient in report.recipients} == {
        "ack@masociete.com",
        "not@masociete.com",
    }


async def test_ten_megabytes_pass_connections_are_kept_and_the_rest_is_refused_at_the_door(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    large = big(1, 7_500_000)
    async with ground(tmp_path, sandbox, mailbox) as here, serve(here.config) as gateway:
        answers = await here.send(large, *(order(number, "Salut") for number in range(2, 42)))
        texts = await here.texts(41)
        connections = await count_connections(gateway)
        with pytest.raises(aiosmtplib.SMTPResponseException) as too_large:
            await here.send(big(50, 9_000_000))
        with pytest.raises(aiosmtplib.SMTPResponseException) as unknown:
            await here.send(order(51, "Salut"), recipient="nobody@gw.example.org")

    assert len(large) > 10_000_000
    assert (answers, texts.count("Gros")) == (["250"] * 41, 1)
    assert 1 <= connections < 41
    assert (too_large.value.code, unknown.value.code) == (552, 550)


async def test_a_451_is_tried_again_until_it_is_taken_once(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> None:
    async with ground(tmp_path, sandbox, mailbox, store={"busy_timeout_s": 1}) as here, serve(here.config):
        with closing(sqlite3.connect(here.config.with_name("gateway.db"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await here.send(order(1, "Salut"))
            await here.postfix.until_logged(r"status=deferred .* said: 451 4\.3\.0")
            before = len(sandbox.messages)
            other.execute("ROLLBACK")
        texts = await here.texts(1)
        await here.postfix.until_logged(r"relay=127\.0\.0\.1.*status=sent \(250 2\.0\.0 Ok: queued as")

    assert before == 0
    assert texts == ["Salut"]
    assert count_stored(here.config) == 1


async def test_a_gateway_that_is_killed_after_it_stored_and_before_it_said_so_doubles_nothing(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    async with ground(tmp_path, sandbox, mailbox) as here:
        async with serve(here.config, env={"MAIL2SMS_PAUSE_AT": "mail-stored"}) as gateway:
            await here.send(order(1, "Salut"))
            async with asyncio.timeout(DEADLINE_S):
                while count_stored(here.config) == 0:  # noqa: ASYNC110 another process
                    await asyncio.sleep(0.05)
            gateway.send_signal(signal.SIGKILL)
            await gateway.process.wait()
        await here.postfix.until_logged(r"status=deferred")
        async with serve(here.config) as again:
            await here.postfix.until_logged(r"status=sent \(250 2\.0\.0 Ok: queued as")
            texts = await here.texts(1)

            assert await again.stop() == 0

    assert texts == ["Salut"]
    assert count_stored(here.config) == 1
    assert '"event": "mail_retransmitted"' in again.read_log()


# --- OpenDKIM --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def run_opendkim(folder: Path, port: int, public_key: str) -> AsyncIterator[None]:
    """OpenDKIM is at work, set up by `deploy/postfix`; the key that it would ask the DNS for is in a file."""
    (folder / "keys").write_text(f"test._domainkey.masociete.com v=DKIM1; k=rsa; p={public_key}\n")
    places = {"Socket": f"inet:{port}@127.0.0.1", "Syslog": "no", "TestPublicKeys": str(folder / "keys")}
    shipped = (SHIPPED / "opendkim.conf").read_text().splitlines()
    kept = [line for line in shipped if line.split(" ")[0] not in places]
    config = folder / "opendkim.conf"
    config.write_text("\n".join([*kept, *(f"{key} {value}" for key, value in places.items())]) + "\n")
    process = await asyncio.create_subprocess_exec("opendkim", "-f", "-x", str(config))
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            await process.wait()


async def test_who_has_signed_is_believed_and_who_says_so_himself_is_not(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    private, public = make_key(tmp_path)
    port = free_port()
    good = order(1, "Sign")
    good = dkim.sign(good, b"test", b"masociete.com", private, include_headers=[b"From", b"To", b"Content-Type"]) + good
    claim = b"Authentication-Results: mx.example.org; dkim=pass header.d=masociete.com\r\n"
    async with (
        run_opendkim(tmp_path, port, public),
        ground(tmp_path, sandbox, mailbox, milter=port) as here,
        serve(here.config) as gateway,
    ):
        await here.send(claim + order(2, "Faux"))
        await here.postfix.until_logged(r"status=bounced .*said: 550 5\.7\.1")
        await here.send(good)
        texts = await here.texts(1)

    assert texts == ["Sign"]
    assert gateway.read_log().count('"event": "mail_refused"') == 1


def make_key(folder: Path) -> tuple[bytes, str]:
    """Make a key; return its private half as PEM, its public one as DKIM publishes it."""
    file = folder / "private.pem"
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", str(file), "2048"], check=True, capture_output=True)
    public = subprocess.run(
        ["openssl", "rsa", "-in", str(file), "-pubout", "-outform", "DER"], check=True, capture_output=True
    )
    return file.read_bytes(), base64.b64encode(public.stdout).decode()
