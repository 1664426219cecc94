"""fail2ban and nftables: the shipped files, judged by the programs themselves, on real lines of the real daemon."""

import asyncio
import configparser
import json
import os
import re
import shutil
import smtplib
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from gateway.config import load
from gateway.store import migrate
from tests.smtp.test_auth import CHEAP
from tests.support.configuration import RECIPIENT, write_config
from tests.support.gateway import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DEPLOY = Path(__file__).parents[2] / "deploy"
FILTER = DEPLOY / "fail2ban" / "filter.conf"
JAIL = DEPLOY / "fail2ban" / "jail.conf"
NFTABLES = DEPLOY / "nftables.conf"
STRANGER = ("127.0.0.9", 0)
EMPTY_TABLE = "table inet mail2sms_trial {\n}\n"


TRIED = ("authentication_failed", "mail_refused", "connection_refused", "callback_refused")
NOW = "2026-11-22T08:08:55.040082Z"

# --- fail2ban --------------------------------------------------------------------------------------------------------


def noted(lines: list[str], folder: Path) -> list[str]:
    """Return the address that fail2ban notes for each line that it does."""
    log = folder / "log"
    log.write_text("".join(f"{line}\n" for line in lines))
    rules = folder / FILTER.name  # for fail2ban-regex takes a path with a blank for two
    shutil.copy(FILTER, rules)
    found = subprocess.run(
        ["fail2ban-regex", "--out", "ip", str(log), str(rules)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "rror" not in found.stderr, found.stderr
    return found.stdout.split()


def as_json(event: str, **about: object) -> str:
    return json.dumps({**about, "event": event, "level": "warning", "timestamp": NOW})


def misbehave(smtp: int, other: int, http: int) -> None:
    """Do what strangers try: a wrong password, an order, the wrong door, a guessed callback."""
    with smtplib.SMTP("127.0.0.1", smtp, timeout=60, source_address=STRANGER) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("glpi", 'x", "peer": "198.51.100.1')
        with pytest.raises(smtplib.SMTPResponseException):
            client.sendmail("peer=198.51.100.2@evil.example", [RECIPIENT], b"From: a@evil.example\r\n\r\nhello")
    with pytest.raises(smtplib.SMTPConnectError):
        smtplib.SMTP("127.0.0.1", other, timeout=60, source_address=STRANGER)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{http}/receipts/carrier/{'x' * 32}", data=b"x", timeout=60)


async def daemon_log(folder: Path, form: str) -> list[str]:
    """Return what the daemon logs when strangers try its doors."""
    devices = {"name": "devices", "listen": ["127.0.0.1:0"], "profile": "legacy", "networks": ["10.0.0.0/8"]}
    config = write_config(
        folder / f"{form}.toml",
        smtp={"networks": ["10.0.0.0/8"], "listen": ["127.0.0.1:0"], "listeners": [devices], "error_delay_s": 0},
        http={"listen": "127.0.0.1:0"},
        store={"url": f"sqlite:///{form}.db"},
        log={"format": form},
    )
    user = f'\n[[users]]\nname = "glpi"\npassword_hash = "{CHEAP.hash("ouvre-toi")}"\naccount = "masociete"\n'
    config.write_text(config.read_text() + user)
    await migrate(load(config, environ={}).store)
    async with serve(config) as gateway:
        smtp, other, http = (int(port) for port in re.findall(r":(\d+)", gateway.ready))
        await asyncio.to_thread(misbehave, smtp, other, http)
    return gateway.read_log().splitlines()


@pytest.mark.parametrize("form", ["json", "text"])
async def test_fail2ban_notes_who_tries_the_door(tmp_path: Path, form: str) -> None:
    lines = await daemon_log(tmp_path, form)
    tried = [line for line in lines if re.search("authentication_failed|_refused", line)]
    in_journal = [f"gw mail2sms[4711]: {line}" for line in tried]

    assert {event for event in TRIED if any(event in line for line in tried)} == set(TRIED)
    assert Counter(noted(lines, tmp_path)) == {"127.0.0.1": 1, "127.0.0.9": len(tried) - 1}
    assert noted(in_journal, tmp_path) == noted(lines, tmp_path)


def test_fail2ban_notes_nobody_for_what_clients_and_carriers_do_wrong(tmp_path: Path) -> None:
    lines = [
        as_json("mail_refused", cause="code 1: the key", reply="550 5.7.1 Refused with code 1", peer="192.0.2.1"),
        as_json("connection_refused", peer="192.0.2.2", reason="too_many", unlogged=0),
        as_json("callback_refused", provider="a", reason="too many at once", peer="192.0.2.3"),
        f"{NOW} [warning  ] connection_refused  peer=192.0.2.4 reason=not_a_proxy unlogged=0",
        f"{NOW} [info     ] client_authenticated  account=a peer=192.0.2.5 user=b",
    ]

    assert noted(lines, tmp_path) == []


def test_nobody_can_have_another_noted(tmp_path: Path) -> None:
    """What a stranger may write (a user's name, a cause with his words) is not taken for an address."""
    lines = [
        as_json("authentication_failed", user='x", "peer": "198.51.100.1', peer="192.0.2.1"),
        f"{NOW} [warning  ] authentication_failed  a='x peer=198.51.100.2 ' peer=192.0.2.2 user='peer=198.51.100.3'",
    ]

    assert noted(lines, tmp_path) == ["192.0.2.1", "192.0.2.2"]


def test_the_jail_uses_the_filter_and_the_journal_and_spares_this_machine() -> None:
    jail = configparser.ConfigParser(interpolation=None)
    jail.read_string(JAIL.read_text())
    chosen = jail["mail2sms"]

    assert (chosen["filter"], chosen["backend"]) == ("mail2sms", "systemd")
    assert {"127.0.0.0/8", "::1"} <= set(chosen["ignoreip"].split())
    assert (DEPLOY / "mail2sms.service").exists()
    assert "journalmatch = _SYSTEMD_UNIT=mail2sms.service" in FILTER.read_text()


# --- nftables --------------------------------------------------------------------------------------------------------


def check(*command: str, rules: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "nft", "--check", "--file", str(rules)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def nft(tmp_path: Path) -> tuple[str, ...]:
    """In front of what nft can work on this machine: it needs a network of its own, and the kernel's nf_tables."""
    trial = tmp_path / "trial.conf"
    trial.write_text(EMPTY_TABLE)
    ways = [("unshare", "--net"), ("unshare", "--net", "--map-root-user"), ()]
    for way in ways if os.geteuid() == 0 else ways[1:]:
        if check(*way, rules=trial).returncode == 0:
            return way
    # Rules are judged by the kernel alone, and many containers may not ask it; CI may
    pytest.skip("nft cannot look at any rules here: no CAP_NET_ADMIN in any namespace, or no nf_tables in the kernel")


def test_the_kernel_takes_the_rules(nft: tuple[str, ...]) -> None:
    found = check(*nft, rules=NFTABLES)

    assert (found.returncode, found.stderr) == (0, "")


def test_a_rule_that_is_wrong_would_be_found(nft: tuple[str, ...], tmp_path: Path) -> None:
    broken = tmp_path / "broken.conf"
    broken.write_text(
        NFTABLES.read_text().replace("tcp dport 25 ip saddr @clients4", "tcp dport 25 ip saddr @clients5")
    )

    assert check(*nft, rules=broken).returncode != 0
