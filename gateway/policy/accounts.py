"""An account: who may send, what, how, and where reports may go (docs/protocol.md §10.1)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, unique
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Annotated, Self
from zoneinfo import ZoneInfo

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.policy.addresses import matches, parse_address, to_ascii_domain
from gateway.policy.keys import Keyid, KeyOwner, KeyRing
from gateway.policy.networks import is_internet
from gateway.policy.public_holidays import SUBDIVISIONS
from gateway.policy.quotas import Factor, Parts, Price, Quotas, check_quotas
from gateway.policy.routes import Providers, Route, Weights, check_routes, check_some, check_weights
from gateway.protocol.envoi import Mode
from gateway.protocol.report import ReportFormat
from gateway.settings import Name, Seconds, Settings
from gateway.text.originator import is_wellformed

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@unique
class AuthMethod(Enum):
    """What can prove a client (docs/protocol.md §1.3)."""

    NETWORK = "network"
    SMTP_AUTH = "smtp_auth"
    TLS_CLIENT_CERT = "tls_client_cert"
    AUTHRES = "authres"
    DKIM = "dkim"
    SPF = "spf"


@unique
class OnUnknown(Enum):
    """What to do when it cannot be learnt whether the carrier took an SMS."""

    HOLD = "hold"  # never sent again by itself; reported 999
    RESEND = "resend"  # sent once more; the recipient may get it twice


@unique
class ReceiptsBy(Enum):
    """How the client is told what the network said in the end (docs/protocol.md §8.6)."""

    NONE = "none"
    MAIL = "mail"  # etatAr


@unique
class OnTooLong(Enum):
    """What to do with a text that needs more parts than allowed (docs/protocol.md §6.4)."""

    AUTO = "auto"  # refused when the mail said `smslong`, cut when it did not
    REFUSE = "refuse"
    CUT = "cut"


@unique
class OutsideHours(Enum):
    """What to do with commercial SMS outside hours (docs/protocol.md §6.6)."""

    REFUSE = "refuse"  # code 24
    HOLD = "hold"  # sent at the next opening


@unique
class HoursProfile(Enum):
    """Which hours bind commercial SMS; `policy.window` holds them (docs/protocol.md §6.6)."""

    ISENDPRO = "isendpro"
    AF2M_2026 = "af2m-2026"


@unique
class ReplyNumbers(Enum):
    """How the number stands in the mail of a reply (docs/protocol.md §8.6)."""

    PLAIN = "plain"
    MASKED = "masked"  # first digits and the last three


@unique
class Priority(Enum):
    """Whose SMS go first at a carrier that is busy; in this order."""

    ALERT = "alert"
    NORMAL = "normal"
    BULK = "bulk"

    @property
    def rank(self) -> int:
        """Place in the order; the lower, the earlier."""
        return list(Priority).index(self)


@unique
class Scheduling(Enum):
    """Who waits until the date that a mail asks for."""

    GATEWAY = "gateway"
    CARRIER = "carrier"


def _check_domain(text: str) -> str:
    wildcard = "*." if text.startswith("*.") else ""
    domain = to_ascii_domain(text.removeprefix("*."))
    if domain is None:
        raise ValueError(f'"{text}" is not a domain: write "example.org", or "*.example.org" for what is below it')
    return wildcard + domain


def _check_network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        network = ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError(f'"{value}" is not a network: write one like "192.168.1.0/24" or "2001:db8::/32"') from error
    if "/" in value and network.network_address != ip_address(value.partition("/")[0]):
        raise ValueError(f'"{value}" is an address in a network: write "{network}", or the address alone')
    if is_internet(network):
        raise ValueError(f'"{value}" is the whole Internet: whoever knows the keyid would send SMS at your cost')
    return network


def _check_originator(text: str) -> str:
    if not is_wellformed(text):
        raise ValueError(f'"{text}" is not a sender name: 4 to 11 letters, digits or spaces, and not digits alone')
    return text


def _check_country(text: str) -> str:
    country = text.upper()
    if country not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f'"{text}" is not a country: write its two letters, as in "FR"')
    return country


def _check_timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError) as error:  # unknown, a folder or not a zone's file, not a name at all
        raise ValueError(f'"{text}" is not a time zone this machine knows: write one like "Europe/Paris"') from error
    return text


def _check_subdivision(text: str) -> str:
    if text not in SUBDIVISIONS:
        raise ValueError(
            f'"{text}" has no public holidays of its own: write one of {", ".join(SUBDIVISIONS)}, or nothing'
        )
    return text


def _check_mail(text: str) -> str:
    if parse_address(text) is None:
        raise ValueError(f'"{text}" is not a mail address: write one like "it@example.org"')
    return text


def _check_certificate(text: str) -> str:
    fingerprint = text.replace(":", "").lower()
    if _FINGERPRINT.fullmatch(fingerprint):
        return fingerprint
    name = text.lower()
    if parse_address(name) is None and to_ascii_domain(name) != name:
        raise ValueError(
            f'"{text}" is neither the SHA-256 fingerprint of a certificate (64 hexadecimal digits) nor a name in one, '
            'such as "scanner.example.org"'
        )
    return name


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_check_network)]
DomainPattern = Annotated[str, AfterValidator(_check_domain)]
Originator = Annotated[str, AfterValidator(_check_originator)]
Country = Annotated[str, AfterValidator(_check_country)]
TimeZone = Annotated[str, AfterValidator(_check_timezone)]
Subdivision = Annotated[str, AfterValidator(_check_subdivision)]
MailAddress = Annotated[str, AfterValidator(_check_mail)]
CertificateId = Annotated[str, AfterValidator(_check_certificate)]
Note = Annotated[str, Field(min_length=1, max_length=200)]


class Account(Settings):
    """One `[[accounts]]` block, with its secrets read."""

    name: Name = Field(description="Name of the account, in logs and commands.")
    keyid: Keyid | None = Field(default=None, description="The key a mail must carry in <keyid>.")
    keyid_file: str | None = Field(default=None, description="File (or systemd credential) that holds the key instead.")
    previous_keyid: Keyid | None = Field(
        default=None,
        description="The key before, which is good too while clients are being given the new one; "
        "never passed on to a carrier.",
    )
    previous_keyid_file: str | None = Field(
        default=None, description="File (or systemd credential) that holds it instead."
    )
    domains: Annotated[tuple[DomainPattern, ...], AfterValidator(check_some)] = Field(
        description='Domains of the From: address; exact, or "*.example.org" for what is below it.'
    )
    company: Note | None = Field(default=None, description="Whose account it is; for the operator alone.")
    contact: Note | None = Field(default=None, description="Whom to ask there; for the operator alone.")
    telephone: Note | None = Field(default=None, description="And under which number; for the operator alone.")
    mail: MailAddress | None = Field(default=None, description="And at which address: warnings go there.")
    networks: tuple[Network, ...] = Field(
        default=(), description="Networks of this account's clients; empty: those of the listener."
    )
    auth: Annotated[tuple[AuthMethod, ...], AfterValidator(check_some)] = Field(
        default=(AuthMethod.NETWORK, AuthMethod.SMTP_AUTH),
        description="What suffices to prove a client; any one.",
    )
    require_tls: bool = Field(
        default=False,
        description="Its mails are taken over TLS alone, from its own networks too; the keyid is in each of them.",
    )
    client_certificates: tuple[CertificateId, ...] = Field(
        default=(),
        description='For "tls_client_cert": SHA-256 fingerprints of certificates of clients, or names in them.',
    )
    providers: Providers = Field(description="Carriers, in order of preference: the next one when the first is down.")
    weights: Weights = Field(
        default={},
        description="Shares of those carriers that are up, as in { a = 3, b = 1 }; one without a share is for when all "
        "of them are down. Empty: strictly in order.",
    )
    routes: tuple[Route, ...] = Field(
        default=(), description="Other carriers for numbers with certain beginnings: [[accounts.routes]]."
    )
    priority: Priority = Field(
        default=Priority.NORMAL,
        description='Who goes first where a carrier is busy: "alert" before "normal" before "bulk"; '
        "who has waited longest has every fifth turn.",
    )
    commercial: bool = Field(default=False, description="Commercial traffic: bound to hours, carries the STOP mention.")
    outside_hours: OutsideHours = Field(
        default=OutsideHours.REFUSE,
        description='Commercial SMS outside hours: "refuse" with code 24, or "hold" until the next opening.',
    )
    hours_profile: HoursProfile = Field(
        default=HoursProfile.ISENDPRO,
        description='Hours of commercial SMS: "isendpro" (08:00 to 20:00) or "af2m-2026" (08:00 to 21:30); '
        "never on Sundays and public holidays.",
    )
    holidays_subdivision: Subdivision | None = Field(
        default=None,
        description='Part of France with public holidays of its own, such as "57" (Moselle), "6AE" (Alsace), "974".',
    )
    on_unknown: OnUnknown = Field(
        default=OnUnknown.HOLD, description='"hold": never risk a double; "resend": never risk a loss.'
    )
    nostop: bool = Field(default=False, description="May ask for SMS without the STOP mention (<nostop>1</nostop>).")
    originators: tuple[Originator, ...] = Field(
        default=(), description="Sender names this account may use, to the letter; empty: any well-formed one."
    )
    countries: tuple[Country, ...] = Field(default=("FR",), description="Countries it may send to, as ISO codes.")
    report_domains: tuple[DomainPattern, ...] = Field(
        default=(), description="Domains that Ack and Not may go to; empty: the domains."
    )
    report_format: ReportFormat = Field(
        default=ReportFormat.SOURCE, description='"source": as documented; "wellformed": with one root.'
    )
    receipts: ReceiptsBy = Field(
        default=ReceiptsBy.NONE,
        description='"mail": one more report, etatAr, when it is known which SMS of an envoi arrived; to <emailNot>.',
    )
    mode: Mode | None = Field(default=None, description='"lenient" or "strict" reading; absent: as the listener.')
    default_smslong: int = Field(default=1, ge=1, le=10, description="Parts allowed when a mail has no <smslong>.")
    max_smslong: int = Field(default=6, ge=1, le=10, description="The most parts <smslong> may ask for.")
    too_long: OnTooLong = Field(default=OnTooLong.AUTO, description="A text that needs more parts than allowed.")
    max_recipients: int = Field(default=500, ge=1, le=10_000, description="The most lines of mobiles.csv.")
    validity_s: Seconds = Field(default=86_400, description="An SMS not sent within this time expires, reported 999.")
    scheduling: Scheduling = Field(
        default=Scheduling.GATEWAY,
        description='Who waits until <date_envoi>: "gateway", where an SMS can still be stopped, or "carrier", where '
        "one can take it that far ahead.",
    )
    timezone: TimeZone = Field(default="Europe/Paris", description="Zone of <date_envoi> and of the hours.")
    credit_warning: Parts = Field(
        default=0,
        description="A warning, in the log and to `mail`, when the credit falls below so many parts; "
        "0: only when it is used up.",
    )
    quotas: Quotas = Field(
        default=(), description="How much may be sent in a minute, an hour or a day: [[accounts.quotas]]. Empty: any."
    )
    part_price: Price = Field(default=0, description="What one part costs, in your money; for quotas of `cost`.")
    volume_warning: Parts = Field(
        default=0,
        description="A warning, in the log and to `mail`, when more parts than these are taken in an hour; 0: never.",
    )
    volume_warning_factor: Factor = Field(
        default=0,
        description="The same for so many times what the busiest hour of a day usually has (of the last 14 days; from "
        "3 days with SMS and 50 parts on); 0: never.",
    )
    auto_generated: bool = Field(
        default=False,
        description='Takes mails that say "Auto-Submitted: auto-generated", as GLPI and cron write them by themselves; '
        "answers of machines are never orders.",
    )
    heeds_stop: bool = Field(
        default=True,
        description="SMS to numbers on the STOP list are refused (code 11). `false`, for alerts to people on call, "
        "sends them all the same; not for commercial accounts.",
    )
    reply_to: MailAddress | None = Field(
        default=None, description="Where replies by SMS are mailed to; absent: they are kept, and mailed to nobody."
    )
    reply_numbers: ReplyNumbers = Field(
        default=ReplyNumbers.PLAIN, description='Who replied, in these mails: "plain" or "masked".'
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.commercial and not self.heeds_stop:
            raise ValueError("heeds_stop must be true for a commercial account: whoever answers STOP gets no more")
        if self.keyid is None and self.keyid_file is None:
            raise ValueError("a key is missing: write keyid_file, or keyid")
        if self.default_smslong > self.max_smslong:
            raise ValueError("default_smslong is more than max_smslong")
        check_weights(self.providers, self.weights)
        check_routes(self.routes)
        check_quotas(self.quotas, self.part_price)
        return self

    @property
    def all_providers(self) -> tuple[str, ...]:
        """Every carrier that an SMS of it may go to, each once."""
        return tuple(dict.fromkeys([*self.providers, *(name for route in self.routes for name in route.providers)]))

    def owns_domain(self, domain: str) -> bool:
        """True when mails From this domain may be this account's (docs/protocol.md §1.3)."""
        return matches(domain, self.domains)

    def may_report_to(self, domain: str) -> bool:
        """True when Ack and Not may go to addresses of this domain (docs/protocol.md §8.4)."""
        return matches(domain, self.report_domains or self.domains)


class Accounts:
    """All accounts, found by name, key or domain. Never changes; a reload makes a new one.

    Raises ValueError, with a sentence for the operator, when two accounts could be taken for one another or when the
    key of one has not been read.
    """

    __slots__ = ("_accounts", "_by_name", "_find_owners", "_keys")

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._accounts = tuple(accounts)
        by_name: dict[str, Account] = {}
        for account in self._accounts:
            if by_name.setdefault(account.name, account) is not account:
                raise ValueError(f'two accounts are called "{account.name}"')
        self._by_name: Mapping[str, Account] = MappingProxyType(by_name)
        self._find_owners = lru_cache(maxsize=1_024)(partial(_find_owners, self._accounts))
        self._keys = KeyRing(key for account in self._accounts for key in _keys_of(account))

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def by_name(self, name: str) -> Account | None:
        """Return the account of that name."""
        return self._by_name.get(name)

    def find_key(self, keyid: str) -> KeyOwner | None:
        """Return whose key it is, or was before, in a time that tells nothing about the keys."""
        return self._keys.find(keyid)

    def by_domain(self, domain: str) -> tuple[Account, ...]:
        """Return the accounts the domain of a From: belongs to, in the order of the file; there may be several."""
        return self._find_owners(domain)


def _find_owners(accounts: Iterable[Account], domain: str) -> tuple[Account, ...]:
    return tuple(account for account in accounts if account.owns_domain(domain))


def _keys_of(account: Account) -> Iterator[tuple[str, KeyOwner]]:
    """Raises ValueError when one has not been read."""
    named = ((account.keyid, account.keyid_file, False), (account.previous_keyid, account.previous_keyid_file, True))
    for key, file, is_previous in named:
        if key is not None:
            yield key.get_secret_value(), KeyOwner(name=account.name, is_previous=is_previous)
        elif file is not None:
            what = "previous key" if is_previous else "key"
            raise ValueError(f'the {what} of account "{account.name}" has not been read')
