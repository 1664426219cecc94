"""What the schemas say against an envoi or a report, in words for an operator (docs/protocol.md §3.4, §8.2, §8.6).

The envoi of a mail goes through the same linear scans and bounds as when mails are read, before any parser sees it.
Where only stray `&` and `<` are in the way, they are named and it is held against the schema all the same.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from functools import cache
from typing import Protocol, cast

from lxml import etree

from gateway.protocol.envoi_xml import KNOWN, Excerpt, find_excerpt
from gateway.protocol.reading import Limits, Unreadable
from gateway.protocol.report import ReportFormat, ReportKind
from gateway.protocol.schemas import Schema

MOST_FAULTS = 50
"""So many are named, and no more: who has that many has one cause."""

_MOST_STRAYS = 20
"""So many elements that do not belong there are named; each costs a look at the whole."""

_MOST_STATES = 500
"""As far as the schemas of a Not and an etatAr go; an account may be allowed more (docs/protocol.md §4.5)."""

_LITERAL = "an & or < that is text must be written &amp; or &lt;"
_SYNTAX_WORDS = {  # by the parser's number
    9: "there is a control character",
    23: _LITERAL,  # &name without its semicolon
    26: "a name between & and ; is none of amp, lt, gt, quot and apos",
    62: "]]> in a text must be written ]]&gt;",
    68: _LITERAL,  # & or < without a name
    76: "an end tag does not belong to the start tag before it",
}
_FORMS = {
    "nostop": "0 or 1",
    "ucs2": "0 or 1",
    "smslong": "a number from 1",
    "date_envoi": "a date and a time, as in 2026-03-04 10:30",
}
_CANONICAL = {name.lower(): name for name in KNOWN}
_NUMBERED = re.compile(r"(?:num|sms)(0*)([0-9]+)")
_STRAY_SIGN = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,8}|#x[0-9A-Fa-f]{1,6});)|<(?!/?[A-Za-z_][A-Za-z0-9_.-]{0,63}+[ \t\n]*+/?>)"
)
"""Unlike what the lenient reader takes literally: a tag nobody knows stays one, to be named."""

_LENGTHS = re.compile(r"length of '([0-9]+)'.*length of '([0-9]+)'")
_DECLARED = re.compile(rb"<\?xml[^>]*\?>\n")


@unique
class Document(Enum):
    """What was held against its schema."""

    ENVOI = "envoi"
    ETAT_ACK = "etatAck"
    ETAT_NOT = "etatNot"
    ETAT_AR = "etatAr"


_REPORTS = {
    ReportKind.ACK: (Document.ETAT_ACK, (Schema.ETAT_ACK,)),
    ReportKind.NOT: (Document.ETAT_NOT, (Schema.ETAT_NOT, Schema.ETAT_NOT_WELLFORMED)),
    ReportKind.RECEIPTS: (Document.ETAT_AR, (Schema.ETAT_AR, Schema.ETAT_AR_WELLFORMED)),
}
"""Of each report that has a schema: the one for a root of several, and where there are several, that for one root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFault:
    """One thing that is not as the schema has it. `line` counts from 1 in the mail's text, or in the report."""

    document: Document
    line: int | None  # None: it is nowhere in particular
    sentence: str


def check_envoi(text: str, limits: Limits) -> tuple[SchemaFault, ...]:
    """Return what is wrong with the `<envoi>` of a text, in the order of its lines; nothing when it is valid.

    `text` has LF line ends and is bounded by the caller (`Limits.body_bytes`).
    """
    faults: list[tuple[int | None, str]] = []
    try:
        root = _parse_envoi(find_excerpt(text, limits), faults)
    except Unreadable as error:
        faults.append((_line_of(error), error.reason))
    else:
        if root is not None:
            faults += _validate(root, Schema.ENVOI)
    return _as_faults(Document.ENVOI, faults)


def check_report(kind: ReportKind, body: bytes, report_format: ReportFormat) -> tuple[SchemaFault, ...]:
    """Return what is wrong with an Ack, Not or etatAr that was rendered here: nothing, or the gateway is at fault.

    Of one with more answers than the schemas know, the first 500 are looked at.
    """
    document, schemas = _REPORTS[kind]
    declaration = _DECLARED.match(body)
    head = declaration[0] if declaration else b""
    try:
        # one line, as the declaration is: the lines are those of the report
        whole = etree.fromstring(head.rstrip(b"\n") + b"<all>\n" + body[len(head) :] + b"</all>", _parser())
    except etree.XMLSyntaxError as error:
        return _as_faults(document, [(error.position[0], _syntax_words(error))])
    is_wellformed = report_format is ReportFormat.WELLFORMED and len(schemas) > 1
    schema = schemas[is_wellformed]
    states = whole[0] if is_wellformed else whole
    del states[1 + _MOST_STATES :]
    return _as_faults(document, [fault for root in whole for fault in _validate(root, schema)])


def _parse_envoi(excerpt: Excerpt, faults: list[tuple[int | None, str]]) -> etree._Element | None:
    """Return the envoi as its schema wants to see it, its names as they are written; None if there is no parsing it."""
    first = excerpt.first_line
    try:
        return _parse(excerpt, excerpt.inner)
    except etree.XMLSyntaxError as error:
        faults.append((first + error.position[0] - 1, _syntax_words(error)))
    try:
        return _parse(excerpt, _STRAY_SIGN.sub(lambda sign: "&amp;" if sign[0] == "&" else "&lt;", excerpt.inner))
    except etree.XMLSyntaxError:
        return None


def _parse(excerpt: Excerpt, inner: str) -> etree._Element:
    """Return it parsed, line for line as in the mail."""
    opening, closing = excerpt.opening[2], excerpt.closing[2]
    root = etree.fromstring(f"<{opening}>{inner}</{closing}>".encode("utf-8", "surrogatepass"), _parser())
    for element in root.iter():
        element.sourceline = _line(element) + excerpt.first_line - 1
    return root


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True)


@cache
def _load(schema: Schema) -> etree.XMLSchema:
    return schema.load()


def _validate(root: etree._Element, schema: Schema) -> Iterator[tuple[int | None, str]]:
    """Yield what is wrong. At an element out of place the schema looks no further, so those are taken out and named."""
    xsd = _load(schema)
    for _ in range(_MOST_STRAYS):
        xsd.validate(root)
        stray = next((entry.path for entry in _entries(xsd) if entry.type_name == "SCHEMAV_ELEMENT_CONTENT"), None)
        if stray is None:
            break
        element = next(root.getroottree().iterfind(f".{stray.removeprefix(f'/{root.tag}')}"))
        parent = element.getparent()
        if parent is None:
            break
        yield _line(element), _stray_words(element, parent)
        parent.remove(element)
    for entry in _entries(xsd):
        yield _line_in(root, entry), _words(entry)


class _Entry(Protocol):
    """What lxml says of one fault; its stubs leave that out."""

    line: int
    type_name: str
    path: str | None
    message: str


def _entries(schema: etree.XMLSchema) -> Iterable[_Entry]:
    return cast("Iterable[_Entry]", schema.error_log)


def _line(element: etree._Element) -> int:
    return cast("int | None", element.sourceline) or 1


def _line_in(root: etree._Element, entry: _Entry) -> int:
    """Return where it is: for text between elements the line of that text, which the schema does not tell."""
    if entry.type_name != "SCHEMAV_CVC_COMPLEX_TYPE_2_3":
        return entry.line
    before, text = _line(root), root.text or ""
    for child in root:
        if text.strip():
            break
        before, text = _line(child) + (child.text or "").count("\n"), child.tail or ""
    return before + text[: len(text) - len(text.lstrip())].count("\n")


def _stray_words(element: etree._Element, parent: etree._Element) -> str:
    name = str(element.tag)
    known = _CANONICAL.get(name.lower(), name.lower() if _NUMBERED.fullmatch(name.lower()) else None)
    if known is None:
        return f"<{name[:64]}> is not known"
    if known != name:
        return f"<{name}> must be written <{known}>"
    if len(parent.findall(name)) > 1:
        return f"<{name}> is there more than once"
    numbered = _NUMBERED.fullmatch(name)
    if numbered and numbered[1]:
        return f"<{name[:64]}> has a leading zero"
    return f"<{name[:64]}> is beyond 500" if numbered else f"<{name}> is out of place"


def _words(entry: _Entry) -> str:
    name = (entry.path or "").rpartition("/")[2].partition("[")[0]
    lengths = _LENGTHS.search(entry.message)
    match entry.type_name:
        case "SCHEMAV_CVC_ELT_1":
            return f"<{name}> must be written <{name.lower()}>"
        case "SCHEMAV_CVC_COMPLEX_TYPE_2_3":
            return "there is text between the elements"
        case "SCHEMAV_CVC_TYPE_3_1_2":
            return f"<{name}> has an element in it"
        case "SCHEMAV_CVC_MAXLENGTH_VALID" if lengths:
            return f"<{name}> has {lengths[1]} characters, and may have {lengths[2]}"
        case _ if name in _FORMS:
            return f"<{name}> must be {_FORMS[name]}"
        case _:  # of reports alone, for nothing else of an envoi has a form
            return entry.message


class _SyntaxFault(Protocol):
    """What lxml's stubs leave out of a syntax error."""

    code: int
    msg: str


def _syntax_words(error: etree.XMLSyntaxError) -> str:
    fault = cast("_SyntaxFault", error)
    return f"not well-formed XML: {_SYNTAX_WORDS.get(fault.code, fault.msg)}"


def _line_of(error: Unreadable) -> int | None:
    found = re.match(r"line ([0-9]+)", error.where)
    return int(found[1]) if found else None


def _as_faults(document: Document, faults: Iterable[tuple[int | None, str]]) -> tuple[SchemaFault, ...]:
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: fault[0] or 0)
    return tuple(SchemaFault(document=document, line=line, sentence=text) for line, text in ordered[:MOST_FAULTS])
