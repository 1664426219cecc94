"""The tables. Nothing but this module, `story_tables` and `migrations` knows how rows look; a test holds the two equal.

    mail ──< envoi ──< sms ──< attempt        what came in, what it asks for, each text, each call to a carrier
    mail | refusal | reply ──< report          what goes back
    email_id                                   which emailIds are used up; outlives everything (docs/protocol.md §7.1)
    credit                                     what accounts may still send, in parts (docs/protocol.md §10.2)
    receipt                                    words of carriers that came too early, or about nothing we know
    reply ──< reply_part                       what was answered by SMS
    optout, carrier_optout                     who wants nothing any more, and what carriers are to be told of it

What only stories need is in `story_tables`, which is part of this.

Each index names the query it serves. Conditions on states are written out from `gateway.lifecycle`.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import SMS_MOVES, ReportState, SmsEvent, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportFormat, ReportKind
from gateway.store.columns import Choice, Facts, Foreign, Instant, Notes, Number
from gateway.store.stoplist import OptOutSource

RAW_LIMIT_BYTES = 4096
"""What is kept of a carrier's or a smarthost's answer."""

_HEADER_BYTES = 8192
_REASON_BYTES = 1024

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def one_of(column: str, members: Iterable[Enum]) -> sa.TextClause:
    """`column = 'a' OR column = 'b'`, values written out.

    Both databases use a partial index only for a query from which its condition follows without knowing parameters.
    """
    return sa.text("(" + " OR ".join(f"{column} = '{member.value}'" for member in members) + ")")


def by_index(query: sa.Select[Any], table: sa.FromClause, name: str) -> sa.Select[Any]:
    """The query, by this index and no other on SQLite.

    Without statistics, which nobody keeps there, it takes any index with an equal state for a good one, and reads all
    that wait to find the first.
    """
    return query.with_hint(table, f"INDEXED BY {name}", "sqlite")


def _known(column: str, members: type[Enum]) -> sa.CheckConstraint:
    return sa.CheckConstraint(one_of(column, members), name=f"{column}_known")


SMS_FINAL = tuple(state for state in SmsState if state.is_final)
SMS_OPEN = tuple(state for state in SmsState if not state.is_final)
SMS_UNANSWERED = tuple(state for state in SmsState if not state.is_answered)
SMS_WAITING = (SmsState.QUEUED, SmsState.HELD)
UNCOUNTED = frozenset({SmsEvent.POSTPONED, SmsEvent.CANCELLED})
"""Moves out of `sending` that say that no call was made: the claim leaves no attempt behind."""
VERDICTS = tuple(event for event in SMS_MOVES[SmsState.SENDING] if event not in UNCOUNTED)
LATER_WORDS = (SmsEvent.TAKEN, SmsEvent.REFUSED, SmsEvent.DELIVERED, SmsEvent.UNDELIVERED)
"""What a carrier may say of an attempt after its answer, or instead of it."""
REPORT_FINAL = tuple(state for state in ReportState if state.is_final)
REPORT_OPEN = tuple(state for state in ReportState if not state.is_final)

mail = sa.Table(
    "mail",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("listener", sa.Text, nullable=False),
    sa.Column("proof", sa.Text, nullable=False),
    sa.Column("envelope_from", Foreign(_HEADER_BYTES), nullable=False),
    sa.Column("header_from", Foreign(_HEADER_BYTES)),
    sa.Column("message_id", Foreign(_HEADER_BYTES)),
    sa.Column("fingerprint", sa.LargeBinary),  # of Message-ID, envelope sender and body; only when there is the first
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("notes", Notes, nullable=False),
    sa.Column("purged_at", Instant),  # when its contents were erased; None: they are there
    sa.Column("facts", Facts),  # of its connection, and how it was read; None: it came before they were kept
    sa.Column("duplicate_of", sa.Text),  # the first envoi with its emailId; no foreign key, for this may outlive it
    sa.UniqueConstraint("fingerprint"),  # admit: is it the same mail again (docs/protocol.md §1.6)?
)

email_id = sa.Table(
    "email_id",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),  # admit: was it used before (docs/protocol.md §7.1)?
    sa.Column("email_id", sa.Text, primary_key=True),
    sa.Column("envoi_id", sa.Text, nullable=False),  # the first; no foreign key, for this row outlives it
    sa.Column("used_at", Instant, nullable=False),
)

envoi = sa.Table(
    "envoi",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("mail_id", sa.Text, sa.ForeignKey("mail.id"), nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("email_id", sa.Text),
    sa.Column("customer_tracker", Foreign(_REASON_BYTES)),
    sa.Column("not_to", sa.Text),
    sa.Column("report_format", Choice(ReportFormat), nullable=False),
    sa.Column("commercial", sa.Boolean, nullable=False),
    sa.Column("fault", Number(Code)),
    sa.Column("not_staged_at", Instant),  # every SMS has its answer, and the Not, if one is wanted, is a report
    sa.Column("receipts_to", sa.Text),  # where the etatAr will go; None: none wanted, or not allowed
    sa.Column("receipts_staged_at", Instant),  # nothing more is expected of any SMS, and the etatAr is a report
    _known("report_format", ReportFormat),
)

sms = sa.Table(
    "sms",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("envoi_id", sa.Text, sa.ForeignKey("envoi.id"), nullable=False),
    sa.Column("mail_id", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("tel", sa.Text, nullable=False),
    sa.Column("msisdn", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("parts", sa.Integer, nullable=False),
    sa.Column("originator", sa.Text),
    sa.Column("max_parts", sa.Integer, nullable=False),
    sa.Column("nostop", sa.Boolean, nullable=False),
    sa.Column("ucs2", sa.Boolean, nullable=False),
    sa.Column("commercial", sa.Boolean, nullable=False),
    sa.Column("tracker", sa.Text),
    sa.Column("notes", Notes, nullable=False),
    sa.Column("state", Choice(SmsState), nullable=False),
    sa.Column("since_at", Instant, nullable=False),  # in this state
    sa.Column("epoch", sa.Integer, nullable=False),  # claims so far; whoever moves a claimed row must know it
    sa.Column("attempts", sa.Integer, nullable=False),  # claims that counted
    sa.Column("due_at", Instant),  # not before
    sa.Column("expires_at", Instant),  # not from here on
    sa.Column("lease_until", Instant),  # the holder of the claim is taken for dead after
    sa.Column("settled_at", Instant),
    sa.Column("code", Number(Code)),
    sa.Column("reason", Foreign(_REASON_BYTES)),
    sa.Column("provider", sa.Text),
    sa.Column("provider_ref", Foreign(_REASON_BYTES)),
    sa.Column("billed_parts", sa.Integer),  # as the carrier counts; the account's credit goes by `parts`
    sa.Column("reserved_parts", sa.Integer),  # of the account's credit, until it is answered; None: nothing is
    sa.Column("lane", sa.Text),  # its account, and its route there; None: it was answered before there were lanes
    sa.Column("deliver_at", Instant),  # the carrier is to wait until then, where it can
    sa.Column("cost_micros", sa.BigInteger),  # millionths of `currency`, as the carrier billed
    sa.Column("currency", sa.Text),
    sa.Column("ask_at", Instant),  # when to ask the carrier what became of it; None: nobody asks
    sa.Column("network_at", Instant),  # when it arrived, or did not, by the carrier's clock
    sa.Column("network_code", Number(Code)),  # why it did not, where the carrier says so; `code` is what the Not says
    _known("state", SmsState),
    sa.CheckConstraint(sa.text(f"{one_of('state', SMS_FINAL)} = (settled_at IS NOT NULL)"), name="settled_if_final"),
    sa.CheckConstraint(
        sa.text(f"{one_of('state', (SmsState.SENDING,))} = (lease_until IS NOT NULL)"), name="leased_if_sending"
    ),
    sa.CheckConstraint(
        sa.text(
            f"{one_of('state', SMS_FINAL)} OR (msisdn IS NOT NULL AND text IS NOT NULL AND tracker IS NOT NULL "
            "AND due_at IS NOT NULL AND expires_at IS NOT NULL)"
        ),
        name="sendable_if_open",
    ),
    sa.CheckConstraint(sa.text("epoch >= attempts AND attempts >= 0"), name="epoch_counts_claims"),
    sa.CheckConstraint(
        sa.text(f"reserved_parts IS NULL OR (reserved_parts > 0 AND {one_of('state', SMS_UNANSWERED)})"),
        name="reserved_until_answered",
    ),
    sa.UniqueConstraint("tracker"),  # a receipt finds its SMS
    sa.UniqueConstraint("envoi_id", "position"),  # settle_sms: the answers of an envoi, in order
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("sms_id", sa.Text, sa.ForeignKey("sms.id"), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),  # of the claim that began it
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("begun_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),  # None: the call is under way, or the process died in it
    sa.Column("verdict", Choice(SmsEvent)),
    sa.Column("code", Number(Code)),
    sa.Column("raw", Foreign(RAW_LIMIT_BYTES)),
    sa.Column("learnt", Choice(SmsEvent)),  # the carrier's later word: a receipt, a look-up; the last one
    sa.Column("learnt_at", Instant),
    sa.Column("learnt_raw", Foreign(RAW_LIMIT_BYTES)),
    sa.CheckConstraint(sa.text(f"verdict IS NULL OR {one_of('verdict', VERDICTS)}"), name="verdict_known"),
    sa.CheckConstraint(sa.text(f"learnt IS NULL OR {one_of('learnt', LATER_WORDS)}"), name="learnt_known"),
    sa.CheckConstraint(sa.text("(verdict IS NULL) = (ended_at IS NULL)"), name="ended_with_verdict"),
)

refusal = sa.Table(
    "refusal",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("refused_at", Instant, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("listener", sa.Text, nullable=False),
    sa.Column("envelope_from", Foreign(_HEADER_BYTES), nullable=False),
    sa.Column("header_from", Foreign(_HEADER_BYTES)),
    sa.Column("message_id", Foreign(_HEADER_BYTES)),
    sa.Column("account", sa.Text),
    sa.Column("reply", Foreign(_REASON_BYTES), nullable=False),
    sa.Column("cause", Foreign(_REASON_BYTES), nullable=False),
    sa.Column("ground", sa.Text),  # None: it came before it was kept
    sa.Column("code", Number(Code)),
    sa.Column("email_id", Foreign(_REASON_BYTES)),
    sa.Column("facts", Facts),
)

report = sa.Table(
    "report",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", Choice(ReportKind), nullable=False),
    sa.Column("mail_id", sa.Text, sa.ForeignKey("mail.id")),
    sa.Column("refusal_id", sa.Text, sa.ForeignKey("refusal.id")),
    sa.Column("envoi_id", sa.Text),  # of the mail; None: of a duplicate, a refusal, a reply, or without emailId
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("in_reply_to", Foreign(_HEADER_BYTES)),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("state", Choice(ReportState), nullable=False),
    sa.Column("since_at", Instant, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("lease_until", Instant),
    sa.Column("settled_at", Instant),
    sa.Column("reason", Foreign(RAW_LIMIT_BYTES)),  # the smarthost's last answer
    sa.Column("reply_id", sa.Text, sa.ForeignKey("reply.id")),
    sa.Column("subject", sa.Text),  # None: that of its kind
    _known("kind", ReportKind),
    _known("state", ReportState),
    sa.CheckConstraint(sa.text(f"{one_of('state', REPORT_FINAL)} = (settled_at IS NOT NULL)"), name="settled_if_final"),
    sa.CheckConstraint(
        sa.text(f"{one_of('state', (ReportState.SENDING,))} = (lease_until IS NOT NULL)"), name="leased_if_sending"
    ),
    sa.CheckConstraint(
        sa.text(
            "CASE WHEN mail_id IS NULL THEN 0 ELSE 1 END + CASE WHEN refusal_id IS NULL THEN 0 ELSE 1 END"
            " + CASE WHEN reply_id IS NULL THEN 0 ELSE 1 END = 1"
        ),
        name="one_cause",
    ),
)


credit = sa.Table(
    "credit",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("balance", sa.BigInteger),  # parts that may still be reserved; None: any number
    sa.Column("reserved", sa.BigInteger, nullable=False),  # the sum of `reserved_parts`
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("exhausted_at", Instant),  # since when it is not enough for every SMS; None: since it was given, it was
    sa.CheckConstraint(sa.text("balance IS NULL OR balance >= 0"), name="balance_not_negative"),
    sa.CheckConstraint(sa.text("reserved >= 0 AND spent >= 0"), name="counts_not_negative"),
)

receipt = sa.Table(
    "receipt",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("received_at", Instant, nullable=False),  # kept for a day
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("tracker", Foreign(_REASON_BYTES)),
    sa.Column("provider_ref", Foreign(_REASON_BYTES)),
    sa.Column("msisdn", sa.Text),
    sa.Column("fate", Choice(SmsEvent), nullable=False),
    sa.Column("code", Number(Code)),
    sa.Column("at", Instant),
    sa.Column("cost_micros", sa.BigInteger),
    sa.Column("currency", sa.Text),
    sa.Column("raw", Foreign(RAW_LIMIT_BYTES), nullable=False),
)

reply = sa.Table(
    "reply",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("msisdn", sa.Text, nullable=False),  # who answered
    sa.Column("sent_to", sa.Text),  # our number that was answered
    sa.Column("text", Foreign(_HEADER_BYTES), nullable=False),
    sa.Column("is_stop", sa.Boolean, nullable=False),
    sa.Column("account", sa.Text),  # None: nobody's that we know of
    sa.Column("sms_id", sa.Text),  # the SMS it answers, as far as can be told; no foreign key, for this may outlive it
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),  # of what makes it the same reply when it comes again
    sa.Column("raw", Foreign(RAW_LIMIT_BYTES), nullable=False),
    sa.Column("purged_at", Instant),
    sa.UniqueConstraint("fingerprint"),
)

reply_part = sa.Table(
    "reply_part",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("msisdn", sa.Text, primary_key=True),
    sa.Column("sent_to", sa.Text, primary_key=True),  # "" when it was not said
    sa.Column("reference", Foreign(_REASON_BYTES), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("text", Foreign(_HEADER_BYTES), nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("joined_at", Instant),  # it is part of a reply; it stays a while, for callbacks come twice
    sa.Column("raw", Foreign(RAW_LIMIT_BYTES), nullable=False),
)

optout = sa.Table(
    "optout",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),  # "*": all of them
    sa.Column("msisdn", sa.Text, primary_key=True),
    sa.Column("since_at", Instant, nullable=False),
    sa.Column("source", Choice(OptOutSource), nullable=False),
    sa.Column("note", Foreign(_REASON_BYTES)),
)

carrier_optout = sa.Table(
    "carrier_optout",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("msisdn", sa.Text, primary_key=True),
    sa.Column("is_listed", sa.Boolean, nullable=False),  # what the carrier is to be told: to list it, or to forget it
    sa.Column("due_at", Instant),  # when to tell it; None: it was told
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("reason", Foreign(_REASON_BYTES)),
)


def add_index(
    name: str, *columns: sa.Column[Any], where: sa.TextClause | sa.ColumnElement[bool], unique: bool = False
) -> None:
    """The table has an index of those of its rows alone."""
    sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


# due_lanes, claim_sms: the oldest of a lane
add_index("ix_sms_lane", sms.c.lane, sms.c.due_at, sms.c.id, where=one_of("state", (SmsState.QUEUED,)))
# next_due_at
add_index("ix_sms_due", sms.c.due_at, where=one_of("state", (SmsState.QUEUED,)))
# sending_sms
add_index("ix_sms_lease", sms.c.lease_until, where=one_of("state", (SmsState.SENDING,)))
# expired_sms
add_index("ix_sms_expiry", sms.c.expires_at, where=one_of("state", SMS_WAITING))
# uncertain_sms, backlog, pull_in
add_index("ix_sms_open", sms.c.state, sms.c.since_at, where=one_of("state", SMS_OPEN))
# claim_inquiries: what a carrier is to be asked for
add_index("ix_sms_ask", sms.c.provider, sms.c.ask_at, where=sa.text("ask_at IS NOT NULL"))
# receipts that name no tracker
add_index("ix_sms_ref", sms.c.provider, sms.c.provider_ref, where=sa.text("provider_ref IS NOT NULL"))
# which SMS a reply answers: the last to the number
add_index("ix_sms_msisdn", sms.c.msisdn, sms.c.id, where=sa.text("msisdn IS NOT NULL"))
# claim_reports, next_report_due_at
add_index("ix_report_due", report.c.due_at, report.c.id, where=one_of("state", (ReportState.DUE,)))
# sending_reports
add_index("ix_report_lease", report.c.lease_until, where=one_of("state", (ReportState.SENDING,)))
# backlog
add_index("ix_report_open", report.c.state, report.c.since_at, where=one_of("state", REPORT_OPEN))
# settle_sms: no envoi has two Not, whatever happens
add_index("ix_report_not", report.c.envoi_id, where=one_of("kind", (ReportKind.NOT,)), unique=True)
# purging: contents, then records; what belongs to a mail
add_index("ix_mail_contents", mail.c.received_at, where=sa.text("purged_at IS NULL"))
add_index("ix_mail_purged", mail.c.received_at, where=sa.text("purged_at IS NOT NULL"))
add_index("ix_reply_contents", reply.c.received_at, where=sa.text("purged_at IS NULL"))
add_index("ix_report_mail", report.c.mail_id, where=sa.text("mail_id IS NOT NULL"))
add_index("ix_report_refusal", report.c.refusal_id, where=sa.text("refusal_id IS NOT NULL"))
add_index("ix_report_reply", report.c.reply_id, where=sa.text("reply_id IS NOT NULL"))
sa.Index("ix_envoi_mail", envoi.c.mail_id)
sa.Index("ix_refusal_age", refusal.c.refused_at)
# settle_sms, learn: nor two etatAr
add_index("ix_report_receipts", report.c.envoi_id, where=one_of("kind", (ReportKind.RECEIPTS,)), unique=True)
# early words about an SMS
add_index("ix_receipt_tracker", receipt.c.tracker, where=sa.text("tracker IS NOT NULL"))
add_index("ix_receipt_ref", receipt.c.provider, receipt.c.provider_ref, where=sa.text("provider_ref IS NOT NULL"))
# how many there are of a carrier, and which are too old
sa.Index("ix_receipt_age", receipt.c.provider, receipt.c.received_at)
# parts whose others never came
sa.Index("ix_reply_part_age", reply_part.c.received_at)
# what carriers are to be told
add_index("ix_carrier_optout_due", carrier_optout.c.due_at, where=sa.text("due_at IS NOT NULL"))
