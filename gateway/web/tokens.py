"""Who may ask `/api/v1/…`: `[[http.tokens]]`, each with what it may see.

A token is compared by its SHA-256, in a time that tells nothing. That is enough for what nobody can guess: it has 32
characters at least, and is no password that somebody thought of.
"""

import hmac
import secrets
from collections.abc import Sequence
from enum import Enum, unique
from hashlib import sha256
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.settings import Name, Settings

SHORTEST = 32


@unique
class Right(Enum):
    """What a token may see."""

    QUEUE = "queue"  # what waits
    STATS = "stats"  # counts
    CARRIERS = "carriers"  # how they stand
    MAILS = "mails"  # what became of a mail, and refusals
    NUMBERS = "numbers"  # whole numbers, and looking for one
    TEXTS = "texts"  # texts of SMS and answers of carriers, and looking for words in them


def _check_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"must have {SHORTEST} characters at least, and no spaces: openssl rand -hex 32 makes one")
    return value


class Token(Settings):
    """An `[[http.tokens]]` block: a program that may ask /api/v1/."""

    name: Name = Field(description="Who it is, for the log.")
    token: Annotated[SecretStr, AfterValidator(_check_token)] | None = Field(
        default=None, description="The token itself, 32 characters or more: `openssl rand -hex 32` makes one."
    )
    token_file: str | None = Field(default=None, description="File (or systemd credential) that holds it instead.")
    token_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Or its SHA-256 in hex, so that it stands nowhere: `printf %s TOKEN | sha256sum`."
    )
    rights: tuple[Right, ...] = Field(
        default=(Right.QUEUE, Right.STATS, Right.CARRIERS),
        description='What it may see: "queue", "stats", "carriers", "mails"; and, in all of these, whole "numbers" and '
        '"texts", which are masked or left out otherwise.',
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.token is None and self.token_file is None) == (self.token_sha256 is None):
            raise ValueError("write one of token, token_file and token_sha256")
        return self

    @property
    def digest(self) -> bytes:
        """What it is compared by."""
        if self.token_sha256 is not None:
            return bytes.fromhex(self.token_sha256)
        return digest_token("" if self.token is None else self.token.get_secret_value())


def digest_token(token: str) -> bytes:
    """Return the SHA-256 of a token as it is sent."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


_NOBODY = secrets.token_bytes(32)
"""No token has this digest."""


def find_token(tokens: Sequence[Token], given: str) -> Token | None:
    """Return the token that was given; the work is the same whichever it is, and when it is none."""
    digest = digest_token(given)
    found = None
    for token in tokens:
        if hmac.compare_digest(digest, token.digest):
            found = token
    hmac.compare_digest(digest, _NOBODY)
    return found
