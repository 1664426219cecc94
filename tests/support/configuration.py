"""The small configuration that most tests run on: one account, one carrier, everything on loopback."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tomlkit

from tests.support.accounts import KEYID

NOBODY = "127.0.0.1:9"
"""Where nobody listens."""

RECIPIENT = "sendsms@gw.example.org"
SENDER = "alerte@masociete.com"

Section = Mapping[str, object]
_NOTHING: Section = {}


def render_config(
    *,
    smarthost: tuple[str, int] | str = NOBODY,
    carrier: str = f"http://{NOBODY}",
    account: Section = _NOTHING,
    provider: Section = _NOTHING,
    more_accounts: Sequence[Section] = (),
    more_providers: Sequence[Section] = (),
    **sections: Section,
) -> str:
    """Return a configuration as TOML.

    `carrier` is the address without `/cgi-bin`; `account` and `provider` change the first of each, the `more_...` are
    like it but for what they say; None leaves a key out. `sections` (`smtp={"mode": "strict"}`) add to, or replace,
    what stands below.
    """
    host = smarthost if isinstance(smarthost, str) else "{}:{}".format(*smarthost)
    first = {"name": "masociete", "keyid": KEYID, "domains": ["masociete.com"], "providers": ["carrier"], **account}
    way = {"name": "carrier", "kind": "sandbox", "base_url": f"{carrier}/cgi-bin", **provider}
    content: dict[str, Section] = {
        "smtp": {"hostname": "gw.example.org", "listen": ["127.0.0.1:0"], "recipients": [RECIPIENT]},
        "store": {"url": "sqlite:///gateway.db"},
        "reports": {"smarthost": host, "sender": RECIPIENT},
    }
    for name, section in sections.items():
        content[name] = {**content.get(name, {}), **section}
    lists = {
        "accounts": [first, *({**first, **one} for one in more_accounts)],
        "providers": [way, *({**way, **one} for one in more_providers)],
    }
    said = {name: [_said(one) for one in listed] for name, listed in lists.items()}
    return tomlkit.dumps({**content, **said})


def _said(section: Section) -> Section:
    return {key: value for key, value in section.items() if value is not None}


def write_config(path: Path, **wanted: object) -> Path:
    """The file holds what `render_config` returns, for its owner alone; returns the file."""
    path.write_text(render_config(**wanted), "utf-8")  # type: ignore[arg-type]
    path.chmod(0o600)
    return path
