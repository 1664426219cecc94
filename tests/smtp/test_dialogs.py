"""Every file in dialogs/ played against the real listener.

`S: ` is a line the server must send (`...` at its end: the beginning suffices; `<closed>`: nothing more comes), `C: ` a
line the client sends, `name: value` a setting, `mails: N` how many mails there are afterwards.
"""

import re
from pathlib import Path

import pytest

from tests.smtp.house import Client, RememberingHandler, open_house, smtp_settings

DIALOGS = sorted((Path(__file__).parent / "dialogs").glob("*.txt"))
ENHANCED = re.compile(r"(\d)\d\d (\d)\.\d{1,3}\.\d{1,3} \S")
WITHOUT_ENHANCED = ("220 ", "250-", "250 gw.example.org", "250 ENHANCEDSTATUSCODES", "354 ")  # RFC 2034 §4


def read_dialog(path: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    settings: dict[str, str] = {}
    turns: list[tuple[str, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition(":")
        if key in {"C", "S"}:
            turns.append((key, value.removeprefix(" ")))
        else:
            settings[key] = value.strip()
    return settings, turns


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog_goes_as_written(path: Path) -> None:
    changes, turns = read_dialog(path)
    mails = int(changes.pop("mails"))
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(**changes)) as house, await house.connect() as client:
        for who, text in turns:
            if who == "C":
                await client.send(text.encode("ascii") + b"\r\n")
            else:
                await expect(client, text)

    assert mails == len(handler.stored)


async def expect(client: Client, text: str) -> None:
    line = await client.line()
    if text == "<closed>":
        assert not line
        return
    if text.endswith("..."):
        assert line.startswith(text.removesuffix("...")), line
    else:
        assert line == text
    if not line.startswith(WITHOUT_ENHANCED):
        found = ENHANCED.match(line)
        assert found is not None, line
        assert found[1] == found[2]


def test_there_are_dialogs() -> None:
    assert len(DIALOGS) >= 15
