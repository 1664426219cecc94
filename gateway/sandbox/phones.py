"""The telephones at the other end: what somebody answered, and each one's conversation."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import TypedDict, final

from gateway.sandbox.messages import CarriedSms, MessageBox
from gateway.sandbox.pulse import Pulse

MOST_REPLIES = 10_000
MOST_TEXT = 1600
_PHONES_SHOWN = 40
_BUBBLES_SHOWN = 30
_LOOKED_AT = 2_000  # of the newest: a page is drawn several times a second


@final
class SentReply(TypedDict):
    """What somebody answered, as `GET /sandbox/replies` lists it."""

    id: int
    api: str
    number: str  # E.164: who answered
    text: str
    to: str | None  # what they answered to: a long number, a name; None: whatever the SMS came from
    time: str  # ISO 8601, UTC
    answers: int  # the id of the SMS; 0: of none
    stop: bool
    told: bool  # whether there was an address to tell it to


class Replies:
    """What was answered, oldest first."""

    def __init__(self, pulse: Pulse) -> None:
        self._replies: deque[SentReply] = deque(maxlen=MOST_REPLIES)
        self._given = 0
        self._pulse = pulse

    def next_id(self) -> int:
        """Return a number that no reply has had."""
        self._given += 1
        return self._given

    def add(self, reply: SentReply) -> None:
        """Keep it."""
        self._replies.append(reply)
        self._pulse.beat()

    def list(self) -> Sequence[SentReply]:
        """Return all that are kept."""
        return tuple(self._replies)

    def newest(self, count: int) -> Sequence[SentReply]:
        """Return the last ones, newest first."""
        return [*islice(reversed(self._replies), count)]

    def clear(self) -> None:
        """Forget all."""
        self._replies.clear()
        self._pulse.beat()


def is_stop(text: str) -> bool:
    """Tell whether somebody wants no more SMS: the word STOP, with nothing before it but space."""
    words = text.split()
    return bool(words) and words[0].strip(".,;:!?\"'").upper() == "STOP"


def converse(box: MessageBox, replies: Replies) -> Sequence[tuple[str, Sequence[CarriedSms | SentReply]]]:
    """Return the newest conversations, the one that something happened in last first, as number and bubbles."""
    both: list[CarriedSms | SentReply] = [*box.newest(_LOOKED_AT), *replies.newest(_LOOKED_AT)]
    both.sort(key=lambda bubble: (bubble["time"], "answers" in bubble, bubble["id"]), reverse=True)
    found: OrderedDict[str, list[CarriedSms | SentReply]] = OrderedDict()
    for bubble in both:
        number = bubble["msisdn"] if "msisdn" in bubble else bubble["number"]
        if number not in found and len(found) == _PHONES_SHOWN:
            continue
        bubbles = found.setdefault(number, [])
        if len(bubbles) < _BUBBLES_SHOWN:
            bubbles.append(bubble)
    return [(number, bubbles[::-1]) for number, bubbles in found.items()]
