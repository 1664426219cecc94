"""Addresses: dot-atoms and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.address import Path, is_address, parse_path


@pytest.mark.parametrize(
    "address",
    [
        "a@b",
        "first.last+tag@sub.example.org",
        "prvs=1234=user@example.org",
        "root@srv_app.local",
        "o'neil@example.org",
        "l" * 64 + "@" + "a." * 94 + "b",
    ],
)
def test_dot_atoms_are_addresses(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@b",
        "a@",
        "a@b@c",
        "a..b@c",
        ".a@b",
        "a.@b",
        "a@b.",
        "a@.b",
        "a@-b",
        "a@b-",
        "a@[127.0.0.1]",
        '"a"@b',
        '"a\rBcc: x"@c.d',
        "a b@c",
        "a@b c",
        "a\0@b.c",
        "a\x7f@b.c",
        "a\n@b",
        "a@b\n",
        "(comment)a@b",
        "a@b(comment)",
        "@relay:a@b",
        "é@b",
        "a@é",
        "=?utf-8?q?a=0d=0aBcc:_v=40x.test?=@b.test",
        "a@=?utf-8?q?trusted.test?=",
        "=?b@c",
        "a@" + "b" * 64,
        "l" * 65 + "@" + "a." * 94 + "b",
    ],
)
def test_everything_else_is_not(address: str) -> None:
    assert not is_address(address)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("FROM:<a@b>", Path(address="a@b")),
        ("from:<a@b> SIZE=1  BODY=7BIT", Path(address="a@b", parameters=("SIZE=1", "BODY=7BIT"))),
        ("FROM:<>", Path(address="")),
        ("FROM:<a@b>SIZE=1", Path(address=None)),
        ("FROM:<a@b", Path(address=None)),
        ("FROM:<<a@b>>", Path(address=None)),
        ("FROM:< a@b >", Path(address=None)),
        ("FROM:", None),
        ("FROM", None),
        ("TO:<a@b>", None),
        ("", None),
    ],
)
def test_path_is_read_in_both_modes(argument: str, expected: Path | None) -> None:
    assert parse_path(argument, "FROM:", lenient=True) == expected
    assert parse_path(argument, "FROM:", lenient=False) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("FROM: <a@b>", Path(address="a@b")),
        ("FROM:a@b", Path(address="a@b")),
        ("FROM: a@b SIZE=1", Path(address="a@b", parameters=("SIZE=1",))),
        ("FROM:Display Name <a@b>", Path(address=None)),
    ],
)
def test_only_lenient_mode_reads_what_scripts_write(argument: str, expected: Path) -> None:
    assert parse_path(argument, "FROM:", lenient=True) == expected
    assert parse_path(argument, "FROM:", lenient=False) == Path(address=None)


@given(st.text())
def test_no_input_raises(argument: str) -> None:
    path = parse_path("FROM:" + argument, "FROM:", lenient=True)

    if path is not None and path.address:
        assert is_address(path.address)
        assert path.address in argument
