"""Where a gateway with this configuration can be asked whether it takes mail."""

import asyncio
from pathlib import Path

from gateway.cli.health import ask
from gateway.config import load
from gateway.smtp.doors import Door, answers, door_of, reachable
from gateway.smtp.entrance import find_entrances
from gateway.smtp.settings import parse_listen
from gateway.web.server import split_listen

_DEADLINE_S = 10.0


def find_obstacle(file: Path) -> str:
    """Return why no mail is taken; nothing when it is."""
    config = load(file)
    if config.http.listen is not None:
        host, port = split_listen(config.http.listen)
        host = reachable(host)
        return ask(f"http://{f'[{host}]' if ':' in host else host}:{port}/readyz")
    entrances = sorted(find_entrances(config.smtp), key=lambda entrance: bool(entrance.proxies))
    door = door_of(entrances[0], *parse_listen(entrances[0].listen[0]))
    return asyncio.run(_knock(door))


async def _knock(door: Door) -> str:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            has_answered = await answers(door)
    except OSError as error:  # TimeoutError is one
        return f"nobody answers at {door.host}:{door.port}: {str(error) or 'not in time'}"
    return "" if has_answered else f"nobody answers at {door.host}:{door.port}"
