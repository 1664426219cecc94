"""Parts that are built from the configuration in more than one place: for the daemon, and for commands."""

import socket
from collections.abc import Callable, Mapping

from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.daemon.room import Room
from gateway.daemon.shortage import DiskWatch
from gateway.identity.vouching import Remark, Vouching
from gateway.intake import Intake, IntakeRules, Reply, Submission
from gateway.intake.judging import Judge
from gateway.lifecycle import SmsState
from gateway.overruns import Overruns
from gateway.policy.accounts import Accounts, AuthMethod, Network
from gateway.policy.optout import find_exempt, list_keepers
from gateway.policy.texts import TEXT_PROFILES, TextProfile, described_profile
from gateway.protocol.reading import Limits, Mode
from gateway.providers.base import ParsesCallbacks, Provider
from gateway.providers.registry import ProviderSettings
from gateway.providers.webhook import WebhookSettings
from gateway.reader.inline import InlineReader, Reader
from gateway.reader.pool import ReaderPool
from gateway.reader.quarantine import Quarantine
from gateway.reports import ReportRules
from gateway.smtp.passwords import User
from gateway.store import Store
from gateway.store.database import sqlite_path
from gateway.store.reserve import Reserve
from gateway.store.two_way import StopRules
from gateway.stories.turnaways import Turnaways
from gateway.web import Hook
from gateway.web.receipts import digest_secret
from gateway.worker import Bell


def build_intake(
    config: Config,
    *,
    store: Store,
    clock: Clock,
    reader: Reader,
    on_admitted: Callable[[str], None],
    on_report: Callable[[], None],
    turnaways: Turnaways | None = None,
) -> Intake:
    """Return the stage that takes mails, with the accounts, carriers and limits of `config`."""
    return Intake(
        accounts=Accounts(config.accounts),
        text_profiles=text_profiles(config),
        store=store,
        clock=clock,
        rules=intake_rules(config),
        reader=reader,
        vouching=build_vouching(config, clock),
        on_admitted=on_admitted,
        on_report=on_report,
        on_turned_away=_mail_counter(turnaways),
    )


def build_overruns(
    config: Config, store: Store, clock: Clock, *, accounts: Callable[[], Accounts], mailer_bell: Bell
) -> Overruns:
    """Return the stage that tells what quotas held back; `accounts` returns those in force."""
    return Overruns(
        store=store,
        clock=clock,
        accounts=accounts,
        rules=report_rules(config),
        own_addresses=own_addresses(config),
        mailer_bell=mailer_bell,
    )


def _mail_counter(turnaways: Turnaways | None) -> Callable[[Submission, Reply, str], None]:
    """Return what counts a mail that was refused and is not remembered."""

    def note(submission: Submission, reply: Reply, cause: str) -> None:
        if turnaways is None:  # `mail2sms inject`: whoever does it sees the reply
            return
        facts = {**submission.facts, "cause": cause, "size_bytes": len(submission.content)}
        turnaways.note(peer=submission.peer, sender=submission.envelope_from, reply=str(reply), facts=facts)

    return note


def build_judge(config: Config, *, mode: Mode | None = None, vouching: Vouching | None = None) -> Judge:
    """Return what decides about mails, the same as in the stage; `mode`, if given, is every account's."""
    accounts = [account.model_copy(update={"mode": mode}) if mode else account for account in config.accounts]
    return Judge(
        accounts=Accounts(accounts),
        text_profiles=text_profiles(config),
        rules=intake_rules(config),
        reader=inline_reader(config),
        vouching=vouching or build_vouching(config, SystemClock()),
    )


def build_vouching(config: Config, clock: Clock) -> Vouching:
    """Return what asks who vouches for senders. Raises DnsUnusable."""
    needs_dns = any(not {AuthMethod.DKIM, AuthMethod.SPF}.isdisjoint(account.auth) for account in config.accounts)
    return Vouching(config.senders, clock, needs_dns=needs_dns)


def build_explaining_vouching(config: Config, remark: Remark, *, asks_dns: bool) -> Vouching:
    """Return the same, which says why something proves nothing; not asked, the DNS is silent. Raises DnsUnusable."""
    return Vouching(config.senders, SystemClock(), needs_dns=asks_dns, remark=remark)


def inline_reader(config: Config) -> Reader:
    """Return what reads mails in this process, as commands do."""
    return InlineReader(reading_limits(config))


def reader_pool(config: Config, *, clock: Clock) -> ReaderPool:
    """Return what reads mails in processes of their own, not yet started."""
    return ReaderPool(config.reading, reading_limits(config), clock=clock, quarantine=_quarantine(config))


def reading_limits(config: Config) -> Limits:
    """Return every bound on what is read."""
    return config.reading.limits(mail_bytes=config.smtp.max_mail_bytes)


def _quarantine(config: Config) -> Quarantine | None:
    """Return where mails are kept that could not be read: unless said, beside the SQLite store."""
    settings, database = config.reading, sqlite_path(config.store)
    folder = settings.quarantine or (None if database is None else database.parent / "quarantine")
    if folder is None:
        return None
    return Quarantine(folder, max_files=settings.quarantine_files, max_bytes=settings.quarantine_bytes)


def intake_rules(config: Config) -> IntakeRules:
    """Return what holds for every mail."""
    return IntakeRules(reports=report_rules(config), own_addresses=own_addresses(config))


def own_addresses(config: Config) -> frozenset[str]:
    """Return the addresses of this gateway, in lower case: nothing is ever mailed there."""
    return frozenset(address.lower() for address in (*config.smtp.recipients, config.reports.sender))


def syncing_carriers(config: Config) -> tuple[str, ...]:
    """Return the carriers that are to be told of the STOP list."""
    return tuple(settings.name for settings in config.providers if settings.sync_optouts)


def stop_rules(config: Config) -> StopRules:
    """Return what whoever changes the STOP list has to know."""
    accounts = Accounts(config.accounts)
    return StopRules(exempt=find_exempt(accounts), users=list_keepers(accounts, syncing_carriers(config)))


def report_rules(config: Config) -> ReportRules:
    """Return what the reports of this gateway have in common."""
    return ReportRules(hostname=own_hostname(config), validity_s=config.reports.give_up_after_s)


def callback_url(config: Config, settings: ProviderSettings) -> str | None:
    """Return where a carrier is to call back, its secret included; None when it is to call nobody."""
    secret = settings.callback_secret
    if secret is None or config.http.public_url is None:
        return None
    return f"{config.http.public_url}/receipts/{settings.name}/{secret.get_secret_value()}"


def build_hooks(config: Config, providers: Mapping[str, Provider]) -> dict[str, Hook]:
    """Return how the callbacks of each carrier that calls back are known and read, by its name."""
    hooks = {}
    for settings in config.providers:
        provider = providers[settings.name]
        known = (settings.callback_secret, settings.previous_callback_secret)
        digests = tuple(digest_secret(secret.get_secret_value()) for secret in known if secret is not None)
        if digests and isinstance(provider, ParsesCallbacks):
            hooks[settings.name] = Hook(parser=provider, digests=digests)
    return hooks


def build_room(config: Config, *, store: Store, reserve: Reserve | None, clock: Clock) -> Room:
    """Return what the listener asks at MAIL; PostgreSQL's disk is PostgreSQL's to watch."""
    database, disk = sqlite_path(config.store), None
    if database is not None:
        disk = DiskWatch(database.parent, max_mail_bytes=config.smtp.max_mail_bytes, clock=clock)
    return Room(store=store, disk=disk, reserve=reserve, most_waiting_sms=config.store.most_waiting_sms)


def asking_windows(config: Config) -> dict[SmsState, float]:
    """How long, in seconds, carriers are asked what became of SMS in these states."""
    return {
        SmsState.UNCERTAIN: config.janitor.reconcile_window_s,
        SmsState.ACCEPTED: config.janitor.receipt_window_s,
    }


def own_hostname(config: Config) -> str:
    """Return the name the gateway gives itself."""
    return config.smtp.hostname or socket.gethostname()


def smtp_users(config: Config) -> tuple[User, ...]:
    """Return who may authenticate over SMTP."""
    return tuple(
        User(name=user.name, password_hash=user.password_hash.get_secret_value(), account=user.account)
        for user in config.users
        if user.password_hash is not None
    )


def account_networks(config: Config) -> tuple[Network, ...]:
    """Return the networks that accounts trust, each once."""
    return tuple(dict.fromkeys(network for account in config.accounts for network in account.networks))


def text_profiles(config: Config) -> dict[str, TextProfile]:
    """Return what each carrier does with texts, by the carrier's name."""
    return {settings.name: _text_profile(settings) for settings in config.providers}


def _text_profile(settings: ProviderSettings) -> TextProfile:
    if isinstance(settings, WebhookSettings):
        return described_profile(max_parts=settings.max_parts, stop_mention=settings.stop_mention)
    return TEXT_PROFILES[settings.kind]
