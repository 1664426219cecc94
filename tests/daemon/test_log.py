"""What log lines look like, and what never stands in them."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
import structlog

from gateway import log
from gateway.lifecycle import SmsState


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    known = set(log._secrets)
    lines = io.StringIO()
    log.set_up_logging(form="json", level="info", stream=lines)
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    log._secrets.clear()
    log._secrets.update(known)
    structlog.reset_defaults()


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Masked:
    """Prints itself masked, as numbers do."""

    def __str__(self) -> str:
        return "*******304"


class Fruit(Enum):
    PEAR = "pear"


def test_an_event_is_one_json_line_with_its_keys(stream: io.StringIO) -> None:
    structlog.get_logger().info("sms_settled", sms_id="1", state=SmsState.ACCEPTED, duration_ms=12, ok=True, none=None)

    line = read(stream)[0]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "sms_settled",
        "level": "info",
        "sms_id": "1",
        "state": "accepted",
        "duration_ms": 12,
        "ok": True,
        "none": None,
    }


def test_a_library_logs_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("somebody.else").warning("lost %d of %s", 3, "many")

    assert [(line["event"], line["level"]) for line in read(stream)] == [("lost 3 of many", "warning")]


@pytest.mark.parametrize("name", ["httpx", "aiosmtpd", "mail.log", "uvicorn.error"])
def test_chatty_libraries_are_heard_from_warning_on(stream: io.StringIO, name: str) -> None:
    logging.getLogger(name).info("GET https://carrier.example/?keyid=a296464ce012b8ab710a")
    logging.getLogger(name).warning("trouble")

    assert [line["event"] for line in read(stream)] == ["trouble"]


def test_below_its_level_nothing_is_written(stream: io.StringIO) -> None:
    structlog.get_logger().debug("detail")

    assert stream.getvalue() == ""


def test_a_registered_secret_stands_nowhere_in_a_line(stream: io.StringIO) -> None:
    log.register_secrets(["a296464ce012b8ab710a"])
    try:
        int("key a296464ce012b8ab710a refused")
    except ValueError:
        structlog.get_logger().exception(
            "call_failed a296464ce012b8ab710a",
            url="https://x/?keyid=a296464ce012b8ab710a",
            nested={"a296464ce012b8ab710a": ["a296464ce012b8ab710a"]},
        )
    logging.getLogger("httpcore").error("sent %s", "a296464ce012b8ab710a")

    assert "a296464ce012b8ab710a" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 5


def test_a_secret_too_short_to_protect_masks_nothing(stream: io.StringIO) -> None:
    log.register_secrets(["1", ""])
    structlog.get_logger().info("parts 1")

    assert read(stream)[0]["event"] == "parts 1"


def test_a_control_character_cannot_start_a_line_of_its_own(stream: io.StringIO) -> None:
    structlog.get_logger().info("mail_received", peer='x\r\n{"event": "forged"}\x1b[31m\x85\u2028')

    assert len(stream.getvalue().splitlines()) == 1
    assert read(stream)[0]["peer"] == 'x\\x0d\\x0a{"event": "forged"}\\x1b[31m\\x85\\x2028'


def test_text_mode_escapes_too_and_has_no_colour_off_a_terminal() -> None:
    lines = io.StringIO()
    log.set_up_logging(form="text", stream=lines)
    try:
        structlog.get_logger().warning("mail_refused", cause="bad\n2026-01-01 forged")
    finally:
        logging.getLogger().handlers.clear()
        structlog.reset_defaults()

    assert lines.getvalue().count("\n") == 1
    assert "\\x0a" in lines.getvalue()
    assert "\x1b" not in lines.getvalue()


def test_a_traceback_stays_inside_its_line(stream: io.StringIO) -> None:
    try:
        int("boom")
    except ValueError:
        structlog.get_logger().exception("stage_paused")

    assert len(stream.getvalue().splitlines()) == 1
    assert "ValueError: invalid literal" in read(stream)[0]["exception"]


def test_values_are_printed_by_their_type(stream: io.StringIO) -> None:
    structlog.get_logger().info(
        "x",
        number=Masked(),
        fruit=Fruit.PEAR,
        at=datetime(2026, 3, 4, tzinfo=UTC),
        raw=b"secret body",
        many=(1, Masked()),
    )

    line = read(stream)[0]
    assert line["number"] == "*******304"
    assert line["fruit"] == "pear"
    assert line["at"] == "2026-03-04T00:00:00+00:00"
    assert line["raw"] == "11 bytes"
    assert line["many"] == [1, "*******304"]


def test_a_value_is_bounded(stream: io.StringIO) -> None:
    structlog.get_logger().info("x", answer="a" * 100_000)

    assert len(read(stream)[0]["answer"]) < 5_000


def test_what_is_bound_to_the_work_is_in_its_lines(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(account="masociete"):
        structlog.get_logger().info("sms_claimed")

    assert read(stream)[0]["account"] == "masociete"


def test_a_stream_that_takes_nothing_stops_no_work() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    log.set_up_logging(form="json", level="info", stream=Full())
    try:
        structlog.get_logger().info("sms_settled")
    finally:
        structlog.reset_defaults()


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    structlog.get_logger().debug("sms_claimed")
    log.set_up_logging(form="json", level="error", stream=stream)
    structlog.get_logger().warning("provider_paused")
    structlog.get_logger().error("account_held")

    assert [line["event"] for line in read(stream)] == ["account_held"]


def test_gathered_lines_come_together_in_their_order(stream: io.StringIO) -> None:
    with log.gathered_lines():
        for number in range(3):
            structlog.get_logger().info("sms_claimed", number=number)
        written = stream.getvalue()
    structlog.get_logger().info("sms_settled", number=3)

    assert written == ""
    assert [line["number"] for line in read(stream)] == [0, 1, 2, 3]


def test_gathered_lines_are_written_when_the_block_fails(stream: io.StringIO) -> None:
    def fail() -> None:
        with log.gathered_lines():
            structlog.get_logger().info("sms_claimed")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()

    assert [line["event"] for line in read(stream)] == ["sms_claimed"]


def test_the_level_of_each_line_is_told_to_who_counts(stream: io.StringIO) -> None:
    told: list[str] = []
    log.set_up_logging(form="json", level="info", stream=stream, count=told.append)
    for level in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), level)("sms_settled")
    logging.getLogger("library").error("went wrong")

    assert told == ["info", "warning", "error", "error"]
    assert [line["level"] for line in read(stream)] == told
