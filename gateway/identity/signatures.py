"""DKIM signatures (RFC 6376): which of a mail's are worth checking, and whether one holds.

dkimpy does the arithmetic; what it takes and we do not is refused before it is asked: a signature that covers a part of
the body only (`l=`), rsa-sha1, a key in testing, one that does not sign From, Content-Type or Content-Transfer-Encoding
as often as they are there, or one that is too old. Measured: dkimpy finds all of these valid.

Promises: only domains that are wanted are looked at, at most `MAX_SIGNATURES`; nothing is asked of the DNS here.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from gateway.protocol.mime import read_headers
from gateway.protocol.reading import Unreadable

MAX_SIGNATURES = 5
MIN_KEY_BITS = 1_024

_MUST_BE_SIGNED = (b"from", b"content-type", b"content-transfer-encoding")
_SELECTOR = re.compile(rb"[A-Za-z0-9._-]{1,63}")
_DOMAIN = re.compile(rb"[A-Za-z0-9_.-]{1,253}")
_SECONDS = re.compile(rb"[0-9]{1,12}")
_CLOCKS_DIFFER = timedelta(hours=1)

Tags = dict[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One that is worth checking. `position` counts all signatures of the mail, from the top."""

    position: int
    domain: str  # lower case
    selector: str
    is_of_a_subdomain: bool  # i= names one: not every key may do that

    @property
    def key_name(self) -> str:
        """Where its key stands in the DNS."""
        return f"{self.selector}._domainkey.{self.domain}"


def find_signatures(
    header: bytes, sender: str, *, is_wanted: Callable[[str], bool], now: datetime, max_age: timedelta
) -> tuple[Signature, ...]:
    """Return the signatures worth checking of a header block, empty line included; `sender` is the address in From:."""
    try:
        fields, _ = dkim.rfc822_parse(header)
    except dkim.MessageFormatError:
        return ()
    senders = [value for name, value in fields if name.lower() == b"from"]
    if len(senders) != 1 or _read_sender(senders[0]) != sender:
        return ()  # dkimpy reads this header otherwise than we do
    counts = {wanted: sum(name.lower() == wanted for name, _ in fields) for wanted in _MUST_BE_SIGNED}
    values = [value for name, value in fields if name.lower() == b"dkim-signature"]
    return tuple(_choose(values, counts, is_wanted=is_wanted, now=now, max_age=max_age))[:MAX_SIGNATURES]


def is_good_key(record: bytes, signature: Signature) -> bool:
    """Tell whether the key may be used for mail, and for this signature."""
    try:
        tags: Tags = parse_tag_value(record)
    except InvalidTagValueList:
        return False
    flags = _words(tags.get(b"t", b""))
    return (
        tags.get(b"v", b"DKIM1") == b"DKIM1"
        and tags.get(b"k", b"rsa") == b"rsa"
        and bool(tags.get(b"p"))  # empty: revoked
        and b"y" not in flags  # testing: to be treated as if there were no signature
        and not (b"s" in flags and signature.is_of_a_subdomain)
        and (b"h" not in tags or b"sha256" in _words(tags[b"h"]))
        and not _words(tags.get(b"s", b"*")).isdisjoint({b"*", b"email"})
    )


def verify(content: bytes, signature: Signature, record: bytes) -> bool:
    """Tell whether the signature holds with this key. Takes half a second for the largest mails: for a thread."""

    def find_key(_name: bytes, timeout: float = 0) -> bytes:
        return record

    try:
        mail = dkim.DKIM(content, minkey=MIN_KEY_BITS)
        return bool(mail.verify(idx=signature.position, dnsfunc=find_key))
    except Exception:  # noqa: BLE001 - foreign code with foreign bytes: what it stumbles over is no signature
        return False


def _choose(
    values: list[bytes],
    counts: dict[bytes, int],
    *,
    is_wanted: Callable[[str], bool],
    now: datetime,
    max_age: timedelta,
) -> Iterator[Signature]:
    for position, value in enumerate(values):
        try:
            tags: Tags = parse_tag_value(value)
        except InvalidTagValueList:
            continue
        domain, selector = tags.get(b"d", b""), tags.get(b"s", b"")
        if not (_DOMAIN.fullmatch(domain) and _SELECTOR.fullmatch(selector)) or not is_wanted(domain.decode().lower()):
            continue
        if _is_sound(tags, counts) and _is_in_time(tags, now, max_age):
            named = tags.get(b"i", b"@" + domain).rpartition(b"@")[2]
            yield Signature(
                position=position,
                domain=domain.decode().lower(),
                selector=selector.decode().lower(),
                is_of_a_subdomain=named.lower() != domain.lower(),
            )


def _is_sound(tags: Tags, counts: dict[bytes, int]) -> bool:
    signed = [name.strip().lower() for name in tags.get(b"h", b"").split(b":")]
    return (
        tags.get(b"v") == b"1"
        and tags.get(b"a") == b"rsa-sha256"
        and b"l" not in tags
        and all(signed.count(name) >= count for name, count in counts.items())
        and counts[b"content-type"] <= 1
        and counts[b"content-transfer-encoding"] <= 1
    )


def _is_in_time(tags: Tags, now: datetime, max_age: timedelta) -> bool:
    made, ends = tags.get(b"t"), tags.get(b"x")
    if any(value is not None and not _SECONDS.fullmatch(value) for value in (made, ends)):
        return False
    age = timedelta(0) if made is None else timedelta(seconds=now.timestamp() - int(made))
    left = timedelta(0) if ends is None else timedelta(seconds=int(ends) - now.timestamp())
    return -_CLOCKS_DIFFER <= age <= max_age and left >= timedelta(0)


def _read_sender(value: bytes) -> str | None:
    try:
        return read_headers(b"From:" + value).from_address
    except Unreadable:
        return None


def _words(value: bytes) -> set[bytes]:
    return {word.strip().lower() for word in value.split(b":")}
