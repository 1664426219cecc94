"""XML without names, as SMS Partner answers it: `<result>` with an `<entry>` per value, lists as entries in an entry.

What a value means is its position alone. The form is so small that it is read here, in one pass, without an XML parser:
there are no documents, entities, attributes or other elements that could do harm, and whoever writes one is not read.
"""

import re

Entry = str | tuple["Entry", ...]
"""A value as text, its blanks removed, or a list of them."""

MOST_BYTES = 256 * 1024
_MOST_ENTRIES = 5000
_MOST_DEPTH = 6

_DECLARATION = re.compile(r"\s*+(?:<\?xml[ \t\r\n][^<>?]{0,200}+\?>)?\s*+")
_TOKEN = re.compile(
    r"(?P<open><entry[ \t\r\n]*+>)|(?P<close></entry[ \t\r\n]*+>)|(?P<empty><entry[ \t\r\n]*+/>)"
    r"|<!\[CDATA\[(?P<cdata>[^\]]*+(?:\](?!\]>)[^\]]*+)*)\]\]>"
    r"|&(?P<reference>amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});"
    r"|(?P<text>[^<&]++)"
)
_ROOT, _ROOT_END = re.compile(r"<result[ \t\r\n]*+>"), re.compile(r"</result[ \t\r\n]*+>\s*+")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def read_entries(body: bytes) -> tuple[Entry, ...] | None:
    """Return the entries of `<result>`, in order; None if the bytes are anything else, or too much of it."""
    if len(body) > MOST_BYTES:
        return None
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    head = _DECLARATION.match(text)
    root = _ROOT.match(text, head.end() if head else 0)
    return None if root is None else _read_inner(text, root.end())


def _read_inner(text: str, position: int) -> tuple[Entry, ...] | None:
    """Return what stands between `position` and the end of the root, which must be the end of all."""
    open_entries: list[tuple[list[Entry], list[str]]] = [([], [])]  # for each: the entries in it, and its text
    count = 0
    while (token := _TOKEN.match(text, position)) is not None:
        position = token.end()
        inner, pieces = open_entries[-1]
        match token.lastgroup:
            case "open" | "empty":
                count += 1
                if count > _MOST_ENTRIES or len(open_entries) > _MOST_DEPTH:
                    return None
                if token.lastgroup == "empty":
                    inner.append("")
                else:
                    open_entries.append(([], []))
            case "close":
                if len(open_entries) == 1:
                    return None
                closed = _close(*open_entries.pop())
                if closed is None:
                    return None
                open_entries[-1][0].append(closed)
            case "reference":
                piece = _resolve(token["reference"])
                if piece is None:
                    return None
                pieces.append(piece)
            case kind:
                pieces.append(token[str(kind)])
    if len(open_entries) > 1 or not _ROOT_END.fullmatch(text, position):
        return None
    inner, pieces = open_entries[0]
    return None if "".join(pieces).strip() else tuple(inner)


def _close(inner: list[Entry], pieces: list[str]) -> Entry | None:
    """Return an entry that ends: a value, or a list; None for both at once."""
    value = "".join(pieces).strip()
    if not inner:
        return value
    return None if value else tuple(inner)


def _resolve(reference: str) -> str | None:
    """Return the character a reference stands for; None for one that no XML may hold."""
    if not reference.startswith("#"):
        return _NAMED[reference]
    number = int(f"0{reference[1:]}", base=0) if reference[1] == "x" else int(reference[1:])
    is_character = number in {9, 10, 13} or 0x20 <= number < 0xD800 or 0xE000 <= number < 0x110000
    return chr(number) if is_character else None
