"""Where reports may go (docs/protocol.md §8.4): an address in a mail must not make the gateway a mail cannon."""

from collections.abc import Collection
from dataclasses import dataclass

from gateway.policy.accounts import Account
from gateway.policy.addresses import parse_address


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTo:
    """Reports may go to this address."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReport:
    """No report goes out. `reason` is for the operator."""

    reason: str


def judge_contact(account: Account, own_addresses: Collection[str]) -> ReportTo | NoReport:
    """Return whether the account's contact may be written to; of any domain, for the operator wrote the address.

    `own_addresses` as below: what the gateway writes to itself nobody reads.
    """
    if account.mail is None:
        return NoReport(reason="the account has no mail")
    if account.mail.lower() in own_addresses:
        return NoReport(reason="an address of this gateway")
    return ReportTo(address=account.mail)


def judge_report_address(text: str, account: Account, own_addresses: Collection[str]) -> ReportTo | NoReport:
    """Return whether reports of this account may go to the address in the mail.

    `own_addresses` are the gateway's, in lower case: a report to itself would be the beginning of a loop.
    """
    address = parse_address(text)
    if address is None:
        return NoReport(reason="not one plain address")
    if str(address).lower() in own_addresses:
        return NoReport(reason="an address of this gateway")
    if not account.may_report_to(address.domain):
        return NoReport(reason="outside the account's report_domains")
    return ReportTo(address=str(address))
