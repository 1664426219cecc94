"""Reading a mail, headers and envoi, in one go: what every reader does, wherever it runs."""

from dataclasses import dataclass

from gateway.protocol.envoi import Envoi, read_envoi
from gateway.protocol.header_block import HeaderBlock, read_header_block
from gateway.protocol.mime import Body, Headers, TextPart, body_digest, describe_headers, read_body
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerated


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyForm:
    """How the text and the files were found and read. The texts themselves are in the envoi."""

    charset: str  # what the text part was read with
    text_part: TextPart
    files: tuple[str, ...]  # names, in order
    notes: tuple[Tolerated, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A mail that has been read."""

    body: BodyForm
    envoi: Envoi
    mode: Mode
    digest: bytes  # of what follows the headers

    @property
    def tolerated(self) -> tuple[Tolerated, ...]:
        """Everything that was put up with."""
        return self.body.notes + self.envoi.notes


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRead:
    """The headers, and the reading; or why there is none: raised by whoever turns out to need it, and by nobody else.

    A mail from the wrong sender is refused for that, however broken its body is.
    """

    headers: Headers
    reading: Reading | Unreadable


def read_mail(content: bytes, mode: Mode, limits: Limits) -> MailRead | Unreadable:
    """Return what the mail says; `Unreadable` when not even its headers can be read (docs/protocol.md §1.4)."""
    try:
        block = read_header_block(content, limits)
        headers = describe_headers(block)
    except Unreadable as error:
        return error.with_traceback(None)
    try:
        return MailRead(headers=headers, reading=_read_envoi(content, block, mode, limits))
    except Unreadable as error:
        return MailRead(headers=headers, reading=error.with_traceback(None))


def _read_envoi(content: bytes, block: HeaderBlock, mode: Mode, limits: Limits) -> Reading:
    body = read_body(content, limits, mode, block=block)
    envoi = read_envoi(body, mode=mode, limits=limits)
    return Reading(body=_form_of(body), envoi=envoi, mode=mode, digest=body_digest(content, block=block))


def _form_of(body: Body) -> BodyForm:
    return BodyForm(charset=body.charset, text_part=body.text_part, files=tuple(sorted(body.files)), notes=body.notes)
