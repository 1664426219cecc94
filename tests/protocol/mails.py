"""Mails for the tests of this folder: the smallest there is, with whatever a test needs changed."""

from gateway.protocol.envoi import Envoi, read_envoi
from gateway.protocol.mime import Body, read_body
from gateway.protocol.reading import Limits, Mode

LIMITS = Limits()
ENVOI = "<envoi><keyid>k</keyid><num>0601020304</num><sms>Salut</sms><emailId>1</emailId></envoi>"
FROM = "From: alerte@masociete.com"


def make_mail(body: str | bytes = ENVOI, *headers: str, sender: str = FROM) -> bytes:
    """Return a mail with CRLF lines; `body` as it stands when it is bytes."""
    content = body if isinstance(body, bytes) else body.encode().replace(b"\n", b"\r\n")
    return "\r\n".join((sender, *headers, "", "")).encode("latin-1") + content


def make_multipart(*parts: bytes, kind: str = "mixed", boundary: str = "b0", close: bool = True) -> bytes:
    """Return a multipart mail of parts that bring their own headers."""
    return make_mail(
        join_parts(*parts, boundary=boundary, close=close), f'Content-Type: multipart/{kind}; boundary="{boundary}"'
    )


def join_parts(*parts: bytes, boundary: str = "b0", close: bool = True) -> bytes:
    """Return the body of a multipart."""
    mark = b"--" + boundary.encode()
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + (mark + b"--\r\n" if close else b"")


def make_part(content: str | bytes, *headers: str) -> bytes:
    """Return a part with its headers."""
    payload = content if isinstance(content, bytes) else content.encode()
    return "\r\n".join((*headers, "", "")).encode("latin-1") + payload


def make_file(name: str, content: str | bytes, kind: str = "text/csv; charset=utf-8") -> bytes:
    """Return an attached file."""
    return make_part(content, f"Content-Type: {kind}", f'Content-Disposition: attachment; filename="{name}"')


TEXT_PART = make_part(ENVOI, "Content-Type: text/plain; charset=utf-8")


def body_of(raw: bytes, mode: Mode = Mode.LENIENT, limits: Limits = LIMITS) -> Body:
    """Read the body of a mail."""
    return read_body(raw, limits, mode)


def envoi_of(
    text: str,
    mode: Mode = Mode.LENIENT,
    *,
    mobiles: str | None = None,
    message: str | None = None,
    limits: Limits = LIMITS,
) -> Envoi:
    """Read the envoi of a text, beside the files that are given."""
    files = {"mobiles.csv": mobiles, "message.csv": message}
    body = Body(text=text, files={name: content for name, content in files.items() if content is not None})
    return read_envoi(body, mode=mode, limits=limits)
