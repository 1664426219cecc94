"""Bodies of requests, bounded."""

from starlette.requests import Request

BODY_LIMIT_BYTES = 1024 * 1024


async def read_body(request: Request) -> bytes | None:
    """Return the whole body; None if it is larger than `BODY_LIMIT_BYTES`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            return None
    return bytes(body)
