"""The mails that tell an account's contact of a quota or an unusual volume (docs/protocol.md §10.5, §10.6).

Plain text, English first, then French; numbers are masked. Staged by the store, with what causes them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from gateway.ids import new_id
from gateway.lifecycle import ReportId
from gateway.policy.accounts import Account
from gateway.policy.report_address import ReportTo, judge_contact
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.reports import ReportRules
from gateway.store.base import NewReport
from gateway.store.budget import Alarm, Overrun, QuotaSpent, VolumeUnusual
from gateway.text.msisdn import mask

_MOST_LINES = 50
"""Numbers and senders that one mail names; of the others it says how many."""

_SPENT = """\
A quota of the SMS account "{account}" is used up: an SMS was refused with code {code}
("{label}").

    quota:      {sentence}
    counted:    {subject}
    since:      {at} UTC

SMS that are refused are not sent later: send them again, under a new emailId, once the quota has room. It slides along:
what was used is free again when its time is over. If this is what you mean to send, ask the operator of the gateway
for a larger quota; if not, look for what sends it.

This mail comes once; how many SMS were refused is in the gateway's log.

--

Un quota du compte SMS "{account}" est épuisé : un SMS a été refusé avec le code {code}
("{label}").

    quota :     {sentence}
    compté :    {subject}
    depuis :    {at} UTC

Les SMS refusés ne seront pas envoyés plus tard : il faut les renvoyer, avec un nouvel emailId, quand le quota le permet
de nouveau. Il est glissant : ce qui a été utilisé se libère une fois la durée écoulée. Si cet envoi est voulu, demander
un quota plus grand à l'exploitant de la passerelle ; sinon, chercher ce qui l'envoie.

Ce message est envoyé une seule fois ; le journal de la passerelle dit combien de SMS ont été refusés.
"""

_UNUSUAL = """\
The SMS account "{account}" sends more than is usual.

    this hour:  {parts} (in SMS parts, since {hour} UTC)
    threshold:  {threshold}
    usual:      {usual}

Nothing is held back: all SMS go on being sent. If this is not meant, look for what sends them, and tell the operator
of the gateway.

This mail comes once, until an hour was usual again.

--

Le compte SMS "{account}" envoie plus que d'habitude.

    cette heure : {parts} (en segments de SMS, depuis {hour} UTC)
    seuil :       {threshold}
    habitude :    {usual}

Rien n'est retenu : tous les SMS continuent de partir. Si ce n'est pas voulu, chercher ce qui les envoie et prévenir
l'exploitant de la passerelle.

Ce message est envoyé une fois, jusqu'à ce qu'une heure soit redevenue habituelle.
"""

_OVERRUNS = """\
Quotas of the SMS account "{account}" held back {total} SMS, refused with code {code}
("{label}").
The first ones went; these did not, and are not sent later.

--

Des quotas du compte SMS "{account}" ont retenu {total} SMS, refusés avec le code {code}
("{label}").
Les premiers sont partis ; ceux-ci non, et ils ne seront pas envoyés plus tard.

--

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmWriter:
    """Writes the mails to one contact; pure but for the ids it gives them."""

    recipient: str
    rules: ReportRules

    def __call__(self, alarm: Alarm) -> NewReport:
        """Return the mail about what has just happened."""
        return self._write(_render(alarm), alarm.at)

    def sum_up(self, account: str, overruns: Sequence[Overrun], now: datetime) -> NewReport:
        """Return the mail about what was held back, all numbers and senders in one."""
        lines = [
            f"{one.sms} more / de plus: {describe_subject(one.subject) or 'all / tous'} ({one.sentence}), "
            f"{one.began_at:%Y-%m-%d %H:%M:%S} - {one.last_at:%H:%M:%S} UTC"
            for one in overruns[:_MOST_LINES]
        ]
        if len(overruns) > _MOST_LINES:
            lines.append(f"+ {len(overruns) - _MOST_LINES} more numbers or senders / autres numéros ou expéditeurs")
        head = _OVERRUNS.format(account=account, total=sum(one.sms for one in overruns), **_code())
        return self._write(head + "\n".join(lines) + "\n", now)

    def _write(self, text: str, now: datetime) -> NewReport:
        report_id = ReportId(new_id(now))
        return NewReport(
            id=report_id,
            kind=ReportKind.ALARM,
            recipient=self.recipient,
            message_id=f"<{report_id}@{self.rules.hostname}>",
            in_reply_to=None,
            body=text.encode("iso-8859-1", "replace"),
            due_at=now,
            expires_at=now + timedelta(seconds=self.rules.validity_s),
        )


def find_writer(account: Account, own_addresses: Collection[str], rules: ReportRules) -> AlarmWriter | None:
    """Return what writes to the contact of the account; None: nobody is written to."""
    contact = judge_contact(account, own_addresses)
    return AlarmWriter(recipient=contact.address, rules=rules) if isinstance(contact, ReportTo) else None


def describe_subject(subject: str) -> str:
    """Return the number, masked, or the sender that a quota counts for; nothing when it counts all together."""
    return subject if "@" in subject or not subject else mask(subject)


def _render(alarm: Alarm) -> str:
    match alarm:
        case QuotaSpent():
            return _SPENT.format(
                account=alarm.account,
                sentence=alarm.sentence,
                subject=describe_subject(alarm.subject) or "all together / tous ensemble",
                at=f"{alarm.at:%Y-%m-%d %H:%M:%S}",
                **_code(),
            )
        case VolumeUnusual():
            return _UNUSUAL.format(
                account=alarm.account,
                parts=alarm.parts,
                hour=f"{alarm.at:%H}:00",
                threshold=alarm.threshold,
                usual="?" if alarm.usual is None else alarm.usual,
            )
        case _:
            assert_never(alarm)


def _code() -> dict[str, object]:
    return {"code": Code.C29_OVERFLOW.value, "label": Code.C29_OVERFLOW.label}
