"""From the text of a mail to the elements of its `<envoi>` (docs/protocol.md §2.5 to §2.10, §3).

What could do harm in a parser is refused by linear scans before any parser sees it. Then lxml reads the text strictly.
Where it cannot, and the mode allows, `&` and `<` that start nothing known are taken for what they are and lxml reads it
again: a text is never changed in silence, which is what a recovering parser does.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lxml import etree

from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerance, Tolerated, tolerate

KNOWN: Final = (
    "keyid", "emailId", "num", "sms", "emetteur", "tracker", "smslong", "nostop", "ucs2", "date_envoi", "emailAck",
    "emailNot",
)  # fmt: skip
"""The elements of an envoi as the source writes them, without `num1`... and `sms1`...."""

_ROOT = "envoi"
_CANONICAL = {name.lower(): name for name in KNOWN}
_NUMBERED = re.compile(r"(num|sms)([0-9]{1,30})")
_HIGHEST_POSITION = 999_999  # any above means the same: too many

_CDATA_START, _CDATA_END = "<![CDATA[", "]]>"
# Possessive quantifiers (`*+`, `++`) never look back: each pattern costs one pass.
_DECLARATION = re.compile(r"<\?xml[ \t\n][^<>?]{0,200}+\?>")
_FORBIDDEN = re.compile(r"<[!?]")
_ATTRIBUTE = re.compile(r"<[A-Za-z_][^\s<>/=]*+\s++[^\s<>=]++\s*+=\s*+[\"']")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # XML 1.0 §2.2
_START_TAG = re.compile(r"<[A-Za-z_]")
_ROOT_TAG = re.compile(r"<(/?)(envoi)[ \t\n]*+>", re.IGNORECASE | re.ASCII)
_TOKEN = re.compile(
    r"<(?P<slash>/?)(?P<name>[A-Za-z_][A-Za-z0-9_]{0,31})[ \t\n]*+(?P<empty>/?)>"
    r"|&(?P<reference>(?:amp|lt|gt|quot|apos|#[0-9]{1,8}|#x[0-9A-Fa-f]{1,6});)?"
    r"|<|\]\]>"
)
_PRINTABLE_NAME = re.compile(r"[A-Za-z_-]{1,24}[0-9]{0,3}")
_MOST_NAMES_IN_NOTE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """The elements of one envoi. Blanks around a value are gone; a line break within it is one blank."""

    values: Mapping[str, str]  # by the names of KNOWN; "" for an empty element
    numbers: Mapping[int, str]  # numX; an empty one is absent
    texts: Mapping[int, str]  # smsX; an empty one is absent
    notes: tuple[Tolerated, ...]


def read_elements(text: str, *, mode: Mode, limits: Limits) -> Elements:
    """Return the elements of the one `<envoi>` in `text`. Raises `Unreadable`, with line and column where there is one.

    `text` has LF line ends and is bounded by the caller (`Limits.body_bytes`).
    """
    notes: list[Tolerated] = []
    excerpt = find_excerpt(text, limits)
    if excerpt.has_text_around:
        tolerate(Tolerance.TEXT_AROUND, mode, notes)
    root, *found = _parse_root(excerpt, mode, notes)
    if any((piece or "").strip() for piece in (root.text, *(child.tail for child in found))):
        tolerate(Tolerance.TEXT_BETWEEN, mode, notes)
    children = [(_canonical(str(child.tag)), child) for child in found]
    is_other_case = any(name is not None and name != child.tag for name, child in children)
    if is_other_case or excerpt.opening[2] != _ROOT or excerpt.closing[2] != _ROOT:
        tolerate(Tolerance.NAMES_IN_OTHER_CASE, mode, notes)
    return _collect(children, mode, limits, notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """The one `<envoi>` of a text, and where it is. No parser has seen it; one may."""

    text: str  # its CDATA sections escaped, its XML declaration blanked: not a line more or less
    opening: re.Match[str]
    closing: re.Match[str]

    @property
    def has_text_around(self) -> bool:
        """True when anything but blanks stands before or after it."""
        return bool(self.text[: self.opening.start()].strip() or self.text[self.closing.end() :].strip())

    @property
    def inner(self) -> str:
        """What stands between the two tags."""
        return self.text[self.opening.end() : self.closing.start()]

    @property
    def first_line(self) -> int:
        """The line of the mail's text, counted from 1, where `inner` begins."""
        return self.text.count("\n", 0, self.opening.end()) + 1

    def where(self, offset: int) -> str:
        """The line and column of an offset into `inner`, counted from 1 in the mail's text."""
        return _where(self.text, self.opening.end() + offset)

    def where_line(self, line: int, column: int) -> str:
        """The same for a line and column of `<envoi>` + `inner`, as the parser counts them."""
        if line <= 1:
            return self.where(max(0, column - len("<envoi>") - 1))
        return f"line {self.first_line + line - 1}, column {column}"


def find_excerpt(text: str, limits: Limits) -> Excerpt:
    """Return the one `<envoi>` of a text, fit to be parsed (docs/protocol.md §2.5, §2.8). Raises `Unreadable`."""
    text = _escape_cdata(text)
    opening, closing = _find_root(text)
    text = _blank_declaration(text, opening.start())
    _refuse_harm(text, opening.start(), closing.end(), limits)
    return Excerpt(text=text, opening=opening, closing=closing)


def _where(text: str, position: int) -> str:
    line_start = text.rfind("\n", 0, position) + 1
    return f"line {text.count(chr(10), 0, line_start) + 1}, column {position - line_start + 1}"


def _escape_cdata(text: str) -> str:
    """Return `text` with its CDATA sections written as references: another spelling of the same text."""
    pieces = []
    position = 0
    while (start := text.find(_CDATA_START, position)) >= 0:
        end = text.find(_CDATA_END, start)
        if end < 0:
            raise Unreadable("a CDATA section is not closed", where=_where(text, start))
        content = text[start + len(_CDATA_START) : end]
        pieces += [text[position:start], content.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")]
        position = end + len(_CDATA_END)
    return "".join([*pieces, text[position:]])


def _blank_declaration(text: str, end: int) -> str:
    """Return `text` with an XML declaration before `end` blanked out: the mail's character set wins (§2.6)."""
    declaration = _DECLARATION.search(text, 0, end)
    if declaration is None:
        return text
    blank = re.sub(r"[^\n]", " ", declaration[0])
    return text[: declaration.start()] + blank + text[declaration.end() :]


def _refuse_harm(text: str, start: int, end: int, limits: Limits) -> None:
    """Raise `Unreadable` for what no envoi has and a parser may choke on (docs/protocol.md §2.8)."""
    if forbidden := _FORBIDDEN.search(text, 0, end):
        where = _where(text, forbidden.start())
        raise Unreadable("a DOCTYPE, declaration, comment or processing instruction is not taken", where=where)
    _refuse_attributes(text, start, end)
    if sum(1 for _ in _START_TAG.finditer(text, start, end)) > limits.elements:
        raise Unreadable("too many elements")


def _refuse_attributes(text: str, start: int, end: int) -> None:
    if attribute := _ATTRIBUTE.search(text, start, end):
        raise Unreadable("an element has an attribute", where=_where(text, attribute.start()))


def _find_root(text: str) -> tuple[re.Match[str], re.Match[str]]:
    """Return the one `<envoi>` and its `</envoi>` (docs/protocol.md §2.5)."""
    tags = list(_ROOT_TAG.finditer(text))
    starts = [tag for tag in tags if not tag[1]]
    ends = [tag for tag in tags if tag[1]]
    if not starts:
        _refuse_attributes(text, 0, len(text))
        raise Unreadable("there is no <envoi> in the text")
    if len(starts) > 1 or len(ends) > 1:
        raise Unreadable("there is more than one <envoi>", where=_where(text, tags[-1].start()))
    if not ends or ends[0].start() < starts[0].start():
        raise Unreadable("<envoi> is not closed", where=_where(text, starts[0].start()))
    return starts[0], ends[0]


def _parse_root(excerpt: Excerpt, mode: Mode, notes: list[Tolerated]) -> list[etree._Element]:
    """Return the envoi as lxml reads it: at once, or with stray signs taken literally (docs/protocol.md §2.7)."""
    try:
        root, *found = _parse(excerpt.inner)
        if _is_flat(found):
            return [root, *found]
        fault = Unreadable("an element within another")
    except etree.XMLSyntaxError as error:
        fault = Unreadable("the text is not well-formed", where=excerpt.where_line(*error.position))
    if mode is Mode.STRICT:
        raise fault
    try:
        elements = _parse("".join(_take_literally(excerpt)))
    except etree.XMLSyntaxError as error:
        if control := _CONTROL.search(excerpt.inner):  # nobody sees it, so it is named
            what = f"XML has no character U+{ord(control[0]):04X}"
            raise Unreadable(what, where=excerpt.where(control.start())) from None
        where = excerpt.where_line(*error.position)
        raise Unreadable("the text is not well-formed", where=where) from None
    tolerate(Tolerance.STRAY_SIGNS, mode, notes)
    return elements


def _parse(inner: str) -> list[etree._Element]:
    """Return the root and what stands in it. Kept together: lxml would make each element anew for each look at it."""
    # The defaults but for entities. No recover: it drops text. No collect_ids=False: it makes libxml2 read local files.
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    root = etree.fromstring(f"<envoi>{inner}</envoi>".encode("utf-8", "surrogatepass"), parser)
    return [root, *root]


def _is_flat(children: Sequence[etree._Element]) -> bool:
    return not any(len(child) and _canonical(str(child.tag)) is not None for child in children)


def _take_literally(excerpt: Excerpt) -> Iterator[str]:
    """Yield the envoi with every `&` and `<` that starts no reference and no known tag escaped. One pass."""
    inner = excerpt.inner
    position = 0
    open_name: str | None = None
    for token in _TOKEN.finditer(inner):
        yield inner[position : token.start()]
        position = token.end()
        name = _canonical(token["name"]) if token["name"] else None
        if open_name is None and token[0] == "<":  # `<num2 06...`: taken literally, it would be lost
            raise Unreadable("a tag that is not closed", where=excerpt.where(token.start()))
        if name is None:
            sign = token[0] if token["reference"] else token[0].replace("&", "&amp;")
            yield sign.replace("<", "&lt;").replace("]]>", "]]&gt;")
            continue
        is_end = bool(token["slash"])
        if is_end != (open_name is not None) or (is_end and (name != open_name or token["empty"])):
            place = f"before </{open_name}>" if open_name else f"without <{name}>"
            raise Unreadable(f"<{token['slash']}{name}> {place}", where=excerpt.where(token.start()))
        yield f"<{token['slash']}{name}{token['empty']}>"
        if not token["empty"]:
            open_name = None if is_end else name
    if open_name is not None:
        raise Unreadable(f"<{open_name}> is not closed", where=excerpt.where(len(inner)))
    yield inner[position:]


def _canonical(name: str) -> str | None:
    """Return a known name as the source writes it, whatever its case; None for another."""
    lower = name.lower()
    return _CANONICAL.get(lower) or (lower if _NUMBERED.fullmatch(lower) else None)


def _collect(
    children: Sequence[tuple[str | None, etree._Element]], mode: Mode, limits: Limits, notes: list[Tolerated]
) -> Elements:
    """Return what the children say; with each comes its name as the source writes it."""
    values: dict[str, str] = {}
    unknown: list[str] = []
    for name, child in children:
        if len(child.attrib):  # its length alone: to go through it is quadratic
            raise Unreadable("an element has an attribute")
        if name is None:
            unknown.append(str(child.tag))
            continue
        if name in values:  # docs/protocol.md §2.9: which one would count?
            raise Unreadable(f"<{name}> is repeated")
        values[name] = _read_value(name, child.text or "", limits)
    if unknown:
        names = [name for name in dict.fromkeys(unknown) if _PRINTABLE_NAME.fullmatch(name)][:_MOST_NAMES_IN_NOTE]
        tolerate(Tolerance.UNKNOWN_ELEMENTS, mode, notes, ", ".join(names) or "of unusual names")
    numbered = _take_numbered(values)
    return Elements(
        values=MappingProxyType(values),
        numbers=MappingProxyType(numbered["num"]),
        texts=MappingProxyType(numbered["sms"]),
        notes=tuple(notes),
    )


def _read_value(name: str, raw: str, limits: Limits) -> str:
    """Return a value on one line: a mail program's wrapping is no line break (docs/protocol.md §2.10)."""
    if "\n" in raw or "\r" in raw:
        lines = (line.strip(" \t") for line in raw.replace("\r", "\n").split("\n"))
        raw = " ".join(line for line in lines if line)
    value = raw.strip()
    if len(value) > (limits.text_chars if name.startswith("sms") else limits.value_chars):
        raise Unreadable(f"the value of <{name}> is too long")
    return value


def _take_numbered(values: dict[str, str]) -> Mapping[str, dict[int, str]]:
    """Take `numX` and `smsX` out of `values` and return them by stem and X, without those that are empty."""
    numbered: dict[str, dict[int, str]] = {"num": {}, "sms": {}}
    for match in list(filter(None, map(_NUMBERED.fullmatch, values))):
        name, stem, digits = match[0], match[1], match[2]
        if digits.startswith("0"):  # docs/protocol.md §3: num1 and num01 would be two names of one position
            raise Unreadable(f"<{name}>: the number of an element begins with 1 and has no leading zero")
        if value := values.pop(name):
            numbered[stem][min(int(digits), _HIGHEST_POSITION)] = value
    return numbered
