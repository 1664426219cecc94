"""A child process that reads mails: one frame in, one frame out, until its parent is gone.

Promises. It opens no file and no connection, writes nothing but answers, has no secrets in its environment, and grows
by `memory_bytes` at most. It ends with its parent, however that ends: an idle one finds its input closed, one in the
middle of a mail is killed by the kernel, and one that computes without end runs out of processor time.

Frames. In: a length of four octets (big endian), one octet for the mode, the mail. Out: a length of four octets, an
answer (`answers`); the first is empty and says that the child is ready.
"""

import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.reader.answers import Failed, encode_answer
from gateway.reader.mail import MailRead, read_mail

Read = Callable[[bytes, Mode, Limits], MailRead | Unreadable]

MODES = (Mode.LENIENT, Mode.STRICT)
"""By the octet that stands for them."""

LENGTH_BYTES = 4
_CHANNEL = 0
_STDOUT, _STDERR = 1, 2
_PR_SET_PDEATHSIG = 1
_DESCRIPTORS = 16
_CPU_SPARE_S = 2
_AT_ONCE_BYTES = 65_536


def main(arguments: Sequence[str], read: Read = read_mail) -> None:
    """Serve the parent on descriptor 0 until it is gone.

    `arguments` are the parent's process id, octets of memory, seconds for one mail, and the limits as JSON.
    """
    parent, memory_bytes, deadline_s, limits = arguments
    # Ctrl-C and the supervisor's SIGTERM go to the whole group; mails under way are still to be read.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(_STDERR + 1, os.sysconf("SC_OPEN_MAX"))  # not every loop leaves nothing open behind an exec
    _die_with(int(parent))
    gc.collect()
    gc.freeze()
    _confine(int(memory_bytes))
    _hush()
    try:
        _serve(read, Limits(**json.loads(limits)), int(deadline_s))
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone


def _hush() -> None:
    """From here on nothing is printed: a traceback could hold the text of a mail."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, _STDOUT)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def _die_with(parent: int) -> None:
    """From here on the kernel kills this process when its parent ends."""
    try:
        import ctypes  # noqa: PLC0415 # a system without it is served less well, not refused

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:  # it ended before it could be noticed
        sys.exit()


def _confine(memory_bytes: int) -> None:
    """Bound what this process may take."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    in_use = pages * resource.getpagesize()
    _lower(resource.RLIMIT_AS, in_use + memory_bytes)
    _lower(resource.RLIMIT_CORE, 0)  # a dump would hold mails
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, _DESCRIPTORS)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


class _CpuTime:
    """Processor time for one mail after the other; the limit counts from the start of the process, in seconds."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._soft = 0
        _, self._hard = resource.getrlimit(resource.RLIMIT_CPU)

    def allow(self) -> None:
        """So much may be used from now on. Within the same second it is already."""
        soft = int(time.process_time()) + self._seconds + _CPU_SPARE_S
        if soft != self._soft:
            allowed = soft if self._hard == resource.RLIM_INFINITY else min(soft, self._hard)
            resource.setrlimit(resource.RLIMIT_CPU, (allowed, self._hard))
            self._soft = soft


def _serve(read: Read, limits: Limits, deadline_s: int) -> None:
    cpu_time = _CpuTime(deadline_s)
    _send(b"")
    while (frame := _receive()) is not None:
        cpu_time.allow()
        _send(_answer(read, frame, limits))


def _answer(read: Read, frame: bytes, limits: Limits) -> bytes:
    """Return the answer as bytes. A bug, a recursion too deep, no memory: it is told, and the child goes on."""
    try:
        return encode_answer(read(frame[1:], MODES[frame[0]], limits))
    except Exception as error:  # noqa: BLE001 # whatever a mail does to the parser harms only itself
        failed = Failed(error=type(error).__name__, where=_place(error))
        error.__traceback__ = None  # what hangs on it can be large
        return encode_answer(failed)


def _place(error: Exception) -> str:
    """Return the innermost place in our own code, without a word of what was read."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.startswith("gateway."):
            found = f"{module}:{line}"
    return found


def _receive() -> bytes | None:
    """Return the next frame; None: the parent is gone. Most are there at once: nothing follows before the answer."""
    received = b""
    while len(received) < LENGTH_BYTES:
        got = os.read(_CHANNEL, _AT_ONCE_BYTES)
        if not got:
            return None
        received += got
    frame, length = received[LENGTH_BYTES:], int.from_bytes(received[:LENGTH_BYTES], "big")
    return frame if len(frame) == length else _receive_rest(frame, length)


def _receive_rest(begun: bytes, length: int) -> bytes | None:
    content = bytearray(length)
    content[: len(begun)] = begun
    view, position = memoryview(content), len(begun)
    while position < length:
        got = os.readv(_CHANNEL, [view[position:]])
        if not got:
            return None
        position += got
    view.release()
    return bytes(content)


def _send(payload: bytes) -> None:
    view = memoryview(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
    while view:
        view = view[os.write(_CHANNEL, view) :]
