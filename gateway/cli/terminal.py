"""Text of others, as it may be shown on the operator's terminal."""


def visible(text: str) -> str:
    """Return the text without what moves the cursor, changes colours or turns the direction of writing."""
    return "".join(one if one.isprintable() else "?" for one in text)
