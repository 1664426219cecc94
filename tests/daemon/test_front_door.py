"""The front door of a real process: passwords, certificates and listeners, from the configuration to the SMS."""

import asyncio
import signal
import smtplib
import ssl
from pathlib import Path

import pytest
import tomlkit

from gateway.config import Config
from gateway.sandbox import Sandbox
from gateway.smtp.expiry import read_expiry
from tests.daemon.test_daemon import mail
from tests.daemon.test_process import logged, until
from tests.smtp.house import Pem, client_context, make_certificate
from tests.smtp.test_auth import CHEAP
from tests.support.configuration import RECIPIENT, SENDER
from tests.support.gateway import GatewayProcess, run_command, serve

pytestmark = pytest.mark.slow

USER = {"name": "glpi", "password_hash": CHEAP.hash("ouvre-toi"), "account": "masociete"}


def rewrite(config: Config, pem: Pem, users: list[dict[str, str]], **account: object) -> None:
    """The file says where the certificate is, who has a password, and what the first account is like."""
    document = tomlkit.parse(config.path.read_text()).unwrap()
    document["smtp"]["starttls"] = {"certificate": pem.certificate.name, "key": pem.key.name, "required": True}
    document["accounts"][0] |= account
    document["users"] = users
    config.path.write_text(tomlkit.dumps(document))


def submit(gateway: GatewayProcess, context: ssl.SSLContext, content: bytes, password: str | None) -> tuple[int, bytes]:
    """Send a mail over TLS; return what the client was told last."""
    host, port = gateway.smtp
    context.check_hostname = False
    with smtplib.SMTP(host, port, timeout=20) as client:
        try:
            client.starttls(context=context)
            client.ehlo()
            if password is not None:
                client.login("glpi", password)
            client.mail(SENDER)
            client.rcpt(RECIPIENT)
            return client.data(content)
        except smtplib.SMTPResponseException as error:
            return error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b""


async def test_password_over_tls_is_enough_and_nothing_less(config: Config, sandbox: Sandbox, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path)
    rewrite(config, pem, [USER], auth=["smtp_auth"])
    context = client_context(pem)
    async with serve(config.path) as gateway:
        answers = [
            await asyncio.to_thread(submit, gateway, context, content, password)
            for content, password in (
                (mail("1"), None),
                (mail("2"), "sesame"),
                (mail("3"), "ouvre-toi"),
                (mail("4", key="another-key"), "ouvre-toi"),  # proven, and yet the key must be right
                (mail("5").replace(b"masociete.com", b"elsewhere.example"), "ouvre-toi"),
            )
        ]
        await sandbox.wait_for_messages(1)
        log = gateway.read_log()

    assert [code for code, _ in answers] == [550, 535, 250, 550, 550]
    assert [b"code 3" in text for _, text in answers] == [False, False, False, True, False]
    assert len(sandbox.messages) == 1
    assert "ouvre-toi" not in log
    assert "argon2id" not in log


async def test_reload_brings_users_and_a_certificate(config: Config, tmp_path: Path) -> None:
    pem, new = make_certificate(tmp_path), make_certificate(tmp_path, "new", days=30)
    before, after = client_context(pem), client_context(new)
    rewrite(config, pem, [], auth=["smtp_auth"])
    async with serve(config.path) as gateway:
        refused = await asyncio.to_thread(submit, gateway, before, mail("1"), None)
        pem.certificate.write_bytes(new.certificate.read_bytes())
        rewrite(config, pem, [USER])
        gateway.send_signal(signal.SIGHUP)  # the key does not fit: the old one stays, the user is there
        await logged(gateway, "certificate_unusable")
        taken = await asyncio.to_thread(submit, gateway, before, mail("2"), "ouvre-toi")
        pem.key.write_bytes(new.key.read_bytes())
        gateway.send_signal(signal.SIGHUP)
        await until(lambda: read_expiry(new.certificate.read_bytes()).isoformat() in gateway.read_log())
        renewed = await asyncio.to_thread(submit, gateway, after, mail("3"), "ouvre-toi")

    assert [code for code, _ in (refused, taken, renewed)] == [550, 250, 250]


async def test_bad_certificate_stops_the_start_and_check_config_says_so(config: Config, tmp_path: Path) -> None:
    pem, other = make_certificate(tmp_path), make_certificate(tmp_path, "other")
    pem.key.write_bytes(other.key.read_bytes())
    rewrite(config, pem, [])
    started = await run_command("serve", "--config", str(config.path))
    checked = await run_command("check-config", str(config.path))

    assert (started.status, started.stdout) == (4, "")
    assert started.stderr.splitlines()[-1] == f"{pem.key} is not the key of {pem.certificate}"
    assert checked.status == 3
    assert f"smtp.starttls: {pem.key} is not the key of {pem.certificate}" in checked.stderr
