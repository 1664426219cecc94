"""Work that blocks, in a thread that nobody has to wait for: a dead file server, or a DNS that does not answer.

The loop's own threads are waited for at its end, however long they hang; these end with the process.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

Address = tuple[socket.AddressFamily, tuple[str, int]]


async def in_thread(work: Callable[[], T]) -> T:
    """Return what the work returns, or raise what it raises. Cancelled, it goes on by itself, and nobody hears of it.

    >>> import asyncio
    >>> asyncio.run(in_thread(lambda: 1 + 1))
    2
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # T may be None

    def run() -> None:
        result, trouble = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            trouble = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, trouble)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await future


async def all_in_thread(look: Callable[[], Iterable[T]]) -> list[T]:
    """Return everything the look yields, as `in_thread` does."""
    return await in_thread(lambda: list(look()))


async def resolve(host: str, port: int, *, is_passive: bool = False) -> list[Address]:
    """Return the addresses of a host, as the system resolves it. Raises OSError (socket.gaierror)."""
    flags = socket.AI_PASSIVE if is_passive else 0
    found = await in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
    return [(family, (str(address[0]), int(address[1]))) for family, _kind, _protocol, _name, address in found]


def why(error: BaseException) -> str:
    """Return in a few words what went wrong: for operators."""
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved" if error.errno != socket.EAI_AGAIN else "the DNS does not answer"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there (connection refused)"
    if isinstance(error, asyncio.IncompleteReadError | ConnectionError):
        return "it hung up"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
