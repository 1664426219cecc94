"""The HTTP address, and the one that carriers are told to call back."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from gateway.doctor.findings import Finding, Says, Section
from gateway.doctor.front_door import Taken, look_at_port
from gateway.doctor.machine import find_listener
from gateway.doctor.patience import in_thread
from gateway.doctor.subject import Subject
from gateway.doctor.web_call import Called, Step, call
from gateway.web.server import split_listen

_says = Says(Section.PORTS)


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is to be said of `[http]`."""
    http = subject.config.http
    is_up = False
    if http.listen is None:
        yield _says.note(
            "no HTTP address: no health, no metrics, and carriers cannot call back",
            'write listen = "127.0.0.1:8025" in [http]',
        )
    elif split_listen(http.listen)[1] == 0:
        yield _says.note(f"{http.listen} (http): a free port at each start", "write a port, unless this is for trying")
    else:
        host, port = split_listen(http.listen)
        async for finding in look_at_port(subject, http.listen, host, port, name="http"):
            if isinstance(finding, Finding):
                yield finding
                continue
            async for met in _look_at_health(subject, finding):
                is_up = is_up or met.level.value in {"ok", "warning"}
                yield met
    if http.public_url is not None:
        yield await _look_from_outside(subject, http.public_url, is_up=is_up)


async def _look_at_health(subject: Subject, taken: Taken) -> AsyncIterator[Finding]:
    host, port = taken.address
    base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    async with asyncio.TaskGroup() as tasks:
        alive = tasks.create_task(call(f"{base}/livez", subject.clock))
        ready = tasks.create_task(call(f"{base}/readyz", subject.clock))
    lives, is_ready = alive.result(), ready.result()
    where = f"{taken.listen} (http)"
    if not _is_ours(lives):
        process = await in_thread(partial(find_listener, port))
        yield _says.failure(
            f"{where}: taken{'' if process is None else f', {process}'}, and it is not the gateway that answers",
            "stop what listens there, or write another port in [http]",
        )
    elif is_ready.status == 200:
        yield _says.ok(f"{where}: the gateway answers, and is ready")
    else:
        for obstacle in is_ready.body.splitlines() or ["no reason told"]:
            yield _says.failure(
                f"{where}: the gateway is not ready: {obstacle}", "it takes no mail: see below, and its log"
            )


async def _look_from_outside(subject: Subject, url: str, *, is_up: bool) -> Finding:
    """From this machine, which may be another way than that of the carriers."""
    called = await call(f"{url}/livez", subject.clock)
    where = f"public_url {url}"
    match called.step:
        case Step.NAME:
            return _says.failure(f"{where}: {called.reason}", "make an entry in the DNS, or mend public_url in [http]")
        case Step.TRUST:
            return _says.failure(
                f"{where}: its certificate is not believed: {called.reason}",
                "carriers that check it do not call back: renew it, or send the whole chain",
            )
        case Step.CONNECTION | Step.ANSWER:
            return _says.unknown(
                f"{where}: from here, {called.reason}; whether carriers reach it cannot be told",
                "try it from outside: curl -i, to the address followed by /receipts/x/x, is to answer 404",
            )
        case Step.DONE:
            pass
    if _is_ours(called):
        return _says.ok(f"{where}: leads to the gateway")
    if called.status in {502, 503, 504}:
        what = "although it answers on this machine" if is_up else "and no gateway runs"
        return _says.warning(
            f"{where}: what stands before the gateway answers {called.status}, {what}",
            "see to which address it passes /receipts/ on" if is_up else "look again when the gateway runs",
        )
    return _says.unknown(
        f"{where}: something answers ({called.status}), and whether /receipts/ gets to the gateway cannot be told",
        "try it: curl -i, to the address followed by /receipts/x/x, is to answer 404, and the log to say "
        "callback_refused",
    )


def _is_ours(called: Called) -> bool:
    return called.status == 200 and called.body.strip() == "ok"
