"""A child that does what a mail tells it to: stands where a parser with a fault would.

Run as the package's own child is (`python -c "from tests.reader.evil import main; main()"`), with a command of its own.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.reader.child import main as serve
from gateway.reader.mail import MailRead, read_mail

EVIL = b"X-Evil: "


def _read(content: bytes, mode: Mode, limits: Limits) -> MailRead | Unreadable:
    word, _, rest = content.partition(EVIL)[2].partition(b"\r\n")[0].partition(b" ")
    match word:
        case b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"die-once" if not Path(rest.decode()).exists():
            os.mkfifo(rest.decode())  # a regular file it may not write
            os.kill(os.getpid(), signal.SIGKILL)
        case b"hang":
            threading.Event().wait()
        case b"burn":
            while True:
                pass
        case b"bomb":
            _ = [bytes(1_048_576) for _ in range(100_000)]
        case b"recurse":
            _recurse(0)
        case b"babble":
            os.write(0, b"\0\0\0\2[]")
            threading.Event().wait()
        case b"chatter":
            os.write(0, b"\0\0\0\2[]\0\0\0\2[]")
        case b"endless":
            os.write(0, b"\xff\xff\xff\xff")
        case b"leave":
            os._exit(3)
        case _:
            pass
    return read_mail(content, mode, limits)


def _recurse(depth: int) -> int:
    return _recurse(depth + 1) + 1


def main() -> None:
    serve(sys.argv[1:], _read)


def stillborn() -> None:
    """End before it could be asked anything."""
    sys.exit(7)
