"""docs/protocol.md §1.3, §1.6, §2.8: what the header block says."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.mime import body_digest, read_headers
from gateway.protocol.reading import Unreadable
from tests.protocol.mails import ENVOI, make_mail


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("From: alerte@masociete.com", "alerte@masociete.com"),
        ("from:Alerte@MaSociete.COM", "Alerte@masociete.com"),
        ("From: <alerte@masociete.com>", "alerte@masociete.com"),
        ("From: Service Alertes <alerte@masociete.com>", "alerte@masociete.com"),
        ('From: "Dupont, Jean (IT)" <j.dupont@masociete.com>', "j.dupont@masociete.com"),
        ('From: "a \\" quote" <a+b@masociete.com>', "a+b@masociete.com"),
        ("From: Société\xe9 <alerte@masociete.com>", "alerte@masociete.com"),  # raw 8-bit
        ("From: =?utf-8?q?Soci=C3=A9t=C3=A9?= <alerte@masociete.com>", "alerte@masociete.com"),
        ("From: Service\r\n Alertes\r\n\t<alerte@masociete.com>", "alerte@masociete.com"),
        ("From: root@masociete.com (Cron Daemon)", "root@masociete.com"),  # cron
        ("From: Nagios (production) <alerte@masociete.com>", "alerte@masociete.com"),
        ('From: "alerte@masociete.com" <Alerte@masociete.com>', "Alerte@masociete.com"),  # Outlook, without a name
        ("From: \"'alerte@masociete.com'\" <alerte@masociete.com>", "alerte@masociete.com"),
        ("From: alerte@masociete.com <alerte@masociete.com>", "alerte@masociete.com"),
    ],
)
def test_from_header_gives_its_address(header: str, address: str) -> None:
    headers = read_headers(make_mail(sender=header))

    assert (headers.from_address, headers.from_count, headers.from_problem) == (address, 1, None)


@pytest.mark.parametrize(
    "header",
    [
        "From:",
        "From: nobody",
        "From: a@masociete.com, b@masociete.com",
        "From: a@masociete.com <evil@elsewhere.example>",
        '"x@y" <evil@elsewhere.example>'.join(["From: ", ""]),
        "From: A <a@masociete.com>, B <b@masociete.com>",
        "From: <a@masociete.com> <b@masociete.com>",
        "From: group: a@masociete.com;",
        "From: <@relay:a@masociete.com>",
        "From: (comment <a@masociete.com>",
        "From: A (evil@elsewhere.example) <a@masociete.com>",
        "From: A (one (two)) <a@masociete.com>",
        "From: a@masociete.com (<evil@elsewhere.example>)",
        "From: a@masociete.com (one) (two)",
        "From: a@masociete.com (open",
        'From: "a@masociete.com", x <a@masociete.com>',
        "From: (first) a@masociete.com",
        "From: <a@masociete.com> trailing",
        "From: <a@b@masociete.com>",
        "From: a@masoci\xe9t\xe9.com",
        'From: "a b"@masociete.com',
        'From: "unclosed <a@masociete.com>',
    ],
)
def test_from_header_that_can_be_read_two_ways_is_a_problem(header: str) -> None:
    headers = read_headers(make_mail(sender=header))

    assert headers.from_address is None
    assert headers.from_problem is not None


def test_two_from_headers_are_a_problem() -> None:
    headers = read_headers(make_mail(ENVOI, "FROM: b@masociete.com"))

    assert (headers.from_address, headers.from_count) == (None, 2)
    assert headers.from_problem == "more than one From header"


@pytest.mark.parametrize("raw", [b"", b"\r\n", ENVOI.encode(), b"\r\n" + ENVOI.encode(), b"Subject: x\r\n\r\n"])
def test_mail_without_from_header_has_neither_address_nor_problem(raw: bytes) -> None:
    headers = read_headers(raw)

    assert (headers.from_address, headers.from_count, headers.from_problem) == (None, 0, None)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Message-ID: <1@client.example>", "<1@client.example>"),
        ("message-id:\r\n <1@client.example>", "<1@client.example>"),
        ("Message-ID: no-brackets", "no-brackets"),
        ("Message-ID: <two words@x>", None),
        ("Message-ID: <\xe9@x>", None),
        ("Message-ID: <" + "x" * 300 + ">", None),
        ("Message-ID:", None),
        ("Subject: x", None),
    ],
)
def test_message_id_is_taken_when_it_can_stand_in_a_header_again(header: str, expected: str | None) -> None:
    assert read_headers(make_mail(ENVOI, header)).message_id == expected


@pytest.mark.parametrize(
    ("header", "auto_submitted", "is_bounce"),
    [
        ("Auto-Submitted: auto-replied", True, False),
        (
            "Auto-Submitted: auto-generated (rule 7)",
            False,
            False,
        ),  # GLPI, cron: the account decides
        ("Auto-Submitted: auto-notified", True, False),
        ("Auto-Submitted: Auto-Replied; owner=x", True, False),
        ("Precedence: auto_reply", True, False),
        ('Content-Type: multipart/report; report-type=delivery-status; boundary="x"', True, True),
        ("Auto-Submitted: no", False, False),
        ("Auto-Submitted: No (really)", False, False),
        ("Auto-Submitted:", False, False),
        ("Precedence: bulk", False, False),
        ("X-Auto-Response-Suppress: All", False, False),  # Exchange writes it into ordinary mails
    ],
)
def test_robots_are_told_from_people(header: str, auto_submitted: bool, is_bounce: bool) -> None:
    headers = read_headers(make_mail(ENVOI, header))

    assert (headers.auto_submitted, headers.is_bounce) == (auto_submitted, is_bounce)
    assert headers.auto_generated == ("auto-generated" in header)


@pytest.mark.parametrize(
    "block",
    [
        b"Subject: " + b";" * 9_000 + b"\r\n",
        b"Subject: x\r\n" + b" folded\r\n" * 1_000,
        b"X: y\r\n" * 1_001,
        (b"X: " + b"y" * 7_000 + b"\r\n") * 10,
        b"From: a@b.example\rBcc: c@d.example\r\n",
        b"Subject: a\0b\r\n",
        b"Subject: a\r\r\n",
    ],
)
def test_header_block_beyond_its_bounds_is_refused(block: bytes) -> None:
    with pytest.raises(Unreadable):
        read_headers(block + b"\r\n" + ENVOI.encode())


def test_body_digest_is_that_of_what_follows_the_headers() -> None:
    expected = hashlib.sha256(ENVOI.encode()).digest()

    assert body_digest(make_mail()) == expected
    assert body_digest(make_mail(ENVOI, "Received: by another.example")) == expected
    assert body_digest(b"X: y\n\n" + ENVOI.encode()) == expected
    assert body_digest(ENVOI.encode()) == expected
    assert body_digest(make_mail(ENVOI + " ")) != expected


def test_body_digest_never_raises_and_is_linear() -> None:
    assert len(body_digest(b"X: y\r\n" * 50_000)) == 32


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    for raw in (noise, b"From: " + noise, b"Auto-Submitted: " + noise, b"Content-Type: " + noise + b"\r\n\r\n"):
        try:
            headers = read_headers(raw)
        except Unreadable:
            continue

        assert headers.from_address is None or headers.from_address.isascii()
        assert headers.message_id is None or headers.message_id.isprintable()
