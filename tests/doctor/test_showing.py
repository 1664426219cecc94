"""What a listener is said to show is what it shows: to this machine, and to others through a proxy."""

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from gateway.config import Config
from gateway.daemon.building import smtp_users
from gateway.doctor.showing import ANYWHERE, find_unproven, show
from tests.doctor.conftest import Write
from tests.smtp.house import Client, House, Pem, RememberingHandler, client_context, make_certificate, open_house

HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("right")
FOREIGN = "203.0.113.7"


def written(write: Write, folder: Path, listener: dict[str, object], *, with_user: bool) -> Config:
    """A listener behind this machine's proxy, with a certificate beside it."""
    file = folder / "gw.example.org.pem"
    if not file.exists():
        make_certificate(folder)
    one = {"name": "one", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.0/8"], **listener}
    starttls = {"certificate": str(file), "key": str(file.with_suffix(".key"))}
    users = [{"name": "glpi", "password_hash": HASH, "account": "masociete"}] if with_user else []
    return write(smtp={"listen": [], "listeners": [one], "starttls": starttls}, users=users)


async def ehlo(client: Client) -> tuple[str, ...]:
    await client.send(b"EHLO client\r\n")
    lines = []
    while True:
        lines.append(await client.line())
        if lines[-1][3] == " ":
            return tuple(line[4:] for line in lines[1:])


async def shown(house: House, folder: Path, source: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Return what a client of that address sees in clear, and over TLS."""
    async with await house.connect() as client:
        await client.send(f"PROXY TCP4 {source} 127.0.0.1 1234 25\r\n".encode())
        assert (await client.reply()).startswith("220")
        clear = await ehlo(client)
        if "STARTTLS" not in clear:
            return clear, None
        assert (await client.ask(b"STARTTLS")).startswith("220")
        trusted = Pem(certificate=folder / "gw.example.org.pem", key=folder / "gw.example.org.key")
        await client.begin_tls(client_context(trusted))
        return clear, await ehlo(client)


LISTENERS: dict[str, dict[str, object]] = {
    "STARTTLS": {},
    "STARTTLS required": {"require_tls": True},
    "no TLS": {"tls": "none"},
    "no AUTH": {"auth": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("with_user", [True, False], ids=["users", "no users"])
@pytest.mark.parametrize("listener", LISTENERS.values(), ids=LISTENERS)
async def test_what_is_said_is_what_is_shown(
    write: Write, tmp_path: Path, listener: dict[str, object], with_user: bool
) -> None:
    config = written(write, tmp_path, listener, with_user=with_user)
    rows = {client: row for row in show(config) for client in row.clients}
    async with open_house(RememberingHandler(), config.smtp, users=smtp_users(config)) as house:
        here = await shown(house, tmp_path, "127.0.0.9")
        elsewhere = await shown(house, tmp_path, FOREIGN)

    assert (rows["this machine"].clear, rows["this machine"].encrypted) == here
    assert (rows[ANYWHERE].clear, rows[ANYWHERE].encrypted) == elsewhere


def test_who_may_send_from_where_is_in_the_table(write: Write, tmp_path: Path) -> None:
    config = write(
        smtp={"listen": ["0.0.0.0:2525"], "networks": ["127.0.0.0/8", "10.0.0.0/8"]},
        account={"auth": ["network", "dkim"]},
        more_accounts=[
            {
                "name": "branch",
                "keyid": "b" * 32,
                "domains": ["branch.example"],
                "networks": ["10.1.0.0/16"],
                "auth": ["network"],
            },
            {"name": "lost", "keyid": "c" * 32, "domains": ["lost.example"], "auth": ["smtp_auth"]},
        ],
    )
    rows = show(config)
    senders = {client: dict(row.senders) for row in rows for client in row.clients}

    assert senders["this machine"] == {"network": ("masociete",), "dkim": ("masociete",)}
    assert senders["10.0.0.0/8"] == {"network": ("masociete",), "dkim": ("masociete",)}
    assert senders["10.1.0.0/16"] == {"network": ("masociete", "branch"), "dkim": ("masociete",)}
    assert senders[ANYWHERE] == {"dkim": ("masociete",)}
    assert find_unproven(config, rows) == ["lost"]


def test_a_listener_of_this_machine_alone_has_one_row(write: Write) -> None:
    config = write(smtp={"listen": ["127.0.0.1:2525", "[::1]:2525"], "networks": ["127.0.0.0/8", "10.0.0.0/8"]})

    assert [row.clients for row in show(config)] == [("this machine",)]


def test_a_listener_for_old_devices_lets_nobody_else_in(write: Write) -> None:
    old = {"name": "old", "listen": ["0.0.0.0:25"], "profile": "legacy", "networks": ["192.168.7.0/24"]}
    rows = {client: row for row in show(write(smtp={"listen": [], "listeners": [old]})) for client in row.clients}

    assert rows["192.168.7.0/24"].is_let_in
    assert not rows["this machine"].is_let_in
    assert rows[ANYWHERE].senders == ()
