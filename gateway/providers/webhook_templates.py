"""Requests described in the configuration: addresses, headers and bodies with places to fill in.

A body is read once, at start, as what it is (JSON, a form, text), and the values are put into what was read: nothing a
text says can leave its place, whatever it holds. The same goes for the parts of an address.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_plus, urlencode, urlsplit

from gateway.providers.transport import service_url

PLACEHOLDERS = ("to", "text", "originator", "tracker", "account", "secret", "callback_url")
"""What can be filled in. `account` is the account's own keyid."""

IN_HEADERS = ("to", "originator", "tracker", "account", "secret", "callback_url")  # a text may have several lines
IN_PATHS = ("to", "tracker", "secret")  # never empty, and never `..`

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,40})\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,4000}[\x21-\x7e])?")
_OWN_HEADERS = frozenset(
    {
        *("host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"),
        *("upgrade", "te", "trailer", "expect"),
    }
)

_LEFT_OUT = ("{originator}", "{callback_url}")

Json = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
Values = Mapping[str, str]


def check_placeholders(template: str, allowed: Collection[str]) -> None:
    """Raise ValueError when there is a placeholder that cannot be filled in there."""
    for name in _PLACEHOLDER.findall(template):
        if name not in allowed:
            known = ", ".join(f"{{{one}}}" for one in allowed)
            where = "cannot stand here" if name in PLACEHOLDERS else "is not known"
            raise ValueError(f"the placeholder {{{name}}} {where}; there are: {known}")


def check_header(name: str, value: str) -> None:
    """Raise ValueError when a header cannot be sent as described."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{json.dumps(name[:40])} is not the name of a header")
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"{name} is set by the gateway itself: remove it")
    check_placeholders(value, IN_HEADERS)
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"{name}: a header is one line of printable ASCII characters, without blanks at its ends")


def fill(template: str, values: Values) -> str:
    """Return the template with its places filled in, once: what a value says is never filled in again."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a call goes. Values stand in segments of the path and in values of the query, and are escaped there."""

    base_url: str
    segments: Sequence[str]
    query: Sequence[tuple[str, str]]

    def path(self, values: Values) -> str:
        """Return the path, below `base_url`."""
        return "/" + "/".join(quote(fill(segment, values), safe="") for segment in self.segments)

    def query_of(self, values: Values) -> dict[str, str]:
        """Return the query; escaped by whoever sends it."""
        return {name: fill(value, values) for name, value in self.query}


def read_address(url: str) -> Address:
    """Return the address a template describes; ValueError says what is wrong with it."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError("is not the address of a server") from error
    if "{" in parts.scheme + parts.netloc or not parts.netloc:
        raise ValueError("must begin with https:// and a server: placeholders come after it, in the path or the query")
    if parts.fragment:
        raise ValueError("must be an address without #")
    check_placeholders(parts.path, IN_PATHS)
    query = []
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        if _PLACEHOLDER.search(unquote_plus(name)):
            raise ValueError("placeholders stand in the values of a query, not in its names")
        check_placeholders(value, PLACEHOLDERS)
        query.append((unquote_plus(name), unquote_plus(value)))
    if len(dict(query)) != len(query):
        raise ValueError("names something twice in its query")
    segments = [unquote(segment) for segment in parts.path.removeprefix("/").split("/")]
    if any(segment in {".", ".."} for segment in segments):
        raise ValueError("must be an address without . or .. between slashes")
    return Address(base_url=service_url(f"{parts.scheme}://{parts.netloc}"), segments=segments, query=query)


class JsonBody:
    """A body of JSON. A member that is `{originator}` or `{callback_url}` alone is left out when there is none."""

    content_type = "application/json"

    def __init__(self, template: str) -> None:
        """Read the template; ValueError says what is wrong with it."""
        try:
            self._tree: Json = json.loads(template)
        except (ValueError, RecursionError) as error:
            raise ValueError('is not JSON: placeholders stand in quotes there, as in {"to": "{to}"}') from error
        _check_tree(self._tree)

    def fill(self, values: Values) -> bytes:
        """Return the body for these values."""
        return json.dumps(_fill_tree(self._tree, values), separators=(",", ":")).encode("ascii")


class FormBody:
    """A body of form fields, `to={to}&text={text}`. The same holds for a field that is nothing but `{originator}`."""

    content_type = "application/x-www-form-urlencoded"

    def __init__(self, template: str) -> None:
        """Read the template; ValueError says what is wrong with it."""
        pairs = [pair.partition("=") for pair in template.split("&")]
        if any(not name or not equals for name, equals, _value in pairs):
            raise ValueError("is not a form: write it as name=value&name=value")
        self._pairs = [(unquote_plus(name), unquote_plus(value)) for name, _equals, value in pairs]
        if any(_PLACEHOLDER.search(name) for name, _value in self._pairs):
            raise ValueError("placeholders stand in the values of a form, not in its names")
        for _name, value in self._pairs:
            check_placeholders(value, PLACEHOLDERS)

    def fill(self, values: Values) -> bytes:
        """Return the body for these values."""
        kept = [(name, fill(value, values)) for name, value in self._pairs if not _is_left_out(value, values)]
        return urlencode(kept, errors="replace").encode("ascii")


class TextBody:
    """A body of plain text."""

    content_type = "text/plain; charset=utf-8"

    def __init__(self, template: str) -> None:
        """Read the template; ValueError says what is wrong with it."""
        check_placeholders(template, PLACEHOLDERS)
        self._template = template

    def fill(self, values: Values) -> bytes:
        """Return the body for these values."""
        return fill(self._template, values).encode("utf-8", "replace")


Body = JsonBody | FormBody | TextBody


def _check_tree(tree: Json) -> None:
    match tree:
        case str():
            check_placeholders(tree, PLACEHOLDERS)
        case list():
            for item in tree:
                _check_tree(item)
        case dict():
            for name, item in tree.items():
                if _PLACEHOLDER.search(name):
                    raise ValueError("placeholders stand in the values of JSON, not in its names")
                _check_tree(item)
        case _:
            pass


def _fill_tree(tree: Json, values: Values) -> Json:
    match tree:
        case str():
            return fill(tree, values)
        case list():
            return [_fill_tree(item, values) for item in tree]
        case dict():
            return {name: _fill_tree(item, values) for name, item in tree.items() if not _is_left_out(item, values)}
        case _:
            return tree


def _is_left_out(template: Json, values: Values) -> bool:
    return template in _LEFT_OUT and not fill(str(template), values)
