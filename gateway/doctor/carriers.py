"""The carriers: can they be reached, believed, and does our key open anything there? Asked with what costs nothing."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal

from gateway.config import Config
from gateway.daemon.building import callback_url
from gateway.doctor.findings import Finding, Says, Section, enumerate_names
from gateway.doctor.subject import Subject
from gateway.doctor.timekeeping import compare_clocks
from gateway.doctor.web_call import Called, Step, call
from gateway.providers.base import Balance, ParsesCallbacks, Provider, TellsBalance, Untold
from gateway.providers.isendpro import IsendproSettings, SandboxSettings
from gateway.providers.registry import ProviderSettings, build_provider
from gateway.providers.smspartner import SmsPartnerSettings
from gateway.providers.transport import ProviderUnusable
from gateway.providers.webhook import WebhookSettings
from gateway.providers.webhook_templates import read_address

_says = Says(Section.CARRIERS)

QUESTION_S = 10.0
_MOST_KEYS = 5
_SLOW_MS = 2_000.0
_SOON = timedelta(days=7)
_WRONG_KEY = re.compile(r"\bcode (?:1|3|10)\b|\bHTTP 40[13]\b")
"""Of iSendPro 1 and 3, of SMS Partner 1 and 10."""


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is to be said of each carrier, all of them asked at the same time."""
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_look_at(subject, settings)) for settings in subject.config.providers]
    for task in asked:
        for finding in task.result():
            yield finding


async def _look_at(subject: Subject, settings: ProviderSettings) -> list[Finding]:
    findings = list(_look_at_settings(subject.config, settings))
    called = await call(_base_of(settings), subject.clock, method="HEAD", ca_file=settings.ca_file)
    findings += _judge_way(subject, settings, called)
    if called.step in {Step.ANSWER, Step.DONE}:
        findings += await _ask_keys(subject, settings)
    if called.date is not None and called.answered_at is not None:
        findings.append(compare_clocks(settings.name, called.date, called.answered_at))
    return findings


def _look_at_settings(config: Config, settings: ProviderSettings) -> Iterator[Finding]:
    name = settings.name
    if isinstance(settings, SandboxSettings):
        yield _says.warning(
            f"{name}: a carrier in a box: nobody gets an SMS", "write the real carrier, when done trying"
        )
    elif getattr(settings, "sandbox", False):
        yield _says.warning(f"{name}: sandbox is true: the carrier checks, and sends nothing", "take it out, when done")
    url = callback_url(config, settings)
    if url is not None and settings.callback_secret is not None:
        shown = url.replace(settings.callback_secret.get_secret_value(), "…callback_secret…")
        yield _says.ok(f"{name}: is to call back {shown}")
    elif settings.callback_secret is None:
        yield _says.note(
            f"{name}: calls nobody back: what it says later, and answers such as STOP, do not come in by themselves",
            "write callback_secret_file in its block, and public_url in [http]",
        )


def _judge_way(subject: Subject, settings: ProviderSettings, called: Called) -> list[Finding]:
    where = f"{settings.name} ({_base_of(settings)})"
    waits = "SMS wait meanwhile, or go to the next carrier"
    match called.step:
        case Step.NAME:
            return [_says.failure(f"{where}: {called.reason}; {waits}", "mend its address, or the DNS of this machine")]
        case Step.CONNECTION:
            todo = "let the firewall let this machine out to it (TCP, the port of the address), or see its status page"
            return [_says.failure(f"{where}: cannot be reached: {called.reason}; {waits}", todo)]
        case Step.TRUST:
            todo = "is something in between that opens TLS? Its authority stands in ca_file then; or the clock is wrong"
            return [_says.failure(f"{where}: its certificate is not believed: {called.reason}; {waits}", todo)]
        case Step.ANSWER | Step.DONE:
            pass
    findings = [_says.ok(f"{where}: reached within {called.connect_ms:.0f} ms")]
    if called.connect_ms > _SLOW_MS:
        findings = [_says.warning(f"{where}: takes {called.connect_ms:.0f} ms to reach", "is the line full?")]
    ends_at = called.certificate_ends_at
    if ends_at is not None and ends_at - subject.clock.now() < _SOON:
        todo = "nothing, unless it is your own: the carrier has to renew it"
        findings.append(_says.note(f"{where}: its certificate ends on {ends_at:%Y-%m-%d}", todo))
    return findings


async def _ask_keys(subject: Subject, settings: ProviderSettings) -> list[Finding]:
    """Ask what is left, with its own key or, where there is none, with those that are passed on."""
    quick = settings.model_copy(update={"timeout_s": min(settings.timeout_s, QUESTION_S)})
    if not isinstance(quick, IsendproSettings | SandboxSettings) or quick.keyid is not None:
        return await _ask(subject, quick, settings.name)
    accounts = [one for one in subject.config.accounts if settings.name in one.all_providers]
    findings = []
    for account in accounts[:_MOST_KEYS]:
        own = quick.model_copy(update={"keyid": account.keyid})
        findings += await _ask(subject, own, f'{settings.name}, with the key of account "{account.name}"')
    if len(accounts) > _MOST_KEYS:
        names = enumerate_names([one.name for one in accounts[_MOST_KEYS:]])
        findings.append(_says.unknown(f"{settings.name}: the keys of {names} were not tried"))
    return findings


async def _ask(subject: Subject, settings: ProviderSettings, who: str) -> list[Finding]:
    try:
        provider = build_provider(settings, subject.clock)
    except ProviderUnusable as error:
        return [_says.failure(f"{who}: {error}", "mend its block in [[providers]]: serve does not start")]
    try:
        if not isinstance(provider, TellsBalance):
            return [
                _says.unknown(
                    f"{who}: has no call that sends and costs nothing: whether it knows the key, and what is left "
                    "there, cannot be told",
                    "send one SMS to a number of your own",
                )
            ]
        answer = await provider.balance()
    finally:
        await provider.close()
    if isinstance(answer, Untold):
        return [_judge_untold(who, answer.reason)]
    return [_judge_balance(settings, who, answer), *_judge_callbacks(provider, settings)]


def _judge_untold(who: str, reason: str) -> Finding:
    said = reason if len(reason) <= 200 else reason[:199] + "…"
    if _WRONG_KEY.search(reason):
        return _says.failure(
            f"{who}: does not take the key: {said}", "compare the key with that in its web pages; has it been replaced?"
        )
    return _says.failure(
        f"{who}: does not say what is left: {said}",
        "see its status page, and whether base_url is right; SMS may fail in the same way",
    )


def _judge_balance(settings: ProviderSettings, who: str, balance: Balance) -> Finding:
    parts = [] if balance.amount is None else [f"{balance.amount} {balance.currency or ''}".strip()]
    parts += [] if balance.sms is None else [f"about {balance.sms} SMS"]
    left = ", ".join(parts) or "an amount that cannot be counted"
    buy = "buy more there, before SMS are refused with code 12"
    amount = balance.amount if balance.amount is not None else balance.sms
    if amount is not None and amount <= 0:
        return _says.failure(f"{who}: nothing is left there ({left})", buy)
    if amount is not None and settings.low_balance and Decimal(amount) < Decimal(str(settings.low_balance)):
        return _says.warning(f"{who}: {left} left, less than low_balance ({settings.low_balance:g})", buy)
    hint = "" if settings.low_balance else "; with low_balance there is a warning in time"
    return _says.ok(f"{who}: takes the key; {left} left{hint}")


def _judge_callbacks(provider: Provider, settings: ProviderSettings) -> list[Finding]:
    if settings.callback_secret is not None and not isinstance(provider, ParsesCallbacks):
        return [_says.warning(f"{settings.name}: has a callback_secret, and says nothing by callback", "take it out")]
    return []


def _base_of(settings: ProviderSettings) -> str:
    match settings:
        case WebhookSettings():
            return read_address(settings.url).base_url
        case IsendproSettings() | SandboxSettings() | SmsPartnerSettings():
            return settings.base_url
