"""The `[store]` block."""

from pydantic import Field, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gateway.settings import Seconds, Settings


class StoreSettings(Settings):
    """Where the rows live and how long to wait for them."""

    url: str = Field(
        default="sqlite:///gateway.db",
        description='"sqlite:///relative.db", "sqlite:////absolute.db" or "postgresql://user@host/name". '
        "No password here: PostgreSQL takes it from PGPASSFILE, or needs none (peer authentication, certificate).",
    )
    busy_timeout_s: Seconds = Field(
        default=5, description="How long one statement waits for a lock that somebody else holds."
    )
    deadline_s: Seconds = Field(
        default=15, description="How long any one step may take in all; then the client is told to come back."
    )
    connections: int = Field(
        default=4, ge=1, le=100, description="SQLite: readers beside the one writer. PostgreSQL: all connections."
    )
    journal_limit_bytes: int = Field(
        default=67_108_864, ge=0, description="SQLite: what the write-ahead log is cut back to after a checkpoint."
    )

    reserve_bytes: int = Field(
        default=33_554_432,
        ge=0,
        le=1_073_741_824,
        description="SQLite: room set aside on its disk in a file beside it, given up when the disk is full, so that "
        "what carriers have answered by then can be stored. 0: none.",
    )
    most_waiting_sms: int = Field(
        default=1_000_000,
        ge=0,
        description="While so many SMS wait to be sent no mail is taken (452). 0: any number may wait.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        try:
            url = make_url(value)
        except (ArgumentError, ValueError) as error:
            raise ValueError("not a database address") from error
        if url.drivername not in {"sqlite", "postgresql"}:
            raise ValueError('must begin with "sqlite:///" or "postgresql://"')
        if not url.database or url.database == ":memory:":
            raise ValueError("names no database")
        if url.password is not None or "password" in url.query:
            raise ValueError(
                "holds a password, which would be shown with it: put it into the file that PGPASSFILE names"
            )
        return value
