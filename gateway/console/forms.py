"""What a browser posts, read within bounds."""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

MOST_BODY_BYTES = 256 * 1024
MOST_FIELDS = 600
DEADLINE_S = 15.0

_TYPE = "application/x-www-form-urlencoded"


class FormRefused(Exception):
    """It is none that a page of ours posts, or too much; `status` says what is answered."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a form that is answered {status}")
        self.status = status


class Form:
    """The fields of a form; what is not there is empty."""

    def __init__(self, fields: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
        self._fields = fields

    def one(self, name: str) -> str:
        """Return the field's value, without blanks around it; the first of several."""
        return self.text(name).strip()

    def text(self, name: str) -> str:
        """Return the field's value as it is, but with one kind of line end."""
        return next(iter(self._fields.get(name, ())), "").replace("\r\n", "\n").replace("\r", "\n")

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of the field."""
        return tuple(self._fields.get(name, ()))


NO_FORM = Form()


async def read_form(request: Request) -> Form:
    """Return what was posted. Raises FormRefused."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise FormRefused(415)
    body = bytearray()
    try:
        async with asyncio.timeout(DEADLINE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY_BYTES:
                    raise FormRefused(413)
    except TimeoutError as error:
        raise FormRefused(408) from error
    except ClientDisconnect as error:
        raise FormRefused(400) from error
    return read_fields(bytes(body))


def read_fields(raw: bytes) -> Form:
    """Return the fields of a body, or of an address. Raises FormRefused."""
    try:
        text = raw.decode("ascii")
        return Form(parse_qs(text, keep_blank_values=True, errors="replace", max_num_fields=MOST_FIELDS))
    except ValueError as error:  # UnicodeDecodeError is one
        raise FormRefused(400) from error
