"""iSendPro's REST interface: `/sms` for one SMS, `/smsmulti` for several (docs/protocol.md §9 for its codes).

Quirks: no message id comes back, the `tracker` is all there is to correlate by; the outcome stands in the body, the
HTTP status repeats it at best; optional values travel as JSON strings, `sandbox` as a number.

Diagnostics: event `answer_unreadable` (error).
"""

from collections.abc import Sequence
from enum import Enum, unique
from typing import Literal

import structlog
from pydantic import Field, SecretStr

from gateway.clock import Clock
from gateway.lifecycle import Hold, NotSent, Uncertain, Verdict
from gateway.providers.answers import read_retry_after, verdict_of_status
from gateway.providers.base import Batch
from gateway.providers.isendpro_answers import assign, read_entries, verdict_of_entry
from gateway.providers.settings import CarrierSettings
from gateway.providers.transport import (
    Answer,
    AnyUrl,
    Broken,
    NeverLeft,
    ProviderUnusable,
    ServiceUrl,
    Transport,
    recorded,
)

_log = structlog.get_logger(__name__)


@unique
class Doubt(Enum):
    """How to read an answer of which it is not documented whether the carrier acted."""

    UNKNOWN = "unknown"
    REFUSED = "refused"


@unique
class Busy(Enum):
    """How to read an HTTP 503."""

    UNKNOWN = "unknown"
    NOT_TAKEN = "not_taken"


class IsendproDialect(CarrierSettings):
    """What everything that speaks iSendPro's language needs to know."""

    keyid: SecretStr | None = Field(
        default=None, description="Key of our account there; absent: the client's is passed on."
    )
    keyid_file: str | None = Field(default=None, description="File (or systemd credential) that holds the key instead.")
    batch_size: int = Field(
        default=50, ge=1, le=500, description="Most SMS in one call; this many become unknown if its answer is lost."
    )
    sandbox: bool = Field(
        default=False, description="Ask the carrier to check and answer, but to send and charge nothing."
    )
    on_999: Doubt = Field(
        default=Doubt.UNKNOWN, description='Code 999: "unknown" (may have been sent) or "refused" (was not).'
    )
    on_503: Busy = Field(
        default=Busy.UNKNOWN, description='HTTP 503: "unknown", or "not_taken" (was not sent, try again).'
    )


class IsendproSettings(IsendproDialect):
    """A `[[providers]]` block of kind "isendpro"."""

    kind: Literal["isendpro"] = Field(default="isendpro", description="iSendPro, over its REST interface.")
    base_url: ServiceUrl = Field(
        default="https://apirest.isendpro.com/cgi-bin", description="Address of the interface; https."
    )


class SandboxSettings(IsendproDialect):
    """A `[[providers]]` block of kind "sandbox": the carrier in a box, which sends nothing."""

    kind: Literal["sandbox"] = Field(default="sandbox", description="The carrier in a box (`mail2sms sandbox`).")
    base_url: AnyUrl = Field(default="http://127.0.0.1:8026/cgi-bin", description="Address of the sandbox.")


class IsendproProvider:
    """A carrier that speaks iSendPro's language."""

    def __init__(self, settings: IsendproSettings | SandboxSettings, clock: Clock) -> None:
        """Be ready to send; ProviderUnusable if the settings name a file that cannot be used or was not read."""
        if settings.keyid_file is not None and settings.keyid is None:
            raise ProviderUnusable(f"the key of provider {settings.name} was not read from its keyid_file")
        self._settings = settings
        self._clock = clock
        self._transport = Transport(
            base_url=settings.base_url,
            timeout_s=settings.timeout_s,
            width=settings.width,
            ca_file=settings.ca_file,
        )

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def batch_size(self) -> int:
        return self._settings.batch_size

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        key = self._key(batch)
        path, fields = _build_request(batch, key=key, is_trial=self._settings.sandbox)
        outcome = await self._transport.post_json(path, fields)
        match outcome:
            case Answer():
                return self._read(outcome, batch, secret=key)
            case NeverLeft():
                return [NotSent(raw=recorded(outcome.reason, secret=key), hold=Hold.PROVIDER)] * len(batch.messages)
            case Broken():
                return [Uncertain(raw=_record_broken(outcome, secret=key))] * len(batch.messages)

    async def close(self) -> None:
        await self._transport.close()

    def _key(self, batch: Batch) -> str:
        keyid = self._settings.keyid
        return batch.options.account_key if keyid is None else keyid.get_secret_value()

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
