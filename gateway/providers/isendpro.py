"""iSendPro's REST interface: `/sms` for one SMS, `/smsmulti` for several (docs/protocol.md §9 for its codes).

Quirks: no message id and no cost come back, the `tracker` is all there is to correlate by; the outcome stands in the
body, the HTTP status repeats it at best; optional values travel as JSON strings, `sandbox` as a number. The STOP
mention of commercial SMS is added there, unless `nostop` says not to, so `commercial` asks for nothing.

What was handed over with a date cannot be taken back: there is no such call, and nothing tells what waits.

Diagnostics: event `answer_unreadable` (error); those of `isendpro_questions`.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog

from gateway.clock import Clock
from gateway.lifecycle import Hold, NotSent, Uncertain, Verdict
from gateway.providers.answers import read_retry_after, verdict_of_status
from gateway.providers.base import Batch, Callback, Receipt, Reply
from gateway.providers.isendpro_answers import assign, read_entries, verdict_of_entry
from gateway.providers.isendpro_callbacks import IsendproCallbacks
from gateway.providers.isendpro_dates import PARIS, render_send_date
from gateway.providers.isendpro_questions import IsendproQuestions
from gateway.providers.isendpro_settings import Busy, Doubt, IsendproSettings, SandboxSettings
from gateway.providers.transport import Answer, Broken, NeverLeft, ProviderUnusable, Transport, recorded

__all__ = ["IsendproProvider", "IsendproSettings", "SandboxSettings"]

_log = structlog.get_logger(__name__)

_LONGEST_WAIT_S = 86_400.0
"""No limit is documented. A day, because a STOP, a hold or a correction no longer reaches what is there already."""


class IsendproProvider(IsendproQuestions):
    """A carrier that speaks iSendPro's language."""

    def __init__(self, settings: IsendproSettings | SandboxSettings, clock: Clock) -> None:
        """Be ready to send; ProviderUnusable if the settings name a file that cannot be used or was not read."""
        if settings.keyid_file is not None and settings.keyid is None:
            raise ProviderUnusable(f"the key of provider {settings.name} was not read from its keyid_file")
        transport = Transport(
            base_url=settings.base_url,
            timeout_s=settings.timeout_s,
            width=settings.width,
            ca_file=settings.ca_file,
        )
        keyid = None if settings.keyid is None else settings.keyid.get_secret_value()
        super().__init__(transport, name=settings.name, keyid=keyid)
        self._settings = settings
        self._clock = clock
        self._callbacks = IsendproCallbacks(settings)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def batch_size(self) -> int:
        return self._settings.batch_size

    @property
    def longest_wait_s(self) -> float:
        return _LONGEST_WAIT_S

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        key = self._key(batch)
        path, fields = _build_request(batch, key=key, is_trial=self._settings.sandbox)
        if batch.options.deliver_at is not None:
            fields |= self._date_fields(batch.options.deliver_at)
        outcome = await self._transport.post_json(path, fields)
        match outcome:
            case Answer():
                return self._read(outcome, batch, secret=key)
            case NeverLeft():
                return [NotSent(raw=recorded(outcome.reason, secret=key), hold=Hold.PROVIDER)] * len(batch.messages)
            case Broken():
                return [Uncertain(raw=_record_broken(outcome, secret=key))] * len(batch.messages)

    def parse_callback(self, callback: Callback) -> Sequence[Receipt | Reply]:
        return self._callbacks.parse(callback)

    async def close(self) -> None:
        await self._transport.close()

    def _key(self, batch: Batch) -> str:
        return batch.options.account_key if self._keyid is None else self._keyid

    def _date_fields(self, at: datetime) -> dict[str, str]:
        """Return what says when to send; nothing for an instant that is no longer ahead."""
        zone = self._settings.gmt_zone
        date = render_send_date(at, now=self._clock.now(), zone=zone or PARIS)
        if date is None:
            return {}
        return {"date_envoi": date} if zone is None else {"date_envoi": date, "gmt_zone": zone}

    def _read(self, answer: Answer, batch: Batch, *, secret: str) -> list[Verdict]:
        retry_at = read_retry_after(answer.retry_after, self._clock.now())
        whole = recorded(f"HTTP {answer.status} {answer.body.decode('utf-8', 'replace')}", secret=secret)
        entries = read_entries(answer.body)
        if entries is None:
            not_taken = {429, 503} if self._settings.on_503 is Busy.NOT_TAKEN else {429}
            verdict = verdict_of_status(answer.status, raw=whole, retry_at=retry_at, not_taken=not_taken)
            _log.error(
                "answer_unreadable",
                provider=self.name,
                status=answer.status,
                count=len(batch.messages),
                advice="not the carrier's own words: see its base_url, and what stands between",
            )
            return [verdict] * len(batch.messages)
        found = assign(entries, [message.msisdn.removeprefix("+") for message in batch.messages])
        return [
            Uncertain(raw=whole)
            if entry is None
            else verdict_of_entry(
                entry,
                status=answer.status,
                raw=recorded(f"HTTP {answer.status} {entry.text}", secret=secret),
                retry_at=retry_at,
                is_999_refusal=self._settings.on_999 is Doubt.REFUSED,
            )
            for entry in found
        ]


def _build_request(batch: Batch, *, key: str, is_trial: bool) -> tuple[str, dict[str, object]]:
    """Return the path and the fields of the call that carries the batch."""
    numbers = [message.msisdn.removeprefix("+") for message in batch.messages]
    texts = [message.text for message in batch.messages]
    trackers = [message.tracker for message in batch.messages]
    fields: dict[str, object] = {"keyid": key}
    if len(numbers) == 1:
        path = "/sms"
        fields |= {"num": numbers[0], "sms": texts[0], "tracker": trackers[0]}
    else:
        path = "/smsmulti"  # always lists, also for one common text: a plain string stands in one example only
        fields |= {"num": numbers, "sms": texts, "tracker": trackers}
    options = batch.options
    if options.originator is not None:
        fields["emetteur"] = options.originator
    if options.max_parts > 1:
        fields["smslong"] = str(options.max_parts)
    if options.nostop:
        fields["nostop"] = "1"
    if options.ucs2:
        fields["ucs2"] = "1"
    if is_trial:
        fields["sandbox"] = 1  # undocumented, used by two well-kept clients; a number, and only when on
    return path, fields


def _record_broken(outcome: Broken, *, secret: str) -> str:
    if outcome.status is None:
        return recorded(outcome.reason, secret=secret)
    body = outcome.body.decode("utf-8", "replace")
    return recorded(f"{outcome.reason}; HTTP {outcome.status} {body}", secret=secret)
