"""What a process did to its files and said on its sockets, in order, as strace saw it.

strace stops a thread before and after each call and writes both down in the order in which it handled them. So if one
call had ended before another began, whichever threads made them, it stands before it here.
"""

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SOCKET = "socket"
"""What stands for the path of every socket."""

_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg")
_SYNCS = ("fsync", "fdatasync")
_NAMES = ("open", "openat", "creat", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat")
_SIZES = ("ftruncate", "truncate", "fallocate")
_UNSEEN = ("sendfile", "copy_file_range", "splice", "sync_file_range", "mmap")
"""Ways to change a file that do not show what is written."""

_DEADLINE_S = 120.0

_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_DESCRIPTOR = re.compile(r"(?:\d+|AT_FDCWD)<([^>]*)>(\(deleted\))?")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?![\w.])")
_SOCKET = "<\\x73\\x6f\\x63\\x6b\\x65\\x74\\x3a"  # "<socket:"
_UNFINISHED = "<unfinished ...>"


class UnreadableTrace(Exception):
    """The trace holds a line that must not be guessed at."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One system call. `result` is None until it has ended, negative when it failed."""

    name: str
    path: str  # of the descriptor, SOCKET for a socket; of the first argument for calls that take a path
    data: bytes = b""
    numbers: Sequence[int] = ()  # all plain numbers among the arguments, in order
    flags: str = ""
    result: int | None = None

    @property
    def is_sync(self) -> bool:
        """True for what makes a file, or a folder, durable."""
        return self.name in _SYNCS


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The beginning or the end of a call."""

    call: Call
    is_end: bool


def command(trace: Path) -> Sequence[str]:
    """Return the command under which the interpreter's own arguments are traced, with all of its threads.

    The tracer is not the parent (`-D`): signals to the process reach the traced one.
    """
    traced = ",".join((*_WRITES, *_SYNCS, *_NAMES, *_SIZES, *_UNSEEN))
    options = ["-D", "-f", "--seccomp-bpf", "-q", "-y", "-xx", "-s", str(2**26), "-o", str(trace)]
    return ("strace", *options, "-e", f"trace={traced}", "-e", "signal=none", sys.executable, "-m")


async def wait_until_complete(trace: Path, process: int) -> None:
    """Return when all that the traced process did until its end is written down; strace is not our child."""
    last = re.compile(rb"^%d +\+\+\+ " % process, re.MULTILINE)
    async with asyncio.timeout(_DEADLINE_S):
        while last.search(_read_end(trace)) is None:  # noqa: ASYNC110 nor does it tell us
            await asyncio.sleep(0.05)


def _read_end(trace: Path) -> bytes:
    with trace.open("rb") as file:
        file.seek(max(0, trace.stat().st_size - 200))
        return file.read()


@dataclass(slots=True)
class _Reader:
    """Joins the two halves of calls during which another thread was seen."""

    folder: Path  # what happens outside is left out, sockets apart
    written: str  # as the folder stands in the trace
    open_calls: dict[str, Call | None] = field(default_factory=dict)  # by thread

    def read(self, line: str) -> Iterator[Event]:
        thread, _, rest = line.partition(" ")
        rest = rest.lstrip()
        if _RESUMED.match(rest):
            call = self.open_calls.pop(thread, None)
            if call is not None:
                call.result = _result(rest)
                yield Event(call=call, is_end=True)
            return
        if rest.startswith(("+++", "---")):
            return
        is_unfinished = rest.endswith(_UNFINISHED)
        call = self._parse(rest)
        if is_unfinished:
            self.open_calls[thread] = call
        if call is not None:
            yield Event(call=call, is_end=False)
            if not is_unfinished:
                call.result = _result(rest)
                yield Event(call=call, is_end=True)

    def _parse(self, text: str) -> Call | None:
        """Return the call with its arguments; None when it is none of ours."""
        name, _, arguments = text.partition("(")
        is_socket = _SOCKET in arguments[:60]
        if not is_socket and self.written not in arguments:
            return None
        pieces = arguments.split('"')  # every other one is a string, in hexadecimal
        if any(piece.startswith("...") for piece in pieces[2::2]):
            raise UnreadableTrace("strace cut what was written: raise -s")
        strings = [bytes.fromhex(piece.replace("\\x", "")) for piece in pieces[1::2]]
        if is_socket:
            return Call(name=name, path=SOCKET, data=b"".join(strings))
        plain = "".join(pieces[::2]).removesuffix(_UNFINISHED).rpartition("= ")[0] or "".join(pieces[::2])
        if name in _NAMES or name == "truncate":
            path, data = strings[0].decode("utf-8", "surrogateescape"), b""
        elif found := _DESCRIPTOR.search(plain):
            path = bytes.fromhex(found[1].replace("\\x", "")).decode("utf-8", "surrogateescape") + (found[2] or "")
            data = b"".join(strings)
        else:
            raise UnreadableTrace(text[:200])
        if not self._is_inside(path):
            return None
        numbers = [int(number) for number in _NUMBER.findall(_DESCRIPTOR.sub("", plain))]
        return Call(name=name, path=path, data=data, numbers=numbers, flags=plain)

    def _is_inside(self, path: str) -> bool:
        return path == str(self.folder) or Path(path).parent == self.folder


def read(trace: Path, folder: Path) -> Iterator[Event]:
    """Return what was done to `folder` and in it, and said on sockets.

    Calls that were under way when the process ended have a beginning and no end.
    """
    reader = _Reader(folder, "".join(f"\\x{byte:02x}" for byte in str(folder).encode()))
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            yield from reader.read(line.rstrip("\n"))


def _result(text: str) -> int:
    """Return what the call returned; -1 for a call that never returned."""
    found = text.rpartition("= ")[2].split(maxsplit=1)[0].partition("<")[0]
    return -1 if found == "?" else int(found, 0)
