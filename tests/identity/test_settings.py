"""What `[senders]` takes."""

import pytest

from gateway.identity.settings import parse_server


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5_353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5_353)),
    ],
)
def test_server_is_read(value: str, expected: tuple[str, int]) -> None:
    assert parse_server(value) == expected


@pytest.mark.parametrize("value", ["", "resolver.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[::1]"])
def test_what_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not the address of a DNS server"):
        parse_server(value)
