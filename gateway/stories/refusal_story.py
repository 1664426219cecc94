"""A mail that was not taken, and clients that were turned away, in words."""

from collections.abc import Sequence
from datetime import datetime

from gateway.policy.accounts import Account
from gateway.policy.addresses import matches, parse_address
from gateway.store.records import RefusalLife, TurnedAwayRecord
from gateway.stories.mail_story import connection_data, connection_sentence, tell_reports
from gateway.stories.model import Step, StepKind
from gateway.stories.settings_of import UNPROVEN, settings_of_code, settings_of_ground, settings_of_reply
from gateway.stories.turnaways import MANY

_ADVICE = {
    "stranger": "add the domain to the account it belongs to, or see who sends this",
    "not_an_order": "nothing is to be done: bounces and automatic answers never are",
    "unreadable": "mail2sms lint says more of the mail as a file",
}


def tell_refusal(life: RefusalLife, now: datetime) -> tuple[Step, ...]:
    """Return the steps of a refusal."""
    one = life.refusal
    facts = one.facts or {}
    where = (one.peer, one.listener, one.envelope_from, facts)
    settings = (
        settings_of_code(one.code, one.account) if one.code is not None else settings_of_ground(one.ground, one.cause)
    )
    advice = _ADVICE.get(one.ground or "", "")
    kind = StepKind.UNREADABLE if one.ground == "unreadable" else StepKind.NOT_PROVEN
    decided = f" [{', '.join(settings)}]" if settings else ""
    return (
        Step(
            kind=StepKind.CONNECTED,
            at=one.refused_at,
            sentence=connection_sentence(*where) + (f"; From: {one.header_from}" if one.header_from else ""),
            data=connection_data(*where),
        ),
        Step(
            kind=kind,
            at=one.refused_at,
            sentence=f"{one.cause}{decided}" + (f"; {advice}" if advice else ""),
            data={"ground": one.ground, "cause": one.cause, "settings": settings, "account": one.account},
            is_trouble=True,
        ),
        Step(
            kind=StepKind.REFUSED,
            at=one.refused_at,
            sentence=f"answered: {one.reply}; nothing is sent, and the emailId is not used up",
            data={
                "reply": one.reply,
                "cause": one.cause,
                "code": None if one.code is None else one.code.value,
                "email_id": one.email_id,
            },
            is_trouble=True,
        ),
        *tell_reports(life.reports, now),
    )


def reason_of_turned_away(one: TurnedAwayRecord, accounts: Sequence[Account] = ()) -> str:
    """Return what a client was told, and what to do about it; `accounts` are all, as configured now."""
    settings, advice = _advise(one, accounts)
    decided = f" [{', '.join(settings)}]" if settings else ""
    return f"{one.reply}" + (f": {advice}" if advice else "") + decided


def _advise(one: TurnedAwayRecord, accounts: Sequence[Account]) -> tuple[tuple[str, ...], str]:
    """Return the settings that decide, and what to do: with the names of the sender's own account, if it is found."""
    settings, advice = settings_of_reply(one.reply)
    sender = parse_address(one.sender)
    owners = [account for account in accounts if sender is not None and matches(sender.domain, account.domains)]
    if UNPROVEN not in one.reply or len(owners) != 1 or one.peer == MANY:
        return settings, advice
    name, networks = owners[0].name, owners[0].networks
    listed = f" ({', '.join(map(str, networks))})" if networks else ""
    advice = (
        f"{one.sender} is of account {name}, but {one.peer} is in no network it may send from: if its server has "
        f"moved, add {one.peer} to the networks of {name}{listed}, then systemctl reload mail2sms; "
        "or let it authenticate"
    )
    return (f"accounts.{name}.networks", f"accounts.{name}.auth", "smtp.networks"), advice


def tell_turned_away(one: TurnedAwayRecord, accounts: Sequence[Account] = ()) -> tuple[Step, ...]:
    """Return the steps of clients that were told no."""
    facts = one.facts
    settings, advice = _advise(one, accounts)
    who = "many clients" if one.peer == "*" else f"client {one.peer}"
    sender = {"": "", "*": " as many senders"}.get(one.sender, f" as {one.sender}")
    details = [
        f"{label} {facts[name]}"
        for name, label in (
            ("helo", "it called itself"),
            ("tls", "over"),
            ("user", "user"),
            ("recipient", "recipient"),
            ("size_bytes", "bytes:"),
            ("cause", "because"),
        )
        if facts.get(name)
    ]
    last = f"; the last time {', '.join(details)}" if details else ""
    times = "once" if one.count == 1 else f"{one.count} times, first at {one.first_at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        Step(
            kind=StepKind.TURNED_AWAY,
            at=one.last_at,
            sentence=f"{who}{sender} was told {times}: {reason_of_turned_away(one, accounts)}{last}",
            data={
                "peer": one.peer,
                "sender": one.sender,
                "reply": one.reply,
                "count": one.count,
                "first_at": one.first_at.isoformat(),
                "last_at": one.last_at.isoformat(),
                "facts": dict(facts),
                "settings": settings,
                "advice": advice,
            },
            is_trouble=True,
        ),
    )
