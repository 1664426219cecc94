"""Mails with what stands in the column "Shows": signatures, good ones and tricks, and the words of relays."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dkim

from tests.identity.conftest import Key

Keys = Mapping[str, Key]
"""By size: "2048"."""

SIGNED = (b"from", b"to", b"subject", b"content-type", b"content-transfer-encoding")
DAY_S = 86_400

_DKIM = re.compile(r"DKIM (?P<selector>\S+) (?P<domain>\S+)(?: \((?P<trick>[^)]*)\))?(?: ×(?P<times>\d+))?")
_LEFT_OUT = {
    "From: alone": SIGNED[1:],
    "no Content-Type": (b"content-type",),
    "no transfer encoding": (b"content-transfer-encoding",),
}
_SIZES = {"short": "512", "fair": "1024"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail, and who MAIL says that it is from."""

    content: bytes
    envelope_from: str


def write_letter(sender: str, shows: tuple[str, ...], keyid: str | None, keys: Keys) -> Letter:
    """Return the mail. What is shown first stands on top; what does not concern the mail is for others."""
    address = f"alerte@{sender}"
    content = _write_mail(address, shows, keyid)
    envelope = address
    for one in reversed(shows):
        if found := _DKIM.fullmatch(one):
            for _ in range(int(found["times"] or 1)):
                content = _sign(content, found["selector"], found["domain"], found["trick"] or "", keys)
        elif one.startswith(("Authentication-Results:", "Received:")):
            content = one.replace("\\n", "\r\n").replace("\\t", "\t").encode() + b"\r\n" + content
        elif one.startswith("envelope "):
            envelope = one.removeprefix("envelope ")
        elif one == "body changed":
            content = content.replace(b"Salut", b"Adieu")
        elif one == "text behind":
            content += b"<envoi>once more</envoi>\r\n"
        elif one == "Content-Type on top":
            content = b'Content-Type: multipart/mixed; boundary="x"\r\n' + content
        elif one == "bare CR":
            content = content.replace(b"Subject: ", b"Subject: a\rFrom: b@c.example ")
    return Letter(content=content, envelope_from=envelope)


def _write_mail(address: str, shows: tuple[str, ...], keyid: str | None) -> bytes:
    senders = [] if "no From:" in shows else [f"From: Alerte <{address}>"]
    if "two From:" in shows:
        senders.append("From: chef@elsewhere.example")
    key = "" if keyid is None else f"<keyid>{keyid}</keyid>"
    domain = address.partition("@")[2]
    lines = [
        *senders,
        "To: sendsms@gw.example.org",
        "Subject: SMS",
        *(one for one in shows if one.startswith("Auto-Submitted:")),
        "Message-ID: <1@client.example>",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"<envoi>{key}<emailId>1</emailId><num>0601020304</num><sms>Salut</sms>",
        f"<emailNot>not@{domain}</emailNot></envoi>",
        "",
    ]
    return "\r\n".join(lines).encode()


def _sign(content: bytes, selector: str, domain: str, trick: str, keys: Keys) -> bytes:
    """Return the mail with one more signature on top."""
    if trick in ("ed25519", "forged"):
        method = "ed25519" if trick == "ed25519" else "rsa"
        fields = f"v=1; a={method}-sha256; d={domain}; s={selector}; h=from:content-type:content-transfer-encoding"
        return f"DKIM-Signature: {fields}; bh=AAAA; b=AAAA\r\n".encode() + content
    private = keys[_SIZES.get(selector, "2048")].private
    if trick in ("8 days old", "expired"):
        return _sign_at_another_time(content, selector, domain, private, trick)
    signature = dkim.sign(
        content,
        selector.encode(),
        domain.encode(),
        private,
        identity=f"a@mail.{domain}".encode() if trick == "below" else None,
        canonicalize=(b"relaxed", b"relaxed"),
        signature_algorithm=b"rsa-sha1" if trick == "sha1" else b"rsa-sha256",
        include_headers=[name for name in SIGNED if name not in _LEFT_OUT.get(trick, ())],
        length=trick == "l=",
    )
    return bytes(signature) + content


def _sign_at_another_time(content: bytes, selector: str, domain: str, private: bytes, trick: str) -> bytes:
    """Return the mail signed with times that dkimpy does not offer: its own `t=` is replaced before it hashes."""
    now = datetime.now(UTC).timestamp()  # noqa: TID251 - dkimpy looks at the machine's clock, too
    tag, at = (b"t", now - 8 * DAY_S) if trick == "8 days old" else (b"x", now - DAY_S)

    class Shifted(dkim.DKIM):  # type: ignore[misc] # dkimpy has no types
        def gen_header(self, fields: list[tuple[bytes, bytes]], *rest: object) -> bytes:
            kept = [field for field in fields if field[0] != b"t"]
            kept.insert(-2, (tag, b"%d" % at))
            return bytes(super().gen_header(kept, *rest))

    signature = Shifted(content).sign(
        selector.encode(),
        domain.encode(),
        private,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=list(SIGNED),
    )
    return bytes(signature) + content
