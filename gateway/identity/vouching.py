"""Who vouches for a mail's sender: a relay in front, a signature, the DNS (docs/protocol.md §1.3).

Promises: the DNS is asked about domains that an account owns and what these refer to, and only for mails that say they
are from there, so strangers cannot have us ask; whatever has not been answered in time is kept as unheard, and is never
taken for a yes or a no.

Diagnostics: event `sender_unheard` (warning); metric `mail2sms_senders_vouched_total`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address

import prometheus_client
import structlog
from spftrace import Evaluator
from spftrace import Limits as SpfLimits

from gateway.clock import Clock
from gateway.identity.names import DnsSilent, Names, NamesForSpf
from gateway.identity.relay_results import find_passed_domains
from gateway.identity.settings import SenderSettings
from gateway.identity.signatures import Signature, Unfit, find_fault_of_key, find_signatures, verify
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Account, AuthMethod
from gateway.policy.addresses import parse_address
from gateway.policy.sender import Client, Voucher, find_sender_domain, is_aligned, prove_client
from gateway.protocol.header_block import HeaderBlock
from gateway.protocol.mime import Headers

VOUCHED = prometheus_client.Counter(
    "mail2sms_senders_vouched",
    "Mails somebody was asked about, by what came of it.",
    ["method", "outcome"],
    registry=REGISTRY,
)

VERIFIED_AT_ONCE = 2
_WHOLE_INTERNET = re.compile(r"[+]?(?:ip4:.*/[0-7]|ip6:.*/(?:[0-9]|1[0-5]))", re.IGNORECASE)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What vouching needs to know of a mail."""

    content: bytes
    block: HeaderBlock
    headers: Headers
    envelope_from: str
    claimants: Sequence[Account]  # owners of the sender's domain that are not proven yet

    def is_wanted(self, method: AuthMethod, domain: str) -> bool:
        """True when the domain's word would prove a claimant."""
        sender_domain = find_sender_domain(self.headers, self.envelope_from)
        if sender_domain is None or not is_aligned(domain, sender_domain):
            return False
        return any(method in claimant.auth and claimant.owns_domain(domain) for claimant in self.claimants)


Remark = Callable[[AuthMethod, str], None]
"""Told why something proves nothing, in words for operators."""


def _keep_quiet(_method: AuthMethod, _remark: str) -> None:
    """Nobody wants to know."""


class Vouching:
    """Asks for everybody's word; any number of mails at the same time."""

    def __init__(
        self, settings: SenderSettings, clock: Clock, *, needs_dns: bool, remark: Remark = _keep_quiet
    ) -> None:
        """Raises DnsUnusable when the DNS is needed and no server is known."""
        self._remark = remark
        self._settings = settings
        self._clock = clock
        self._names = Names(settings) if needs_dns else None
        self._verifying = asyncio.Semaphore(VERIFIED_AT_ONCE)

    async def ask(self, client: Client, letter: Letter) -> Client:
        """Return the client with the words that were heard, and those that should have been."""
        heard: set[Voucher] = set()
        expected: set[Voucher] = set()
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                async for voucher, is_answer in self._listen(client, letter):
                    (heard if is_answer else expected).add(voucher)
                    if is_answer and _all_proven(replace(client, vouchers=frozenset(heard)), letter.claimants):
                        break
        except TimeoutError:
            expected |= set(_possible(letter)) - heard
        unheard = expected - heard
        for voucher in heard:
            VOUCHED.labels(voucher.method.value, "heard").inc()
        for voucher in unheard:
            VOUCHED.labels(voucher.method.value, "unheard").inc()
        if unheard:
            words = sorted(f"{voucher.method.value} {voucher.domain}" for voucher in unheard)
            _log.warning("sender_unheard", words=words, advice="does the DNS server answer? The mail comes back")
        return replace(client, vouchers=frozenset(heard), unheard=frozenset(unheard))

    async def _listen(self, client: Client, letter: Letter) -> AsyncIterator[tuple[Voucher, bool]]:
        """Yield each word, and False with it when it could not be heard; the cheapest first."""
        for domain in self._read_relay(client, letter):
            yield Voucher(method=AuthMethod.AUTHRES, domain=domain), True
        for signature in self._choose_signatures(letter):
            voucher = Voucher(method=AuthMethod.DKIM, domain=signature.domain)
            try:
                if await self._holds(letter.content, signature):
                    yield voucher, True
            except DnsSilent:
                yield voucher, False
        envelope = parse_address(letter.envelope_from)
        if envelope is not None and letter.is_wanted(AuthMethod.SPF, envelope.domain):
            voucher = Voucher(method=AuthMethod.SPF, domain=envelope.domain)
            try:
                if await self._is_permitted(client.peer, letter.envelope_from):
                    yield voucher, True
            except DnsSilent:
                yield voucher, False
        elif _uses(letter, AuthMethod.SPF):
            self._remark(
                AuthMethod.SPF, "the envelope sender's domain is not that of From: or above it, or not its own"
            )

    def _read_relay(self, client: Client, letter: Letter) -> list[str]:
        try:
            peer = ip_address(client.peer)
        except ValueError:
            return []
        found: set[str] = set()
        relays = [relay for relay in self._settings.relays if any(peer in network for network in relay.networks)]
        for relay in relays:
            found |= find_passed_domains(letter.block, relay.authserv_id, received_above=relay.received_above)
        if not found and _uses(letter, AuthMethod.AUTHRES):
            why = "the relay says of no domain that it passed" if relays else f"{peer} is no relay of senders.relays"
            self._remark(AuthMethod.AUTHRES, why)
        return sorted(domain for domain in found if letter.is_wanted(AuthMethod.AUTHRES, domain))

    def _choose_signatures(self, letter: Letter) -> Iterator[Signature]:
        found = self._find_signatures(letter) if _uses(letter, AuthMethod.DKIM) else ()
        if not found and _uses(letter, AuthMethod.DKIM):
            self._remark(AuthMethod.DKIM, "the mail has no signature, or no From: that it could be for")
        for one in found:
            if isinstance(one, Signature):
                yield one
            else:
                self._remark(AuthMethod.DKIM, f"signature {one.position + 1}: {one.why}")

    def _find_signatures(self, letter: Letter) -> tuple[Signature | Unfit, ...]:
        sender = letter.headers.from_address
        if sender is None or not letter.block.is_closed:
            return ()
        return find_signatures(
            letter.content[: letter.block.body_start],
            sender,
            is_wanted=lambda domain: letter.is_wanted(AuthMethod.DKIM, domain),
            now=self._clock.now(),
            max_age=timedelta(seconds=self._settings.max_signature_age_s),
        )

    async def _holds(self, content: bytes, signature: Signature) -> bool:
        records = await self._dns.find(signature.key_name, "TXT") or ()
        fault = f"{len(records)} keys are at {signature.key_name}, not one"
        if len(records) == 1:
            fault = find_fault_of_key(records[0], signature) or ""
        if not fault:
            async with self._verifying:
                if await asyncio.to_thread(verify, content, signature, records[0]):
                    return True
            fault = "it does not hold: what it signs was changed, its key is another, or too short"
        self._remark(AuthMethod.DKIM, f"signature {signature.position + 1}: {fault}")
        return False

    async def _is_permitted(self, peer: str, envelope_from: str) -> bool:
        """Tell whether the envelope sender's domain permits the address, and not just every address (RFC 7208)."""
        evaluator = Evaluator(NamesForSpf(self._dns), SpfLimits(time_limit=self._settings.deadline_s))
        found = await evaluator.evaluate(peer, envelope_from)
        if found.verdict == "temperror":
            raise DnsSilent("no answer about the envelope sender")
        matched = [event.data for event in found.trace.events if event.kind == "mech_match"]
        permits_all = any(one["mechanism"] == "all" or _WHOLE_INTERNET.fullmatch(one["raw"]) for one in matched)
        if found.verdict != "pass":
            self._remark(AuthMethod.SPF, f"{peer} is not permitted by the envelope sender's domain: {found.verdict}")
        elif permits_all:
            self._remark(AuthMethod.SPF, "the envelope sender's domain permits every address")
        return found.verdict == "pass" and not permits_all

    @property
    def _dns(self) -> Names:
        if self._names is None:
            raise DnsSilent("no account needs the DNS")  # and so nobody asks
        return self._names


def _possible(letter: Letter) -> list[Voucher]:
    """Return every word that might have proven a claimant, when time ran out."""
    domain = find_sender_domain(letter.headers, letter.envelope_from) or ""
    methods = (AuthMethod.DKIM, AuthMethod.SPF)
    return [Voucher(method=method, domain=domain) for method in methods if letter.is_wanted(method, domain)]


def _all_proven(client: Client, claimants: Sequence[Account]) -> bool:
    return all(prove_client(client, claimant) is not None for claimant in claimants)


def _uses(letter: Letter, method: AuthMethod) -> bool:
    return any(method in claimant.auth for claimant in letter.claimants)
