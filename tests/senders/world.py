"""The gateway of docs/senders.md: its listeners, its stage on a real store, and its DNS."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from argon2 import PasswordHasher

from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.building import build_intake, inline_reader, smtp_users
from gateway.intake import Intake
from gateway.smtp.listener import Listener
from gateway.store import Store
from tests.senders.document import Record, read_configuration, read_zone
from tests.senders.letters import Keys
from tests.smtp.house import House, Pem, serving
from tests.support.dns import SERVFAIL, SILENT, SLOW, TRUNCATED, DnsServer

PASSWORD = "ouvre-toi"
RECIPIENT = "sendsms@gw.example.org"
PROXIED, DIRECT = 0, 1

_CHEAP_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
_MISBEHAVIOURS = {"servfail": SERVFAIL, "silent": SILENT, "slow": SLOW, "truncated": TRUNCATED}
_PATIENT_S, _IMPATIENT_S = 30, 0.5
"""How long the DNS is waited for: long where it answers, on however slow a machine, and short where it never will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """The gateway's own, those of clients by name, and the file of those that vouch for clients."""

    server: Pem
    clients: Mapping[str, Pem]
    client_ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All of it, being served."""

    house: House
    config: Config
    database: Path

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Return what the store holds."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@asynccontextmanager
async def open_world(
    database: Path, certificates: Certificates, dns: DnsServer, *, is_dns_silent: bool
) -> AsyncIterator[World]:
    """Serve until the end of the block. The database is there, and empty."""
    config = load_config(database, certificates, dns, is_dns_silent=is_dns_silent)
    store = await Store.open(config.store)
    try:
        listener = Listener(config.smtp, _build_intake(config, store), users=smtp_users(config))
        async with serving(listener) as house:
            yield World(house=house, config=config, database=database)
    finally:
        await store.close()


def find_keyid(whose: str | None, config: Config) -> str | None:
    """Return the key that the column "Key" means."""
    if whose is None or whose == "wrong":
        return whose
    name, _, which = whose.partition(" ")
    account = next(one for one in config.accounts if one.name == name)
    key = account.previous_keyid if which == "before" else account.keyid
    assert key is not None, whose
    return key.get_secret_value()


def fill_zone(dns: DnsServer, keys: Keys) -> None:
    """The DNS knows what stands in the document."""
    together: dict[tuple[str, str], list[Record]] = {}
    for record in read_zone():
        together.setdefault((record.name, record.kind), []).append(record)
    for (name, kind), records in together.items():
        how = _MISBEHAVIOURS.get(records[0].how)
        if how in (SERVFAIL, SILENT):
            dns.break_name(name, kind, how)
            continue
        dns.add(name, kind, *(_with_keys(record.value, keys) for record in records))
        if how is not None:
            dns.delay(name, kind, how)


def _with_keys(value: str, keys: Keys) -> str:
    for size, key in keys.items():
        value = value.replace(f"{{{size}}}", key.public)
    return value.replace(";", "\\;")


def load_config(database: Path, certificates: Certificates, dns: DnsServer, *, is_dns_silent: bool) -> Config:
    """Return the configuration of the document, with what it needs on this machine."""
    dns_timeout_s = _IMPATIENT_S if is_dns_silent else _PATIENT_S
    said = read_configuration()
    said["smtp"] |= {
        "hostname": "gw.example.org",
        "recipients": [RECIPIENT],
        "greeting_delay_s": 0,
        "error_delay_s": 0,
        "starttls": {
            "certificate": str(certificates.server.certificate),
            "key": str(certificates.server.key),
            "client_ca": str(certificates.client_ca),
        },
    }
    said["senders"] |= {"dns_servers": [dns.server], "dns_timeout_s": dns_timeout_s, "deadline_s": 3 * _PATIENT_S}
    said["store"] = {"url": f"sqlite:///{database}"}
    said["reports"] = {"sender": RECIPIENT}
    said["providers"] = [{"name": "carrier", "kind": "sandbox"}]
    for account in said["accounts"]:
        account["providers"] = ["carrier"]
    for user in said["users"]:
        user["password_hash"] = _CHEAP_HASH
    file = database.with_name("gateway.toml")
    file.write_text(tomlkit.dumps(said), "utf-8")
    file.chmod(0o600)
    return load(file, environ={})


def _build_intake(config: Config, store: Store) -> Intake:
    return build_intake(
        config,
        store=store,
        clock=SystemClock(),
        reader=inline_reader(config),
        on_admitted=lambda _: None,
        on_report=lambda: None,
    )
