"""The `[reading]` block: the bounds on what is read, and the processes that read it."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from gateway.protocol.reading import Limits
from gateway.settings import Settings

_BYTES = 104_857_600


class ReadingSettings(Settings):
    """How mails are read. Beyond a bound a mail is refused with 554, or a CSV file with code 102 (§2.8)."""

    max_header_block_bytes: int = Field(
        default=65_536, ge=4_096, le=1_048_576, description="Header block of a mail or of a part, in octets."
    )
    max_header_lines: int = Field(default=1_000, ge=50, le=20_000, description="Lines of such a header block.")
    max_header_bytes: int = Field(
        default=8_192, ge=998, le=1_048_576, description="One header with its continuation lines, in octets."
    )
    max_parts: int = Field(default=20, ge=3, le=1_000, description="Parts of a mail, multiparts included.")
    max_depth: int = Field(default=5, ge=1, le=20, description="Multiparts within one another.")
    max_body_bytes: int = Field(
        default=1_048_576, ge=1_024, le=_BYTES, description="Text part, in octets, its transfer encoding undone."
    )
    max_elements: int = Field(default=2_000, ge=1_010, le=20_000, description="Elements of an envoi.")
    max_value_chars: int = Field(
        default=500,
        ge=64,
        le=10_000,
        description="A number, a value of mobiles.csv, any element but a text; characters.",
    )
    max_text_chars: int = Field(default=10_000, ge=1_377, le=100_000, description="Text of one SMS, in characters.")
    max_total_text_chars: int = Field(
        default=8_388_608, ge=10_000, le=_BYTES, description="Texts that one template grows into, in characters."
    )
    max_csv_bytes: int = Field(default=4_194_304, ge=1_024, le=_BYTES, description="A CSV file, in octets.")
    max_csv_lines: int = Field(
        default=10_000, ge=500, le=100_000, description="Lines of mobiles.csv that are read; an account takes fewer."
    )
    max_csv_line_chars: int = Field(
        default=4_096, ge=256, le=65_536, description="One line of a CSV file, in characters."
    )
    max_csv_values: int = Field(default=20, ge=1, le=1_000, description="Values of one line of mobiles.csv.")

    workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Processes that read mails. Those above 64 KiB go to the first alone, the others stay free.",
    )
    deadline_s: float = Field(
        default=5,
        gt=0,
        le=60,
        description="A mail that takes longer to read is answered 451, and its process is killed and replaced.",
    )
    memory_bytes: int = Field(
        default=536_870_912,
        ge=67_108_864,
        le=17_179_869_184,
        description="Memory that one process may take while it reads, in octets, beyond what it starts with.",
    )
    max_waiting: int = Field(
        default=500, ge=1, le=100_000, description="Mails that wait for a process; more are answered 451."
    )
    patience_s: float = Field(
        default=10, gt=0, le=60, description="A mail that has waited so long for a process is answered 451."
    )
    quarantine: Path | None = Field(
        default=None,
        description="Folder for copies of mails that killed or outlasted a process. They hold texts and keys; only the "
        'gateway\'s user can read them. Absent: "quarantine" beside the SQLite store; with PostgreSQL none are kept.',
    )
    quarantine_files: int = Field(
        default=100, ge=0, le=10_000, description="Copies that are kept; the oldest go first. 0: none are kept."
    )
    quarantine_bytes: int = Field(
        default=104_857_600, ge=0, le=107_374_182_400, description="Octets of all copies; the oldest go first."
    )

    @model_validator(mode="after")
    def _check_texts(self) -> Self:
        if self.max_total_text_chars < self.max_text_chars:
            raise ValueError("max_total_text_chars must be at least max_text_chars, or no such text ever fits")
        return self

    def limits(self, *, mail_bytes: int) -> Limits:
        """Return the bounds (docs/protocol.md §2.8); that of a whole mail is a setting of `[smtp]`."""
        return Limits(
            mail_bytes=mail_bytes,
            header_block_bytes=self.max_header_block_bytes,
            header_lines=self.max_header_lines,
            header_bytes=self.max_header_bytes,
            parts=self.max_parts,
            depth=self.max_depth,
            body_bytes=self.max_body_bytes,
            elements=self.max_elements,
            value_chars=self.max_value_chars,
            text_chars=self.max_text_chars,
            total_text_chars=self.max_total_text_chars,
            csv_bytes=self.max_csv_bytes,
            csv_lines=self.max_csv_lines,
            csv_line_chars=self.max_csv_line_chars,
            csv_values=self.max_csv_values,
        )
