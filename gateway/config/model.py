"""The whole configuration as one tree: each section is the settings of its room; those of no room are here."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.console.roles import Role
from gateway.dispatcher import DispatcherSettings
from gateway.identity.settings import SenderSettings
from gateway.janitor import JanitorSettings
from gateway.log import LogFormat, LogLevel
from gateway.mailer import ReportSettings
from gateway.policy.accounts import Account
from gateway.providers.registry import ProviderSettings
from gateway.reader.settings import ReadingSettings
from gateway.retention import RetentionSettings
from gateway.settings import Name, Settings
from gateway.smtp.passwords import is_hash
from gateway.smtp.settings import SmtpSettings
from gateway.store.settings import StoreSettings
from gateway.web import HttpSettings


def _check_hash(value: SecretStr) -> SecretStr:
    if not is_hash(value.get_secret_value()):
        raise ValueError("is not a hash that can be used: `mail2sms password` makes one from a password")
    return value


class User(Settings):
    """A `[[users]]` block: a person or program with a password."""

    name: Name = Field(description="Name to log in with.")
    password_hash: Annotated[SecretStr, AfterValidator(_check_hash)] | None = Field(
        default=None, description="Hash of the password (argon2id): `mail2sms password` makes it."
    )
    password_hash_file: str | None = Field(
        default=None, description="File (or systemd credential) that holds the hash instead."
    )
    account: Name | None = Field(default=None, description="The account it sends for, by SMTP AUTH.")
    roles: tuple[Role, ...] = Field(
        default=(), description="What it may do in the console (docs/console.md); empty: it has none."
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.password_hash is None and self.password_hash_file is None:
            raise ValueError("a hash is missing: write password_hash, or password_hash_file")
        return self


class LogSettings(Settings):
    """What is written to stderr."""

    format: LogFormat = Field(default="auto", description='"json", "text", or "auto": text on a terminal, else JSON.')
    level: LogLevel = Field(
        default="info", description="error: someone must act; warning: we coped; info: every step; debug: the rest."
    )


class Document(Settings):
    """Everything that may stand in the file."""

    smtp: SmtpSettings = Field(description="Where mail comes in.")
    reading: ReadingSettings = Field(
        default=ReadingSettings(),
        description="How much of a mail is read, and by which processes. The largest mail is a setting of [smtp].",
    )
    senders: SenderSettings = Field(
        default=SenderSettings(), description="Who is believed, where an account lets others vouch for its senders."
    )
    store: StoreSettings = Field(default=StoreSettings(), description="Where everything is kept.")
    reports: ReportSettings = Field(description="Where Ack and Not go out.")
    http: HttpSettings = Field(
        default=HttpSettings(),
        description="Where health and metrics are asked for, carriers call back, and the console is.",
    )
    dispatcher: DispatcherSettings = Field(default=DispatcherSettings(), description="How SMS go to the carriers.")
    janitor: JanitorSettings = Field(
        default=JanitorSettings(), description="How often, and after how long, what got stuck is looked after."
    )
    retention: RetentionSettings = Field(default=RetentionSettings(), description="How long things are kept.")
    log: LogSettings = Field(default=LogSettings(), description="What is written to stderr.")
    accounts: tuple[Account, ...] = Field(min_length=1, description="Who may send: one block per client.")
    providers: tuple[ProviderSettings, ...] = Field(
        min_length=1,
        description="The carriers: one block each. Its kind says which: isendpro, smspartner, webhook (any HTTP "
        "interface, described in the block) or sandbox. docs/configuration.md has the keys of each.",
    )
    users: tuple[User, ...] = Field(
        default=(), description="People and programs with a password: one block each, which may be none."
    )
