"""The mail server that takes the reports: whether it is there, and would take one for the clients' domains."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address

from gateway.daemon.building import own_hostname
from gateway.doctor.findings import Finding, Says, Section
from gateway.doctor.patience import resolve, why
from gateway.doctor.subject import Subject
from gateway.mailer.probing import Answered, Probed, probe_smarthost
from gateway.policy.accounts import Account
from gateway.smtp.entrance import find_entrances
from gateway.smtp.settings import parse_listen

_says = Says(Section.SMARTHOST)

PROBE_S = 12.0
_MOST_DOMAINS = 5
_BYTES_PER_RECIPIENT = 400
_REPORT_BYTES = 10_000


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is to be said of it."""
    settings = subject.config.reports
    host, port = settings.smarthost_address
    where = f"smarthost {settings.smarthost}"
    try:
        addresses = await resolve(host, port)
    except OSError as error:
        yield _says.failure(f"{where}: {why(error)}", "mend smarthost in [reports]; reports wait meanwhile")
        return
    own = _own_listener(subject, [address for _family, address in addresses])
    if own is not None:
        yield _says.failure(
            f"{where} is the gateway itself (listener {own}): it takes no reports",
            "write your mail server as smarthost in [reports]",
        )
        return
    probed = await probe_smarthost(
        settings, _recipients(subject), hostname=own_hostname(subject.config), limit_s=PROBE_S
    )
    for finding in _judge(subject, where, probed):
        yield finding


def _judge(subject: Subject, where: str, probed: Probed) -> Iterator[Finding]:
    if probed.greeting and probed.greeting.split()[0].lower() == own_hostname(subject.config).lower():
        yield _says.note(
            f"{where} gives itself the gateway's own name, {probed.greeting.split()[0]}",
            "some mail servers take that for a loop: write another hostname in [smtp]",
        )
    if probed.trouble is not None:
        yield _judge_trouble(where, probed)
    elif probed.greeting:
        offers = f", offers {', '.join(probed.extensions)}" if probed.extensions else ""
        yield _says.ok(f"{where} answers as {probed.greeting.split()[0]}{offers}")
    largest = _largest_report(subject)
    if probed.most_bytes is not None and probed.most_bytes < largest:
        yield _says.warning(
            f"{where} takes mails of {probed.most_bytes} bytes at most; a Not for a full mobiles.csv has {largest}",
            "have its limit raised, or max_recipients of the accounts lowered",
        )
    yield from _judge_answers(where, probed.answers)


def _judge_trouble(where: str, probed: Probed) -> Finding:
    if probed.is_refusal and "STARTTLS" in (probed.trouble or "").upper():
        return _says.failure(
            f"{where} wants TLS first, which this version does not speak to it: {probed.trouble}",
            "let it take mail from this machine without, or put a local mail server in between",
        )
    if probed.is_refusal:
        return _says.failure(
            f"{where} does not take mail from this machine: {probed.trouble}",
            "let it take mail from this address, without a password and with the empty sender",
        )
    return _says.failure(
        f"{where} cannot be talked to: {probed.trouble}; Ack and Not wait, SMS are sent all the same",
        "see that it runs, and that the firewall lets this machine through",
    )


def _judge_answers(where: str, answers: tuple[Answered, ...]) -> Iterator[Finding]:
    for answer in answers:
        domain = answer.recipient.rpartition("@")[2]
        if answer.code < 300:
            yield _says.ok(
                f"{where} would take reports for {domain} (asked up to RCPT {answer.recipient}; nothing sent)"
            )
        elif answer.code < 500:
            yield _says.note(
                f"{where} says not now for {answer.recipient}: {answer.code} {answer.text}",
                "reports are tried again by themselves; look again in some minutes",
            )
        elif any(word in answer.text.lower() for word in ("relay", "denied", "not permitted", "authentication")):
            yield _says.failure(
                f"{where} does not relay to {domain}: {answer.code} {answer.text}",
                "let it relay for this machine, or reports for this domain fail",
            )
        else:
            yield _says.warning(
                f"{where} refuses {answer.recipient}: {answer.code} {answer.text}",
                "if only this address is unknown there, all is well; write the account's own as `mail`, and look again",
            )


def _recipients(subject: Subject) -> list[str]:
    """Return an address of each domain that reports go to: an account's own, else the one every domain has."""
    found: dict[str, str] = {}
    for account in subject.config.accounts:
        mail_domain = "" if account.mail is None else account.mail.rpartition("@")[2].lower()
        for domain in _report_domains(account):
            if account.mail is not None and mail_domain == domain:
                found[domain] = account.mail
            else:
                found.setdefault(domain, f"postmaster@{domain}")
    return list(found.values())[:_MOST_DOMAINS]


def _report_domains(account: Account) -> tuple[str, ...]:
    domains = account.report_domains or account.domains
    return tuple(domain for domain in domains if not domain.startswith("*.")) or (domains[0].removeprefix("*."),)


def _own_listener(subject: Subject, addresses: list[tuple[str, int]]) -> str | None:
    """Return the listener of our own that an address leads to, if any."""
    for entrance in find_entrances(subject.config.smtp):
        for listen in entrance.listen:
            host, port = parse_listen(listen)
            is_any = host in {"0.0.0.0", "::"}
            for address, wanted in addresses:
                if wanted == port and (host == address or (is_any and ip_address(address).is_loopback)):
                    return entrance.name
    return None


def _largest_report(subject: Subject) -> int:
    most = max(account.max_recipients for account in subject.config.accounts)
    return _REPORT_BYTES + most * _BYTES_PER_RECIPIENT
