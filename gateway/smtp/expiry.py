"""When a certificate runs out, read from its file: all that Python's `ssl` does not tell of one's own certificate.

Only the five fields before the date are stepped over; OpenSSL judges the rest when it loads the same file.
"""

import ssl
from datetime import UTC, datetime

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_INTEGER, _SEQUENCE, _VERSION = 0x02, 0x30, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_LONG_FORM = 0x80


class NotACertificate(ValueError):
    """What is wrong with the file, to stand behind its name."""


def read_expiry(pem: bytes) -> datetime:
    """Return when the first certificate of a PEM file runs out. Raises NotACertificate."""
    encoded = decode_pem(pem)
    try:
        return _not_after(encoded)
    except (ValueError, IndexError) as error:
        raise NotACertificate("holds something that is not a certificate") from error


def decode_pem(pem: bytes) -> bytes:
    """Return the octets of the first certificate of a PEM file. Raises NotACertificate."""
    begin = pem.find(_BEGIN)
    end = pem.find(_END, begin)
    if begin < 0 or end < 0:
        raise NotACertificate("holds no certificate in PEM form")
    try:
        return ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)].decode("ascii"))
    except ValueError as error:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise NotACertificate("holds something that is not a certificate") from error


def _not_after(encoded: bytes) -> datetime:
    """RFC 5280 §4.1: version, serial number, algorithm and issuer come before the two dates."""
    certificate, _ = take(encoded, _SEQUENCE)
    fields, _ = take(certificate, _SEQUENCE)
    if fields[0] == _VERSION:
        _, fields = take(fields, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):
        _, fields = take(fields, tag)
    dates, _ = take(fields, _SEQUENCE)
    _, dates = take(dates, dates[0])
    if dates[0] not in {_UTC_TIME, _GENERALIZED_TIME}:
        raise ValueError("not a date")
    form = "%y%m%d%H%M%SZ" if dates[0] == _UTC_TIME else "%Y%m%d%H%M%SZ"
    text, _ = take(dates, dates[0])
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)


def take(encoded: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the first element, whose tag it must be, and what follows it.

    Raises ValueError, or IndexError, where there is no such element.
    """
    if encoded[0] != tag:
        raise ValueError("another element")
    length, start = encoded[1], 2
    if length & _LONG_FORM:
        start += length & ~_LONG_FORM
        length = int.from_bytes(encoded[2:start], "big")
    content = encoded[start : start + length]
    if len(content) < length:
        raise ValueError("cut off")
    return content, encoded[start + length :]
