"""One HTTP call to a carrier, and what can be proven about it.

A call has three ends, and only three: an `Answer` was read whole; the request `NeverLeft`; or it is `Broken`, and
nobody can tell whether the carrier acted. An SMS is not idempotent, so the line between the last two is the point of
this module: only what failed before there was a connection counts as never left.

Promises: no exception but `CancelledError`; never longer than `timeout_s`, however the carrier trickles; never more
than 256 KiB of an answer in memory (unless the caller sets another limit) and nothing ever decompressed; no redirect
followed, no proxy and no credentials taken from the environment, certificates always checked.
"""

import asyncio
import ipaddress
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator

from gateway.errors import GatewayError
from gateway.providers.connections import FOREIGN_ERRORS, NeverConnected, aiohttp_transport

ANSWER_LIMIT_BYTES = 256 * 1024
RAW_LIMIT = 2048
"""Characters of an answer, or of a reason, that are kept with an attempt."""

_CONNECT_S = 10.0
_CONNECT_SHARE = 0.6  # of the deadline, until there is a connection; less, so that this is known and not just "late"
_ADDRESS_SHARE = 0.3  # for each address of the carrier, so that a dead one leaves time for another
_SHORTEST_SECRET = 4
_ESCAPES = "%\\+"  # without one of these in a text, a secret stands in it as it is or not at all

_FOREIGN = (*FOREIGN_ERRORS, httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError, RuntimeError)


class ProviderUnusable(GatewayError):
    """A carrier cannot be set up from its settings; the message is one sentence for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The carrier's answer, read whole."""

    status: int
    body: bytes
    retry_after: str | None = None  # the header, as it came


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverLeft:
    """Proven: not one byte of the request was written."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The request, or some of it, went out and no complete answer came back. `body` is what did."""

    reason: str
    status: int | None = None
    body: bytes = b""


CallOutcome = Answer | NeverLeft | Broken


def service_url(url: str) -> str:
    """Return the address of a carrier's API without a slash at its end; ValueError says what is wrong with it."""
    url = http_url(url)
    if urlsplit(url).scheme != "https" and not _is_loopback(urlsplit(url).hostname or ""):
        raise ValueError("must start with https:// (plain http is for this machine only): the key travels in the call")
    return url


def http_url(url: str) -> str:
    """Return an http or https address without a slash at its end; ValueError says what is wrong with it."""
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError("is not the address of a server") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("must be a full address such as https://api.example.org/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must be an address alone, without user, password, ? or #")
    return url.rstrip("/")


ServiceUrl = Annotated[str, AfterValidator(service_url)]
"""Where a carrier's API is: https, or http on the machine itself."""

AnyUrl = Annotated[str, AfterValidator(http_url)]
"""Where something that imitates a carrier is: http or https, anywhere."""


def recorded(text: str, *, secret: str) -> str:
    """Return what may be kept of an answer: the key masked, at most `RAW_LIMIT` characters, fit for any database."""
    if len(secret) >= _SHORTEST_SECRET:
        has_escapes = any(mark in text for mark in _ESCAPES)
        text = _any_form_of(secret).sub("***", text) if has_escapes else text.replace(secret, "***")
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= RAW_LIMIT else text[: RAW_LIMIT - 1] + "…"


@lru_cache(maxsize=256)
def _any_form_of(secret: str) -> re.Pattern[str]:
    """Return what finds the secret as it is, in JSON, and in an address, where each character may be escaped or not."""
    forms = []
    for character in secret:
        escaped = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))
        ways = [escaped, re.escape(json.dumps(character)[1:-1])]
        ways += {" ": ["[+]"], "/": [r"\\/"]}.get(character, [])  # a form; PHP's JSON
        forms.append(f"(?:(?i:{'|'.join(ways)})|{re.escape(character)})")  # itself last: % begins %25
    return re.compile("".join(forms))


class Transport:
    """The connections to one carrier."""

    def __init__(self, *, base_url: str, timeout_s: float, width: int, ca_file: str | None = None) -> None:
        """Be ready to call; nothing is connected yet. ProviderUnusable if `ca_file` cannot be read."""
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=aiohttp_transport(
                context=_verifying_context(ca_file), width=width, connect_s=_CONNECT_SHARE * timeout_s
            ),
            trust_env=False,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity", "Accept": "application/json", "User-Agent": "mail2sms-gateway"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # The deadline itself is ours: a time-out for reading counts anew with every piece of an answer.
            timeout=httpx.Timeout(None, connect=min(_CONNECT_S, _ADDRESS_SHARE * timeout_s)),
        )

    async def post_json(self, path: str, fields: Mapping[str, object]) -> CallOutcome:
        """Make one call, with `fields` as a JSON object, and say how it ended."""
        # Escapes instead of UTF-8: what json_encode of the carriers' own PHP samples sends, and pure ASCII on the way.
        content = json.dumps(fields, separators=(",", ":")).encode("ascii")
        return await self.call("POST", path, content=content, headers={"Content-Type": "application/json"})

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> CallOutcome:
        """Make one call and say how it ended. `path` is below the base address; `query` is escaped here.

        An answer longer than `limit_bytes` is Broken.
        """
        if self._client.is_closed:
            return NeverLeft(reason="the gateway is stopping")
        request = self._client.build_request(method, path, params=query, content=content, headers=headers)
        received = _Received()
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                return await self._exchange(request, received, limit_bytes)
        except NeverConnected as error:
            return NeverLeft(reason=str(error))
        except _FOREIGN as error:
            late = f"no complete answer within {self._timeout_s:g} s"
            reason = late if deadline.expired() else _describe(error)
            return Broken(reason=reason, status=received.status, body=bytes(received.body))

    async def close(self) -> None:
        """Give back all connections."""
        await self._client.aclose()

    async def _exchange(self, request: httpx.Request, received: "_Received", limit_bytes: int) -> CallOutcome:
        response = await self._client.send(request, stream=True)
        try:
            received.status = response.status_code
            encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if encoding not in {"", "identity"}:
                return Broken(reason="the answer came compressed, unasked", status=response.status_code)
            async for chunk in response.aiter_raw():
                received.body += chunk[: limit_bytes - len(received.body) + 1]
                if len(received.body) > limit_bytes:
                    reason = f"the answer is longer than {limit_bytes} bytes"
                    return Broken(reason=reason, status=response.status_code, body=bytes(received.body[:RAW_LIMIT]))
            return Answer(
                status=response.status_code,
                body=bytes(received.body),
                retry_after=response.headers.get("Retry-After"),
            )
        finally:
            await response.aclose()


class _Received:
    """What had come of an answer when the call broke."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = bytearray()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _verifying_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one too
        raise ProviderUnusable(f"ca_file {ca_file} holds no readable certificates") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
