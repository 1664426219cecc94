"""The console as the daemon serves it: for whom, where, and by which of its listeners it sends."""

from pathlib import Path

import httpx
import pytest

from gateway.config import Config, load
from gateway.console.roles import Role
from gateway.console.surroundings import Place
from gateway.daemon import Daemon
from gateway.daemon.console import find_place
from gateway.mailer.delivery import DeliveryFailed, deliver
from gateway.smtp.mailbox import Mailbox, Step
from gateway.smtp.passwords import hash_password
from gateway.web import HttpSettings
from tests.console.house import Operator
from tests.support.configuration import RECIPIENT
from tests.support.rawhttp import closed_port

MAIL = b"From: a@masociete.com\r\n\r\n<envoi></envoi>\r\n"


def read(path: Path) -> str:
    return path.read_text("utf-8")


def rewrite(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"listen": "127.0.0.1:8025"}, Place()),
        ({"listen": "[::1]:8025", "hosts": ("SMS.example.org",)}, Place(hosts=frozenset({"sms.example.org"}))),
        ({"listen": "0.0.0.0:8025"}, Place(is_exposed=True)),
        ({"listen": "10.0.0.5:8025", "tls_proxy": True}, Place(is_secure=True)),
        (
            {"listen": "127.0.0.1:8025", "public_url": "https://gw.example.org:8443"},
            Place(hosts=frozenset({"gw.example.org"}), is_secure=True),
        ),
        ({"listen": "127.0.0.1:8025", "public_url": "http://gw.local"}, Place(hosts=frozenset({"gw.local"}))),
    ],
)
def test_the_place_is_as_configured(settings: dict[str, object], place: Place) -> None:
    assert find_place(HttpSettings.model_validate(settings)) == place


@pytest.mark.slow
async def test_a_reload_lets_users_in_and_out(config: Config) -> None:
    path: Path = config.path
    first = read(path)
    user = f'\n[[users]]\nname = "marie"\npassword_hash = "{hash_password("horse")}"\nroles = ["view", "operate"]\n'
    async with Daemon(config) as daemon:
        assert daemon.addresses.http is not None
        async with httpx.AsyncClient(base_url="http://{}:{}".format(*daemon.addresses.http)) as client:
            operator = Operator(client)
            before = await operator.get("/console/login")
            rewrite(path, first + user)
            await daemon.reload(load(path, environ={}))
            wrong = await operator.log_in("marie", "cow")
            entered = await operator.log_in("marie", "horse")
            page = await operator.get("/console/compose")
            rewrite(path, first)
            await daemon.reload(load(path, environ={}))
            after = await operator.get("/console")

    assert [one.status_code for one in (before, wrong, entered, page, after)] == [404, 403, 303, 200, 404]


def test_roles_include_those_below_them() -> None:
    assert [role.rank for role in (Role.VIEW, Role.OPERATE, Role.ADMIN)] == [0, 1, 2]


@pytest.mark.slow
async def test_a_mail_is_handed_over_and_the_servers_word_returned(mailbox: Mailbox) -> None:
    mailbox.refuse(Step.DOT, "550 5.7.1 no")
    words = [
        await deliver(
            mailbox.address, sender="a@masociete.com", recipient=RECIPIENT, mail=MAIL, hostname="gw", timeout_s=20
        )
        for _ in range(2)
    ]

    assert [word[:9] for word in words] == ["550 5.7.1", "250 2.0.0"]


@pytest.mark.slow
async def test_a_server_that_is_not_there_has_said_nothing() -> None:
    with pytest.raises(DeliveryFailed, match=r"127\.0\.0\.1"):
        await deliver(
            ("127.0.0.1", await closed_port()), sender="a@b.example", recipient=RECIPIENT, mail=MAIL,
            hostname="gw", timeout_s=20,
        )  # fmt: skip


@pytest.mark.slow
async def test_a_server_that_breaks_off_has_said_nothing(mailbox: Mailbox) -> None:
    mailbox.hang_up_after_dot()

    with pytest.raises(DeliveryFailed):
        await deliver(
            mailbox.address, sender="a@b.example", recipient=RECIPIENT, mail=MAIL, hostname="gw", timeout_s=20
        )
