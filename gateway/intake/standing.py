"""Where a mail stands with each account that could be its own: what `mail2sms lint` says of who may send."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.intake.judging import Judgement
from gateway.intake.submission import Submission
from gateway.policy.accounts import Account, Accounts, AuthMethod
from gateway.policy.proofs import UNHEARD, explain_proofs
from gateway.policy.sender import Client, find_sender_domain
from gateway.protocol.envoi import Unreadable
from gateway.protocol.mime import read_headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A method of an account that owns the sender's domain, or whose key the mail carries, and what came of it."""

    account: str
    method: str
    holds: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whose key it is, as far as the mail was read, and what proves the client for whom."""

    key: str | None
    tried: tuple[Tried, ...]


def find_standing(
    judgement: Judgement,
    client: Client,
    accounts: Accounts,
    submission: Submission,
    remarks: Sequence[tuple[AuthMethod, str]],
    *,
    asks_dns: bool,
) -> Standing:
    """Return what was tried. Without the DNS, what it would have been asked is said to be open."""
    keyid = judgement.reading.envoi.keyid if judgement.reading is not None else None
    owner = None if not keyid else accounts.find_key(keyid)
    concerned = _find_owners(submission, accounts)
    key_account = None if owner is None else accounts.by_name(owner.name)
    if key_account is not None and key_account not in concerned:
        concerned = (*concerned, key_account)
    tried = (one for account in concerned for one in explain_proofs(client, account, remarks))
    key = None
    if judgement.reading is not None:
        key = "missing or empty" if not keyid else "not known"
    if owner is not None:
        key = f"of account {owner.name}{', its previous one' if owner.is_previous else ''}"
    return Standing(
        key=key,
        tried=tuple(
            Tried(account=one.account, method=one.method.value, holds=one.holds, why=_say(one.why, asks_dns=asks_dns))
            for one in tried
        ),
    )


def _find_owners(submission: Submission, accounts: Accounts) -> tuple[Account, ...]:
    try:
        domain = find_sender_domain(read_headers(submission.content), submission.envelope_from)
    except Unreadable:
        return ()
    return () if domain is None else accounts.by_domain(domain)


def _say(why: str, *, asks_dns: bool) -> str:
    return "the DNS was not asked: try --dns" if why == UNHEARD and not asks_dns else why
