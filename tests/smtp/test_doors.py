"""Knocking at our own listeners: where, and what counts as an answer."""

import pytest

from gateway.smtp.doors import answers, find_doors, reachable
from tests.smtp.house import Pem, RememberingHandler, open_house, smtp_settings


async def test_a_listener_answers_in_clear_and_over_tls(pem: Pem) -> None:
    listeners = [
        {"name": "wrapped", "listen": ["127.0.0.1:0"], "tls": "implicit"},
        {"name": "balanced", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.1"]},
        {"name": "devices", "listen": ["127.0.0.1:0"], "profile": "legacy", "networks": ["192.0.2.0/24"]},
    ]
    settings = smtp_settings(listen=["0.0.0.0:0"], starttls=pem.as_settings(), listeners=listeners)
    async with open_house(RememberingHandler(), settings) as house:
        doors = house.listener.doors
        answered = [await answers(door) for door in doors]

    assert [(door.listener, door.host, door.is_tls) for door in doors] == [
        ("smtp", "127.0.0.1", False),
        ("wrapped", "127.0.0.1", True),
    ]
    assert answered == [True, True]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.5", "10.0.0.5"), ("::1", "::1"), ("localhost", "localhost")],
)
def test_where_a_bound_socket_is_reached(bound: str, expected: str) -> None:
    assert reachable(bound) == expected


def test_without_sockets_there_are_no_doors() -> None:
    assert find_doors([]) == ()
