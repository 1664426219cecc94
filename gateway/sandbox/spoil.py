"""What a fault makes of a good answer."""

import asyncio
import gzip
from collections.abc import Callable
from functools import cache

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from gateway.sandbox.faults import Fault, FaultName, Shape
from gateway.sandbox.orders import Answer
from gateway.sandbox.server import Half, Reset, Trickle, pause

_BOMB_BYTES = 16 * 1024 * 1024
_PAGE_OF_A_FRONT = "<!doctype html><html><body><h1>Service en maintenance</h1></body></html>"
_FALSE_SUCCESS = b'{"success": true, "code": 200, "message": "Request queued for processing"}'

Remake = Callable[[Shape | None, bool], Answer]
"""Returns the answer in another shape, or (True) without its last SMS."""


def to_response(answer: Answer) -> Response:
    """Return the answer as it goes out."""
    return Response(answer.body, answer.status, media_type=answer.media_type)


async def spoil(fault: Fault, good: Answer, remake: Remake | None, stopping: asyncio.Event) -> ASGIApp:
    """Return what the fault makes of the good answer; without `remake` it has no SMS that could be told otherwise."""
    match fault.fault:
        case FaultName.SLOW:
            await pause(fault.delay_s, stopping)
            return to_response(good)
        case FaultName.TRICKLE:
            return Trickle(good.body, fault.delay_s, stopping)
        case FaultName.STATUS:
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            return PlainTextResponse("scripted by the sandbox", fault.status, headers)
        case FaultName.RESET | FaultName.LOST:
            return Reset()
        case FaultName.HALF:
            return Half(good.body)
        case FaultName.NOT_JSON:
            return Response(b"etat: 0", media_type="application/json")
        case FaultName.HTML:
            return HTMLResponse(_PAGE_OF_A_FRONT)
        case FaultName.FALSE_SUCCESS:
            return Response(_FALSE_SUCCESS, media_type="application/json")
        case FaultName.WRONG_COUNT if remake is not None:
            return to_response(remake(None, True))  # noqa: FBT003 - a callable has no keywords
        case FaultName.SHAPE if remake is not None:
            return to_response(remake(fault.shape, False))  # noqa: FBT003 - as above
        case FaultName.GZIP_BOMB:
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            return Response(_bomb(), headers=headers)
        case FaultName.REDIRECT:
            return Response(status_code=302, headers={"Location": "/sandbox/messages"})
        case _:  # what concerns codes has been done, what concerns receipts will be
            return to_response(good)


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES))
