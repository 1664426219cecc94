"""Which loops the transport is tried on."""

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests in the loop of commands and in that of the daemon: when a connection ends is the loop's word."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
