"""What `[smtp]` takes and what it refuses."""

from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from gateway.protocol.envoi import Mode
from gateway.smtp.entrance import find_entrances
from gateway.smtp.peer import client_address, client_key
from gateway.smtp.settings import SmtpSettings, parse_listen
from tests.smtp.house import smtp_settings


def listener(**changes: object) -> dict[str, object]:
    return {"name": "other", "listen": ["127.0.0.1:0"], **changes}


def legacy(**changes: object) -> dict[str, object]:
    return listener(profile="legacy", networks=["192.0.2.0/24"]) | changes


def test_recipients_are_all_that_must_be_said() -> None:
    settings = SmtpSettings(recipients=("sendsms@gw.example.org",))

    assert settings.listen == ("127.0.0.1:2525",)
    assert settings.max_mail_bytes == 10_485_760
    assert settings.mode is Mode.LENIENT
    assert [str(network) for network in settings.networks] == ["127.0.0.0/8", "::1/128"]
    assert settings.bare_lf_networks == ()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in SmtpSettings.model_fields.values())


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:2525", ("127.0.0.1", 2525)),
        ("[::1]:0", ("::1", 0)),
        ("[fe80::1%eth0]:25", ("fe80::1%eth0", 25)),
        ("gw.example.org:25", ("gw.example.org", 25)),
    ],
)
def test_listen_address_is_read(listen: str, expected: tuple[str, int]) -> None:
    assert parse_listen(listen) == expected


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"listen": ["2525"]}, 'not "HOST:PORT"'),
        ({"listen": ["::1:25"]}, "in brackets"),
        ({"listen": ["127.0.0.1:65536"]}, "at most 65535"),
        ({"listen": ["127.0.0.1:25", "127.0.0.1:25"]}, "twice"),
        ({"listen": []}, "listen is empty"),
        ({"recipients": []}, "at least 1 item"),
        ({"recipients": ["sendsms"]}, "not an address"),
        ({"networks": ["192.0.2.1/24"]}, r"networks\.0"),
        ({"hostname": "bad name"}, "match pattern"),
        ({"bytes_in_flight": 2_000}, "at least max_mail_bytes"),
        ({"listeners": [listener(listen=["127.0.0.1:25", "127.0.0.1:25"])]}, "twice"),
        ({"listen": ["127.0.0.1:25"], "listeners": [listener(listen=["127.0.0.1:25"])]}, "twice"),
        ({"listeners": [listener(), listener()]}, 'two listeners are called "other"'),
        ({"listeners": [listener(name="smtp")]}, 'two listeners are called "smtp"'),
        ({"listeners": [listener(tls="starttls")]}, 'listener "other" uses TLS'),
        ({"listeners": [listener(require_tls=True)]}, 'listener "other" uses TLS'),
        ({"listeners": [listener(require_tls=True, tls="none")]}, "nobody could send"),
        ({"listeners": [listener(require_tls=False, tls="implicit")]}, "cannot be false"),
        ({"listeners": [legacy(tls="starttls")]}, "devices without TLS"),
        ({"listeners": [legacy(auth=True)]}, "without AUTH"),
        ({"listeners": [legacy(networks=[])]}, "needs networks"),
        ({"listeners": [legacy(networks=["::/0"])]}, "the whole Internet"),
        ({"listeners": [listener(networks=["0.0.0.0/0"])]}, "the whole Internet"),
        ({"listeners": [listener(proxies=["0.0.0.0/0"])]}, "the whole Internet"),
        ({"networks": ["0.0.0.0/0"]}, "the whole Internet"),
        ({"bare_lf_networks": ["0.0.0.0/0"]}, "the whole Internet"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        smtp_settings(**changes)


def test_a_listener_takes_from_smtp_what_it_does_not_say_itself() -> None:
    settings = smtp_settings(
        mode="strict",
        starttls={"certificate": "c", "key": "k", "required": True},
        listeners=[
            listener(networks=["192.0.2.0/24"], mode="lenient"),
            listener(name="open", require_tls=False),
            listener(name="inner", tls="none"),
            listener(name="wrapped", tls="implicit", auth=False),
            legacy(name="old"),
        ],
    )

    assert [
        (one.name, one.mode.value, one.tls.value, one.requires_tls, one.offers_auth, one.is_legacy)
        for one in find_entrances(settings)
    ] == [
        ("smtp", "strict", "starttls", True, True, False),
        ("other", "lenient", "starttls", True, True, False),
        ("open", "strict", "starttls", False, True, False),
        ("inner", "strict", "none", False, True, False),
        ("wrapped", "strict", "implicit", True, False, False),
        ("old", "strict", "none", False, False, True),
    ]
    assert [str(one.networks[0]) for one in find_entrances(settings)][:3] == [
        "127.0.0.0/8",
        "192.0.2.0/24",
        "127.0.0.0/8",
    ]


def test_where_listeners_are_written_there_is_no_other_one() -> None:
    settings = SmtpSettings.model_validate({"recipients": ["sendsms@gw.example.org"], "listeners": [listener()]})

    assert [one.name for one in find_entrances(settings)] == ["other"]


def test_two_free_ports_on_one_host_are_two_addresses() -> None:
    settings = smtp_settings(listen=["127.0.0.1:0", "127.0.0.1:0"])

    assert len(settings.listen) == 2


def test_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() -> None:
    assert client_address("::ffff:192.0.2.7") == ip_address("192.0.2.7")


def test_clients_are_counted_by_address_or_by_64() -> None:
    assert client_key(ip_address("2001:db8::1")) == client_key(ip_address("2001:db8::ffff"))
    assert client_key(ip_address("2001:db8::1")) != client_key(ip_address("2001:db8:0:1::1"))
    assert client_key(ip_address("192.0.2.1")) != client_key(ip_address("192.0.2.2"))
