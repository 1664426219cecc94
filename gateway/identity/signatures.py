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
class Unfit:
    """One that is not worth checking, and why."""

    position: int
    why: str


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
) -> tuple[Signature | Unfit, ...]:
    """Return the signatures of a header block, empty line included; those worth checking are `MAX_SIGNATURES` at most.

    `sender` is the address in From:.
    """
    try:
        fields, _ = dkim.rfc822_parse(header)
    except dkim.MessageFormatError:
        return ()
    senders = [value for name, value in fields if name.lower() == b"from"]
    if len(senders) != 1 or _read_sender(senders[0]) != sender:
        return ()  # dkimpy reads this header otherwise than we do
    counts = {wanted: sum(name.lower() == wanted for name, _ in fields) for wanted in _MUST_BE_SIGNED}
    values = [value for name, value in fields if name.lower() == b"dkim-signature"]
    return tuple(_choose(values, counts, is_wanted=is_wanted, now=now, max_age=max_age))


def find_fault_of_key(record: bytes, signature: Signature) -> str | None:
    """Return why the key may not be used for mail, or not for this signature; None: it may."""
    try:
        tags: Tags = parse_tag_value(record)
    except InvalidTagValueList:
        return "its key is malformed"
    flags = _words(tags.get(b"t", b""))
    faults = (
        (tags.get(b"v", b"DKIM1") != b"DKIM1", "its key is of another version (v=)"),
        (tags.get(b"k", b"rsa") != b"rsa", "its key is not RSA (k=)"),
        (not tags.get(b"p"), "its key is revoked (empty p=)"),
        (b"y" in flags, "its key is in testing (t=y)"),  # to be treated as if there were no signature
        (b"s" in flags and signature.is_of_a_subdomain, "its key is not for sub-domains (t=s)"),
        (b"h" in tags and b"sha256" not in _words(tags[b"h"]), "its key is not for SHA-256 (h=)"),
        (_words(tags.get(b"s", b"*")).isdisjoint({b"*", b"email"}), "its key is not for mail (s=)"),
    )
    return next((why for is_fault, why in faults if is_fault), None)


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
) -> Iterator[Signature | Unfit]:
    chosen = 0
    for position, value in enumerate(values):
        try:
            tags: Tags = parse_tag_value(value)
        except InvalidTagValueList:
            yield Unfit(position=position, why="it is malformed")
            continue
        domain, selector = tags.get(b"d", b""), tags.get(b"s", b"")
        if not (_DOMAIN.fullmatch(domain) and _SELECTOR.fullmatch(selector)):
            yield Unfit(position=position, why="its d= or s= is malformed")
        elif not is_wanted(domain.decode().lower()):
            yield Unfit(position=position, why="its d= is not the sender's domain or above it, or not the account's")
        elif why := _find_fault(tags, counts) or _find_fault_in_time(tags, now, max_age):
            yield Unfit(position=position, why=why)
        elif chosen == MAX_SIGNATURES:
            yield Unfit(position=position, why=f"{MAX_SIGNATURES} others stand above it")
        else:
            chosen += 1
            named = tags.get(b"i", b"@" + domain).rpartition(b"@")[2]
            yield Signature(
                position=position,
                domain=domain.decode().lower(),
                selector=selector.decode().lower(),
                is_of_a_subdomain=named.lower() != domain.lower(),
            )


def _find_fault(tags: Tags, counts: dict[bytes, int]) -> str | None:
    """Return why the signature would prove nothing even if it held."""
    signed = [name.strip().lower() for name in tags.get(b"h", b"").split(b":")]
    faults = (
        (tags.get(b"v") != b"1", "it is of another version (v=)"),
        (tags.get(b"a") != b"rsa-sha256", "it is not rsa-sha256 (a=)"),
        (b"l" in tags, "it covers a part of the body only (l=)"),
        (
            any(signed.count(name) < count for name, count in counts.items()),
            "it does not sign From, Content-Type and Content-Transfer-Encoding as often as they are there (h=)",
        ),
        (
            counts[b"content-type"] > 1 or counts[b"content-transfer-encoding"] > 1,
            "Content-Type or Content-Transfer-Encoding is there twice",
        ),
    )
    return next((why for is_fault, why in faults if is_fault), None)


def _find_fault_in_time(tags: Tags, now: datetime, max_age: timedelta) -> str | None:
    made, ends = tags.get(b"t"), tags.get(b"x")
    if any(value is not None and not _SECONDS.fullmatch(value) for value in (made, ends)):
        return "its t= or x= is malformed"
    age = timedelta(0) if made is None else timedelta(seconds=now.timestamp() - int(made))
    left = timedelta(0) if ends is None else timedelta(seconds=int(ends) - now.timestamp())
    if age < -_CLOCKS_DIFFER:
        return "it is from the future (t=)"
    if age > max_age:
        return "it is older than max_signature_age_s (t=)"
    return "it has run out (x=)" if left < timedelta(0) else None


def _read_sender(value: bytes) -> str | None:
    try:
        return read_headers(b"From:" + value).from_address
    except Unreadable:
        return None


def _words(value: bytes) -> set[bytes]:
    return {word.strip().lower() for word in value.split(b":")}
