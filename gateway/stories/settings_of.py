"""Which settings decide what: for each code, each ground of a refusal and each reply, where an operator is to look."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.protocol.codes import Code
from gateway.protocol.tolerances import Tolerance

_BY_CODE: Mapping[Code, tuple[str, ...]] = MappingProxyType(
    {
        Code.C1_KEY_EMPTY: ("accounts.{account}.keyid",),
        Code.C3_KEY_UNKNOWN: ("accounts.{account}.keyid",),
        Code.C6_NUMBER_MISSING: (),
        Code.C7_NUMBER_MALFORMED: (),
        Code.C11_NUMBER_BLACKLISTED: ("mail2sms optout", "accounts.{account}.heeds_stop"),
        Code.C12_NO_CREDIT: ("mail2sms credit",),
        Code.C14_ADDRESS_NOT_ALLOWED: ("accounts.{account}.networks", "accounts.{account}.auth", "smtp.networks"),
        Code.C16_ORIGINATOR_EMPTY: (),
        Code.C23_TOO_MANY_NUMBERS: ("accounts.{account}.max_recipients",),
        Code.C24_OUTSIDE_HOURS: (
            "accounts.{account}.commercial",
            "accounts.{account}.outside_hours",
            "accounts.{account}.hours_profile",
        ),
        Code.C27_COUNTRY_NOT_ALLOWED: ("accounts.{account}.countries",),
        Code.C30_DOMAIN_NOT_ALLOWED: ("accounts.{account}.domains",),
        Code.C33_ORIGINATOR_NOT_ALLOWED: ("accounts.{account}.originators",),
        Code.C34_SMSLONG_MALFORMED: (),
    }
)

_BY_REASON: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("part", ("accounts.{account}.default_smslong", "accounts.{account}.max_smslong", "accounts.{account}.too_long")),
    ("within its validity", ("accounts.{account}.validity_s",)),
    ("fate unknown", ("accounts.{account}.on_unknown", "janitor.reconcile_window_s")),
    ("no further word", ("janitor.receipt_window_s",)),
    ("date_envoi", ("accounts.{account}.timezone",)),
)
"""Of SMS with code 999, by words of their reason."""

_BY_GROUND: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "stranger": ("accounts.*.domains",),
        "unreadable": ("smtp.mode", "accounts.*.mode"),
    }
)

UNPROVEN = "5.7.1 You may not send SMS"
"""In the reply to a client that nothing proves."""

_BY_REPLY: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        UNPROVEN,
        ("accounts.*.networks", "accounts.*.auth", "smtp.networks"),
        "if it is one of yours, add its address to the networks of its account, or let it authenticate",
    ),
    ("5.1.1", ("smtp.recipients",), "the mail was for another address than those of smtp.recipients"),
    ("5.3.4", ("smtp.max_mail_bytes",), "the mail was larger than smtp.max_mail_bytes"),
    ("Send STARTTLS first", ("smtp.starttls", "smtp.listeners"), "this listener wants TLS: let the client begin it"),
    (
        "TLS handshake",
        ("smtp.starttls",),
        "it is too old, or does not trust the certificate: mail2sms doctor --only tls says whether that has run out",
    ),
    ("5.7.8", ("users",), "name or password is wrong: mail2sms password makes a new hash"),
    ("wrong passwords", ("smtp.max_auth_failures",), "it tried too many passwords: wait, or mend the password"),
    ("Too many errors", ("smtp.max_errors",), "it speaks no proper SMTP, or tries addresses"),
    ("Too many connections", ("smtp.max_connections_per_client",), "it opens more connections than are allowed"),
    ("null sender", (), "a bounce is never an order: see who sends bounces to the gateway's address"),
    ("without a sender address", (), "a bounce is never an order: see who sends bounces to the gateway's address"),
    ("not for your network", ("smtp.listeners",), "this listener is for the networks of its list alone"),
    ("bare LF", ("smtp.bare_lf_networks",), "its lines end in LF: mend it, or list its network there"),
    ("Too many recipients", ("smtp.max_recipients",), "one mail, one recipient: numbers stand in the <envoi>"),
    ("No room", ("smtp.bytes_in_flight",), "the disk or the memory for mails was full; clients come again"),
    ("This is an SMTP server", (), "it spoke HTTP or TLS: check the port, and whether TLS comes first there"),
    ("cannot be found out", ("senders",), "the DNS did not answer; clients come again"),
    ("cannot be stored", ("store",), "the store did not answer; clients come again"),
    ("Too many envelopes", ("smtp",), "it sends faster than is allowed"),
)


def settings_of_code(code: Code, account: str | None, reason: str | None = None) -> tuple[str, ...]:
    """Return the settings, or commands, that decide about this code."""
    names = _BY_CODE.get(code, ())
    if code is Code.C999_ERROR:
        names = next((found for words, found in _BY_REASON if words in (reason or "")), ())
    return tuple(name.format(account=account or "*") for name in names)


def settings_of_ground(ground: str | None, cause: str) -> tuple[str, ...]:
    """Return the settings that decide about a refusal on this ground; strict reading is one only for what it is."""
    if ground == "unreadable" and not any(cause.startswith(one.fault) for one in Tolerance if one.is_lenient):
        return ()
    return _BY_GROUND.get(ground or "", ())


def settings_of_reply(reply: str) -> tuple[tuple[str, ...], str]:
    """Return the settings that decide about what a client was told, and what to do about it."""
    for words, settings, advice in _BY_REPLY:
        if words in reply:
            return settings, advice
    return (), ""
