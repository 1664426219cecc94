"""The addresses below `/sandbox`, and the page: to look inside, to make trouble, to answer from a telephone."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Annotated
from urllib.parse import parse_qs

from pydantic import AfterValidator, Field, ValidationError
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from gateway.sandbox.callbacks import is_address
from gateway.sandbox.carrier import Carrier
from gateway.sandbox.faults import SandboxError, read_faults
from gateway.sandbox.isendpro import read_msisdn
from gateway.sandbox.orders import Api
from gateway.sandbox.page import HEADERS, SCRIPT, STYLE, anchor_of, render_page, render_phones
from gateway.sandbox.phones import MOST_TEXT
from gateway.sandbox.requests import read_body
from gateway.sandbox.server import pause
from gateway.settings import Settings

_EVENTS_APART_S = 0.2
_HEARTBEAT_S = 15.0

Endpoint = Callable[[Request], Awaitable[Response]]


def _check_address(value: str) -> str:
    if not is_address(value):
        raise ValueError("not an address that can be called: http://HOST:PORT/PATH is one")
    return value


Address = Annotated[str, Field(max_length=2000), AfterValidator(_check_address)]


class _Addresses(Settings):
    """Where a client wants to be called."""

    isendpro: Address | None = None
    smspartner: Address | None = None


class _Reply(Settings):
    """What somebody answers."""

    number: Annotated[str, Field(min_length=1, max_length=40)]
    text: Annotated[str, Field(max_length=MOST_TEXT)] = ""
    to: Annotated[str, Field(max_length=40)] | None = None
    stop: bool = False


class _Credit(Settings):
    """What is on the accounts; null: no end of it."""

    isendpro: Annotated[Decimal, Field(ge=0, le=1_000_000_000)] | None = None
    smspartner: Annotated[Decimal, Field(ge=0, le=1_000_000_000)] | None = None


class Inside:
    """The endpoints."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def messages(self, request: Request) -> Response:
        """What was taken."""
        if request.method == "DELETE":
            self._carrier.box.clear()
            self._carrier.replies.clear()
            return Response(status_code=204)
        return JSONResponse(self._carrier.box.list())

    async def faults(self, request: Request) -> Response:
        """Trouble."""
        script = self._carrier.script
        if request.method == "DELETE":
            script.clear()
            return Response(status_code=204)
        if request.method == "POST":
            script.add(read_faults(await _body_of(request)))
        return JSONResponse([fault.model_dump(mode="json") for fault in script.list()])

    async def callbacks(self, request: Request) -> Response:
        """Where the client wants to be called, and the calls that were made."""
        caller = self._carrier.caller
        if request.method == "DELETE":
            caller.clear()
            return Response(status_code=204)
        if request.method in {"PUT", "POST"}:
            told = _Addresses.model_validate(_read_json(await _body_of(request)))
            for api, address in ((Api.ISENDPRO, told.isendpro), (Api.SMSPARTNER, told.smspartner)):
                if address is not None:
                    caller.addresses[api] = address
                elif api.value in told.model_fields_set:
                    caller.addresses.pop(api, None)
        addresses = {api.value: caller.addresses.get(api) for api in Api}
        return JSONResponse({"addresses": addresses, "callbacks": caller.list()})

    async def replies(self, request: Request) -> Response:
        """What was answered from telephones."""
        carrier = self._carrier
        if request.method == "DELETE":
            carrier.replies.clear()
            return Response(status_code=204)
        if request.method != "POST":
            return JSONResponse(carrier.replies.list())
        body = await _body_of(request)
        # Not by the Content-Type: curl calls JSON a form, too.
        is_form = b"=" in body and not body.lstrip().startswith(b"{")
        asked = _Reply.model_validate(_read_form(body) if is_form else _read_json(body))
        number = read_msisdn(asked.number)
        text = "STOP" if asked.stop else asked.text
        if number is None or not text.strip():
            raise SandboxError("a reply wants the number of a telephone, and a text")
        reply = carrier.network.answer(number, text, asked.to)
        if is_form:
            return RedirectResponse(f"/#{anchor_of(number)}", 303)
        return JSONResponse(reply, 201)

    async def credit(self, request: Request) -> Response:
        """What is on the accounts."""
        if request.method == "PUT":
            told = _Credit.model_validate(_read_json(await _body_of(request)))
            for api, euros in ((Api.ISENDPRO, told.isendpro), (Api.SMSPARTNER, told.smspartner)):
                if api.value in told.model_fields_set:
                    self._carrier.accounts[api].purse.set(euros)
        return JSONResponse(
            {
                api.value: None if account.purse.is_endless else float(account.purse.left)
                for api, account in self._carrier.accounts.items()
            }
        )

    async def scheduled(self, _request: Request) -> Response:
        """What waits for its time need not wait any more."""
        return JSONResponse({"sent": self._carrier.network.send_scheduled()})

    async def reset(self, _request: Request) -> Response:
        """Everything is as it was at the start, but for the addresses of callbacks."""
        self._carrier.reset()
        return Response(status_code=204)

    # --- the page ----------------------------------------------------------------------------------------------------

    async def page(self, _request: Request) -> Response:
        """The telephones."""
        return HTMLResponse(render_page(self._carrier), headers=HEADERS)

    async def phones(self, _request: Request) -> Response:
        """The part of the page that changes."""
        return HTMLResponse(render_phones(self._carrier), headers=HEADERS)

    async def events(self, _request: Request) -> Response:
        """A line whenever something changed, at most a few times a second."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._tell_changes(), media_type="text/event-stream", headers=headers)

    async def _tell_changes(self) -> AsyncIterator[str]:
        pulse = self._carrier.pulse
        seen = pulse.count
        yield f"retry: 1000\ndata: {seen}\n\n"
        while not self._carrier.stopping.is_set():
            await pulse.wait_beyond(seen, _HEARTBEAT_S)
            await pause(_EVENTS_APART_S, self._carrier.stopping)
            yield f"data: {pulse.count}\n\n" if pulse.count != seen else ": still here\n\n"
            seen = pulse.count


def inside_routes(carrier: Carrier) -> list[Route]:
    """Return the addresses that are the sandbox's own."""
    inside = Inside(carrier)
    return [
        _route("/sandbox/messages", inside.messages, "GET", "DELETE"),
        _route("/sandbox/faults", inside.faults, "GET", "POST", "DELETE"),
        _route("/sandbox/callbacks", inside.callbacks, "GET", "PUT", "POST", "DELETE"),
        _route("/sandbox/replies", inside.replies, "GET", "POST", "DELETE"),
        _route("/sandbox/credit", inside.credit, "GET", "PUT"),
        _route("/sandbox/scheduled", inside.scheduled, "POST"),
        _route("/sandbox/reset", inside.reset, "POST"),
        _route("/sandbox/phones", inside.phones, "GET"),
        _route("/sandbox/events", inside.events, "GET"),
        _route("/sandbox/page.js", _constant(SCRIPT, "text/javascript"), "GET"),
        _route("/sandbox/page.css", _constant(STYLE, "text/css"), "GET"),
        _route("/", inside.page, "GET"),
    ]


class _TooLarge(Exception):
    """The body is beyond the bound."""


def _route(path: str, endpoint: Endpoint, *methods: str) -> Route:
    async def guarded(request: Request) -> Response:
        if request.method not in {"GET", "HEAD"} and request.headers.get("sec-fetch-site") in {
            "cross-site",
            "same-site",
        }:
            return JSONResponse({"error": "another site's page has no business here"}, 403)
        try:
            return await endpoint(request)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10])
            return JSONResponse({"error": problems}, 400)
        except SandboxError as error:
            return JSONResponse({"error": str(error)}, 400)
        except _TooLarge:
            return PlainTextResponse("too large", 413)

    return Route(path, guarded, methods=list(methods))


def _constant(content: str, media_type: str) -> Endpoint:
    async def answer(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)

    return answer


async def _body_of(request: Request) -> bytes:
    body = await read_body(request)
    if body is None:
        raise _TooLarge
    return body


def _read_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise SandboxError("not JSON") from None


def _read_form(body: bytes) -> Mapping[str, str]:
    try:
        found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise SandboxError("too many fields") from None
    return {name: values[0] for name, values in found.items()}
