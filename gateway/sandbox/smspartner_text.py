"""What SMS Partner makes of a text before it goes out."""

from gateway.text.gsm import count_parts

_TO_ONE = {
    **dict.fromkeys("äáâã", "a"),
    **dict.fromkeys("ÄÀÁÂÃ", "A"),
    **dict.fromkeys("ëê", "e"),
    **dict.fromkeys("ÈÊË", "E"),
    **dict.fromkeys("îï", "i"),
    **dict.fromkeys("ÎÏ", "I"),
    **dict.fromkeys("ôöó", "o"),
    **dict.fromkeys("ÖÔ", "O"),
    **dict.fromkeys("ûüµ", "u"),
    **dict.fromkeys("ÜÙÚÛ", "U"),
    **dict.fromkeys("[{", "("),
    **dict.fromkeys("]}", ")"),
    **dict.fromkeys("’`‘", "'"),
    **dict.fromkeys("“«»", '"'),
    **dict.fromkeys("^~|\\¨§", ""),
}
_REPLACED = str.maketrans({**_TO_ONE, "ą": "à", "œ": "oe", "ÿ": "y", "Ý": "Y", "ç": "Ç", "ñ": "n", "Ñ": "N", "°": "."})
_LINE_BREAK, _EURO = ":br:", ":euro:"


def to_phone(message: str, *, is_unicode: bool) -> str:
    """Return the text as the telephone shows it: tags and characters replaced."""
    text = message.replace(_LINE_BREAK, "\n").replace(_EURO, "€").replace("\r\n", "\n")
    return text if is_unicode else text.translate(_REPLACED)


def count_sms(message: str, *, is_unicode: bool) -> int:
    """Return how many SMS it takes; a line break counts as two characters."""
    return count_parts(to_phone(message, is_unicode=is_unicode).replace("\n", "\r\n"), is_unicode).parts
