"""A corpus, played: every mail in, every report and SMS caught, every case judged.

Cases run at the same time, a few mails on the way at once; each waits for its own reports. What nobody expected is
looked for at the end, once nothing more has come for a little while: one quiet moment for all instead of one for each.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.conformance.carrier import CarrierSms, CarrierWindow
from gateway.conformance.case import Case, Level
from gateway.conformance.client import submit
from gateway.conformance.filling import FilledCase, Filling, Identity
from gateway.conformance.judge import Observed, answers_begin, has_all, judge
from gateway.conformance.post import Post
from gateway.conformance.report import ReceivedReport
from gateway.conformance.results import Result, Run, Verdict
from gateway.errors import GatewayError
from gateway.smtp.mailbox import Mailbox

MAILS_AT_ONCE = 8
QUIET_S = 0.5
"""How long nothing more may arrive before the run is judged: a report too many is as wrong as one too few."""

_LOOK_EVERY_S = 0.2
_CONNECT_S = 10.0
_OWN_NUMBER = re.compile(r"\+3363998([0-9]{3})[0-9]")
"""063998 and four digits: numbers that are nobody's, kept for films. The first three are those of the case."""

_REST = "the whole run"


class Unreachable(GatewayError):
    """Nobody answers SMTP at the address."""

    temporary = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The gateway under test and what stands around it. None: is not looked at."""

    smtp: tuple[str, int]
    reports: tuple[str, int] | None = None  # where the kit listens for Ack and Not
    sandbox: str | None = None  # base URL


@dataclass(slots=True, kw_only=True)
class _Track:
    """One case under way."""

    filled: FilledCase
    replies: tuple[str, ...] = ()
    duration_s: float = 0.0


class Play:
    """One run of a corpus against one gateway."""

    def __init__(
        self,
        target: Target,
        identity: Identity,
        *,
        level: Level,
        timeout_s: float,
        clock: Clock,
        quiet_s: float = QUIET_S,
    ) -> None:
        """Be ready to play. `timeout_s` is the deadline of a case, from its first mail to its last report.

        `filling` says what the names in mails and expectations become in this run.
        """
        now = clock.now()
        self._target = target
        self._identity = identity
        self._level = level
        self._timeout_s = timeout_s
        self._quiet_s = quiet_s
        self._clock = clock
        self.filling = Filling(identity=identity, run=f"{now:%y%m%d%H%M%S}{secrets.randbelow(100):02}", clock=clock)
        self._turns = asyncio.Semaphore(MAILS_AT_ONCE)

    async def play(self, cases: Sequence[Case], on_case: Callable[[], None] = lambda: None) -> Run:
        """Return the verdicts, in the order of the cases; `on_case` is called when one has come to its end.

        Raises Unreachable, SandboxUnreachable or ListenError before anything is sent, CorpusError for a wrong case.
        """
        began_at = self._clock.monotonic()
        reasons = {case.name: self._why_not(case) for case in cases}
        tracks = [
            _Track(filled=self.filling.fill(case, case.alternatives(self._level)))
            for case in cases
            if not reasons[case.name]
        ]
        async with AsyncExitStack() as stack:
            post, carrier = await self._set_up(stack)
            async with asyncio.TaskGroup() as group:
                for track in tracks:
                    group.create_task(self._play_one(track, post, on_case), name=track.filled.case.name)
            sms = await self._catch_sms(tracks, post, carrier)
            reports = None if post is None else post.sort()
        mine, nobodys = _share_out(tracks, sms or ())
        verdicts = {
            track.filled.case.name: self._judge(track, reports, None if sms is None else mine[track.filled.case.number])
            for track in tracks
        }
        return Run(
            run=self.filling.run,
            smtp=f"{self._target.smtp[0]}:{self._target.smtp[1]}",
            level=self._level,
            verdicts=[
                *(verdicts.get(case.name) or _skip(case, reasons[case.name]) for case in cases),
                *_judge_rest(nobodys, reports or {}, {track.filled.case.number for track in tracks}),
            ],
            duration_s=self._clock.monotonic() - began_at,
            remarks=self._remarks(post),
        )

    def _why_not(self, case: Case) -> str:
        """Return why a case cannot be played here; nothing: it can."""
        if "sandbox" in case.needs and self._target.sandbox is None:
            return "needs a carrier sandbox (--sandbox)"
        if "other-domain" in case.needs and self._identity.other_domain is None:
            return "needs the domain of a second account (--other-domain)"
        return ""

    def _remarks(self, post: Post | None) -> list[str]:
        remarks = []
        if self._target.reports is None:
            remarks.append("Ack and Not were not looked at (--reports)")
        if self._target.sandbox is None:
            remarks.append("SMS were not looked at (--sandbox)")
        if post is not None and post.strangers:
            remarks.append(f"{post.strangers} mails that belong to no case of this run were ignored")
        return remarks

    async def _set_up(self, stack: AsyncExitStack) -> tuple[Post | None, CarrierWindow | None]:
        host, port = self._target.smtp
        await _check_address(host, port)
        carrier = post = None
        if self._target.sandbox is not None:
            carrier = await stack.enter_async_context(CarrierWindow(self._target.sandbox))
        if self._target.reports is not None:
            listen_host, listen_port = self._target.reports
            mailbox = await stack.enter_async_context(Mailbox(host=listen_host, port=listen_port))
            post = Post(mailbox, self.filling)
        return post, carrier

    # --- one case ----------------------------------------------------------------------------------------------------

    async def _play_one(self, track: _Track, post: Post | None, on_case: Callable[[], None]) -> None:
        async with self._turns:
            began_at = self._clock.monotonic()
            track.replies = await self._send(track.filled)
        left_s = max(0.0, began_at + self._timeout_s - self._clock.monotonic())
        outcomes = [one for one in track.filled.alternatives if answers_begin(one, track.replies)]
        if post is not None and outcomes:  # an answer that is wrong is not followed by anything worth waiting for
            with suppress(TimeoutError):
                await post.wait_for(track.filled.case.number, outcomes, timeout_s=left_s)
        track.duration_s = self._clock.monotonic() - began_at
        on_case()

    async def _send(self, filled: FilledCase) -> tuple[str, ...]:
        """Return the reply to each mail; one that does not come is replaced by a sentence."""
        host, port = self._target.smtp
        replies = ["no reply within the deadline"] * len(filled.mails)

        async def send(index: int) -> None:
            replies[index] = await submit(host, port, filled.mails[index])

        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                if filled.case.is_together:
                    async with asyncio.TaskGroup() as group:
                        for index in range(len(filled.mails)):
                            group.create_task(send(index), name=f"mail {index}")
                else:
                    for index in range(len(filled.mails)):
                        await send(index)
        return tuple(replies)

    # --- the end of the run ------------------------------------------------------------------------------------------

    async def _catch_sms(
        self, tracks: Sequence[_Track], post: Post | None, carrier: CarrierWindow | None
    ) -> Sequence[CarrierSms] | None:
        """Return every SMS of the run, once all are there and nothing more comes; None without a carrier."""
        if carrier is None:
            await asyncio.sleep(self._quiet_s)
            return None
        reports = {} if post is None else post.sort()
        wanted = {number for track in tracks for number in _wanted_numbers(track, reports)}
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                while wanted - {sms.number for sms in await carrier.look()}:  # noqa: ASYNC110 - nothing rings over there
                    await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.sleep(self._quiet_s)
        return await carrier.look()

    def _judge(
        self, track: _Track, reports: Mapping[str, Sequence[ReceivedReport]] | None, sms: Sequence[CarrierSms] | None
    ) -> Verdict:
        case = track.filled.case
        observed = Observed(
            replies=track.replies,
            reports=None if reports is None else tuple(reports.get(case.number, ())),
            sms=None if sms is None else tuple(sms),
        )
        judgement = judge(track.filled, observed)
        is_refused = judgement.alternative > 0 and not judgement.differences
        return Verdict(
            case=case.name,
            about=case.about,
            sections=case.sections,
            result=Result.FAILED if judgement.differences else Result.PASSED,
            differences=judgement.differences,
            remark="tolerance refused as documented" if is_refused else "",
            duration_s=track.duration_s,
        )


async def _check_address(host: str, port: int) -> None:
    """Raise Unreachable unless somebody answers as SMTP does."""
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                greeting = await reader.readline()
                writer.write(b"QUIT\r\n")
            finally:
                writer.close()
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise Unreachable(f"nobody takes mail at {host}:{port}: {error}") from error
    if not greeting.startswith(b"220"):
        raise Unreachable(f"what answers at {host}:{port} is not ready to take mail")


def _wanted_numbers(track: _Track, reports: Mapping[str, Sequence[ReceivedReport]]) -> Iterator[str]:
    """Yield the numbers that must get an SMS, as far as it is clear which of the alternatives it is going to be."""
    outcomes = [one for one in track.filled.alternatives if answers_begin(one, track.replies)]
    if len(outcomes) > 1:
        outcomes = [one for one in outcomes if has_all(one, reports.get(track.filled.case.number, ()))][:1]
    for outcome in outcomes:
        for sms in outcome.sms:
            yield from sms.numbers


def _share_out(
    tracks: Sequence[_Track], sms: Sequence[CarrierSms]
) -> tuple[Mapping[str, list[CarrierSms]], list[CarrierSms]]:
    """Return the SMS of each case, by its number, and those that are of none."""
    owners = {
        number: track.filled.case.number
        for track in tracks
        for outcome in track.filled.alternatives
        for expected in outcome.sms
        for number in expected.numbers
    }
    played = {track.filled.case.number for track in tracks}
    mine: dict[str, list[CarrierSms]] = {number: [] for number in played}
    nobodys = []
    for one in sms:
        own = _OWN_NUMBER.fullmatch(one.number)
        owner = owners.get(one.number) or (own[1] if own else "")
        if owner in played:
            mine[owner].append(one)
        else:
            nobodys.append(one)
    return mine, nobodys


def _skip(case: Case, reason: str) -> Verdict:
    return Verdict(case=case.name, about=case.about, sections=case.sections, result=Result.SKIPPED, remark=reason)


def _judge_rest(
    nobodys: Sequence[CarrierSms], reports: Mapping[str, Sequence[ReceivedReport]], played: AbstractSet[str]
) -> list[Verdict]:
    """Return a verdict when something came that no case can have caused; else nothing."""
    differences = [f"an SMS that belongs to no case, to {sms.number}" for sms in nobodys]
    differences += [
        f"a report that belongs to no case, emailId {came.report.email_id}"
        for number, received in reports.items()
        if number not in played
        for came in received
    ]
    if not differences:
        return []
    return [
        Verdict(
            case=_REST,
            about="Nothing comes that no mail asked for",
            sections=(),
            result=Result.FAILED,
            differences=tuple(differences),
        )
    ]
