"""Parts that are built from the configuration in more than one place: for the daemon, and for commands."""

import socket
from collections.abc import Callable

from gateway.clock import Clock
from gateway.config import Config
from gateway.intake import Intake, IntakeRules
from gateway.intake.judging import Judge
from gateway.outcomes import ReportRules
from gateway.policy.accounts import Accounts
from gateway.policy.texts import TEXT_PROFILES, TextProfile
from gateway.protocol.reading import Limits, Mode
from gateway.store import Store


def build_intake(
    config: Config, *, store: Store, clock: Clock, on_admitted: Callable[[str], None], on_report: Callable[[], None]
) -> Intake:
    """Return the stage that takes mails, with the accounts, carriers and limits of `config`."""
    return Intake(
        accounts=Accounts(config.accounts),
        text_profiles=text_profiles(config),
        store=store,
        clock=clock,
        rules=intake_rules(config),
        on_admitted=on_admitted,
        on_report=on_report,
    )


def build_judge(config: Config, *, mode: Mode | None = None) -> Judge:
    """Return what decides about mails, the same as in the stage; `mode`, if given, is every account's."""
    accounts = [account.model_copy(update={"mode": mode}) if mode else account for account in config.accounts]
    return Judge(accounts=Accounts(accounts), text_profiles=text_profiles(config), rules=intake_rules(config))


def intake_rules(config: Config) -> IntakeRules:
    """Return what holds for every mail."""
    own = {*config.smtp.recipients, config.reports.sender}
    return IntakeRules(
        reports=report_rules(config),
        own_addresses=frozenset(address.lower() for address in own),
        limits=Limits(mail_bytes=config.smtp.max_mail_bytes),
    )


def report_rules(config: Config) -> ReportRules:
    """Return what the reports of this gateway have in common."""
    return ReportRules(hostname=own_hostname(config), validity_s=config.reports.give_up_after_s)


def own_hostname(config: Config) -> str:
    """Return the name the gateway gives itself."""
    return config.smtp.hostname or socket.gethostname()


def text_profiles(config: Config) -> dict[str, TextProfile]:
    """Return what each carrier does with texts, by the carrier's name."""
    return {settings.name: TEXT_PROFILES[settings.kind] for settings in config.providers}
