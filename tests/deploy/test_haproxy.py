"""A real HAProxy before the gateway, set up by `deploy/haproxy`: clients arrive with their own addresses."""

import asyncio
import contextlib
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiosmtplib
import httpx
import pytest

from gateway.config import load
from gateway.sandbox import Sandbox
from gateway.store import migrate
from tests.daemon.test_daemon import RECIPIENT, SENDER, mail
from tests.deploy.postfix import free_port
from tests.support.configuration import write_config
from tests.support.gateway import GatewayProcess, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SHIPPED = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
DEADLINE_S = 60.0
SPOOFED = b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 25\r\n"


def adapt(folder: Path, *, smtp: int, https: int, gateway_smtp: int, gateway_http: int) -> str:
    """Return the shipped configuration with one gateway, on this machine; everything else is as it is."""
    text = SHIPPED.read_text()
    changes = {
        "    maxconn 4000\n": "    maxconn 100\n",  # no more descriptors than any machine has
        "    maxconn 2000\n": "    maxconn 50\n",
        "bind :25\n": f"bind 127.0.0.1:{smtp}\n",
        "bind :443 ": f"bind 127.0.0.1:{https} ",
        "/etc/haproxy/gateway.pem": str(make_certificate(folder)),
        "    server gw2 10.0.0.12:2500\n": "",
        "    server gw2 10.0.0.12:8025\n": "",
        "server gw1 10.0.0.11:2500": f"server gw1 127.0.0.1:{gateway_smtp}",
        "server gw1 10.0.0.11:8025": f"server gw1 127.0.0.1:{gateway_http}",
        "check port 8025 inter": f"check port {gateway_http} inter",
    }
    for shipped, here in changes.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    return text


def make_certificate(folder: Path) -> Path:
    """Make a certificate with its key, in one file as HAProxy has it."""
    key, certificate, both = folder / "key", folder / "certificate", folder / "gateway.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=gw.example.org", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    both.write_text(certificate.read_text() + key.read_text())
    return both


@asynccontextmanager
async def run_haproxy(folder: Path, text: str) -> AsyncIterator[Callable[[], str]]:
    """HAProxy is at work; yields what reads its log."""
    config, log = folder / "haproxy.cfg", folder / "haproxy.log"
    config.write_text(text)
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *("haproxy", "-W", "-db", "-f", str(config)), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield log.read_text
    finally:
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            await process.wait()


async def greeted(port: int) -> None:
    """Somebody behind the port says 220."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                greeting = await reader.readline()
                writer.close()
            except OSError:
                greeting = b""
            if greeting.startswith(b"220"):
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def gateway_at(folder: Path, sandbox: Sandbox, proxies: str) -> AsyncIterator[tuple[GatewayProcess, int, int]]:
    smtp, http = free_port(), free_port()
    listener = {"name": "balanced", "listen": [f"127.0.0.1:{smtp}"], "proxies": [proxies], "networks": ["127.0.0.0/8"]}
    config = write_config(
        folder / "gateway.toml",
        carrier=sandbox.url,
        smtp={"listen": [], "listeners": [listener]},
        http={"listen": f"127.0.0.1:{http}"},
        log={"format": "json"},
    )
    await migrate(load(config, environ={}).store)
    async with serve(config) as gateway:
        yield gateway, smtp, http


def test_haproxy_finds_nothing_wrong_with_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(SHIPPED.read_text().replace("/etc/haproxy/gateway.pem", str(make_certificate(tmp_path))))
    said = subprocess.run(["haproxy", "-c", "-f", str(config)], capture_output=True, text=True, timeout=60, check=False)

    assert said.returncode == 0, said.stderr
    assert "[WARNING]" not in said.stderr
    assert "[ALERT]" not in said.stderr


async def test_the_gateway_sees_the_clients_and_the_proxy_sees_whether_it_is_ready(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    smtp, https = free_port(), free_port()
    async with gateway_at(tmp_path, sandbox, "127.0.0.1") as (gateway, behind, http):
        text = adapt(tmp_path, smtp=smtp, https=https, gateway_smtp=behind, gateway_http=http)
        async with run_haproxy(tmp_path, text):
            await greeted(smtp)
            client = aiosmtplib.SMTP(
                hostname="127.0.0.1", port=smtp, start_tls=False, source_address=("127.0.0.7", 0), timeout=DEADLINE_S
            )
            async with client:
                await client.mail(SENDER)
                await client.rcpt(RECIPIENT)
                answer = await client.data(mail("1"))
            await sandbox.wait_for_messages(1)
            reader, writer = await asyncio.open_connection("127.0.0.1", smtp)
            await reader.readline()
            writer.write(SPOOFED)
            async with asyncio.timeout(DEADLINE_S):
                said = await reader.readline()
            writer.close()
            own_key = ssl.create_default_context(cafile=str(tmp_path / "certificate"))
            own_key.check_hostname = False
            async with httpx.AsyncClient(
                base_url=f"https://127.0.0.1:{https}", verify=own_key, timeout=DEADLINE_S
            ) as web:
                statuses = [(await web.get(path)).status_code for path in ("/receipts/a/b", "/metrics", "/readyz", "/")]
                own = (await web.get("/receipts/a/b")).text

    assert answer.code == 250
    logged = [json.loads(line) for line in gateway.read_log().splitlines() if line.startswith("{")]
    assert [line["peer"] for line in logged if line["event"] == "envoi_admitted"] == ["127.0.0.7"]
    assert said[:1] in {b"4", b"5"}  # a header within a session is none
    assert '"peer": "10.0.0.1"' not in gateway.read_log()
    assert statuses == [404, 404, 404, 404]
    assert "<html>" not in own  # the gateway's 404, not the proxy's
    assert "bad_proxy_header" not in gateway.read_log()


async def test_a_proxy_header_of_anybody_else_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    async with gateway_at(tmp_path, sandbox, "192.0.2.1") as (gateway, behind, _http):
        reader, writer = await asyncio.open_connection("127.0.0.1", behind)
        writer.write(SPOOFED)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(DEADLINE_S):
                while line := await reader.readline():
                    assert line.startswith(b"554 ")
        writer.close()

    assert '"reason": "not_a_proxy"' in gateway.read_log()
    assert "10.0.0.1" not in gateway.read_log()
