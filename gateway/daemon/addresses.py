"""Where the gateway listens."""

from dataclasses import dataclass


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


def _written(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
