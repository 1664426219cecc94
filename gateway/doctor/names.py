"""The DNS: whether its servers answer, how fast, and whether they know what the gateway and its clients need."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address

from gateway.daemon.building import own_hostname
from gateway.doctor.findings import Finding, Says, Section, enumerate_names
from gateway.doctor.subject import Subject
from gateway.identity.asking import ServerAnswer, ask_server, list_servers
from gateway.identity.names import DnsSilent, Names
from gateway.policy.accounts import AuthMethod

_says = Says(Section.DNS)

_ONE_S = 3.0
_SLOW_MS = 1_000.0
_SIGNED_ZONE = "org."
_MOST_DOMAINS = 20


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is to be said of the DNS."""
    senders = subject.config.senders
    servers = list_servers(senders)
    needs = _needed_for(subject)
    if not servers:
        say = _says.failure if needs else _says.warning
        yield say("this machine names no DNS server", "write dns_servers in [senders], or mend /etc/resolv.conf")
        return
    answers = await _ask_all(subject, servers)
    for server, (first, _second) in zip(servers, answers, strict=True):
        yield _judge_server(server, first, needs)
    if not any(first.rcode for first, _ in answers):
        return
    names = Names(senders.model_copy(update={"dns_timeout_s": min(_ONE_S, senders.dns_timeout_s)}))
    yield await _look_up_hostname(subject, names)
    for domain in _recipient_domains(subject)[:_MOST_DOMAINS]:
        yield await _look_up_mail(domain, names)
    for domain in needs[:_MOST_DOMAINS]:
        yield await _look_up_sender(domain, names)
    if any(second.is_validated for _, second in answers):
        yield _says.ok("the DNS checks signatures (DNSSEC)")
    else:
        yield _says.note(
            "the DNS does not say that it checks signatures (DNSSEC)",
            "with dkim or spf, let a validating resolver run on this machine" if needs else None,
        )


async def _ask_all(subject: Subject, servers: list[tuple[str, int]]) -> list[tuple[ServerAnswer, ServerAnswer]]:
    """Return what each server says of our own name, and of a zone that is signed."""
    hostname = own_hostname(subject.config)
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tuple(
                tasks.create_task(ask_server(server, name, kind, limit_s=_ONE_S, clock=subject.clock))
                for name, kind in ((f"{hostname}.", "A"), (_SIGNED_ZONE, "SOA"))
            )
            for server in servers
        ]
    return [(first.result(), second.result()) for first, second in asked]


def _judge_server(server: tuple[str, int], answer: ServerAnswer, needs: list[str]) -> Finding:
    where = f"DNS server {server[0]}" + ("" if server[1] == 53 else f", port {server[1]}")
    if answer.rcode is None:
        why = "mails of accounts with dkim or spf are answered 451 when it is asked" if needs else "lookups are slow"
        todo = "see that it runs and that the firewall lets UDP and TCP through, or name another in dns_servers"
        say = _says.failure if needs else _says.warning
        return say(f"{where} does not answer within {_ONE_S:g} s: {why}", todo)
    if answer.rcode in {"REFUSED", "SERVFAIL"}:
        todo = "let it answer this machine" if answer.rcode == "REFUSED" else "look at its log: it has trouble itself"
        say = _says.failure if needs else _says.warning
        return say(f"{where} answers {answer.rcode}", todo)
    if answer.duration_ms > _SLOW_MS:
        return _says.warning(
            f"{where} takes {answer.duration_ms:.0f} ms to answer", "every mail with dkim or spf waits for it"
        )
    return _says.ok(f"{where} answers within {answer.duration_ms:.0f} ms")


async def _look_up_hostname(subject: Subject, names: Names) -> Finding:
    hostname = own_hostname(subject.config)
    try:
        found = await _addresses_of(hostname, names)
    except DnsSilent as error:
        return _says.unknown(f"hostname {hostname}: {error}", "look again later")
    if found:
        return _says.ok(f"hostname {hostname} is {enumerate_names([one.decode() for one in found])}")
    source = "hostname in [smtp]" if subject.config.smtp.hostname else "the machine's name (no hostname in [smtp])"
    return _says.warning(
        f"the DNS knows no address of {hostname}, which is {source}",
        "clients that look it up, and smarthosts that check HELO, may refuse: make an entry, or mend the name",
    )


async def _look_up_mail(domain: str, names: Names) -> Finding:
    try:
        relays = await names.find(domain, "MX")
        if relays:
            shown = enumerate_names([one.decode() or "." for one in relays])
            return _says.ok(f"mail for {domain} goes to {shown} (MX)")
        addresses = await _addresses_of(domain, names)
    except DnsSilent as error:
        return _says.unknown(f"mail for {domain}: {error}", "look again later")
    if addresses:
        return _says.ok(f"mail for {domain} goes to {addresses[0].decode()} (no MX)")
    return _says.note(
        f"the DNS does not say where mail for {domain} goes",
        "fine where clients are told this gateway's address; else make an MX entry",
    )


async def _addresses_of(host: str, names: Names) -> Sequence[bytes]:
    """Return its addresses of both kinds. Raises DnsSilent."""
    return (*(await names.find(host, "A") or ()), *(await names.find(host, "AAAA") or ()))


async def _look_up_sender(domain: str, names: Names) -> Finding:
    """What SPF says of an account's domain; a DKIM key has a name that only mails tell."""
    try:
        records = await names.find(domain, "TXT")
    except DnsSilent as error:
        return _says.failure(
            f"{domain}: {error}: its mails are answered 451 where dkim or spf is to prove them",
            "see that the DNS servers reach the servers of this domain",
        )
    spf = [one for one in records or () if one.lower().startswith(b"v=spf1")]
    if len(spf) == 1:
        return _says.ok(f"{domain}: the DNS answers, and it has an SPF record")
    found = "no SPF record" if not spf else f"{len(spf)} SPF records, which counts as an error"
    return _says.note(f"{domain}: the DNS answers; {found}", 'fine for "dkim"; with "spf" it proves nobody')


def _needed_for(subject: Subject) -> list[str]:
    """Return the domains whose senders the DNS is to prove."""
    wanted = {AuthMethod.DKIM, AuthMethod.SPF}
    found = (
        domain.removeprefix("*.")
        for account in subject.config.accounts
        if not wanted.isdisjoint(account.auth)
        for domain in account.domains
    )
    return list(dict.fromkeys(found))


def _recipient_domains(subject: Subject) -> list[str]:
    domains = (address.rpartition("@")[2].lower() for address in subject.config.smtp.recipients)
    return [domain for domain in dict.fromkeys(domains) if not _is_address(domain)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True
