"""The sandbox's addresses: the carrier's own, and `/sandbox/...` to look into it and to make it misbehave."""

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.clock import Clock
from gateway.sandbox import isendpro
from gateway.sandbox.faults import Fault, FaultName, FaultScript, SandboxError, read_faults
from gateway.sandbox.messages import CarriedSms, MessageBox
from gateway.sandbox.page import HEADERS, NEWEST_SHOWN, render_page
from gateway.sandbox.server import Half, Reset, Trickle, pause

BODY_LIMIT_BYTES = 1024 * 1024
_BOMB_BYTES = 16 * 1024 * 1024
_PAGE_OF_A_FRONT = "<!doctype html><html><body><h1>Service en maintenance</h1></body></html>"
_SHOWN_OF_KEY = 4


class Carrier:
    """What the sandbox knows, and what it does with a call."""

    def __init__(self, script: FaultScript, clock: Clock) -> None:
        self.box = MessageBox()
        self.script = script
        self.calls = 0
        self.stopping = asyncio.Event()
        self._clock = clock

    async def take(self, body: bytes, *, is_multi: bool) -> ASGIApp:
        """Do what a call to `/sms` or `/smsmulti` asks for, and return the answer: the true one, or a broken one."""
        self.calls += 1
        batch = self.calls
        fault = self.script.take()
        request = isendpro.read_request(body, is_multi=is_multi)
        if isinstance(request, isendpro.Rejected):
            good = _json_answer(isendpro.render_rejection(request), status=400)
            return good if fault is None else await self._spoil(fault, good, ())
        lines = [_overrule(line, fault) for line in request.lines]
        if fault is None or fault.is_taken:
            await self._accept(request, lines, batch=batch)
        if fault is not None:
            return await self._spoil(fault, _json_answer(isendpro.render_lines(lines), status=200), lines)
        return Reset() if request.cuts else _json_answer(isendpro.render_lines(lines), status=200)

    def count(self, body: bytes) -> Response:
        """Return the answer of `/comptage`."""
        request = isendpro.read_request(body, is_multi=False)
        if isinstance(request, isendpro.Rejected):
            return _json_answer(isendpro.render_rejection(request), status=400)
        return _json_answer(isendpro.render_count(request), status=200)

    def tell_credit(self, query: str) -> Response:
        """Return the answer of `/credit`: as much as one likes, or nothing while `no_credit` is scripted."""
        fields = parse_qs(query)
        if not fields.get("keyid"):
            return _json_answer(isendpro.render_rejection(isendpro.Rejected(code=1)), status=400)
        is_gone = any(fault.fault is FaultName.NO_CREDIT for fault in self.script.list())
        euros, quantity = ("0.0", "0") if is_gone else ("500.0", "10000")
        wants_quantity = fields.get("credit") == ["2"]
        return _json_answer(isendpro.render_credit(euros, quantity if wants_quantity else None), status=200)

    async def _accept(self, request: isendpro.Request, lines: Sequence[isendpro.Line], *, batch: int) -> None:
        now = self._clock.now().isoformat(timespec="milliseconds")
        await self.box.add(
            CarriedSms(
                number=line.number,
                text=line.text,
                originator=request.originator,
                tracker=line.tracker,
                parts=line.parts,
                time=now,
                msisdn=line.msisdn,
                batch=batch,
                key=_mask_key(request.keyid),
                nostop=request.nostop,
                ucs2=request.ucs2,
                smslong=request.smslong,
                date_envoi=request.date_envoi,
                trial=request.is_trial,
            )
            for line in lines
            if line.code == 0 and line.msisdn is not None
        )

    async def _spoil(self, fault: Fault, good: Response, lines: Sequence[isendpro.Line]) -> ASGIApp:
        """Return what the fault makes of the good answer."""
        body = bytes(good.body)
        match fault.fault:
            case FaultName.SLOW:
                await pause(fault.delay_s, self.stopping)
                return good
            case FaultName.TRICKLE:
                return Trickle(body, fault.delay_s, self.stopping)
            case FaultName.STATUS:
                headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                return PlainTextResponse("scripted by the sandbox", fault.status, headers)
            case FaultName.RESET | FaultName.LOST:
                return Reset()
            case FaultName.HALF:
                return Half(body)
            case FaultName.NOT_JSON:
                return _json_answer(b"etat: 0", status=200)
            case FaultName.HTML:
                return HTMLResponse(_PAGE_OF_A_FRONT)
            case FaultName.WRONG_COUNT:
                return _json_answer(isendpro.render_lines(lines[:-1]), status=200)
            case FaultName.SHAPE if lines:
                return _json_answer(isendpro.render_lines(lines, fault.shape), status=200)
            case FaultName.NO_CREDIT | FaultName.REFUSE | FaultName.SHAPE:
                return good
            case FaultName.GZIP_BOMB:
                headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
                return Response(_bomb(), headers=headers)
            case FaultName.REDIRECT:
                return Response(status_code=302, headers={"Location": "/sandbox/messages"})


class _Deferred:
    """An endpoint as ASGI, so that its answer may be one that breaks the connection."""

    def __init__(self, carrier: Carrier, *, is_multi: bool) -> None:
        self._carrier = carrier
        self._is_multi = is_multi

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(Request(scope, receive))
        if body is None:
            answer: ASGIApp = PlainTextResponse("too large", 413)
        else:
            answer = await self._carrier.take(body, is_multi=self._is_multi)
        await answer(scope, receive, send)


def build_app(carrier: Carrier) -> Starlette:
    """Return the application that answers for `carrier`."""

    async def count(request: Request) -> Response:
        return carrier.count(await _read_body(request) or b"")

    async def credit(request: Request) -> Response:
        if request.method == "GET":
            return carrier.tell_credit(request.url.query)
        return carrier.tell_credit((await _read_body(request) or b"").decode("ascii", "replace"))

    async def messages(request: Request) -> Response:
        if request.method == "DELETE":
            carrier.box.clear()
            return Response(status_code=204)
        return JSONResponse(carrier.box.list())

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            carrier.script.clear()
            return Response(status_code=204)
        if request.method == "POST":
            try:
                carrier.script.add(read_faults(await _read_body(request) or b""))
            except SandboxError as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse([fault.model_dump(mode="json") for fault in carrier.script.list()])

    async def page(_request: Request) -> Response:
        return HTMLResponse(render_page(carrier.box.newest(NEWEST_SHOWN), len(carrier.box)), headers=HEADERS)

    return Starlette(
        routes=[
            Route("/cgi-bin/sms", _Deferred(carrier, is_multi=False), methods=["POST"]),
            Route("/cgi-bin/smsmulti", _Deferred(carrier, is_multi=True), methods=["POST"]),
            Route("/cgi-bin/comptage", count, methods=["POST"]),
            Route("/cgi-bin/credit", credit, methods=["GET", "POST"]),
            Route("/sandbox/messages", messages, methods=["GET", "DELETE"]),
            Route("/sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
            Route("/", page, methods=["GET"]),
        ],
        exception_handlers={ClientDisconnect: _stay_silent},
    )


def _stay_silent(_request: Request, _error: Exception) -> Response:
    """Answer a client that is gone: nobody reads it, and it is no error of the sandbox."""
    return Response(status_code=400)


def _overrule(line: isendpro.Line, fault: Fault | None) -> isendpro.Line:
    if fault is None or line.code != 0:
        return line
    if fault.fault is FaultName.NO_CREDIT:
        return replace(line, code=12)
    return replace(line, code=fault.code) if fault.fault is FaultName.REFUSE else line


def _json_answer(body: bytes, *, status: int) -> Response:
    return Response(body, status, media_type="application/json")


async def _read_body(request: Request) -> bytes | None:
    """Return the whole body; None if it is larger than `BODY_LIMIT_BYTES`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            return None
    return bytes(body)


def _mask_key(keyid: str) -> str:
    return "…" + keyid[-_SHOWN_OF_KEY:] if len(keyid) > 2 * _SHOWN_OF_KEY else "…"


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES))
