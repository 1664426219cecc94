"""Any HTTP interface that takes one SMS a call, described in the configuration alone (docs/carriers.md).

What an answer means. A known error's code comes first, whatever the HTTP status. Then one of `success_statuses` without
an error, and with an id where one is asked for, is "accepted". An unknown error's code under such a status is
"unknown"; under any other status, the status says what it says for all carriers.

Diagnostics: event `answer_unreadable` (error).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import parse_qsl

import structlog

from gateway.clock import Clock
from gateway.lifecycle import Accepted, Hold, NotSent, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.providers.answers import decode_exactly, describe_broken, read_retry_after, verdict_of_status
from gateway.providers.base import Batch, Callback, CallbackUnreadable, Fate, Receipt, Reply
from gateway.providers.handling import Handling, verdict_of
from gateway.providers.isendpro_answers import MEANINGS, Meaning
from gateway.providers.masking import Record, recorder, secret_of
from gateway.providers.numbers import e164, national
from gateway.providers.transport import Answer, Broken, NeverLeft, ProviderUnusable, Transport
from gateway.providers.webhook_pointers import value_at
from gateway.providers.webhook_settings import NumberFormat, WebhookSettings
from gateway.providers.webhook_templates import Values, fill

__all__ = ["TwoWayWebhookProvider", "WebhookProvider", "WebhookSettings", "build_webhook"]

_log = structlog.get_logger(__name__)

_HANDLINGS: Mapping[Meaning, Handling] = MappingProxyType(
    {
        Meaning.NEVER: Handling.REFUSED,
        Meaning.LATER: Handling.RETRY,
        Meaning.ACCOUNT: Handling.HOLD,
        Meaning.PROVIDER: Handling.PAUSE,
    }
)
_NO_ERROR = frozenset({None, "", "false"})
_MOST_FIELDS = 100
_LONGEST_REF = 250


class WebhookProvider:
    """A carrier that the configuration describes."""

    def __init__(self, settings: WebhookSettings, clock: Clock, callback_url: str | None) -> None:
        """Be ready to send; ProviderUnusable if the secret was not read, or `ca_file` cannot be."""
        if settings.secret_file is not None and settings.secret is None:
            raise ProviderUnusable(f"the secret of provider {settings.name} was not read from its secret_file")
        self._settings = settings
        self._clock = clock
        self._callback_url = callback_url or ""
        self._secret = "" if settings.secret is None else settings.secret.get_secret_value()
        self._address = settings.address()
        self._body = settings.body_template()
        self._transport = Transport(
            base_url=self._address.base_url,
            timeout_s=settings.timeout_s,
            width=settings.width,
            ca_file=settings.ca_file,
        )

    @property
    def name(self) -> str:
        return self._settings.name

    async def close(self) -> None:
        await self._transport.close()

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        values = self._values_of(batch)
        record = recorder([self._secret, batch.options.account_key, secret_of(self._callback_url)])
        outcome = await self._transport.call(
            self._settings.method,
            self._address.path(values),
            query=self._address.query_of(values) or None,
            content=b"" if self._body is None else self._body.fill(values),
            headers=self._headers(values),
        )
        match outcome:
            case Answer():
                return [self._read(outcome, record)]
            case NeverLeft():
                return [NotSent(raw=record(outcome.reason), hold=Hold.PROVIDER)]
            case Broken():
                return [Uncertain(raw=record(describe_broken(outcome)))]

    def _values_of(self, batch: Batch) -> Values:
        [message] = batch.messages
        match self._settings.number_format:
            case NumberFormat.E164:
                to = message.msisdn
            case NumberFormat.INTERNATIONAL:
                to = message.msisdn.removeprefix("+")
            case NumberFormat.NATIONAL:
                to = national(message.msisdn)
        return {
            "to": to,
            "text": message.text.encode("utf-8", "replace").decode("utf-8"),  # half a surrogate pair is no text
            "originator": batch.options.originator or "",
            "tracker": message.tracker,
            "account": batch.options.account_key,
            "secret": self._secret,
            "callback_url": self._callback_url,
        }

    def _headers(self, values: Values) -> dict[str, str]:
        headers = {name: fill(value, values).strip() for name, value in self._settings.headers.items()}
        return headers if self._body is None else {**headers, "Content-Type": self._body.content_type}

    def _read(self, answer: Answer, record: Record) -> Verdict:
        settings = self._settings
        root = decode_exactly(answer.body)
        error, label = value_at(root, settings.answer_error), value_at(root, settings.answer_error_text)
        told = " ".join(filter(None, [error, label]))
        said = f"{told}: " if told else ""
        raw = record(f"HTTP {answer.status} {said}{answer.body.decode('utf-8', 'replace')}")
        retry_at = read_retry_after(answer.retry_after, self._clock.now())
        if error is not None and error in settings.errors:
            handling, code = handling_of(settings.errors[error])
            return verdict_of(handling, code, raw=raw, retry_at=retry_at)
        if answer.status not in settings.success_statuses:
            return verdict_of_status(answer.status, raw=raw, retry_at=retry_at)
        is_read = settings.answer_error is not None or settings.answer_id is not None
        if is_read and root is None:
            advice = "it is no JSON, so no answer of this interface: see url, and what stands between"
            _log.error("answer_unreadable", provider=self.name, status=answer.status, count=1, advice=advice)
            return Uncertain(raw=raw)
        ref = value_at(root, settings.answer_id)
        is_success = error in settings.success_values if settings.success_values else error in _NO_ERROR
        if not is_success or (settings.answer_id is not None and not ref):
            return Uncertain(raw=raw)
        return Accepted(raw=raw, provider_ref=ref[:_LONGEST_REF] if ref else None)


class TwoWayWebhookProvider(WebhookProvider):
    """One that also says later what became of SMS, or what was answered."""

    def parse_callback(self, callback: Callback) -> Sequence[Receipt | Reply]:
        """Return the one receipt or reply of a request; CallbackUnreadable if it is not as described."""
        settings = self._settings
        root = _read_callback(callback)
        raw = recorder([self._secret])(callback.body.decode("utf-8", "replace") or str(list(callback.query)))
        status = value_at(root, settings.receipt_status)
        ref, tracker = value_at(root, settings.receipt_id), value_at(root, settings.receipt_tracker)
        if status is not None and (ref or tracker):
            return [
                Receipt(
                    tracker=tracker.upper() if tracker else None,
                    provider_ref=_clean(ref)[:_LONGEST_REF] if ref else None,
                    msisdn=e164(value_at(root, settings.receipt_number)),
                    fate=settings.receipt_statuses.get(status, Fate.UNKNOWN),
                    raw=raw,
                )
            ]
        sender, text = e164(value_at(root, settings.reply_from)), value_at(root, settings.reply_text)
        if sender is None or text is None:
            raise CallbackUnreadable("neither a receipt nor a reply as the configuration describes them")
        to, reference = value_at(root, settings.reply_to), value_at(root, settings.reply_id)
        return [
            Reply(
                msisdn=sender,
                text=_clean(text),
                to=e164(to) or (_clean(to) if to else None),
                reference=_clean(reference)[:_LONGEST_REF] if reference else None,
                raw=raw,
            )
        ]


def handling_of(meaning: Code | Handling) -> tuple[Handling, Code]:
    """Return what is done about an error, and our code for it. A code alone is handled as iSendPro's own is."""
    if isinstance(meaning, Handling):
        return meaning, Code.C29_OVERFLOW if meaning is Handling.PAUSE else Code.C999_ERROR
    return _HANDLINGS.get(MEANINGS[meaning.value], Handling.REFUSED), meaning


def build_webhook(settings: WebhookSettings, clock: Clock, callback_url: str | None) -> WebhookProvider:
    """Return the carrier that the settings describe."""
    kind = TwoWayWebhookProvider if settings.has_callbacks else WebhookProvider
    return kind(settings, clock, callback_url)


def _read_callback(callback: Callback) -> object:
    """Return what a request brings: JSON, or the fields of a form, with those of its address."""
    query = dict(callback.query)
    if not callback.body.strip():
        return query
    found = decode_exactly(callback.body)
    if found is not None:
        return {**query, **found} if isinstance(found, dict) else found
    if "json" in callback.content_type.lower():
        raise CallbackUnreadable("the body is not JSON")
    try:
        pairs = parse_qsl(callback.body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:  # UnicodeDecodeError is one too
        raise CallbackUnreadable("the body is neither JSON nor a form") from error
    return {**query, **dict(pairs)}


def _clean(text: str) -> str:
    """Return text that any database takes: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
