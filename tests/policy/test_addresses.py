"""docs/protocol.md §1.3, §8.4: addresses and domains are read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.addresses import MAX_ADDRESS_CHARS, Address, is_domain, matches, parse_address, to_ascii_domain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ack@masociete.com", Address(local="ack", domain="masociete.com")),
        ("Not.1+tag@MaSociete.COM", Address(local="Not.1+tag", domain="masociete.com")),
        ("root@localhost", Address(local="root", domain="localhost")),
        ("root@srv_1.lan", Address(local="root", domain="srv_1.lan")),
        ("a@xn--bcher-kva.example", Address(local="a", domain="xn--bcher-kva.example")),
        ("O'Brien=x@a.fr", Address(local="O'Brien=x", domain="a.fr")),
    ],
)
def test_plain_address_is_read(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a",
        "a@",
        "@b.fr",
        "a@b@c.fr",
        "<a@b.fr>",
        "A <a@b.fr>",
        "a@b.fr, c@d.fr",
        '"a b"@c.fr',
        '"a@x"@c.fr',
        "a(comment)@b.fr",
        "@x.fr:a@b.fr",
        "a@[127.0.0.1]",
        "a@b.fr.",
        "a@.b.fr",
        "a@b..fr",
        "a@-b.fr",
        ".a@b.fr",
        "a.@b.fr",
        "a..b@c.fr",
        "é@b.fr",
        "a@é.fr",
        "a@b.fr\r\nBcc: v@x.fr",
        "a@b.fr\n",
        "a\0@b.fr",
        " a@b.fr",
        "=?utf-8?q?a?=@b.fr",
        "l" * 65 + "@b.fr",
        "a@" + "b" * 64 + ".fr",
        "a@" + ".".join(["b" * 60] * 5),
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    assert parse_address(text) is None


def test_address_of_full_length_is_read_and_one_more_is_not() -> None:
    domain = ".".join(["b" * 60] * 4)
    longest = "l" * (MAX_ADDRESS_CHARS - len(domain) - 1) + "@" + domain

    assert str(parse_address(longest)) == longest
    assert parse_address(f"l{longest}") is None


@given(st.text(max_size=60))
def test_what_is_read_says_the_same_again(text: str) -> None:
    address = parse_address(text + "@a.fr")

    assert address is None or str(address) == text + "@a.fr"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MaSociete.com", "masociete.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("intranet", "intranet"),
        ("", None),
        ("a b.fr", None),
        ("a..fr", None),
        ("*.fr", None),
        ("a@b.fr", None),
        ("b" * 64 + ".fr", None),
        ("é" * 300, None),
    ],
)
def test_domain_of_an_operator_becomes_ascii(text: str, expected: str | None) -> None:
    assert to_ascii_domain(text) == expected


def test_domain_has_a_greatest_length() -> None:
    assert is_domain(".".join(["b" * 62] * 4)) is True
    assert is_domain(".".join(["b" * 63] * 4)) is False


@pytest.mark.parametrize(
    ("domain", "patterns", "expected"),
    [
        ("a.fr", ("a.fr",), True),
        ("b.a.fr", ("a.fr",), False),
        ("b.a.fr", ("*.a.fr",), True),
        ("c.b.a.fr", ("*.a.fr",), True),
        ("a.fr", ("*.a.fr",), False),
        ("xa.fr", ("*.a.fr",), False),
        ("a.fr", ("b.fr", "a.fr"), True),
        ("a.fr", (), False),
    ],
)
def test_domain_matches_exactly_or_below_a_wildcard(domain: str, patterns: tuple[str, ...], expected: bool) -> None:
    assert matches(domain, patterns) is expected
