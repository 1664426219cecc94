"""One row, played: a client over a real socket, and what it left behind."""

import asyncio
import base64
import re
import ssl
from dataclasses import dataclass

from tests.senders.document import Row
from tests.senders.letters import Keys, write_letter
from tests.senders.world import DIRECT, PASSWORD, PROXIED, RECIPIENT, Certificates, World, find_keyid
from tests.smtp.house import DEADLINE_S, Client, client_context

_USER = re.compile(r"user (?P<name>\w+)(?P<is_wrong> with a wrong password)?")
_CODE = re.compile(rb"<code>(\d+)</code>")
NO_TLS = "no TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a mail; the reply as it was on the wire."""

    reply: str
    account: str | None  # "none": remembered without one; None: nothing was kept
    proof: str | None
    not_code: str | None
    asked: int


async def play(row: Row, world: World, certificates: Certificates, keys: Keys) -> str:
    """Return the reply to the mail of the row, or to the command that ended it."""
    async with await _connect(row.client, world) as client:
        try:
            await _ask(client, "EHLO client.example", "250")
            if "TLS" in row.shows:
                await _begin_tls(client, row, certificates)
                await _ask(client, "EHLO client.example", "250")
        except (OSError, EOFError, ssl.SSLError):
            return NO_TLS
        for one in row.shows:
            if found := _USER.fullmatch(one):
                await _authenticate(client, found["name"], "falsch" if found["is_wrong"] else PASSWORD)
        letter = write_letter(row.sender, row.shows, find_keyid(row.key, world.config), keys)
        reply = await client.ask(f"MAIL FROM:<{letter.envelope_from.strip('<>')}>".encode())
        if not reply.startswith("250"):
            return reply
        await _ask(client, f"RCPT TO:<{RECIPIENT}>", "250")
        await _ask(client, "DATA", "354")
        return await client.ask(letter.content + b".")


def look(world: World, reply: str, asked: int) -> Outcome:
    """Return what came of the mail, as far as the store knows."""
    kept = world.rows("SELECT account, proof FROM mail UNION ALL SELECT coalesce(account, 'none'), NULL FROM refusal")
    assert len(kept) <= 1, kept
    account, proof = kept[0] if kept else (None, None)
    bodies = [bytes(body) for (body,) in world.rows("SELECT body FROM report") if isinstance(body, bytes)]
    codes = [code.decode() for body in bodies for code in _CODE.findall(body)]
    assert len(codes) <= 1, codes
    return Outcome(
        reply=reply,
        account=None if account is None else str(account),
        proof=None if proof is None else str(proof),
        not_code=codes[0] if codes else None,
        asked=asked,
    )


async def _connect(address: str, world: World) -> Client:
    """Return a client with that address that has read the banner: on loopback by itself, else through a proxy."""
    is_direct = address.startswith("127.")
    host, port = world.house.addresses[DIRECT if is_direct else PROXIED]
    local = (address, 0) if is_direct else None
    async with asyncio.timeout(DEADLINE_S):
        client = Client(*await asyncio.open_connection(host, port, local_addr=local))
    if not is_direct:
        family, target = ("TCP6", "2001:db8::1") if ":" in address else ("TCP4", "198.51.100.1")
        await client.send(f"PROXY {family} {address} {target} 40000 25\r\n".encode())
    banner = await client.reply()
    assert banner.startswith("220 "), banner
    return client


async def _begin_tls(client: Client, row: Row, certificates: Certificates) -> None:
    names = [one.removeprefix("certificate ") for one in row.shows if one.startswith("certificate ")]
    shown = certificates.clients[names[0]] if names else None
    await _ask(client, "STARTTLS", "220")
    await client.begin_tls(client_context(certificates.server, shown))


async def _authenticate(client: Client, name: str, password: str) -> None:
    """Try; what comes of it shows in the reply to the mail."""
    said = base64.b64encode(f"\0{name}\0{password}".encode())
    reply = await client.ask(b"AUTH PLAIN " + said)
    assert reply[:3] in {"235", "535", "538"}, reply


async def _ask(client: Client, command: str, expected: str) -> None:
    reply = await client.ask(command.encode())
    if not reply:
        raise EOFError
    assert reply.startswith(expected), f"{command}: {reply}"
