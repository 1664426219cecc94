"""What a store must hold at an instant, by what the gateway had said until then; and whether it does."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gateway.lifecycle import ReportState, SmsState
from tests.power.trace import SOCKET, Call

_TAKEN = re.compile(rb"^250 2\.0\.0 [^\r\n]* ([0-9A-Z]{20})\r$", re.MULTILINE)
_TRACKERS = re.compile(rb'"tracker":\s*(?:"(\w+)"|\[([^\]]*)\])')
_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>\r]+>)\r$", re.MULTILINE | re.IGNORECASE)
_UNTOUCHED = (SmsState.QUEUED.value, SmsState.HELD.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A mail that was answered 250, as its client knows it."""

    mail_id: str
    email_id: str
    numbers: tuple[str, ...]  # none when its emailId was used before: then there is an Ack and nothing else
    mail: bytes


@dataclass(slots=True)
class Said:
    """What the world knows of the gateway; a word is out as soon as the call that says it begins."""

    taken: set[str] = field(default_factory=set)  # ids of mails
    called: set[str] = field(default_factory=set)  # trackers of SMS that the carrier may have
    reported: set[str] = field(default_factory=set)  # Message-IDs of reports that the smarthost may have

    def hear(self, call: Call) -> None:
        """Take in what a call says; calls that say nothing change nothing."""
        if call.path != SOCKET:
            return
        self.taken.update(found.decode() for found in _TAKEN.findall(call.data))
        self.reported.update(found.decode() for found in _MESSAGE_ID.findall(call.data))
        for one, many in _TRACKERS.findall(call.data):
            self.called.update(word.strip(b' "').decode() for word in (one or many).split(b","))


class Judge:
    """Knows every mail of a run, and finds what is wrong with a store at some instant of it."""

    def __init__(self, taken: Iterable[Taken]) -> None:
        self._mails: Mapping[str, Taken] = {mail.mail_id: mail for mail in taken}

    def find_wrongs(self, database: Path, said: Said) -> list[str]:
        """Return what is missing, contradictory or corrupt in the store; SQLite recovers it first."""
        try:
            with closing(sqlite3.connect(database)) as connection:
                return [*_find_damage(connection), *self._find_missing(connection, said)]
        except sqlite3.DatabaseError as error:
            return [f"corrupt: {error}"]

    def _find_missing(self, connection: sqlite3.Connection, said: Said) -> Iterator[str]:
        mails = dict(connection.execute("SELECT id, raw FROM mail"))
        claims = set(connection.execute("SELECT email_id, envoi_id FROM email_id"))
        envois: dict[str, tuple[str, str, bool]] = {
            mail: (email, envoi, answered is not None)
            for mail, email, envoi, answered in connection.execute(
                "SELECT mail_id, email_id, id, not_staged_at FROM envoi"
            )
        }
        acks = {mail for (mail,) in connection.execute("SELECT mail_id FROM report WHERE kind = 'ack'")}
        nots = {envoi for (envoi,) in connection.execute("SELECT envoi_id FROM report WHERE kind = 'not'")}
        numbers: dict[str, list[str]] = {}
        for mail, tel in connection.execute("SELECT mail_id, tel FROM sms ORDER BY mail_id, position"):
            numbers.setdefault(mail, []).append(tel)
        for mail_id in said.taken - mails.keys():
            yield f"missing: mail {mail_id} was answered 250"
        for mail_id, raw in mails.items():  # also one that was not answered yet is there whole
            mail = self._mails.get(mail_id)
            if mail is None:
                continue  # its client was not told before the run ended
            if raw != mail.mail or mail_id not in acks:
                yield f"missing: content or Ack of mail {mail_id}"
            if tuple(numbers.get(mail_id, ())) != mail.numbers:
                yield f"missing: SMS of mail {mail_id}"
            if mail.numbers and mail_id not in envois:
                yield f"missing: the envoi of mail {mail_id}"
            elif mail.numbers:
                email_id, envoi_id, is_answered = envois[mail_id]
                if email_id != mail.email_id or (email_id, envoi_id) not in claims:
                    yield f"missing: the claim of emailId {mail.email_id}"
                if is_answered and envoi_id not in nots:
                    yield f"missing: the Not of mail {mail_id}"
        yield from _find_forgotten(connection, said)


def _find_damage(connection: sqlite3.Connection) -> Iterator[str]:
    for (word,) in connection.execute("PRAGMA integrity_check"):
        if word != "ok":
            yield f"corrupt: {word}"
    for row in connection.execute("PRAGMA foreign_key_check"):
        yield f"corrupt: {row} refers to nothing"


def _find_forgotten(connection: sqlite3.Connection, said: Said) -> Iterator[str]:
    """SMS that would be sent blindly again, and reports that are taken for sent and were not."""
    rows = connection.execute(
        "SELECT tracker, sms.state, attempt.number FROM attempt JOIN sms ON sms.id = attempt.sms_id"
    ).fetchall()
    begun = {tracker for tracker, state, _ in rows if state not in _UNTOUCHED}
    for tracker in said.called - begun:
        yield f"blind: the carrier may have {tracker}, and no attempt says so"
    for tracker, state, number in rows:
        if number > 1 and tracker in said.called:
            yield f"blind: attempt {number} of {tracker}, {state}"
    for message_id, state in connection.execute("SELECT message_id, state FROM report"):
        if state == ReportState.SENT.value and message_id not in said.reported:
            yield f"lost: report {message_id} is taken for sent and was not"
