"""T27, T30: what is on the disk is for the gateway's user alone, and a dangerous configuration does not start."""

import os
import re
import stat
from pathlib import Path

import pytest
import tomlkit

from gateway.config import load
from gateway.store import migrate
from tests.faults.field import make_mail
from tests.support.configuration import write_config
from tests.support.gateway import run_command
from tests.threats.attacker import siege, submit


@pytest.mark.slow
async def test_whatever_the_gateway_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    """T27: the store, its log and shared memory, the reserve, the quarantine, a backup; with the widest umask."""
    before = os.umask(0)  # what a careless start script leaves
    try:
        reading = {"deadline_s": 0.001, "max_waiting": 1}
        async with siege(tmp_path, reading=reading) as ground:
            reply = await submit(ground, make_mail("1", *[f"0601{number:06d}" for number in range(500)]))
            backup = await run_command("backup", str(tmp_path / "copy.db"), "--config", str(ground.config))
            kept = modes_in(tmp_path)
    finally:
        os.umask(before)

    assert (reply[:3], backup.status) == ("451", 0)
    assert {"gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.reserve", "copy.db", "quarantine"} <= set(
        kept
    )
    assert len([name for name in kept if name.startswith("quarantine/")]) == 1
    assert {name: mode for name, mode in kept.items() if mode not in {"-rw-------", "drwx------"}} == {}


@pytest.mark.slow
async def test_init_writes_secrets_for_its_user_alone(tmp_path: Path) -> None:
    """T27: the configuration holds the first account's key."""
    before = os.umask(0)
    try:
        made = await run_command("init", cwd=tmp_path)
    finally:
        os.umask(before)

    assert made.status == 0
    assert (tmp_path / "gateway.toml").is_file()
    assert set(modes_in(tmp_path).values()) == {"-rw-------"}
    assert stat.filemode((tmp_path / "gateway.toml").stat().st_mode) == "-rw-------"


def modes_in(folder: Path) -> dict[str, str]:
    """Return the mode of everything below the folder but what the tests themselves have written."""
    return {
        str(file.relative_to(folder)): stat.filemode(file.stat().st_mode)
        for file in folder.rglob("*")
        if file.name not in {"gateway.toml", "gateway.log"}
    }


DANGEROUS: dict[str, tuple[dict[str, object], str]] = {
    "everybody, by IPv4": ({"smtp": {"networks": ["0.0.0.0/0"]}}, "trusts the whole Internet"),
    "everybody, by IPv6": ({"smtp": {"networks": ["::/0"]}}, "trusts the whole Internet"),
    "everybody, in two halves": ({"smtp": {"networks": ["0.0.0.0/1", "128.0.0.0/1"]}}, "trusts the whole Internet"),
    "everybody, in quarters": ({"smtp": {"networks": ["2000::/3"]}}, "trusts the whole Internet"),
    "everybody, at one listener": (
        {"smtp": {"listeners": [{"name": "a", "listen": ["0.0.0.0:25"], "networks": ["0.0.0.0/0"]}]}},
        "trusts the whole Internet",
    ),
    "everybody, for one account": ({"account": {"networks": ["0.0.0.0/0"]}}, "the whole Internet"),
    "everybody in halves, for one account": ({"account": {"networks": ["128.0.0.0/1"]}}, "the whole Internet"),
    "everybody is a proxy": (
        {"smtp": {"listeners": [{"name": "a", "listen": ["0.0.0.0:25"], "proxies": ["0.0.0.0/0"]}]}},
        "trusts the whole Internet",
    ),
    "bare LF from everybody": ({"smtp": {"bare_lf_networks": ["0.0.0.0/0"]}}, "trusts the whole Internet"),
    "old devices from everywhere": (
        {"smtp": {"listeners": [{"name": "a", "listen": ["0.0.0.0:25"], "profile": "legacy", "networks": []}]}},
        "needs networks",
    ),
    "no domain": ({"account": {"domains": []}}, "domains"),
    "every domain": ({"account": {"domains": ["*"]}}, "is not a domain"),
    "reports to every domain": ({"account": {"report_domains": ["*"]}}, "is not a domain"),
    "no proof": ({"account": {"auth": []}}, "auth"),
    "no key": ({"account": {"keyid": None}}, "a key is missing"),
    "an empty key": ({"account": {"keyid": ""}}, "keyid"),
    "one key for two": ({"more_accounts": [{"name": "b", "domains": ["b.example"]}]}, "keyid"),
    "a password in clear": ({"users": [{"name": "a", "password_hash": "sesame"}]}, "is not a hash"),
    "a key to a carrier in clear": (
        {"provider": {"kind": "isendpro", "base_url": "http://api.carrier.example"}},
        "must start with https://",
    ),
    "a short callback secret": ({"provider": {"callback_secret": "short"}}, "callback_secret"),
    "reports to ourselves": ({"account": {"mail": "sendsms@gw.example.org"}}, "is an address of this gateway"),
    "TLS without a certificate": (
        {"smtp": {"listeners": [{"name": "a", "listen": ["127.0.0.1:0"], "tls": "implicit"}]}},
        "a certificate is missing",
    ),
    "a misspelt limit": ({"smtp": {"max_connection": 5}}, "max_connection"),
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_dangerous_configuration_is_refused_with_a_sentence(tmp_path: Path, name: str) -> None:
    """T30: each by the code that `serve` and `check-config` begin with."""
    config, sentence = write_dangerous(tmp_path, name)
    with pytest.raises(Exception, match=re.escape(sentence)):
        load(config, environ={})


@pytest.mark.slow
async def test_serve_and_check_config_end_with_3_before_anything_listens(tmp_path: Path) -> None:
    """T30: the same, through the commands."""
    for name in ("everybody, by IPv4", "no key"):
        config, sentence = write_dangerous(tmp_path, name)
        checked = await run_command("check-config", str(config))
        served = await run_command("serve", "--config", str(config))

        assert (checked.status, served.status) == (3, 3)
        assert (served.stdout, sentence in served.stderr, sentence in checked.stderr) == ("", True, True)


def write_dangerous(folder: Path, name: str) -> tuple[Path, str]:
    wanted, sentence = DANGEROUS[name]
    users = wanted.get("users")
    config = write_config(folder / "gateway.toml", **{key: value for key, value in wanted.items() if key != "users"})
    if users is not None:
        with config.open("a", encoding="utf-8") as more:
            more.write(tomlkit.dumps({"users": users}))
    return config, sentence


DOUBTFUL: dict[str, tuple[dict[str, object], str]] = {
    "a provider's network": (
        {"smtp": {"networks": ["62.0.0.0/9"]}},
        "smtp.networks: 62.0.0.0/9 is a public network of many",
    ),
    "one at a listener": (
        {"smtp": {"listeners": [{"name": "a", "listen": ["127.0.0.1:0"], "networks": ["62.0.0.0/9"]}]}},
        "smtp.listeners[0].networks: 62.0.0.0/9 is a public network of many",
    ),
    "one of an account": (
        {"account": {"networks": ["2a01::/24"]}},
        "accounts[0].networks: 2a01::/24 is a public network",
    ),
    "a relay that is trusted": (
        {"senders": {"relays": [{"networks": ["127.0.0.1/32"], "authserv_id": "mx"}]}},
        "senders.relays[0].networks: is trusted by its address too (smtp.networks)",
    ),
    "a whole top-level domain": (
        {"account": {"domains": ["*.com"]}},
        'accounts[0].domains: "*.com" is all of a top-level',
    ),
    "reports to one": (
        {"account": {"report_domains": ["*.fr"]}},
        'accounts[0].report_domains: "*.fr" is all of a top-level',
    ),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubtful_configuration_is_warned_of(tmp_path: Path, name: str) -> None:
    """T30: what may be meant starts, and says so in `configuration_doubtful`."""
    wanted, sentence = DOUBTFUL[name]
    warnings = [str(one) for one in load(write_config(tmp_path / "gateway.toml", **wanted), environ={}).warnings]

    assert [one for one in warnings if one.startswith(sentence)] != []


def test_what_is_ordinary_raises_no_doubt_about_trust(tmp_path: Path) -> None:
    """T30: private networks of any width, one's own public one, names of one's own below an internal domain."""
    wanted: dict[str, object] = {
        "account": {"domains": ["*.lan", "masociete.com", "*.masociete.com"], "keyid": "0123456789abcdef" * 2},
        "smtp": {
            "networks": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "203.0.113.0/24", "62.1.0.0/16"]
        },
        "senders": {"relays": [{"networks": ["198.51.100.7/32", "2001:db8::7/128"], "authserv_id": "mx"}]},
    }

    assert load(write_config(tmp_path / "gateway.toml", **wanted), environ={}).warnings == ()


async def test_a_store_of_others_stays_closed_to_them(tmp_path: Path) -> None:
    """T27: also when it was made long ago with another umask, `migrate` leaves what it makes to its owner alone."""
    config = load(write_config(tmp_path / "gateway.toml"), environ={})
    await migrate(config.store)

    assert stat.filemode((tmp_path / "gateway.db").stat().st_mode) == "-rw-------"
