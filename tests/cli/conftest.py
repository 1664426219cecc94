"""A good configuration whose carrier and mailbox are not there."""

from pathlib import Path

import pytest

KEYID = "0123456789abcdef0123456789abcdef"
NO_MAILBOX = "127.0.0.1:9"
NO_CARRIER = "http://127.0.0.1:9/cgi-bin"

CONFIG = f"""\
[smtp]
hostname = "gw.example.org"
listen = ["127.0.0.1:0"]
recipients = ["sendsms@gw.example.org"]

[reports]
smarthost = "{NO_MAILBOX}"
sender = "sendsms@gw.example.org"

[[accounts]]
name = "masociete"
keyid = "{KEYID}"
domains = ["masociete.com"]
providers = ["carrier"]

[[providers]]
name = "carrier"
kind = "sandbox"
base_url = "{NO_CARRIER}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG, "utf-8")
    file.chmod(0o600)
    return file
