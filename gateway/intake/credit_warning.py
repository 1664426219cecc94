"""The mail that tells an account's contact that its credit gets low, or is gone (docs/protocol.md §10.3).

It is staged by the store, in the transaction of the mail that causes it. Plain text, English first, then French.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from gateway.ids import new_id
from gateway.lifecycle import ReportId
from gateway.policy.accounts import Account
from gateway.policy.report_address import ReportTo, judge_contact
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.reports import ReportRules
from gateway.store.base import CreditAlert, CreditWatch, NewReport

_SUBJECT_GONE = "PUSH MSISDN: SMS credit used up / credit SMS epuise"

_LOW = """\
The SMS credit of the account "{account}" is getting low.

    left:       {balance} (in SMS parts)
    threshold:  {threshold}

SMS go on being sent until it is used up. Each SMS that it is not enough for will then be refused with code {code}
("{label}") and will not be sent later.

The operator of the gateway gives more credit with this command:

    mail2sms credit add {account} PARTS --config FILE

This mail comes once each time the credit falls below the threshold.

--

Le crédit SMS du compte "{account}" est bientôt épuisé.

    reste :     {balance} (en segments de SMS)
    seuil :     {threshold}

Les SMS continuent de partir jusqu'à son épuisement. Ensuite, tout SMS qui dépasse le crédit sera refusé avec le code
{code} ("{label}") et ne sera pas envoyé plus tard.

Pour ajouter du crédit, l'exploitant de la passerelle lance cette commande :

    mail2sms credit add {account} SEGMENTS --config FICHIER

Ce message est envoyé une fois, à chaque passage sous le seuil.
"""

_GONE = """\
The SMS credit of the account "{account}" is used up: an SMS was refused with code {code} ("{label}").

    left:       {balance} (in SMS parts)
    since:      {since} UTC

SMS that were refused are not sent later: send them again, under a new emailId, once there is credit. Shorter SMS may
still go as long as something is left.

The operator of the gateway gives more credit with this command:

    mail2sms credit add {account} PARTS --config FILE

This mail comes once; the next one only after credit was given.

--

Le crédit SMS du compte "{account}" est épuisé : un SMS a été refusé avec le code {code} ("{label}").

    reste :     {balance} (en segments de SMS)
    depuis :    {since} UTC

Les SMS refusés ne seront pas envoyés plus tard : il faut les renvoyer, avec un nouvel emailId, une fois le crédit
rétabli. Des SMS plus courts peuvent encore partir tant qu'il reste quelque chose.

Pour ajouter du crédit, l'exploitant de la passerelle lance cette commande :

    mail2sms credit add {account} SEGMENTS --config FICHIER

Ce message est envoyé une seule fois ; le suivant, seulement après un ajout de crédit.
"""


def watch_credit(account: Account, own_addresses: Collection[str], rules: ReportRules) -> CreditWatch:
    """Return when somebody is to be told of the account's credit, and with which mail, if there is a contact."""
    contact = judge_contact(account, own_addresses)
    render = CreditWarning(recipient=contact.address, rules=rules) if isinstance(contact, ReportTo) else None
    return CreditWatch(threshold=account.credit_warning, render=render)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditWarning:
    """Writes the mail; pure but for the id it gives it."""

    recipient: str
    rules: ReportRules

    def __call__(self, alert: CreditAlert) -> NewReport:
        """Return the mail about what happened (docs/protocol.md §8.3, §10.3)."""
        report_id = ReportId(new_id(alert.at))
        text = (_GONE if alert.is_gone else _LOW).format(
            account=alert.account,
            balance=alert.balance,
            threshold=alert.threshold,
            since=f"{alert.at:%Y-%m-%d %H:%M:%S}",
            code=Code.C12_NO_CREDIT.value,
            label=Code.C12_NO_CREDIT.label,
        )
        return NewReport(
            id=report_id,
            kind=ReportKind.CREDIT,
            recipient=self.recipient,
            message_id=f"<{report_id}@{self.rules.hostname}>",
            in_reply_to=None,
            subject=_SUBJECT_GONE if alert.is_gone else None,
            body=text.encode("iso-8859-1"),
            due_at=alert.at,
            expires_at=alert.at + timedelta(seconds=self.rules.validity_s),
        )
