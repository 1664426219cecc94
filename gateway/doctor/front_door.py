"""The addresses the gateway listens on, or would: free, its own, or somebody else's; and what it shows there."""

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from gateway.config import Config
from gateway.daemon.building import own_hostname
from gateway.doctor.certificates import compare_served
from gateway.doctor.dialogue import Encounter, meet
from gateway.doctor.findings import Finding, Says, Section
from gateway.doctor.machine import SUPERVISOR, Process, find_listener, first_free_port, try_to_bind
from gateway.doctor.patience import in_thread, resolve, why
from gateway.doctor.showing import list_extensions
from gateway.doctor.subject import Subject
from gateway.smtp.entrance import Entrance, find_entrances
from gateway.smtp.peer import Address, client_address, is_within
from gateway.smtp.settings import Tls, parse_listen

_says = Says(Section.PORTS)
_listeners = Says(Section.LISTENERS)

ADDRESS_S = 20.0
"""How long one address may take, several answers included."""

_ALWAYS_SHOWN = frozenset({"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"})
_NEVER_SHOWN = frozenset({"VRFY", "ETRN", "DSN", "CHUNKING", "SMTPUTF8", "HELP", "EXPN"})
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An address somebody listens on."""

    listen: str
    address: tuple[str, int]


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what becomes of every address, all of them looked at at the same time."""
    async with asyncio.TaskGroup() as tasks:
        looks = [
            tasks.create_task(_look_in_time(subject, entrance, listen))
            for entrance in find_entrances(subject.config.smtp)
            for listen in entrance.listen
        ]
    for task in looks:
        for finding in task.result():
            yield finding


async def _look_in_time(subject: Subject, entrance: Entrance, listen: str) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(ADDRESS_S):
            async for finding in _look_at_address(subject, entrance, listen):
                found.append(finding)  # noqa: PERF401 - what is there when time runs out
    except TimeoutError:
        found.append(_says.unknown(f"{listen} ({entrance.name}): no end within {ADDRESS_S:g} s", "look again later"))
    return found


async def _look_at_address(subject: Subject, entrance: Entrance, listen: str) -> AsyncIterator[Finding]:
    host, port = parse_listen(listen)
    if port == 0:
        yield _says.note(
            f"{listen} ({entrance.name}): a free port at each start, so that nobody knows where to send",
            "write a port, such as 2525, unless this is for trying",
        )
        return
    async for finding in look_at_port(subject, listen, host, port, name=entrance.name):
        if isinstance(finding, Finding):
            yield finding
            continue
        async for met in _look_at_gateway(subject, entrance, finding):
            yield met


async def look_at_port(
    subject: Subject, listen: str, host: str, port: int, *, name: str
) -> AsyncIterator[Finding | Taken]:
    """Yield what is wrong with listening there, that it is free, or where somebody does already."""
    where = f"{listen} ({name})"
    try:
        addresses = await resolve(host, port, is_passive=True)
    except OSError as error:
        yield _says.failure(f"{where}: {why(error)}", "write an address of this machine, such as 0.0.0.0 or 127.0.0.1")
        return
    for family, address in addresses:
        try:
            await in_thread(partial(try_to_bind, family, address))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                yield _why_not_bound(where, port, error)
            elif subject.gateway is None and await _is_for_start(port):
                yield _says.ok(f"{where}: systemd listens there, and starts the gateway when somebody comes")
            else:
                yield Taken(listen=listen, address=(_ANY.get(address[0], address[0]), address[1]))
        else:
            yield _is_free(subject, where, port)


async def _is_for_start(port: int) -> bool:
    """Tell whether a visit would start the gateway: that is not for us to do."""
    holder = await in_thread(partial(find_listener, port))
    return holder is not None and holder.name == SUPERVISOR


def _why_not_bound(where: str, port: int, error: OSError) -> Finding:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return _says.failure(
            f"{where}: this user may not listen on a port below {first_free_port()}",
            f"give the service AmbientCapabilities=CAP_NET_BIND_SERVICE, or listen on a port such as {port + 2500}",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return _says.failure(
            f"{where}: this machine has no such address",
            "see the machine's addresses with: ip address; or has the network not come up yet?",
        )
    return _says.failure(f"{where}: cannot be listened on ({why(error)})", "mend the address")


def _is_free(subject: Subject, where: str, port: int) -> Finding:
    if subject.gateway is not None:
        return _says.failure(
            f"{where}: the gateway runs as pid {subject.gateway.pid} and does not listen there",
            "restart it: a listener that is new in the configuration needs that",
        )
    if subject.uid == 0 and subject.service_uid not in {0, None} and port < first_free_port():
        return _says.note(
            f"{where}: free; but the service is not root and the port is below {first_free_port()}",
            "give the service AmbientCapabilities=CAP_NET_BIND_SERVICE",
        )
    return _says.ok(f"{where}: free, and can be listened on")


async def _look_at_gateway(subject: Subject, entrance: Entrance, taken: Taken) -> AsyncIterator[Finding]:
    where = f"{taken.listen} ({entrance.name})"
    hostname = own_hostname(subject.config)
    says_proxy = bool(entrance.proxies)
    met = await meet(taken.address, tls=entrance.tls, says_proxy=says_proxy)
    if not met.banner.startswith("220"):
        yield _judge_refusal(subject, entrance, where, met, await _find_holder(taken))
        return
    if not _speaks_as_ours(met):
        yield _says.failure(
            f"{where}: another mail server answers there{_named(await _find_holder(taken))}: {met.banner[:80]}",
            "stop it, or let the gateway listen on another port",
        )
        return
    if met.greeting != hostname:
        yield _says.warning(
            f'{where}: a gateway answers, but calls itself "{met.greeting}" instead of "{hostname}"',
            "restart it if the hostname was changed; else it is another one: see who listens there",
        )
    else:
        yield _says.ok(f"{where}: the gateway answers: {met.banner}")
    for finding in _judge_showing(subject.config, entrance, where, met):
        yield finding
    if met.certificate is not None:
        async for finding in compare_served(subject, where, met):
            yield finding


async def _find_holder(taken: Taken) -> Process | None:
    return await in_thread(partial(find_listener, taken.address[1]))


def _named(holder: Process | None) -> str:
    return "" if holder is None else f", {holder}"


def _speaks_as_ours(met: Encounter) -> bool:
    shown = met.clear if met.clear is not None else met.encrypted
    if shown is None:
        return False
    names = {line.split()[0].upper() for line in shown if line}
    return met.banner.endswith(" ESMTP") and names >= _ALWAYS_SHOWN and names.isdisjoint(_NEVER_SHOWN)


def _judge_refusal(subject: Subject, entrance: Entrance, where: str, met: Encounter, holder: Process | None) -> Finding:
    own, who = _own(met), _named(holder)
    if met.banner.startswith("554") and own is not None:
        if entrance.proxies and not is_within(own, entrance.proxies):
            return _says.ok(f"{where}: answers, and turns away whoever is no proxy, as it should")
        if not entrance.lets_in(own):
            return _says.ok(f"{where}: answers, and lets nobody in but `networks`, as it should")
    if entrance.proxies and not met.banner and own is not None and not is_within(own, entrance.proxies):
        return _says.ok(f"{where}: turns away whoever is no proxy, as it should")
    if met.banner.startswith("421"):
        return _says.warning(
            f"{where}: answers {met.banner}", "too many connections, or it is stopping: look at the log of the gateway"
        )
    if met.banner:
        return _says.failure(
            f"{where}: somebody else answers there{who}: {met.banner[:80]}",
            "stop it, or let the gateway listen on another port",
        )
    if entrance.tls is Tls.IMPLICIT and met.trouble is not None and "TLS" in met.trouble:
        return _says.failure(
            f"{where}: {met.trouble}{who}", "is it the gateway? If so restart it; else stop what listens there"
        )
    if holder is not None and subject.gateway is not None and holder.pid == subject.gateway.pid:
        return _says.failure(
            f"{where}: the gateway{who} listens there and does not answer: {met.trouble}",
            "it hangs, or is overloaded: look at its log and at the machine's load, then restart it",
        )
    return _says.failure(
        f"{where}: taken{who}, and no mail server answers: {met.trouble}",
        "stop what listens there, or let the gateway listen on another port",
    )


def _judge_showing(config: Config, entrance: Entrance, where: str, met: Encounter) -> list[Finding]:
    """What was shown to us, held against what the configuration means to show."""
    own = _own(met)
    is_loopback = own is not None and own.is_loopback
    findings = []
    for shown, is_encrypted in ((met.clear, False), (met.encrypted, True)):
        if shown is None:
            continue
        meant = list_extensions(config, entrance, is_encrypted=is_encrypted, is_loopback=is_loopback)
        how = "over TLS" if is_encrypted else "in clear"
        if set(shown) == set(meant):
            findings.append(_listeners.ok(f"{where}: shows {how} to {met.own_address}: {', '.join(shown)}"))
            continue
        missing, more = sorted(set(meant) - set(shown)), sorted(set(shown) - set(meant))
        differs = [f"lacks {', '.join(missing)}"] if missing else []
        differs += [f"has {', '.join(more)}"] if more else []
        findings.append(
            _listeners.warning(
                f"{where}: what it shows {how} is not what the configuration says: it {' and '.join(differs)}",
                "restart the gateway: [smtp] was changed since it started; users only need a reload (SIGHUP)",
            )
        )
    if met.trouble is not None:
        findings.append(
            _listeners.failure(f"{where}: {met.trouble}", "look at the log of the gateway: tls_failed, session_failed")
        )
    return findings


def _own(met: Encounter) -> Address | None:
    return client_address(met.own_address.partition("%")[0]) if met.own_address else None
