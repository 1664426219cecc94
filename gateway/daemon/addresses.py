"""Where the gateway listens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.config import Config
from gateway.smtp.entrance import find_entrances
from gateway.smtp.settings import parse_listen
from gateway.web.server import HttpServer, split_listen


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the gateway listens, ports of 0 resolved."""

    smtp: tuple[tuple[str, int], ...]
    http: tuple[str, int] | None

    def __str__(self) -> str:
        """`smtp=127.0.0.1:2525 http=127.0.0.1:8025`."""
        words = ["smtp=" + ",".join(_written(address) for address in self.smtp)]
        if self.http is not None:
            words.append("http=" + _written(self.http))
        return " ".join(words)


def all_listeners(config: Config) -> Mapping[str, Sequence[tuple[str, int]]]:
    """Return the addresses of each listener, by its name; that for HTTP is the last."""
    found = {one.name: [parse_listen(listen) for listen in one.listen] for one in find_entrances(config.smtp)}
    if config.http.listen is not None:
        found.setdefault(HttpServer.NAME, []).append(split_listen(config.http.listen))
    return found


def _written(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
