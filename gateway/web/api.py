"""`/api/v1/…`: what a program may read of the gateway, as JSON. Nothing can be changed here.

Promises. Who has no token learns nothing, not even what there is; tokens are compared in a time that tells nothing. A
page has 500 rows at most, a request `DEADLINE_S`, a token `PER_S` requests a second, and the store is asked for two of
them at a time: whoever asks too much waits, and mails do not. Numbers are masked and texts left out unless the token
has the right (`veil`). What is asked for stands in no log; who asked, what kind of thing and with which result does.

Diagnostics: events `api_answered` (info), `api_refused` (warning, at most one a second in the long run); metric
`mail2sms_api_requests_total`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TypeVar

import structlog
from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.clock import Clock
from gateway.lifecycle import SmsState
from gateway.metrics import REGISTRY
from gateway.store.errors import StoreUnavailable, StoreUnusable
from gateway.stories import Filter, FoundKind, Page, StatsBy, Stories
from gateway.web.api_document import BacklogNow, CarrierNow, Member, StateNow, document
from gateway.web.gauges import Gauges
from gateway.web.token_bucket import TokenBucket
from gateway.web.tokens import Right, Token, find_token
from gateway.web.veil import find_forbidden, to_plain, veiled

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_REQUESTS = Counter(
    "mail2sms_api_requests_total", "Requests to /api/v1/, by what was asked for.", ("what", "status"), registry=REGISTRY
)

DEADLINE_S = 15.0
PER_S, AT_ONCE = 10, 50
STRANGERS_PER_S, STRANGERS_AT_ONCE = 5, 50
_AT_A_TIME = 2
_MOST_SIZE = 500
_LONGEST_VALUE = 500

_FILTERS = frozenset({"account", "provider", "state", "since", "until", "number", "email_id", "id", "text"})
_PAGES = frozenset({"size", "after"})
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_REFUSALS = frozenset({FoundKind.REFUSAL.value, FoundKind.TURNED_AWAY.value})

Answer = Callable[[Request, Token], Awaitable[object]]


class _Refused(Exception):
    """The request is not answered."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Api:
    """Answers those who have a token; `find_tokens` says which there are now."""

    def __init__(
        self, *, clock: Clock, stories: Stories, gauges: Gauges, find_tokens: Callable[[], Sequence[Token]]
    ) -> None:
        self._clock = clock
        self._stories = stories
        self._gauges = gauges
        self._find_tokens = find_tokens
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._buckets: dict[str, TokenBucket] = {}
        self._strangers = TokenBucket(clock, per_s=STRANGERS_PER_S, at_once=STRANGERS_AT_ONCE)
        self._lines = TokenBucket(clock, per_s=1, at_once=20)

    @property
    def routes(self) -> list[Route]:
        """What the HTTP listener is to answer."""
        return [
            self._route("backlog", "/api/v1/backlog", Right.QUEUE, self._backlog),
            self._route("queue", "/api/v1/queue", Right.QUEUE, self._queue),
            self._route("stats", "/api/v1/stats", Right.STATS, self._stats),
            self._route("carriers", "/api/v1/carriers", Right.CARRIERS, self._carriers),
            self._route("mails", "/api/v1/mails", Right.MAILS, self._mails),
            self._route("refusals", "/api/v1/refusals", Right.MAILS, self._refusals),
            self._route("find", "/api/v1/find", Right.MAILS, self._find),
            self._route("story", "/api/v1/mails/{id}", Right.MAILS, self._story),
            self._route("openapi", "/api/v1/openapi.json", None, self._document),
        ]

    # --- what there is -------------------------------------------------------------------------------------------

    async def _backlog(self, request: Request, _token: Token) -> object:
        _known(request, frozenset())
        rows, around = await self._gauges.look()
        if rows is None:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer")
        now, backlog = self._clock.now(), rows.backlog
        return BacklogNow(
            at=now,
            is_ready=around.is_ready,
            sms={state: StateNow.of(n, backlog.oldest_sms.get(state), now) for state, n in backlog.sms.items()},
            reports={
                state: StateNow.of(n, backlog.oldest_reports.get(state), now) for state, n in backlog.reports.items()
            },
        )

    async def _carriers(self, request: Request, _token: Token) -> object:
        _known(request, frozenset())
        _rows, around = await self._gauges.look()
        return [
            CarrierNow(name=name, is_up=view.is_up, held_accounts=view.held_accounts, low_balance=view.low_balance)
            for name, view in around.carriers.items()
        ]

    async def _queue(self, request: Request, token: Token) -> object:
        page = _page(request)
        return await _paged(page, self._stories.queue(_filter(request, token), page))

    async def _mails(self, request: Request, token: Token) -> object:
        page = _page(request)
        return await _paged(page, self._stories.search(_filter(request, token), page))

    async def _refusals(self, request: Request, token: Token) -> object:
        page = _page(request)
        found = await _paged(page, self._stories.search(_filter(request, token), page))
        return {"rows": [one for one in found.rows if one.kind.value in _REFUSALS], "next": found.next}

    async def _find(self, request: Request, token: Token) -> object:
        _known(request, frozenset({"q"}))
        for right in (Right.NUMBERS, Right.TEXTS):  # for it finds by either
            _check_right(token, right)
        return await self._stories.find(_value(request, "q") or "")

    async def _story(self, request: Request, _token: Token) -> object:
        _known(request, frozenset())
        story = await self._stories.story(request.path_params["id"][:_LONGEST_VALUE])
        if story is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is none of this id")
        return story

    async def _stats(self, request: Request, _token: Token) -> object:
        _known(request, frozenset({"by", "since"}))
        by = _one_of(StatsBy, "by", _value(request, "by") or StatsBy.PROVIDER.value)
        return await self._stories.stats(by, _instant(request, "since") or self._clock.now() - timedelta(days=1))

    async def _document(self, _request: Request, _token: Token) -> object:
        return document()

    # --- how it is answered --------------------------------------------------------------------------------------

    def _route(self, what: str, path: str, right: Right | None, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            response, token = await self._answer(request, right, answer)
            _REQUESTS.labels(what, str(response.status_code)).inc()
            if token is not None:
                _log.info("api_answered", token=token.name, what=what, status=response.status_code)
            return response

        return Route(path, endpoint, methods=["GET"], name=what)

    async def _answer(self, request: Request, right: Right | None, answer: Answer) -> tuple[Response, Token | None]:
        token = None
        try:
            token = self._let_in(request)
            _check_right(token, right)
            async with asyncio.timeout(DEADLINE_S), self._turns:
                found = await answer(request, token)
            plain = found if right is None else veiled(to_plain(found), token.rights)
            return JSONResponse(plain, headers=_HEADERS), token
        except _Refused as refused:
            self._tell(request, token, refused)
            return _sorry(refused.status, refused.reason), token
        except (StoreUnavailable, StoreUnusable, TimeoutError):
            return _sorry(HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer in time"), token

    def _let_in(self, request: Request) -> Token:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        tokens = self._find_tokens()
        if not tokens:
            raise _Refused(HTTPStatus.NOT_FOUND, "not found")
        token = find_token(tokens, given.strip() if scheme.lower() == "bearer" else "")
        if token is None:
            if not self._strangers.take():
                raise _Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests")
            raise _Refused(HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer …")
        bucket = self._buckets.setdefault(token.name, TokenBucket(self._clock, per_s=PER_S, at_once=AT_ONCE))
        if not bucket.take():
            raise _Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests")
        return token

    def _tell(self, request: Request, token: Token | None, refused: _Refused) -> None:
        """A line, unless there were too many: a flood must not fill the disk."""
        if token is None and self._lines.take():
            peer = request.client.host if request.client is not None else None
            _log.warning("api_refused", peer=peer, status=refused.status.value, reason=refused.reason)


def _check_right(token: Token, right: Right | None) -> None:
    if right is not None and right not in token.rights:
        raise _Refused(HTTPStatus.FORBIDDEN, f"this token has not the right {right.value}")


def _sorry(status: HTTPStatus, reason: str) -> Response:
    headers = dict(_HEADERS)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="mail2sms"'
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = "10"
    return JSONResponse({"error": reason}, status_code=status.value, headers=headers)


# --- what is asked for -----------------------------------------------------------------------------------------------


def _filter(request: Request, token: Token) -> Filter:
    _known(request, _FILTERS | _PAGES)
    states = tuple(_one_of(SmsState, "state", one) for one in request.query_params.getlist("state"))
    wanted = Filter(
        account=_value(request, "account"),
        provider=_value(request, "provider"),
        states=tuple(dict.fromkeys(states)),
        since=_instant(request, "since"),
        until=_instant(request, "until"),
        number=_value(request, "number"),
        email_id=_value(request, "email_id"),
        envoi=_value(request, "id"),
        text=_value(request, "text"),
    )
    forbidden = find_forbidden(wanted, token.rights)
    if forbidden is not None:
        raise _Refused(HTTPStatus.FORBIDDEN, forbidden)
    return wanted


def _page(request: Request) -> Page:
    size = _value(request, "size") or "50"
    if not (size.isascii() and size.isdecimal() and 1 <= int(size[:9]) <= _MOST_SIZE):
        raise _Refused(HTTPStatus.BAD_REQUEST, f"size must be 1 to {_MOST_SIZE}")
    return Page(size=int(size), after=_value(request, "after"))


async def _paged(page: Page, answer: Awaitable[T]) -> T:
    """Return the answer; _Refused when the page is asked for by what is no `next` of ours."""
    try:
        return await answer
    except (ValueError, LookupError) as error:
        if page.after is None:
            raise
        raise _Refused(HTTPStatus.BAD_REQUEST, "after is no next of ours") from error


def _known(request: Request, names: frozenset[str]) -> None:
    """Raises _Refused for a parameter that there is not: a filter that does nothing would pass for one that does."""
    unknown = sorted(set(request.query_params) - names)
    if unknown:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"there is no parameter {unknown[0][:50]}")


def _value(request: Request, name: str) -> str | None:
    value = request.query_params.get(name)
    if value is not None and len(value) > _LONGEST_VALUE:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} is too long")
    if value is not None and not value.isprintable():
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} holds signs that are none")
    return value or None


def _instant(request: Request, name: str) -> datetime | None:
    value = _value(request, name)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} must be an instant, as in 2026-11-22T08:00:00Z") from error


def _one_of(kind: type[Member], name: str, value: str) -> Member:
    for member in kind:
        if member.value == value:
            return member
    known = ", ".join(str(member.value) for member in kind)
    raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} must be one of {known}")
