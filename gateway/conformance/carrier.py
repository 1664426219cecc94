"""The SMS at the carrier sandbox, as `GET /sandbox/messages` lists them (docs/sandbox.md)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.errors import GatewayError

_TIMEOUT_S = 10.0


class SandboxUnreachable(GatewayError):
    """The carrier sandbox does not answer, or not as one."""

    temporary = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierSms:
    """One SMS as the carrier took it; the number is E.164."""

    number: str
    text: str
    originator: str | None
    ucs2: bool = False

    @property
    def plain(self) -> "CarrierSms":
        """The same without what is looked at only in some cases."""
        return replace(self, ucs2=False)


class _Message(BaseModel):
    """One line of the list; what the kit does not need may be there, too."""

    msisdn: str
    text: str
    originator: str | None
    ucs2: bool
    time: str
    batch: int
    tracker: str | None


_MESSAGES = TypeAdapter(list[_Message])


class CarrierWindow:
    """`async with` looks into a sandbox; what was there before is not seen."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/sandbox/messages"
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        self._before: frozenset[tuple[object, ...]] = frozenset()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        try:
            self._before = frozenset(_key(one) for one in await self._list())
        except BaseException:
            await self._client.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def look(self) -> Sequence[CarrierSms]:
        """Return the SMS of this run, in the order they came. Raises SandboxUnreachable."""
        return [
            CarrierSms(number=one.msisdn, text=one.text, originator=one.originator, ucs2=one.ucs2)
            for one in await self._list()
            if _key(one) not in self._before
        ]

    async def _list(self) -> Sequence[_Message]:
        try:
            response = await self._client.get(self._url)
            response.raise_for_status()
            return _MESSAGES.validate_json(response.content)
        except (httpx.HTTPError, httpx.InvalidURL, ValidationError) as error:
            raise SandboxUnreachable(f"no list of messages at {self._url}: {type(error).__name__}") from error


def _key(message: _Message) -> tuple[object, ...]:
    return (message.time, message.batch, message.msisdn, message.tracker)
