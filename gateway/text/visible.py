"""Text of strangers, as it may be shown: what would drive a terminal or turn a line around does nothing."""


def visible(text: str, *, spared: str = "") -> str:
    r"""Return the text with everything that does not print as an escape, but for the characters to be spared.

    That is what moves a cursor, changes colours, ends a line (also U+0085 and U+2028), turns the direction of writing
    or cannot be encoded. `\x1b[2J` is then eight characters to be read, and nothing that a terminal obeys.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in spared else _escape(one) for one in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
