"""Parts that are built from the configuration in more than one place: for the daemon, and for `mail2sms inject`."""

import socket
from collections.abc import Callable

from gateway.clock import Clock
from gateway.config import Config
from gateway.intake import Intake, IntakeRules
from gateway.outcomes import ReportRules
from gateway.policy.accounts import Accounts
from gateway.policy.texts import TEXT_PROFILES, TextProfile
from gateway.protocol.reading import Limits
from gateway.store import Store


def build_intake(
    config: Config, *, store: Store, clock: Clock, on_admitted: Callable[[str], None], on_report: Callable[[], None]
) -> Intake:
    """Return the stage that takes mails, with the accounts, carriers and limits of `config`."""
    own = {*config.smtp.recipients, config.reports.sender}
    return Intake(
        accounts=Accounts(config.accounts),
        text_profiles=text_profiles(config),
        store=store,
        clock=clock,
        rules=IntakeRules(
            reports=report_rules(config),
            own_addresses=frozenset(address.lower() for address in own),
            limits=Limits(mail_bytes=config.smtp.max_mail_bytes),
        ),
        on_admitted=on_admitted,
        on_report=on_report,
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
