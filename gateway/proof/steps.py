"""Where a gateway is killed, and what must have come of the mail afterwards.

A step is one kill, or several in a row with a start between. A kill happens where the gateway stands still by itself
(`At`, a pause point), or while it waits for one of the three around it: the client, the carrier, the smarthost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType

from gateway.pauses import PausePoint
from gateway.proof.client import Moment
from gateway.smtp import mailbox


@dataclass(frozen=True, slots=True)
class At:
    """Where it stands still, the `passes`-th time it comes by."""

    point: PausePoint
    passes: int = 1


@dataclass(frozen=True, slots=True)
class AtClient:
    """While it waits for the client."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class AtCarrier:
    """While it waits for the carrier, which has taken the SMS."""


@dataclass(frozen=True, slots=True)
class AtSmarthost:
    """While it waits for the smarthost."""

    step: mailbox.Step


Kill = At | AtClient | AtCarrier | AtSmarthost


@unique
class Subject(Enum):
    """Whose fate is looked at: an SMS, by its account's choice, or a report."""

    HOLD = "hold"
    RESEND = "resend"
    ACK = "Ack"
    NOT = "Not"  # of a mail that wants no Ack


@unique
class Fate(Enum):
    """What must have come of every SMS."""

    SENT = "sent"  # once, and reported 0: no call was under way
    UNCALLED = "uncalled"  # the attempt was committed and never made; nobody can know
    CALLED = "called"  # the carrier has it; nobody can know
    CALLED_TWICE = "called twice"
    ANY = "any"  # whatever is promised: the kill says nothing about the SMS


@unique
class Step(Enum):
    """Every step of the way of a mail, in order."""

    MAIL_GREETED = "mail-greeted"
    MAIL_SENDER = "mail-sender"
    MAIL_RECIPIENT = "mail-recipient"
    MAIL_HALF = "mail-half"
    MAIL_RECEIVED = "mail-received"
    MAIL_JUDGED = "mail-judged"
    MAIL_STORING = "mail-storing"
    MAIL_STORED = "mail-stored"
    MAIL_ANSWERED = "mail-answered"
    SMS_CLAIMING = "sms-claiming"
    SMS_CLAIMED = "sms-claimed"
    SMS_CALLED = "sms-called"
    SMS_ANSWERED = "sms-answered"
    SMS_RECORDING = "sms-recording"
    SMS_RECORDED = "sms-recorded"
    SMS_RECOVERING = "sms-recovering"
    SMS_RESOLVING = "sms-resolving"
    SMS_CALLED_AGAIN = "sms-called-again"
    REPORT_CLAIMING = "report-claiming"
    REPORT_CLAIMED = "report-claimed"
    REPORT_BEGUN = "report-begun"
    REPORT_DELIVERED = "report-delivered"
    REPORT_ANSWERED = "report-answered"
    REPORT_RECORDING = "report-recording"
    REPORT_RECORDED = "report-recorded"
    REPORT_RECOVERING = "report-recovering"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a step is reached, and what is right after it."""

    about: str
    kills: tuple[Kill, ...]
    subjects: tuple[Subject, ...]
    fate: Fate
    copies: int = 0  # of the report looked at, at least: the smarthost had it and the store did not know


_MAIL = (Subject.HOLD,)
_SMS = (Subject.HOLD, Subject.RESEND)
_REPORT = (Subject.ACK, Subject.NOT)


def _plan(about: str, *kills: Kill, subjects: tuple[Subject, ...], fate: Fate = Fate.SENT, copies: int = 0) -> Plan:
    return Plan(about=about, kills=kills, subjects=subjects, fate=fate, copies=copies)


PLANS: Mapping[Step, Plan] = MappingProxyType(
    {
        Step.MAIL_GREETED: _plan("220 was said", AtClient(Moment.GREETED), subjects=_MAIL),
        Step.MAIL_SENDER: _plan("MAIL was answered", AtClient(Moment.SENDER_TAKEN), subjects=_MAIL),
        Step.MAIL_RECIPIENT: _plan("RCPT was answered", AtClient(Moment.RECIPIENT_TAKEN), subjects=_MAIL),
        Step.MAIL_HALF: _plan("half of the mail has come", AtClient(Moment.HALF_SENT), subjects=_MAIL),
        Step.MAIL_RECEIVED: _plan("the dot has come", At(PausePoint.MAIL_RECEIVED), subjects=_MAIL),
        Step.MAIL_JUDGED: _plan("the mail is judged", At(PausePoint.MAIL_JUDGED), subjects=_MAIL),
        Step.MAIL_STORING: _plan("the mail is written, no COMMIT", At(PausePoint.MAIL_STORING), subjects=_MAIL),
        Step.MAIL_STORED: _plan("the mail is committed, no 250", At(PausePoint.MAIL_STORED), subjects=_MAIL),
        Step.MAIL_ANSWERED: _plan("250 was read", AtClient(Moment.ANSWERED), subjects=_MAIL, fate=Fate.ANY),
        Step.SMS_CLAIMING: _plan("the claim is written, no COMMIT", At(PausePoint.SMS_CLAIMING), subjects=_SMS),
        Step.SMS_CLAIMED: _plan(
            "the claim is committed, no call", At(PausePoint.SMS_CLAIMED), subjects=_SMS, fate=Fate.UNCALLED
        ),
        Step.SMS_CALLED: _plan("the carrier has the SMS, no answer", AtCarrier(), subjects=_SMS, fate=Fate.CALLED),
        Step.SMS_ANSWERED: _plan(
            "the answer is read, not recorded", At(PausePoint.SMS_ANSWERED), subjects=_SMS, fate=Fate.CALLED
        ),
        Step.SMS_RECORDING: _plan(
            "the answer is written, no COMMIT", At(PausePoint.SMS_RECORDING), subjects=_SMS, fate=Fate.CALLED
        ),
        Step.SMS_RECORDED: _plan("the answer is committed, with the Not", At(PausePoint.SMS_RECORDED), subjects=_SMS),
        Step.SMS_RECOVERING: _plan(
            "killed in the call; then uncertain is written, no COMMIT",
            AtCarrier(),
            At(PausePoint.SMS_RECORDING),
            subjects=_SMS,
            fate=Fate.CALLED,
        ),
        Step.SMS_RESOLVING: _plan(
            "killed in the call; then the account's choice is written, no COMMIT",
            AtCarrier(),
            At(PausePoint.SMS_RECORDING, passes=2),
            subjects=_SMS,
            fate=Fate.CALLED,
        ),
        Step.SMS_CALLED_AGAIN: _plan(
            "killed in the call; then in the second call",
            AtCarrier(),
            AtCarrier(),
            subjects=(Subject.RESEND,),
            fate=Fate.CALLED_TWICE,
        ),
        Step.REPORT_CLAIMING: _plan(
            "the claim is written, no COMMIT", At(PausePoint.REPORT_CLAIMING), subjects=_REPORT, fate=Fate.ANY
        ),
        Step.REPORT_CLAIMED: _plan(
            "the claim is committed, no delivery", At(PausePoint.REPORT_CLAIMED), subjects=_REPORT, fate=Fate.ANY
        ),
        Step.REPORT_BEGUN: _plan(
            "the smarthost was asked for DATA", AtSmarthost(mailbox.Step.DATA), subjects=_REPORT, fate=Fate.ANY
        ),
        Step.REPORT_DELIVERED: _plan(
            "the smarthost has the dot, no 250", AtSmarthost(mailbox.Step.DOT), subjects=_REPORT, fate=Fate.ANY
        ),
        Step.REPORT_ANSWERED: _plan(
            "250 is read, not recorded", At(PausePoint.REPORT_ANSWERED), subjects=_REPORT, fate=Fate.ANY, copies=1
        ),
        Step.REPORT_RECORDING: _plan(
            "250 is written, no COMMIT", At(PausePoint.REPORT_RECORDING), subjects=_REPORT, fate=Fate.ANY, copies=1
        ),
        Step.REPORT_RECORDED: _plan(
            "250 is committed", At(PausePoint.REPORT_RECORDED), subjects=_REPORT, fate=Fate.ANY
        ),
        Step.REPORT_RECOVERING: _plan(
            "killed behind 250; then due again is written, no COMMIT",
            At(PausePoint.REPORT_ANSWERED),
            At(PausePoint.REPORT_RECOVERING),
            subjects=_REPORT,
            fate=Fate.ANY,
            copies=1,
        ),
    }
)
