"""`[reading]`: every bound of docs/protocol.md §2.8 is there, with the default that stands there."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.protocol.reading import Limits
from gateway.reader.settings import ReadingSettings

BOUNDS = [field.name for field in fields(Limits) if field.name != "mail_bytes"]


def test_the_defaults_are_those_of_the_protocol() -> None:
    assert ReadingSettings().limits(mail_bytes=Limits().mail_bytes) == Limits()


@pytest.mark.parametrize("name", BOUNDS)
def test_every_bound_is_a_setting_of_its_own(name: str) -> None:
    value = getattr(Limits(), name) + 1
    settings = ReadingSettings.model_validate({f"max_{name}": value})

    assert settings.limits(mail_bytes=1_024) == replace(Limits(mail_bytes=1_024), **{name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"max_depth": 21},
        {"max_elements": 1_000},  # 500 numbers and 500 texts must fit
        {"max_csv_lines": 499},
        {"workers": 0},
        {"deadline_s": 0},
        {"memory_bytes": 1_024},
        {"max_text_chars": 20_000, "max_total_text_chars": 10_000},
    ],
)
def test_what_would_make_ordinary_mails_fail_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ReadingSettings.model_validate(values)


def test_a_folder_is_a_path() -> None:
    assert ReadingSettings.model_validate({"quarantine": "/var/q"}).quarantine == Path("/var/q")
