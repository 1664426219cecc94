"""docs/protocol.md §2.8: whatever the bytes, reading them takes time in proportion to their number."""

import gc
import time

import pytest

from gateway.protocol.envoi import read_envoi
from gateway.protocol.mime import read_body, read_headers
from gateway.protocol.reading import Mode, Unreadable
from tests.protocol.mails import ENVOI, LIMITS, TEXT_PART, make_file, make_mail, make_multipart

BYTES = 50_000
GROWTH = 4
MOST_GROWTH = 3 * GROWTH  # linear is 4 and a machine at work adds to it; quadratic would be 16
NEGLIGIBLE_S = 0.01  # refused at first sight, or too quick to compare
ATTEMPTS = 5

PIECES = [
    "<", "&", "]]>", "<a", "<a ", "<a b=", "<a b='", "<sms>", "</sms>", "<sms><", "&amp;", "&#1", "<![CDATA[x]]>",
    "<?xml ", "<x/>", "<num1>6</num1>", "<envoi ", "<envoi", "</envoi", "\n", " \n", " ", "\t", "> \n", ">>> x\n",
    "x \n", "é", "Ö", "e\u0301", "漢", "\u200d", "--b0\n", "--b0", "=\n", "=E9", "= \n", "[1]", ";;", ";", "-- \n", "(",
    '"', "\\", "a@",
]  # fmt: skip


def read(raw: bytes) -> None:
    try:
        read_headers(raw, LIMITS)
        read_envoi(read_body(raw, LIMITS, Mode.LENIENT), mode=Mode.LENIENT, limits=LIMITS)
    except Unreadable:
        pass  # this must not take long either


def wrap(filler: str, shape: str) -> bytes:
    """Return a mail with the filler in one place."""
    match shape:
        case "around":
            return make_mail(ENVOI + filler, "Content-Type: text/plain; charset=utf-8; format=flowed")
        case "within":
            return make_mail(ENVOI.replace("Salut", filler), "Content-Type: text/plain; charset=utf-8")
        case "encoded":
            return make_mail(ENVOI + filler, "Content-Transfer-Encoding: quoted-printable")
        case "header":
            value = filler[: len(filler) // 28]  # at most 8 KiB, or it is refused at sight
            return b"From: " + value.encode().replace(b"\n", b"\r\n ") + b"\r\n" + make_mail(ENVOI, sender="X: y")
        case "parts":
            return make_multipart(TEXT_PART, filler.encode().replace(b"\n", b"\r\n"))
        case _:
            without = ENVOI.replace("<num>0601020304</num>", "").replace("<sms>Salut</sms>", "")
            return make_multipart(
                TEXT_PART.replace(ENVOI.encode(), without.encode()),
                make_file("mobiles.csv", f"0601020304\n{filler}"),
                make_file("message.csv", f"x{filler}"),
            )


def quickest_s(raw: bytes, attempts: int) -> float:
    """Return the processor's time of the quickest attempt: whatever else runs here only ever adds to it.

    Without the collector: it goes through all that other tests left behind, oftener the longer a mail is.
    """
    took = []
    gc.disable()
    try:
        for _ in range(attempts):
            began_at = time.thread_time()
            read(raw)
            took.append(time.thread_time() - began_at)
    finally:
        gc.enable()
    return min(took)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["around", "within", "encoded", "header", "parts", "files"])
def test_four_times_the_bytes_take_about_four_times_as_long(shape: str) -> None:
    grown_too_much = []
    for piece in PIECES:
        short, long = (wrap(piece * (size // len(piece)), shape) for size in (BYTES, BYTES * GROWTH))
        for attempts in (1, ATTEMPTS, 2 * ATTEMPTS):
            before_s, after_s = quickest_s(short, attempts), quickest_s(long, attempts)
            if after_s < max(NEGLIGIBLE_S, MOST_GROWTH * before_s):
                break
        else:
            grown_too_much.append((piece, before_s, after_s))

    assert grown_too_much == []
