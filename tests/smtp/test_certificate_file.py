"""Certificates of clients, read from files: the names that a handshake would show, and no others."""

import subprocess
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

import pytest

from gateway.smtp.certificate_file import read_client_certificate
from gateway.smtp.expiry import NotACertificate


def make(folder: Path, subject: str, alternatives: str | None) -> bytes:
    """Return a certificate, as PEM, with these names."""
    file = folder / "client.pem"
    more = [] if alternatives is None else ["-addext", f"subjectAltName={alternatives}"]
    new_key = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9")
    subprocess.run(
        ["openssl", *new_key, "-subj", subject, *more, "-keyout", str(folder / "key.pem"), "-out", str(file)],
        check=True,
        capture_output=True,
    )
    return file.read_bytes()


@pytest.mark.parametrize(
    ("subject", "alternatives", "expected"),
    [
        ("/CN=scanner.example.org", None, {"scanner.example.org"}),
        ("/O=ACME/CN=Scanner.Example.org/OU=x", None, {"scanner.example.org"}),
        ("/CN=ignored.example", "DNS:Scanner.example.org", {"scanner.example.org"}),
        (
            "/CN=ignored.example",
            "DNS:a.example,email:Scan@b.example,DNS:*.c.example",
            {"a.example", "scan@b.example", "*.c.example"},
        ),
        ("/CN=ignored.example", "IP:192.0.2.7,URI:https://x.example/", set()),
        ("/CN=ignored.example", "critical,DNS:a.example", {"a.example"}),
        ("/O=no name", None, set()),
    ],
)
def test_names_are_those_that_count(tmp_path: Path, subject: str, alternatives: str | None, expected: set[str]) -> None:
    pem = make(tmp_path, subject, alternatives)
    found = read_client_certificate(b"some text before\n" + pem)

    assert found.names == expected
    assert found.fingerprint == sha256(PEM_cert_to_DER_cert(pem.decode())).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_none_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(NotACertificate, match=r"certificate"):
        read_client_certificate(content)


def test_certificate_that_was_cut_or_changed_is_none_or_another_but_never_an_error_of_ours(tmp_path: Path) -> None:
    pem = make(tmp_path, "/CN=scanner.example.org", None)
    lines = pem.splitlines()
    for missing in range(1, len(lines) - 1):
        content = b"\n".join(lines[:missing] + lines[missing + 1 :])
        with suppress(NotACertificate):
            assert read_client_certificate(content).fingerprint != read_client_certificate(pem).fingerprint
