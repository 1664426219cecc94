"""T7, T8, T20: no mail made to hurt costs much more time or memory than an ordinary one, or harms the next."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.faults.carriers import Carrier, accepts
from tests.faults.field import Field
from tests.support.configuration import SENDER
from tests.threats.attacker import ENVOI, family, from_headers, is_served, peak_kib, siege, submit

pytestmark = pytest.mark.slow

MOST_KIB = 512 * 1024
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
COSTLY_S = 3.0
"""Of the processor, for one mail of a megabyte at most; an ordinary one of that size takes a tenth of it."""


def many(piece: str, times: int) -> str:
    """Return so many of it, in lines that a mail may have."""
    a_line = max(1, 20_000 // len(piece))
    return "\r\n".join(piece * min(a_line, times - start) for start in range(0, times, a_line))


def plain(body: str) -> bytes:
    """Return a mail of the trusted sender with this text."""
    return from_headers(f"From: {SENDER}", "Content-Type: text/plain; charset=utf-8", body=body)


def within(text: str) -> bytes:
    """Return a mail whose SMS would be this text."""
    return plain(ENVOI.replace("Salut", text))


def headers(*lines: str) -> bytes:
    """Return a mail with these lines among its headers."""
    return from_headers(f"From: {SENDER}", *lines)


def doctype(inner: str, use: str = "&a;") -> bytes:
    """Return an envoi behind a document type."""
    return plain(f'<?xml version="1.0"?><!DOCTYPE envoi [{inner}]>' + ENVOI.replace("Salut", use))


LAUGHS = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(10))

XML_BOMBS = {
    "laughs": doctype(LAUGHS, "&a10;"),
    "quadratic": doctype('<!ENTITY a "' + many("x", 50_000) + '">', many("&a;", 50_000)),
    "a file": doctype('<!ENTITY a SYSTEM "file:///etc/passwd">'),
    "an address": doctype('<!ENTITY a SYSTEM "http://127.0.0.1:9/">'),
    "a parameter entity": doctype('<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;'),
    "a document type elsewhere": plain('<!DOCTYPE envoi SYSTEM "file:///etc/passwd">' + ENVOI),
    "an inclusion": within('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>'),
    "a style sheet": plain('<?xml-stylesheet href="file:///etc/passwd"?>' + ENVOI),
    "attributes": within("<a " + "\r\n".join(f'a{n}="1"' for n in range(60_000)) + "/>"),
    "attributes without values": within("<a " + many("a ", 200_000) + "/>"),
    "depth": within(many("<a>", 200_000)),
    "depth of known tags": within(many("<sms>", 200_000)),
    "elements": within(many("<a/>", 200_000)),
    "stray signs": within(many("<&", 200_000)),
    "unclosed CDATA": within(many("<![CDATA[", 50_000)),
    "CDATA": within(many("<![CDATA[x]]>", 50_000)),
    "blanks in a tag": within("</" + many(" ", 500_000)),
    "references": within(many("&#65;", 150_000)),
    "envois": plain(many("<envoi>", 100_000)),
    "half an end": plain(ENVOI.replace("</envoi>", "") + many("</envoi", 100_000)),
    "blank lines": plain("\r\n" * 400_000 + ENVOI),
}

MIME_BOMBS = {
    "semicolons": headers("Content-Type: text/plain" + ";" * 8_000),
    "many semicolons": headers("Content-Type: text/plain" + ("\r\n " + ";" * 10_000) * 20),
    "parameters": headers("Content-Type: text/plain" + "; a=b" * 1_500),
    "continued parameters": headers(*[f"Content-Type: text/plain; a*{n}=b" for n in range(500)]),
    "encoded words": headers("Subject: " + "=?utf-8?q?=61?= " * 500),
    "folded for ever": headers("Subject: x" + "\r\n x" * 60_000),
    "headers": headers(*["X: y"] * 60_000),
    "comments": headers("To: " + "(" * 7_000),
    "quotes": headers('To: "' + '\\"' * 3_000),
    "a long boundary": from_headers(
        f"From: {SENDER}", f'Content-Type: multipart/mixed; boundary="{"b" * 7_000}"', body=ENVOI
    ),
    "empty parts": from_headers(
        f"From: {SENDER}", 'Content-Type: multipart/mixed; boundary="b"', body="--b\r\n\r\n" * 100_000
    ),
    "nested": from_headers(
        f"From: {SENDER}",
        'Content-Type: multipart/mixed; boundary="b0"',
        body="".join(f'--b{n}\r\nContent-Type: multipart/mixed; boundary="b{n + 1}"\r\n\r\n' for n in range(3_000))
        + ENVOI,
    ),
    "one within itself": from_headers(
        f"From: {SENDER}",
        'Content-Type: multipart/mixed; boundary="b"',
        body='--b\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n' * 20_000,
    ),
    "mails within mails": from_headers(
        f"From: {SENDER}", "Content-Type: message/rfc822", body="Content-Type: message/rfc822\r\n\r\n" * 20_000
    ),
    "base64 of nothing": from_headers(f"From: {SENDER}", "Content-Transfer-Encoding: base64", body="=\r\n" * 200_000),
    "quoted-printable": from_headers(
        f"From: {SENDER}", "Content-Transfer-Encoding: quoted-printable", body="=3D=\r\n" * 100_000 + ENVOI
    ),
    "a charset that unpacks": from_headers(f"From: {SENDER}", "Content-Type: text/plain; charset=zip", body=ENVOI),
    "a charset of a file": from_headers(
        f"From: {SENDER}", "Content-Type: text/plain; charset=../../etc/passwd\0", body=ENVOI
    ),
    "utf-7": from_headers(f"From: {SENDER}", "Content-Type: text/plain; charset=utf-7", body="+ADw-envoi+AD4-"),
    "flowed": from_headers(
        f"From: {SENDER}", "Content-Type: text/plain; format=flowed", body="> \r\n" * 100_000 + ENVOI
    ),
}


def placeholder_bomb(rows: int) -> bytes:
    """Return a mail whose template would grow to gigabytes."""
    body = ENVOI.replace("<num>0601020304</num><sms>Salut</sms>", "")
    lines = "\r\n".join(f"0601020304;;{'x' * 499}" for _ in range(rows))
    parts = [
        f"Content-Type: text/plain\r\n\r\n{body}",
        f'Content-Disposition: attachment; filename="mobiles.csv"\r\n\r\n{lines}',
        f'Content-Disposition: attachment; filename="message.csv"\r\n\r\n{"[1]" * 1_300}',
    ]
    mixed = "".join(f"--b\r\n{part}\r\n" for part in parts)
    return from_headers(f"From: {SENDER}", 'Content-Type: multipart/mixed; boundary="b"', body=mixed + "--b--")


def spent_s(ground: Field) -> float:
    """Return the processor's time that the daemon and its children have taken, those that ended included."""
    total = 0
    for process in family(ground.gateway.process.pid):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / TICKS_PER_S


def most_kib(ground: Field) -> int:
    """Return the most memory that any process of the gateway had."""
    peaks = [peak_kib(ground)]
    for process in family(ground.gateway.process.pid)[1:]:
        status = Path(f"/proc/{process}/status").read_text()
        peaks.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")))
    return max(peaks)


async def test_no_bomb_in_a_mail_goes_off(tmp_path: Path) -> None:
    """T7, T8: each is answered within seconds of the processor's time, the same readers read the next mail."""
    bombs = {**XML_BOMBS, **MIME_BOMBS, "a template": placeholder_bomb(500)}
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, reading={"deadline_s": 30}) as ground:
        readers = family(ground.gateway.process.pid)
        replies, costs_s = {}, {}
        for name, content in bombs.items():
            before_s = spent_s(ground)
            replies[name] = await submit(ground, content)
            costs_s[name] = spent_s(ground) - before_s
        refused = {name for name, reply in replies.items() if reply.startswith("5")}

        assert {reply[:3] for reply in replies.values()} <= {"250", "550", "554"}, replies
        assert {"laughs", "quadratic", "a file", "an address", "a parameter entity", "attributes", "nested"} <= refused
        assert [(name, cost_s) for name, cost_s in costs_s.items() if cost_s > COSTLY_S] == []
        assert most_kib(ground) < MOST_KIB
        assert family(ground.gateway.process.pid) == readers  # none died of it
        assert not any("root:" in request.get("sms", "") for request in carrier.requests)
        await is_served(ground, "after")


async def test_bombs_together_leave_room_for_good_mails(tmp_path: Path) -> None:
    """T8, T19: all of them at once, over and over, and a good client between."""
    bombs = [*XML_BOMBS.values(), *MIME_BOMBS.values()]
    async with siege(tmp_path) as ground, asyncio.TaskGroup() as group:
        throwing = [group.create_task(submit(ground, content)) for content in bombs * 2]
        waits_s = []
        for number in range(5):
            began = time.monotonic()  # noqa: TID251 of the test
            reply = await submit(ground, from_headers(f"From: {SENDER}", body=ENVOI.replace(">1<", f">{number}<")))
            waits_s.append(time.monotonic() - began)  # noqa: TID251 of the test
            assert reply[:3] in {"250", "451"}
        await asyncio.wait(throwing)
        await is_served(ground, "after")

        assert sorted(waits_s)[2] < 10
        assert {task.result()[:3] for task in throwing} <= {"250", "451", "550", "554"}
        assert most_kib(ground) < MOST_KIB


GROWING = [
    "<",
    "&",
    "<sms>",
    "</sms>",
    "<a ",
    "&#1",
    "<![CDATA[",
    "</envoi",
    " \r\n",
    "--b\r\n",
    "=\r\n",
    "[1]",
    "é",
    "> \r\n",
]
SIZES = (100_000, 400_000)


async def test_four_times_the_mail_costs_about_four_times_as_much(tmp_path: Path) -> None:
    """T20: by the processor's time, which other programs do not change much; quadratic would be sixteen times."""
    async with siege(tmp_path) as ground:
        suspects = {}
        for piece in GROWING:
            costs_s = []
            for size in SIZES:
                content = plain(ENVOI + piece * (size // len(piece)))
                tries = []
                for _ in range(3):
                    before_s = spent_s(ground)
                    await submit(ground, content)
                    tries.append(spent_s(ground) - before_s)
                costs_s.append(min(tries))
            if costs_s[1] > max(0.15, 12 * costs_s[0]):
                suspects[piece] = costs_s

        assert suspects == {}
