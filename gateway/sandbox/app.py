"""The sandbox's addresses: the carriers' own. Those to look into it and to make it misbehave are in `inside`."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.sandbox.carrier import Carrier
from gateway.sandbox.inside import inside_routes
from gateway.sandbox.orders import Api
from gateway.sandbox.requests import read_body

_SENDING = (
    (Api.ISENDPRO, "/cgi-bin/sms"),
    (Api.ISENDPRO, "/cgi-bin/smsmulti"),
    (Api.SMSPARTNER, "/v1/send"),
    (Api.SMSPARTNER, "/v1/bulk-send"),
    (Api.SMSPARTNER, "/v1/vn/send"),
)


class _CarrierCall:
    """An endpoint as ASGI, so that its answer may be one that breaks the connection."""

    def __init__(self, carrier: Carrier, api: Api, path: str, *, sends: bool = False, by_query: bool = False) -> None:
        self._carrier = carrier
        self._api = api
        self._path = path
        self._sends = sends
        self._by_query = by_query

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        body = await read_body(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        if self._sends:
            return await self._carrier.take(self._api, self._path, body)
        fields: Mapping[str, object] | bytes = body
        if self._by_query or request.method in {"GET", "HEAD"}:
            fields = _first_of_each(request.url.query)
        elif self._path == "/cgi-bin/credit":  # a form
            fields = _first_of_each(body.decode("utf-8", "replace"))
        method = "GET" if request.method == "HEAD" else request.method  # what GET answers, HEAD does, too
        return await self._carrier.tell(self._api, method, self._path, fields)


def build_app(carrier: Carrier) -> Starlette:
    """Return the application that answers for `carrier`."""
    return Starlette(
        routes=[*_carrier_routes(carrier), *inside_routes(carrier)],
        exception_handlers={ClientDisconnect: _stay_silent},
    )


def _carrier_routes(carrier: Carrier) -> list[Route]:
    routes = [Route(path, _CarrierCall(carrier, api, path, sends=True), methods=["POST"]) for api, path in _SENDING]
    others: dict[tuple[Api, str], tuple[list[str], bool]] = {
        (Api.ISENDPRO, "/cgi-bin/credit"): (["GET", "POST"], False),
        (Api.SMSPARTNER, "/v1/me"): (["GET"], True),
    }
    for api, calls in ((Api.ISENDPRO, carrier.isendpro), (Api.SMSPARTNER, carrier.smspartner)):
        for by_query, table in ((True, calls.by_query), (False, calls.by_body)):
            for method, path in table:
                others.setdefault((api, path), ([], by_query))[0].append(method)
    for (api, path), (methods, by_query) in others.items():
        routes.append(Route(path, _CarrierCall(carrier, api, path, by_query=by_query), methods=methods))
    return routes


def _first_of_each(query: str) -> dict[str, object]:
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


def _stay_silent(_request: Request, _error: Exception) -> Response:
    """Answer a client that is gone: nobody reads it, and it is no error of the sandbox."""
    return Response(status_code=400)
