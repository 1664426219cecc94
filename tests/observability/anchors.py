"""The anchors of a document's headings, as forges make them."""

import re
from pathlib import Path


def anchors_of(file: Path) -> set[str]:
    """Return every anchor that a link may lead to."""
    text = re.sub(r"^```.*?^```", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {anchor_of(heading) for heading in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)}


def anchor_of(heading: str) -> str:
    """Return the anchor of one heading."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")
