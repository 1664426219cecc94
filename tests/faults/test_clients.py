"""Clients that break off, creep, flood and come in numbers: nothing of theirs is half done, and others are served."""

import asyncio
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.faults.field import Field, field, make_mail
from tests.support.configuration import RECIPIENT, SENDER

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


async def dialogue(ground: Field, *lines: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection on which these lines were said and answered."""
    reader, writer = await asyncio.open_connection(*ground.gateway.smtp)
    await reader.readline()
    for line in lines:
        writer.write(line.encode() + b"\r\n")
        await reader.readline()
    return reader, writer


BEGINNING = ("HELO client.masociete.com", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>", "DATA")


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection, so that the other side is told at once."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@asynccontextmanager
async def locked(ground: Field) -> AsyncIterator[None]:
    """Within the block nobody can write to the store."""
    with closing(sqlite3.connect(ground.config.with_name("gateway.db"), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


async def test_a_client_that_is_gone_before_its_answer_is_no_error_of_ours(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, field(tmp_path, carrier=sandbox.url) as ground:
        async with locked(ground):
            for number in range(3):
                _, writer = await dialogue(ground, *BEGINNING)
                writer.write(make_mail(str(number), f"060102030{number}") + b".\r\n")
                await writer.drain()
                await asyncio.sleep(0.2)  # the mail is with the store now
                reset(writer)
            await asyncio.sleep(0.2)
        async with asyncio.timeout(20):
            await sandbox.wait_for_messages(3)

        assert ground.events("session_failed") == []
        assert len(ground.events("envoi_admitted")) == 3
