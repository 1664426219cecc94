"""What a `[[providers]]` block of kind "webhook" can say: a whole HTTP interface, described (docs/carriers.md)."""

from collections.abc import Mapping
from enum import Enum, unique
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from gateway.protocol.codes import Code
from gateway.providers.base import Fate
from gateway.providers.handling import Handling
from gateway.providers.settings import CarrierSettings
from gateway.providers.webhook_pointers import Pointer
from gateway.providers.webhook_templates import (
    Address,
    Body,
    FormBody,
    JsonBody,
    TextBody,
    check_header,
    read_address,
)

_BODIES: Mapping[str, type[Body]] = {"json": JsonBody, "form": FormBody, "text": TextBody}

_WORDS = (Handling.RETRY, Handling.HOLD, Handling.PAUSE, Handling.REFUSED, Handling.UNKNOWN)
_NO_ERRORS = frozenset({Code.C0_SENT, Code.C1000_FILE_IMPORTED})


@unique
class NumberFormat(Enum):
    """How numbers are written in calls."""

    E164 = "e164"  # +33612340001
    INTERNATIONAL = "international"  # 33612340001
    NATIONAL = "national"  # 0612340001; abroad 00 and the country's code


def _read_meaning(value: object) -> object:
    if isinstance(value, Code | Handling):
        return value
    for word in _WORDS:
        if value == word.value:
            return word
    if isinstance(value, int) and not isinstance(value, bool) and value in set(Code) - _NO_ERRORS:
        return Code(value)
    words = ", ".join(f'"{word.value}"' for word in _WORDS)
    raise ValueError(f"must be a code of the annex (docs/protocol.md §9) that is an error, or one of {words}")


def _check_url(url: str) -> str:
    read_address(url)
    return url


def _check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if (
        not (1 <= len(text) <= 4000 and text.isascii() and text.isprintable())
        or text != text.strip()
        or text in {".", ".."}
    ):
        raise ValueError("must be one line of printable ASCII characters: it may have to stand in a header")
    return secret


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        check_header(name, value)
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("names a header twice")
    return headers


Meaning = Annotated[Code | Handling, BeforeValidator(_read_meaning)]
Status = Annotated[int, Field(ge=200, le=299)]


class WebhookSettings(CarrierSettings):
    """A `[[providers]]` block of kind "webhook"."""

    kind: Literal["webhook"] = Field(
        default="webhook", description="Any HTTP interface, described here: one SMS a call."
    )
    method: Literal["POST", "PUT", "GET"] = Field(default="POST", description="Method of the call.")
    url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="Address of the call; https. Placeholders stand in its path ({to}, {tracker}, {secret}) and in "
        "values of its query: {to}, {text}, {originator}, {tracker}, {account}, {secret}, {callback_url}."
    )
    headers: Annotated[dict[str, str], AfterValidator(_check_headers)] = Field(
        default={}, description="Headers of the call, with all placeholders but {text}."
    )
    content_type: Literal["json", "form", "text"] = Field(default="json", description="What the body is.")
    body: str | None = Field(
        default=None,
        max_length=65_536,
        description="The body, with placeholders, which are escaped as it needs. A value that is {originator} alone is "
        "left out when there is none.",
    )
    secret: Annotated[SecretStr, AfterValidator(_check_secret)] | None = Field(
        default=None, description="What {secret} stands for: a key, a password."
    )
    secret_file: str | None = Field(default=None, description="File (or systemd credential) that holds it instead.")
    number_format: NumberFormat = Field(
        default=NumberFormat.E164,
        description='How {to} is written: "e164" +33612340001, "international" 33612340001, "national" 0612340001.',
    )
    success_statuses: Annotated[tuple[Status, ...], Field(min_length=1)] = Field(
        default=(200, 201, 202), description="HTTP statuses that an accepted SMS is answered with."
    )
    success_values: tuple[str, ...] = Field(
        default=(),
        description="Values at answer_error that mean success, and one must be there. Empty: nothing there, an empty "
        "text or false means it.",
    )
    answer_id: Pointer | None = Field(
        default=None,
        description="Where in the JSON answer the id of the SMS stands, as /messages/0/id or messages.0.id; when "
        "given, an answer without one proves nothing.",
    )
    answer_error: Pointer | None = Field(default=None, description="Where an error's code stands.")
    answer_error_text: Pointer | None = Field(
        default=None, description="Where an error's text stands, for the operator."
    )
    errors: dict[str, Meaning] = Field(
        default={},
        description="What is done about each error's code: a code of the annex, handled as iSendPro's own, or "
        '"refused", "retry", "hold" (the account), "pause" (the carrier), "unknown". Others are unknown.',
    )
    receipt_id: Pointer | None = Field(default=None, description="Where in a callback the id of the SMS stands.")
    receipt_tracker: Pointer | None = Field(default=None, description="Where in a callback our tracker stands.")
    receipt_number: Pointer | None = Field(
        default=None, description="Where in a callback the recipient's number stands."
    )
    receipt_status: Pointer | None = Field(default=None, description="Where in a callback it stands what became of it.")
    receipt_statuses: dict[str, Fate] = Field(
        default={},
        description='What each status means: "delivered", "undelivered", "taken", "refused" or "unknown", as all '
        "others are.",
    )
    reply_from: Pointer | None = Field(
        default=None, description="Where in a callback the number of who answered stands."
    )
    reply_text: Pointer | None = Field(default=None, description="Where in a callback the text of the answer stands.")
    reply_to: Pointer | None = Field(default=None, description="Where in a callback the number it was sent to stands.")
    reply_id: Pointer | None = Field(default=None, description="Where in a callback the id of the answer stands.")
    max_parts: int = Field(default=6, ge=1, le=255, description="The most parts of one SMS that it takes.")
    stop_mention: str = Field(
        default="",
        max_length=80,
        description="What the gateway adds to commercial texts, after a blank; empty: the carrier adds its own.",
    )

    @property
    def has_callbacks(self) -> bool:
        """True when it is described what a callback looks like."""
        return self.receipt_status is not None or self.reply_from is not None

    def address(self) -> Address:
        """Return where calls go."""
        return read_address(self.url)

    def body_template(self) -> Body | None:
        """Return what fills in the body; ValueError says what is wrong with it."""
        return None if self.body is None else _BODIES[self.content_type](self.body)

    @model_validator(mode="after")
    def _check_request(self) -> Self:
        if (self.method == "GET") != (self.body is None):
            what = "a GET has no body: remove it" if self.method == "GET" else f"a {self.method} needs a body"
            raise ValueError(what)
        try:
            self.body_template()
        except ValueError as error:
            raise ValueError(f"body: {error}") from error
        described = "".join([self.url, self.body or "", *self.headers.values()])
        if "{secret}" in described and self.secret is None and self.secret_file is None:
            raise ValueError("{secret} is used and not given: write secret_file, or secret")
        missing = [name for name in ("to", "text") if f"{{{name}}}" not in described]
        if missing:
            raise ValueError(f"{{{missing[0]}}} stands nowhere in url, headers or body: every SMS would be the same")
        if "{callback_url}" in described and self.callback_secret is None and self.callback_secret_file is None:
            raise ValueError("{callback_url} is used, and no callbacks are taken: write callback_secret_file")
        return self

    @model_validator(mode="after")
    def _check_answers(self) -> Self:
        if self.answer_error is None and (self.errors or self.success_values or self.answer_error_text):
            raise ValueError("answer_error is missing: it says where the codes of errors and success_values stand")
        if self.receipt_status is not None:
            if self.receipt_id is None and self.receipt_tracker is None:
                raise ValueError("receipt_status needs receipt_id or receipt_tracker: which SMS is it about?")
            if not self.receipt_statuses:
                raise ValueError("receipt_status needs receipt_statuses: what does each of its values mean?")
        if (self.reply_from is None) != (self.reply_text is None):
            raise ValueError("reply_from and reply_text go together")
        if self.has_callbacks and self.callback_secret is None and self.callback_secret_file is None:
            raise ValueError("callbacks are described, and none are taken: write callback_secret_file")
        return self
