"""Where carriers call back: `/receipts/{name of the carrier}/{secret}`, GET or POST, on the HTTP listener.

Promises. The secret is compared as a digest, in a time that tells nothing, and an unknown carrier and a wrong secret
are answered alike, before anything is read. Of a request at most `MOST_BODY_BYTES` (and as many of parameters in its
address), `MOST_PARAMETERS` and `BODY_DEADLINE_S` are borne. What is said is on disk before the 200, which is empty and
the same whether it means anything to us or not; while the store is away it is 503, and the carrier is to come back.
Nothing of a request is repeated in an answer, and neither its address nor its content ever stands in a log. HEAD does
nothing.

Diagnostics: events `callback_refused`, `callback_unreadable` (warning), at most one a second in the long run.
"""

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import parse_qsl, quote

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.clock import Clock
from gateway.providers.base import Callback, CallbackUnreadable, ParsesCallbacks, Receipt, Reply
from gateway.store.errors import StoreUnavailable, StoreUnusable
from gateway.web.token_bucket import TokenBucket

_log = structlog.get_logger(__name__)

MOST_BODY_BYTES = 16 * 1024
MOST_PARAMETERS = 50
BODY_DEADLINE_S = 10.0

CALLS_PER_S = 200
"""Of one carrier, over time; `CALLS_AT_ONCE` may come together. Of all of them five times as many."""
CALLS_AT_ONCE = 1_000
_ALL_TIMES = 5

STRANGERS_PER_S = 10
STRANGERS_AT_ONCE = 100
"""Calls with a wrong secret, of anybody. Those with the right one are not counted among them, nor kept waiting."""

_RETRY_S = "10"
_NOBODY = secrets.token_bytes(32)
"""No secret has this digest: what is compared where there is none."""

TakeReceipts = Callable[[str, Sequence[Receipt]], Awaitable[object]]
TakeReplies = Callable[[str, Sequence[Reply]], Awaitable[object]]
"""Takes what a carrier, by name, says. On disk when it returns; raises StoreUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A carrier that calls back. Two secrets are good while the carrier is being told the new one."""

    parser: ParsesCallbacks
    digests: tuple[bytes, ...]  # of its secrets, by `digest_secret`; one or two


def digest_secret(secret: str) -> bytes:
    """Return what a secret is compared by."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Callbacks:
    """Answers the callbacks of carriers; `find_hook` says which there are, by name."""

    def __init__(
        self,
        *,
        clock: Clock,
        find_hook: Callable[[str], Hook | None],
        take_receipts: TakeReceipts,
        take_replies: TakeReplies,
        body_deadline_s: float = BODY_DEADLINE_S,
    ) -> None:
        self._clock = clock
        self._find_hook = find_hook
        self._take_receipts = take_receipts
        self._take_replies = take_replies
        self._body_deadline_s = body_deadline_s
        self._all = TokenBucket(clock, per_s=CALLS_PER_S * _ALL_TIMES, at_once=CALLS_AT_ONCE * _ALL_TIMES)
        self._by_name: dict[str, TokenBucket] = {}
        self._strangers = TokenBucket(clock, per_s=STRANGERS_PER_S, at_once=STRANGERS_AT_ONCE)
        self._lines = TokenBucket(clock, per_s=1, at_once=20)

    @property
    def routes(self) -> list[Route]:
        """What the HTTP listener is to answer."""
        return [Route("/receipts/{rest:path}", self._answer, methods=["GET", "POST"])]

    async def _answer(self, request: Request) -> Response:
        name, _, secret = request.path_params["rest"].partition("/")
        hook = self._find_hook(name)
        if not _is_proven(hook, secret.removesuffix("/")) or hook is None:
            return self._turn_away(name if hook is not None else None, request)
        if request.method == "HEAD":
            return Response()
        bucket = self._by_name.setdefault(name, TokenBucket(self._clock, per_s=CALLS_PER_S, at_once=CALLS_AT_ONCE))
        if not (bucket.take() and self._all.take()):
            return self._refuse(name, HTTPStatus.TOO_MANY_REQUESTS, "too many calls")
        try:
            callback = await self._read(request)
        except _Refused as refused:
            return self._refuse(name, refused.status, refused.reason)
        return await self._take(name, hook, callback)

    def _turn_away(self, name: str | None, request: Request) -> Response:
        """Answer a stranger; `name` is of a carrier that there is."""
        if not self._strangers.take():
            return _plain(HTTPStatus.TOO_MANY_REQUESTS)
        peer = request.client.host if request.client is not None else None
        self._tell("callback_refused", provider=name, reason="the secret in its address is none we know", peer=peer)
        return _plain(HTTPStatus.NOT_FOUND)

    def _refuse(self, name: str, status: HTTPStatus, reason: str) -> Response:
        self._tell("callback_refused", provider=name, reason=reason, status=status.value)
        return _plain(status)

    async def _read(self, request: Request) -> Callback:
        raw_query: bytes = request.scope["query_string"]
        if len(raw_query) > MOST_BODY_BYTES:
            raise _Refused(HTTPStatus.REQUEST_URI_TOO_LONG, f"more than {MOST_BODY_BYTES} bytes")
        query = _read_query(raw_query)
        content_type = request.headers.get("content-type", "")
        body = await self._read_body(request) if request.method == "POST" else b""
        is_form = content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
        if len(query) + (body.count(b"&") + 1 if is_form and body else 0) > MOST_PARAMETERS:
            raise _Refused(HTTPStatus.BAD_REQUEST, "more than 50 parameters")
        return Callback(method=request.method, query=query, content_type=content_type, body=body)

    async def _read_body(self, request: Request) -> bytes:
        too_long = _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_BODY_BYTES} bytes")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MOST_BODY_BYTES:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_deadline_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MOST_BODY_BYTES:
                        raise too_long
        except TimeoutError as error:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "it did not come in time") from error
        except ClientDisconnect as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, "it broke off") from error
        return bytes(body)

    async def _take(self, name: str, hook: Hook, callback: Callback) -> Response:
        try:
            said = hook.parser.parse_callback(callback)
        except CallbackUnreadable as error:  # it would say the same if it came again
            self._tell("callback_unreadable", provider=name, method=callback.method, error=str(error))
            return Response()
        receipts = [one for one in said if isinstance(one, Receipt)]
        replies = [one for one in said if isinstance(one, Reply)]
        try:
            if receipts:
                await self._take_receipts(name, receipts)
            if replies:
                await self._take_replies(name, replies)
        except (StoreUnavailable, StoreUnusable):
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE)
        return Response()

    def _tell(self, event: str, **told: object) -> None:
        """A line, unless there were too many: a flood must not fill the disk."""
        if not self._lines.take():
            return
        if event == "callback_refused":
            _log.warning("callback_refused", **told)
        else:
            _log.warning("callback_unreadable", **told)


class _Refused(Exception):
    """The request is not taken."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def _is_proven(hook: Hook | None, secret: str) -> bool:
    """True when it is one of the carrier's secrets; the work is the same whatever it is."""
    digest = digest_secret(secret)
    known = () if hook is None else hook.digests
    is_it = False
    for wanted in (*known, _NOBODY, _NOBODY)[:2]:
        is_it |= hmac.compare_digest(digest, wanted)
    return is_it


def _read_query(raw: bytes) -> list[tuple[str, str]]:
    """Return the parameters of an address, in UTF-8 or else in windows-1252."""
    text = quote(raw, safe="".join(map(chr, range(0x21, 0x7F))))
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except UnicodeDecodeError:
        return parse_qsl(text, keep_blank_values=True, encoding="windows-1252", errors="replace")
    except ValueError as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, "more than 50 parameters") from error


def _plain(status: HTTPStatus) -> Response:
    later = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    headers = {"Retry-After": _RETRY_S} if later else None
    return PlainTextResponse(f"{status.phrase}\n", status_code=status.value, headers=headers)
