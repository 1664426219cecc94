"""Mails from real clients, each with its own idea of encoding, go through with accents and the euro sign intact."""

import asyncio
import os
import smtplib
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.flows.test_flows import FLOWS, write_config
from tests.support.gateway import run_command, serve

DEADLINE_S = 30.0
SENDER = "alerte@masociete.com"
RECIPIENT = "sendsms@gw.example.org"
TEXT = "L'été est fini à Noël ? 50€ d'économies, ça Ù è ì ò ñ !"  # ç is not a GSM letter: it goes as Ç
AS_SENT = "L'été est fini à Noel ? 50€ d'économies, Ça U è ì ò ñ !"
BODY = f"""<envoi>
<keyid>a296464ce012b8ab710a</keyid>
<num>0601020304</num>
<sms>{TEXT}</sms>
<emailId>4711</emailId>
<emailAck>ack@masociete.com</emailAck>
<emailNot>not@masociete.com</emailNot>
</envoi>
"""

Command = tuple[list[str], bytes, Mapping[str, str]]


def swaks(port: int, folder: Path) -> Command:
    (folder / "body.txt").write_text(BODY)
    headers = ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
    options = [part for header in headers for part in ("--header", header)]
    envelope = ["--from", SENDER, "--to", RECIPIENT, "--body", str(folder / "body.txt")]
    return ["swaks", "--server", f"127.0.0.1:{port}", "--silent", "2", *envelope, *options], b"", {}


def s_nail(port: int, folder: Path) -> Command:
    settings = [
        "v15-compat=yes",
        f"mta=smtp://127.0.0.1:{port}",
        "smtp-auth=none",
        f"from={SENDER}",
        "ttycharset=utf-8",
    ]
    options = [part for setting in settings for part in ("-S", setting)]
    return ["s-nail", "-:", "/", *options, "-s", "envoi", RECIPIENT], BODY.encode(), {"HOME": str(folder)}


def s_nail_latin(port: int, folder: Path) -> Command:
    command, body, env = s_nail(port, folder)
    return [*command[:-3], "-S", "sendcharsets=iso-8859-15", *command[-3:]], body, env


def mutt(port: int, folder: Path) -> Command:
    (folder / "muttrc").write_text(
        f'set smtp_url="smtp://127.0.0.1:{port}/"\nset from="{SENDER}"\nset envelope_from=yes\n'
        "set ssl_starttls=no\nset ssl_force_tls=no\n"
        'set copy=no\nset charset="utf-8"\nset send_charset="us-ascii:iso-8859-15:utf-8"\n'
        'set hostname="masociete.com"\n'
    )
    return (
        ["mutt", "-n", "-F", str(folder / "muttrc"), "-s", "envoi", "--", RECIPIENT],
        BODY.encode(),
        {"HOME": str(folder)},
    )


def msmtp(port: int, folder: Path) -> Command:
    mail = f"From: {SENDER}\nTo: {RECIPIENT}\nSubject: envoi\n\n{BODY}"  # nothing says which charset: UTF-8 is guessed
    connection = ["--host=127.0.0.1", f"--port={port}", "--auth=off", "--tls=off", f"--from={SENDER}"]
    return ["msmtp", "--file=/dev/null", *connection, RECIPIENT], mail.encode(), {"HOME": str(folder)}


def php_mail(port: int, folder: Path) -> Command:
    (folder / "body.txt").write_text(BODY, "utf-8")
    sendmail = f"msmtp --file=/dev/null --host=127.0.0.1 --port={port} --auth=off --tls=off --from={SENDER} -t"
    code = f"$body = iconv('UTF-8', 'Windows-1252', file_get_contents('{folder}/body.txt'));"
    headers = f"From: {SENDER}\\r\\nContent-Type: text/plain; charset=windows-1252"
    code += f'exit(mail("{RECIPIENT}", "envoi", $body, "{headers}") ? 0 : 1);'
    return ["php", "-d", f'sendmail_path="{sendmail}"', "-r", code], b"", {"HOME": str(folder)}


def curl(port: int, folder: Path) -> Command:
    (folder / "mail.eml").write_bytes(
        f"From: {SENDER}\nTo: {RECIPIENT}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        f"Content-Transfer-Encoding: 8bit\n\n{BODY}".replace("\n", "\r\n").encode()
    )
    envelope = ["--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", str(folder / "mail.eml")]
    return ["curl", "--silent", "--show-error", f"smtp://127.0.0.1:{port}/client.masociete.com", *envelope], b"", {}


CLIENTS: list[Callable[[int, Path], Command]] = [swaks, s_nail, s_nail_latin, mutt, msmtp, php_mail, curl]


async def run_client(command: Command, folder: Path) -> None:
    arguments, stdin, env = command
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8", **env},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate(stdin)

    assert process.returncode == 0, output.decode("utf-8", "replace")


async def check(tmp_path: Path, send: Callable[[int], object]) -> None:
    """Run the gateway, let `send` hand over the mail, and look at what the carrier and the smarthost got."""
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        config = write_config(FLOWS / "gateway.toml", tmp_path / "gateway.toml", mailbox=mailbox, sandbox=sandbox)
        assert (await run_command("migrate", "--config", str(config))).status == 0
        async with serve(config) as gateway:
            sending = send(gateway.smtp[1])
            if asyncio.iscoroutine(sending):
                await sending
            await mailbox.wait_for(2, timeout_s=DEADLINE_S)

        assert [AS_SENT] == [message["text"] for message in sandbox.messages]


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: str(client.__name__))
async def test_mail_of_a_real_client_arrives_intact(client: Callable[[int, Path], Command], tmp_path: Path) -> None:
    await check(tmp_path, lambda port: run_client(client(port, tmp_path), tmp_path))


@pytest.mark.slow
async def test_mail_of_python_smtplib_arrives_intact(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, RECIPIENT, "envoi"
    mail.set_content(BODY, charset="utf-8", cte="base64")

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE_S) as client:
            client.send_message(mail)

    await check(tmp_path, lambda port: asyncio.to_thread(send, port))
