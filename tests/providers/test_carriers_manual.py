"""docs/carriers.md says of iSendPro's codes what the table in the code does."""

import re
from pathlib import Path

from gateway.providers.isendpro_answers import MEANINGS, Meaning

ROOT = Path(__file__).resolve().parents[2]
WORDS = {
    Meaning.ACCEPTED: "accepted",
    Meaning.NEVER: "number",
    Meaning.ACCOUNT: "hold",
    Meaning.LATER: "retry",
    Meaning.PROVIDER: "pause",
    Meaning.UNKNOWN: "unknown",
}


def test_manual_lists_every_code_of_isendpro_as_the_table_has_it() -> None:
    text = (ROOT / "docs" / "carriers.md").read_text("utf-8")
    section = text.partition("## iSendPro")[2].partition("\n## ")[0]
    listed: dict[int, str] = {}
    for codes, handling in re.findall(r"^\| ([0-9][0-9, to]*) \| ([a-z]+)", section, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", codes):
            listed |= dict.fromkeys(range(int(first), int(last or first) + 1), handling)

    assert listed == {code: WORDS[meaning] for code, meaning in MEANINGS.items()}
