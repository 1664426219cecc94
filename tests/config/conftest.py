"""A folder with a configuration that is good, and a way to make it bad."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load

KEYID = "0123456789abcdef0123456789abcdef"
OTHER_KEYID = "fedcba9876543210fedcba9876543210"

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21l$" + "A" * 43

GOOD = f"""\
[smtp]
hostname = "gw.example.org"
recipients = ["sendsms@gw.example.org"]

[reports]
sender = "sendsms@gw.example.org"

[[accounts]]
name = "masociete"
keyid = "{KEYID}"
domains = ["masociete.com"]
providers = ["carrier"]

[[providers]]
name = "carrier"
kind = "sandbox"
"""

Load = Callable[..., Config]
Find = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Return a function that loads a configuration from its text, in a folder of its own."""

    def load_it(
        text: str = GOOD, overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
    ) -> Config:
        file = tmp_path / "gateway.toml"
        file.write_text(text, "utf-8")
        file.chmod(0o600)
        return load(file, overrides or {}, environ=environ or {})

    return load_it


@pytest.fixture
def find_problems(load_text: Load) -> Find:
    """Return a function that gives the lines of the error that a text leads to."""

    def find(
        text: str = GOOD, overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
    ) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, overrides, environ)
        return str(caught.value).splitlines()

    return find
