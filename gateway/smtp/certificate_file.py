"""What a client's certificate would prove, read from its file: Python's `ssl` tells names of peers alone."""

from collections.abc import Iterator
from hashlib import sha256

from gateway.intake import ClientCertificate
from gateway.smtp.expiry import NotACertificate, decode_pem, take

_SEQUENCE, _OBJECT, _BOOLEAN = 0x30, 0x06, 0x01
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_MAIL, _HOST = 0x81, 0x82
_ALTERNATIVE_NAMES, _COMMON_NAME = b"\x55\x1d\x11", b"\x55\x04\x03"


def read_client_certificate(pem: bytes) -> ClientCertificate:
    """Return what the first certificate of a PEM file would show in a handshake. Raises NotACertificate.

    Who vouches for it is not looked at: OpenSSL does that in the handshake.
    """
    encoded = decode_pem(pem)
    try:
        names = [name.decode("ascii").lower() for name in _names_in(encoded) if name.isascii()]
    except (ValueError, IndexError) as error:
        raise NotACertificate("holds something that is not a certificate") from error
    return ClientCertificate(fingerprint=sha256(encoded).hexdigest(), names=frozenset(names))


def _names_in(encoded: bytes) -> list[bytes]:
    """RFC 5280 §4.1. The common name counts where there are no alternative names at all (RFC 6125 §6.4.4)."""
    certificate, _ = take(encoded, _SEQUENCE)
    fields, _ = take(certificate, _SEQUENCE)
    elements = list(_elements(fields))
    if elements[0][0] == _VERSION:
        del elements[0]
    subject = elements[4][1]  # behind serial number, algorithm, issuer and validity
    extensions = next((content for tag, content in elements if tag == _EXTENSIONS), None)
    if extensions is not None:
        listed, _ = take(extensions, _SEQUENCE)
        for _tag, extension in _elements(listed):
            parts = [part for part in _elements(extension) if part[0] != _BOOLEAN]
            if parts[0] == (_OBJECT, _ALTERNATIVE_NAMES):
                names, _ = take(parts[1][1], _SEQUENCE)
                return [content for tag, content in _elements(names) if tag in {_MAIL, _HOST}]
    return [
        pair[1][1]
        for _set, group in _elements(subject)
        for _sequence, attribute in _elements(group)
        if (pair := list(_elements(attribute)))[0] == (_OBJECT, _COMMON_NAME)
    ]


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element."""
    while content:
        tag = content[0]
        inside, content = take(content, tag)
        yield tag, inside
