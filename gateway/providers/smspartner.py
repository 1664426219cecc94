"""SMS Partner's REST interface: `/send` and `/bulk-send` from a sender's name, `/vn/send` from a long number.

Two classes, for they can do different things: from a long number one SMS goes in a call, and at once; otherwise up to
500, and later if wanted. All else they share, and it stands beside: `smspartner_requests` (the calls), `_answers` and
`_codes` (what their answers mean), `_wire` (how things are written), `_questions` (look-ups, balance, STOP list),
`_callbacks`, `_statuses`.

One message id covers all SMS of a call; a receipt finds its SMS by message id and number (docs/carriers.md).

Diagnostics: events `answer_unreadable` (error), `id_missing` (info).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.clock import Clock
from gateway.lifecycle import Accepted, Hold, NotSent, Refused, Uncertain, Verdict
from gateway.providers.answers import describe_broken, read_retry_after
from gateway.providers.base import Balance, Batch, Callback, Inquiry, Message, Receipt, Reply, Untold
from gateway.providers.masking import recorder, secret_of
from gateway.providers.smspartner_answers import Question, Said, read_verdicts
from gateway.providers.smspartner_callbacks import parse_callback
from gateway.providers.smspartner_questions import LOOK_UP_SIZE, Cancellation, Questions
from gateway.providers.smspartner_requests import Call, long_number_call, send_call
from gateway.providers.smspartner_settings import SmsPartnerSettings
from gateway.providers.transport import Answer, Broken, NeverLeft, ProviderUnusable, Transport

__all__ = ["LongNumberProvider", "ShortCodeProvider", "SmsPartnerProvider", "SmsPartnerSettings", "build_smspartner"]

_FURTHER_CALLS_S = 2.0
"""How long after the first call of a batch a further one may begin, so that all end within the dispatcher's margin."""

_LONGEST_WAIT_S = 7 * 86_400.0
"""No limit is published. An SMS for a later date waits in our own queue until then."""


class SmsPartnerProvider:
    """What both ways of sending have in common."""

    def __init__(self, settings: SmsPartnerSettings, clock: Clock, callback_url: str | None) -> None:
        """Be ready to send; ProviderUnusable if the key was not read, or `ca_file` cannot be."""
        if settings.api_key is None:
            raise ProviderUnusable(f"the key of provider {settings.name} was not read from its api_key_file")
        self._settings = settings
        self._clock = clock
        self._callback_url = callback_url
        self._key = settings.api_key.get_secret_value()
        self._transport = Transport(
            base_url=settings.base_url,
            timeout_s=settings.timeout_s,
            width=settings.width,
            ca_file=settings.ca_file,
        )
        self._record = recorder([self._key, secret_of(callback_url)])
        self._questions = Questions(self._transport, key=self._key, record=self._record, timeout_s=settings.timeout_s)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def look_up_size(self) -> int:
        return LOOK_UP_SIZE

    async def close(self) -> None:
        await self._transport.close()

    async def look_up(self, inquiries: Sequence[Inquiry], *, account_key: str) -> Sequence[Receipt] | Untold:
        return await self._questions.look_up(inquiries)  # the key is our own, whosoever the SMS are

    async def balance(self) -> Balance | Untold:
        return await self._questions.balance()

    async def add_optout(self, msisdn: str) -> Untold | None:
        return await self._questions.add_optout(msisdn)

    async def remove_optout(self, msisdn: str) -> Untold | None:
        return await self._questions.remove_optout(msisdn)

    async def list_optouts(self) -> Sequence[str] | Untold:
        return await self._questions.list_optouts()

    async def cancel(self, provider_ref: str) -> Cancellation | Untold:
        """Stop the scheduled call with this message id, with all SMS in it."""
        return await self._questions.cancel(provider_ref)

    def parse_callback(self, callback: Callback) -> Sequence[Receipt | Reply]:
        return parse_callback(callback, record=self._record)

    async def _make(self, call: Call, batch: Batch) -> list[Verdict]:
        """Make one call and return a verdict for each SMS in it."""
        outcome = await self._transport.post_json(call.path, call.fields)
        match outcome:
            case Answer():
                question = Question(
                    provider=self.name,
                    numbers=[message.msisdn for message in batch.messages],
                    is_bulk=call.is_bulk,
                    is_trial=self._settings.sandbox,
                    deliver_at=batch.options.deliver_at,
                    record=self._record,
                )
                retry_at = read_retry_after(outcome.retry_after, self._clock.now())
                return read_verdicts(question, Said(status=outcome.status, body=outcome.body, retry_at=retry_at))
            case NeverLeft():
                return [NotSent(raw=self._record(outcome.reason), hold=Hold.PROVIDER)] * len(batch.messages)
            case Broken():
                return [Uncertain(raw=self._record(describe_broken(outcome)))] * len(batch.messages)


class LongNumberProvider(SmsPartnerProvider):
    """Sends from a rented number, which people can answer."""

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        call = long_number_call(batch, self._settings, key=self._key, callback_url=self._callback_url)
        return await self._make(call, batch)


class ShortCodeProvider(SmsPartnerProvider):
    """Sends from a sender's name, or from a short code when there is none."""

    @property
    def batch_size(self) -> int:
        return self._settings.batch_size

    @property
    def longest_wait_s(self) -> float:
        return _LONGEST_WAIT_S

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        """Make one call, and one more for SMS to numbers that it has already: a number may stand in a call once only.

        A further call waits for the one before, so that what is sent to one number stays in order; it is not begun when
        that one was not answered, or took long.
        """
        started = self._clock.monotonic()
        verdicts: dict[int, Verdict] = {}
        for positions in _without_repetition(batch.messages):
            if verdicts and not self._may_go_on(verdicts.values(), started):
                waiting = NotSent(raw="not handed over yet: SMS before it to the same number were not answered in time")
                verdicts |= dict.fromkeys(positions, waiting)
                continue
            part = replace(batch, messages=tuple(batch.messages[position] for position in positions))
            now = self._clock.now()
            call = send_call(part, self._settings, key=self._key, callback_url=self._callback_url, now=now)
            verdicts |= zip(positions, await self._make(call, part), strict=True)
        return [verdicts[position] for position in range(len(batch.messages))]

    def _may_go_on(self, verdicts: Iterable[Verdict], started: float) -> bool:
        is_answered = any(isinstance(verdict, Accepted | Refused) for verdict in verdicts)
        return is_answered and self._clock.monotonic() - started < _FURTHER_CALLS_S


def build_smspartner(
    settings: SmsPartnerSettings, clock: Clock, callback_url: str | None
) -> LongNumberProvider | ShortCodeProvider:
    """Return the carrier that the settings describe."""
    if settings.long_number is not None:
        return LongNumberProvider(settings, clock, callback_url)
    return ShortCodeProvider(settings, clock, callback_url)


def _without_repetition(messages: Sequence[Message]) -> list[list[int]]:
    """Return the positions of the messages call by call: no number twice in one, and each number's SMS in order."""
    calls: list[list[int]] = []
    earlier: Counter[str] = Counter()
    for position, message in enumerate(messages):
        turn = earlier[message.msisdn]
        earlier[message.msisdn] += 1
        if turn == len(calls):
            calls.append([])
        calls[turn].append(position)
    return calls
