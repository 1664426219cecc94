"""One way to log, set up once: one event is one line, on stderr.

Promises: what was registered as a secret never appears in a line, whoever logs it and wherever in the line; what does
not print in a value (of a stranger's mail, of a carrier's answer) starts no line of its own, drives no terminal, turns
no text round and costs no line; numbers are masked because their type prints itself masked, and everything that is not
a plain value is printed by its type.

Standard loggers (of libraries) come out the same way; the chatty ones only from `warning`. What happens while one piece
of work is done carries the keys bound with `structlog.contextvars`.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import Enum
from itertools import groupby
from operator import itemgetter
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]

MASK = "***"
_SHORTEST_SECRET = 4
"""Masking every "1" would make the log unreadable; a secret this short protects nothing anyway."""

_LONGEST_VALUE = 4_000
"""Characters of one value that are kept; tracebacks are kept whole."""

_MULTILINE_KEYS = frozenset({"exception", "stack"})
"""Made by structlog, with line ends of its own: one JSON string in service, several lines on a terminal."""

_CHATTY = ("aiosmtpd", "mail.log", "mail.debug", "httpx", "httpcore", "aiosmtplib", "uvicorn", "alembic", "aiosqlite")

_AS_THEY_ARE = frozenset({bool, int, float, type(None)})

_gathering = threading.local()

_secrets: set[str] = set()


def set_up_logging(
    *,
    form: LogFormat = "auto",
    level: LogLevel = "info",
    stream: TextIO | None = None,
    colours: bool | None = None,
    count: Callable[[str], None] | None = None,
) -> None:
    """Every logger of the process writes to `stream` (stderr unless given): JSON, or text on a terminal.

    May be called again, which replaces what was set up before. `count` is told the level of each line.
    """
    out = sys.stderr if stream is None else stream
    is_text = form == "text" or (form == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    if count is not None:
        shared.append(_Counting(count))
    renderer: Processor
    if is_text:
        renderer = structlog.dev.ConsoleRenderer(
            colors=out.isatty() if colours is None else colours, exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = _render_json
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, make_safe, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Our own events do not go through the standard loggers: there they would cost three times as much
    structlog.configure(
        processors=[*shared, make_safe, renderer],
        logger_factory=_Lines(out),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
"""Kept, for making one costs more than a line; what `make_safe` leaves is a tree of plain values."""


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _encode(event)


class _Counting:
    """Tells the level of each line, and leaves the line as it is."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        self._count(event["level"])
        return event


class _Lines:
    """Writes lines. What cannot be written is lost, as with standard loggers: no work fails for the log's sake."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, *_names: object) -> "_Lines":
        return self

    def msg(self, line: str) -> None:
        gathered = getattr(_gathering, "lines", None)
        if gathered is None:
            self.write(f"{line}\n")
        else:
            gathered.append((self, f"{line}\n"))

    def write(self, lines: str) -> None:
        """The lines, each with its end, are written at once."""
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(lines)
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


@contextmanager
def gathered_lines() -> Iterator[None]:
    """The lines of the block are written together at its end: for one event of many things. Nothing in it may wait."""
    lines: list[tuple[_Lines, str]] = []
    _gathering.lines = lines
    try:
        yield
    finally:
        _gathering.lines = None
        for out, group in groupby(lines, key=itemgetter(0)):
            out.write("".join(line for _out, line in group))


def register_secrets(secrets: Iterable[str]) -> None:
    """None of these appears in a log line from now on. Nothing is ever unregistered: old keys stay secret."""
    _secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def make_safe(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Every value of the event is plain, of one line, bounded, and free of secrets."""
    is_safe = _is_safe("".join([value for value in event.values() if type(value) is str]))  # nearly always: at one look
    for key, value in event.items():
        kind = type(value)
        if kind in _AS_THEY_ARE or (kind is str and is_safe):
            continue
        if key in _MULTILINE_KEYS and isinstance(value, str):
            event[key] = _escape(_mask(value), spared="\n")
        else:
            event[key] = _plain(value)
    return event


def _is_safe(text: str) -> bool:
    """True when no part of the text is to be changed."""
    return len(text) <= _LONGEST_VALUE and text.isprintable() and not any(secret in text for secret in _secrets)


def _plain(value: object) -> object:
    match value:
        case bool() | int() | float() | None if not isinstance(value, Enum):
            return value
        case str() if not isinstance(value, Enum):
            return _one_line(value)
        case Enum():
            return _plain(value.value)
        case datetime():
            return value.isoformat()
        case bytes() | bytearray():
            return f"{len(value)} bytes"
        case list() | tuple() | set() | frozenset() | Sequence():
            return [_plain(item) for item in value]
        case Mapping():
            return {_one_line(str(key)): _plain(item) for key, item in value.items()}
        case _:
            return _one_line(str(value))


def _one_line(value: str) -> str:
    text = _mask(value)
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    return _escape(text)


def _escape(text: str, *, spared: str = "") -> str:
    """Return the text with everything escaped that does not print.

    That is what ends a line, drives a terminal, changes the direction of writing, or cannot be encoded, whereupon the
    whole line would be lost.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in spared else f"\\x{ord(one):02x}" for one in text)


def _mask(text: str) -> str:
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    return text
