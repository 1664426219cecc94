"""The console on a store, on loopback, with somebody logged in: its pages as a browser asks for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlencode

import httpx

from gateway.clock import SystemClock
from gateway.console.app import Console
from gateway.console.surroundings import Place
from gateway.store import Store
from gateway.stories import Stories
from gateway.web import HttpServer, health_app
from tests.console.house import House, Operator
from tests.support.clock import ManualClock
from tests.support.gauges import quiet_gauges


@asynccontextmanager
async def open_console(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """The console answers, and the client is an operator's who is logged in."""

    async def find_obstacles() -> Sequence[str]:
        return ()

    clock = SystemClock()
    house = House(store=store, clock=ManualClock())
    stories = Stories(store, clock, lambda: house.accounts)
    around = replace(house.around(Place()), clock=clock, stories=stories)
    app = health_app(
        find_obstacles=find_obstacles, gauges=quiet_gauges(house.clock), more_routes=Console(around).routes
    )
    server = HttpServer(app, listen="127.0.0.1:0")
    host, port = await server.bind()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(), name="http")
        try:
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=60) as client:
                await Operator(client).log_in("otto")
                yield client
        finally:
            server.stop()


async def get_page(client: httpx.AsyncClient, path: str, **query: str) -> str:
    """Return the page; anything but a page ends the measurement."""
    answer = await client.get(f"/console{path}?{urlencode(query)}")
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {answer.status_code}")
    return answer.text
