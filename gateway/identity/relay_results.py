"""What a relay in front has found out: `Authentication-Results` (RFC 8601), of listed relays alone.

Only the topmost header that carries the relay's name counts, and only if no more `Received` headers stand above it than
the relay writes itself: what a client wrote stands below these. Pure; linear in the header.
"""

import re
from collections.abc import Iterator

from gateway.protocol.header_block import HeaderBlock

_MAX_HEADER_CHARS = 8_192
_COMMENT = re.compile(r"\([^()]*\)")
_MAX_DEPTH = 5
_ID = re.compile(r"\s*(?P<id>[A-Za-z0-9._-]+)(?:\s+1)?\s*")
_RESULT = re.compile(r"\s*(?P<method>[a-z0-9-]+)(?:\s*/\s*1)?\s*=\s*(?P<result>[a-z]+)(?P<rest>(?:\s.*)?)", re.DOTALL)
_PROPERTY = re.compile(r"\s+(?P<name>[a-z]+\.[a-z-]+)\s*=\s*(?P<value>[^\s\";]+|\"[^\"\\]*\")")
_REASON = re.compile(r"\s+reason\s*=\s*(?:\"[^\"\\]*\"|[^\s\";]+)")
_DOMAIN_OF = {"dkim": "header.d", "dmarc": "header.from"}


def find_passed_domains(block: HeaderBlock, authserv_id: str, *, received_above: int) -> frozenset[str]:
    """Return the domains the relay says have signed the mail, or stand behind its From: by DMARC; in lower case."""
    received = 0
    for name, value in block.fields:
        if name == "received":
            received += 1
        if received > received_above:
            return frozenset()
        if name == "authentication-results" and len(value) <= _MAX_HEADER_CHARS:
            own_id, _, results = _strip_comments(value).partition(";")
            found = _ID.fullmatch(own_id)
            if found is not None and found["id"].lower() == authserv_id:
                return frozenset(_passed(results))
    return frozenset()


def _passed(results: str) -> Iterator[str]:
    for part in _split(results):
        found = _RESULT.fullmatch(part.lower())
        if found is None or found["result"] != "pass" or found["method"] not in _DOMAIN_OF:
            continue
        properties = _read_properties(found["rest"])
        domain = None if properties is None else properties.get(_DOMAIN_OF[found["method"]])
        if domain:
            yield domain


def _read_properties(text: str) -> dict[str, str] | None:
    """Return what stands behind a result; None when it is not well-formed, or says something twice."""
    properties: dict[str, str] = {}
    position = 0
    while text[position:].strip():
        found = _REASON.match(text, position) or _PROPERTY.match(text, position)
        if found is None:
            return None
        if found.re is _PROPERTY:
            if found["name"] in properties:
                return None
            properties[found["name"]] = found["value"].strip('"').removeprefix("@")
        position = found.end()
    return properties


def _split(results: str) -> Iterator[str]:
    """Yield what stands between semicolons that are in no quotes."""
    part = ""
    for piece in re.split(r'("[^"]*"|;)', results):
        if piece == ";":
            yield part
            part = ""
        else:
            part += piece
    yield part


def _strip_comments(value: str) -> str:
    """Return the value without comments; what is nested too deeply stays and is then not well-formed.

    A bracket in quotes is no comment. A quote in a comment ends it early, and then nothing is well-formed either.
    """
    pieces = re.split(r'("[^"]*")', value)
    for index in range(0, len(pieces), 2):  # the others are quoted
        for _ in range(_MAX_DEPTH):
            pieces[index] = _COMMENT.sub(" ", pieces[index])
    return "".join(pieces)
