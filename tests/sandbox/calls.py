"""Calls to the sandbox, as a client of the carrier makes them."""

import asyncio
from pathlib import Path

import httpx

from gateway.sandbox import CarriedSms

KEY = "a296464ce012b8ab710a"
SMS = {"keyid": KEY, "num": "0612340001", "sms": "Bonjour", "emetteur": "MaSociete", "tracker": "T1"}
MULTI = {"keyid": KEY, "num": ["0612340001", "33612340002"], "sms": ["Un", "Deux"], "tracker": ["T1", "T2"]}
PARTNER = {"apiKey": KEY, "phoneNumbers": "0612340001", "message": "Bonjour"}
BULK = {
    "apiKey": KEY,
    "sender": "AtelierNord",
    "SMSList": [
        {"phoneNumber": "0612340001", "message": "Code 4411"},
        {"phoneNumber": "0612340002", "message": "Code 9027"},
    ],
}
LONG = {"apiKey": KEY, "to": "33612340001", "from": "33755500011", "message": "Bonjour, repondez OUI pour confirmer"}
DEADLINE_S = 10.0


def carried(batch: int) -> CarriedSms:
    """Return an SMS as the list has it."""
    return CarriedSms(
        id=batch,
        api="isendpro",
        number="0612340001",
        text="Bonjour",
        originator=None,
        tracker=None,
        parts=1,
        time="2026-03-04T09:30:00.000+00:00",
        msisdn="+33612340001",
        batch=batch,
        key="…",
        nostop=False,
        ucs2=False,
        smslong=None,
        date_envoi=None,
        trial=False,
        state="waiting",
        state_at="2026-03-04T09:30:00.000+00:00",
        deliver_at=None,
        message_id=None,
        long_number=None,
        receipts_to=None,
        replies_to=None,
    )


async def send(client: httpx.AsyncClient, fields: object, path: str = "/cgi-bin/sms") -> tuple[int, list[object]]:
    """Return the status and, per entry, the code and (if it is there) the number."""
    answer = await client.post(path, json=fields)
    entries = answer.json()["etat"]["etat"]
    return answer.status_code, [(entry["code"], entry["tel"]) if "tel" in entry else entry["code"] for entry in entries]


async def post_or_none(client: httpx.AsyncClient, url: str) -> httpx.Response | None:
    """Return the answer; None if the connection does not last that long."""
    try:
        return await client.post(url, json=SMS)
    except httpx.TransportError:
        return None


async def finish(*command: str, cwd: Path) -> tuple[int, str]:
    """Run the command to its end, and return its status and what it said."""
    async with asyncio.timeout(110):
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=cwd
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return process.returncode or 0, output.decode("utf-8", "replace")
