"""Which mails a word may mean: ids, references, numbers, addresses, times. Reads only; every look is bounded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.ids import floor_id
from gateway.store import tables
from gateway.store.story_tables import turned_away
from gateway.store.tables import by_index

MOST = 50
LOOKED_AT = 10_000
"""Mails and refusals, the newest, that are looked through for what has no index: addresses, words."""

_MINUTE = timedelta(minutes=1)
_LONGEST_EMAIL_ID = 64

_mail = tables.mail.c
_sms = tables.sms.c
_envoi = tables.envoi.c
_refusal = tables.refusal.c
_email_id = tables.email_id.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody looks for: the words as they are, and what they are if they are that."""

    text: str
    msisdn: str | None = None  # E.164
    minute: datetime | None = None  # what came in that minute
    peers: tuple[str, ...] = ()  # the address, and the network by which clients turned away are counted


def find(connection: sa.Connection, wanted: Wanted) -> tuple[str, ...]:
    """The ids of mails, refusals and counts of clients turned away, each once; the newest first, `MOST` at most."""
    ids = dict.fromkeys(one for look in _looks(connection, wanted) for one in look)
    return tuple(sorted(ids, reverse=True)[:MOST])


def _looks(connection: sa.Connection, wanted: Wanted) -> Iterator[list[str]]:
    """What each way to look finds; the dear ones only when the cheap ones have found nothing."""
    cheap = (_by_id, _by_email_id, _by_message_id, _by_reference, _by_number, _by_minute)
    found_any = False
    for look in cheap:
        found = look(connection, wanted)
        found_any = found_any or bool(found)
        yield found
    if not found_any:
        yield _by_people(connection, wanted)
        yield _by_words(connection, wanted)


def _ids(connection: sa.Connection, query: sa.Select[Any]) -> list[str]:
    return [one for one in connection.scalars(query.limit(MOST)) if one is not None]


def _by_id(connection: sa.Connection, wanted: Wanted) -> list[str]:
    """Any id of ours, and a tracker, which looks like one."""
    one = wanted.text.upper()
    if not re.fullmatch(r"[0-9A-Z]{20}", one):
        return []
    queries = (
        sa.select(_mail.id).where(_mail.id == one),
        sa.select(_refusal.id).where(_refusal.id == one),
        sa.select(turned_away.c.id).where(turned_away.c.id == one),
        sa.select(_envoi.mail_id).where(_envoi.id == one),
        sa.select(_sms.mail_id).where(_sms.id == one),
        sa.select(_sms.mail_id).where(_sms.tracker == one),
        sa.select(tables.report.c.mail_id).where(tables.report.c.id == one),
        sa.select(tables.report.c.refusal_id).where(tables.report.c.id == one),
        sa.select(_sms.mail_id).join(tables.reply, tables.reply.c.sms_id == _sms.id).where(tables.reply.c.id == one),
    )
    return [found for query in queries for found in _ids(connection, query)]


def accounts(connection: sa.Connection) -> Iterator[str]:
    """Every account that ever used an emailId, each by one look into the key."""
    last = ""
    while True:
        found = connection.scalar(sa.select(sa.func.min(_email_id.account)).where(_email_id.account > last))
        if found is None:
            return
        yield found
        last = found


def _by_email_id(connection: sa.Connection, wanted: Wanted) -> list[str]:
    """The first mail with the emailId, of each account, and the duplicates; refusals that carried it."""
    if len(wanted.text) > _LONGEST_EMAIL_ID:
        return []
    found = []
    for account in accounts(connection):
        key = (_email_id.account == account, _email_id.email_id == wanted.text)
        first = connection.scalar(sa.select(_email_id.envoi_id).where(*key))
        if first is not None:
            found += _ids(connection, sa.select(_envoi.mail_id).where(_envoi.id == first))
            duplicates = sa.select(_mail.id).where(_mail.duplicate_of == first).order_by(_mail.id.desc())
            found += _ids(connection, duplicates)
    refused = _newest_refusals()
    return found + _ids(connection, sa.select(refused.c.id).where(refused.c.email_id == wanted.text))


def _by_message_id(connection: sa.Connection, wanted: Wanted) -> list[str]:
    if "@" not in wanted.text and not wanted.text.startswith("<"):
        return []
    spellings = (wanted.text, f"<{wanted.text.strip('<>')}>")
    found = _ids(connection, by_message_id_query(spellings))
    refused = _newest_refusals()
    return found + _ids(connection, sa.select(refused.c.id).where(refused.c.message_id.in_(spellings)))


def by_message_id_query(spellings: tuple[str, ...]) -> sa.Select[Any]:
    """Mails with one of these Message-IDs."""
    return sa.select(_mail.id).where(_mail.message_id.in_(spellings), _mail.message_id.is_not(None))


def _by_reference(connection: sa.Connection, wanted: Wanted) -> list[str]:
    """A carrier's own name for an SMS, at each carrier that ever gave one."""
    found: list[str] = []
    last = ""
    while True:
        of_others = (_sms.provider > last, _sms.provider_ref.is_not(None))
        provider = connection.scalar(sa.select(sa.func.min(_sms.provider)).where(*of_others))
        if provider is None:
            return found
        found += _ids(connection, reference_query(provider, wanted.text))
        last = provider


def reference_query(provider: str, reference: str) -> sa.Select[Any]:
    """Mails of which the carrier calls an SMS so."""
    is_it = (_sms.provider == provider, _sms.provider_ref == reference, _sms.provider_ref.is_not(None))
    return by_index(sa.select(_sms.mail_id).where(*is_it), tables.sms, "ix_sms_ref")


def _by_number(connection: sa.Connection, wanted: Wanted) -> list[str]:
    found = []
    if wanted.msisdn is not None:
        found = _ids(connection, number_query(wanted.msisdn))
    return found + _ids(connection, odd_number_query(wanted.text))


def number_query(msisdn: str) -> sa.Select[Any]:
    """Mails with an SMS to this number, the newest first; a mail may come several times."""
    of_number = (_sms.msisdn == msisdn, _sms.msisdn.is_not(None))
    query = sa.select(_sms.mail_id).where(*of_number).order_by(_sms.id.desc())
    return by_index(query, tables.sms, "ix_sms_msisdn")


def odd_number_query(tel: str) -> sa.Select[Any]:
    """Mails with what is no number, as it was submitted."""
    query = sa.select(_sms.mail_id).where(_sms.tel == tel, _sms.msisdn.is_(None)).order_by(_sms.id.desc())
    return by_index(query, tables.sms, "ix_sms_tel")


def _by_minute(connection: sa.Connection, wanted: Wanted) -> list[str]:
    """What came in one minute: ids begin with their time."""
    if wanted.minute is None:
        return []
    begin, end = wanted.minute, wanted.minute + _MINUTE
    away = turned_away.c
    queries = (
        sa.select(_mail.id).where(_mail.id >= floor_id(begin), _mail.id < floor_id(end)).order_by(_mail.id.desc()),
        sa.select(_refusal.id).where(_refusal.refused_at >= begin, _refusal.refused_at < end),
        sa.select(away.id).where(away.last_at >= begin, away.first_at < end).order_by(away.last_at.desc()),
    )
    return [found for query in queries for found in _ids(connection, query)]


def _newest_mails() -> sa.Subquery:
    few = sa.select(_mail.id, _mail.peer, _mail.envelope_from, _mail.header_from)
    return few.order_by(_mail.id.desc()).limit(LOOKED_AT).subquery()


def _newest_refusals() -> sa.Subquery:
    return sa.select(tables.refusal).order_by(_refusal.refused_at.desc()).limit(LOOKED_AT).subquery()


def _by_people(connection: sa.Connection, wanted: Wanted) -> list[str]:
    """By address of the sender or of the client, among the newest."""
    found: list[str] = []
    address, peers = wanted.text.lower(), wanted.peers or (wanted.text,)
    for newest in (_newest_mails(), _newest_refusals()):
        senders = sa.func.lower(newest.c.header_from) == address, sa.func.lower(newest.c.envelope_from) == address
        is_it = sa.or_(newest.c.peer.in_(peers), *senders)
        found += _ids(connection, sa.select(newest.c.id).where(is_it).order_by(newest.c.id.desc()))
    away = turned_away.c
    is_away = sa.or_(away.peer.in_(peers), sa.func.lower(away.sender) == address)
    return found + _ids(connection, sa.select(away.id).where(is_away).order_by(away.last_at.desc()))


def _by_words(connection: sa.Connection, wanted: Wanted) -> list[str]:
    """By words of a refusal, among the newest, and of what clients were told who were turned away."""
    newest, away = _newest_refusals().c, turned_away.c
    refused = sa.or_(*(has(column, wanted.text) for column in (newest.reply, newest.cause, newest.header_from)))
    told = sa.or_(has(away.reply, wanted.text), has(away.sender, wanted.text))
    return [
        *_ids(connection, sa.select(newest.id).where(refused).order_by(newest.id.desc())),
        *_ids(connection, sa.select(away.id).where(told).order_by(away.last_at.desc())),
    ]


def has(column: sa.ColumnElement[Any], words: str) -> sa.ColumnElement[bool]:
    """Whether the words are in the column, no matter the case of ASCII letters."""
    return column.icontains(words, autoescape=True)
