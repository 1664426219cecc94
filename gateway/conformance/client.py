"""A mail client that sends exactly the octets it is given, and says what it was answered.

The usual libraries put right what is wrong with a mail (bare CR, bare LF, NUL, octets above 127), which is what some
cases are about.
"""

import asyncio

from gateway.conformance.filling import Mail

_MOST_REPLY_LINES = 100
_HELLO = "conformance.example"


async def submit(host: str, port: int, mail: Mail) -> str:
    """Send one mail; return the reply to its final dot, or the first refusal before it.

    What breaks the dialogue is returned, too, as a sentence without a code. The caller sets the deadline.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return f"no connection: {error.strerror or error}"
    try:
        return await _converse(reader, writer, mail)
    except (OSError, EOFError, ValueError) as error:
        return f"the dialogue broke: {type(error).__name__}"
    finally:
        writer.close()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mail: Mail) -> str:
    async def ask(command: bytes) -> str:
        writer.write(command)
        await writer.drain()
        return await _read_reply(reader)

    reply = await _read_reply(reader)
    commands = [
        f"EHLO {_HELLO}",
        f"MAIL FROM:<{mail.sender}>",
        *(f"RCPT TO:<{one}>" for one in mail.recipients),
        "DATA",
    ]
    for command in commands:
        if not reply.startswith("2"):
            return reply
        reply = await ask(f"{command}\r\n".encode("ascii"))
    if not reply.startswith("3"):
        return reply
    reply = await ask(_stuff(mail.content))
    writer.write(b"QUIT\r\n")
    return reply


def _stuff(content: bytes) -> bytes:
    """Return the content as DATA carries it: dots at the beginning of lines doubled, and the final one."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")


async def _read_reply(reader: asyncio.StreamReader) -> str:
    """Return a reply as one line. Raises EOFError when the connection ends before it does."""
    texts = []
    for _ in range(_MOST_REPLY_LINES):
        line = (await reader.readuntil(b"\n")).decode("latin-1").rstrip("\r\n")
        texts.append(line[4:])
        if line[3:4] != "-":
            return f"{line[:3]} {' '.join(texts)}"
    raise ValueError
