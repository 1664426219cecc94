"""The tables and indexes that only stories need: who was told no, what operators did, and ways to find a mail.

    turned_away    clients that were told no: one row for client, sender and reply, with how often; a bounded number
    operation      what an operator did about an SMS

None is on the way of an SMS. An index here costs every mail a little, and finds one of a million for whoever asks why.
"""

import sqlalchemy as sa

from gateway.lifecycle import SmsState
from gateway.store.columns import Facts, Foreign, Instant
from gateway.store.tables import SMS_FINAL, add_index, mail, metadata, one_of, reply, sms

_SAID_BYTES = 1024

SMS_TROUBLE = tuple(state for state in SMS_FINAL if state is not SmsState.DELIVERED)
"""Ends that are not what the sender wants: few, so that they have an index of their own."""

turned_away = sa.Table(
    "turned_away",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # made of client, sender and reply
    sa.Column("peer", sa.Text, nullable=False),  # an address, or a network of IPv6; "*": of many
    sa.Column("sender", Foreign(_SAID_BYTES), nullable=False),  # as it said; "": it did not, "*": of many
    sa.Column("reply", Foreign(_SAID_BYTES), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("first_at", Instant, nullable=False),
    sa.Column("last_at", Instant, nullable=False),
    sa.Column("facts", Facts, nullable=False),  # of the last time
)

operation = sa.Table(
    "operation",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("sms_id", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("actor", Foreign(_SAID_BYTES), nullable=False),
)

_HAS_MESSAGE_ID = sa.text("message_id IS NOT NULL")

# by_message_id: a Message-ID may be longer than an entry of PostgreSQL's trees
sa.Index(
    "ix_mail_message_id",
    mail.c.message_id,
    sqlite_where=_HAS_MESSAGE_ID,
    postgresql_where=_HAS_MESSAGE_ID,
    postgresql_using="hash",
)
# duplicates of an envoi
add_index("ix_mail_duplicate", mail.c.duplicate_of, where=sa.text("duplicate_of IS NOT NULL"))
# the newest of an account
sa.Index("ix_mail_account", mail.c.account, mail.c.id)
# what is no number
add_index("ix_sms_tel", sms.c.tel, sms.c.id, where=sa.text("msisdn IS NULL"))
# what ended badly; the state comes second, or it would be taken for all that asks for one of these states
add_index("ix_sms_trouble", sms.c.id, sms.c.state, where=one_of("state", SMS_TROUBLE))
# what was answered to an SMS, and what operators did about it
add_index("ix_reply_sms", reply.c.sms_id, where=sa.text("sms_id IS NOT NULL"))
sa.Index("ix_operation_sms", operation.c.sms_id)
# the newest, and those too many
sa.Index("ix_turned_away_age", turned_away.c.last_at)
