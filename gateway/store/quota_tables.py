"""The tables of quotas and of the volume alarm; a part of `tables`, and held equal to the migrations with them.

quota_account                              whom there are quotas for: its row is locked while they are counted
quota_use, quota_overrun                   what was used, in slots, and what was held back since a quota was spent
volume                                     parts of an account in each hour of the clock
"""

import sqlalchemy as sa

from gateway.store.columns import Foreign, Instant
from gateway.store.tables import metadata

_SUBJECT_BYTES = 320
_SENTENCE_BYTES = 2048

quota_account = sa.Table(
    "quota_account",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("alarmed_at", Instant),  # the last hour whose volume was unusual
    sa.Column("usual_parts", sa.BigInteger),  # of the busiest hour of a day; None: not known
    sa.Column("usual_at", Instant),  # the hour in which that was found out
)

quota_use = sa.Table(
    "quota_use",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("quota", sa.Text, primary_key=True),
    sa.Column("subject", Foreign(_SUBJECT_BYTES), primary_key=True),  # a number, a sender; "": all together
    sa.Column("slot_at", Instant, primary_key=True),
    sa.Column("used", sa.BigInteger, nullable=False),
    sa.Column("ends_at", Instant, nullable=False),  # no longer counts
    sa.CheckConstraint(sa.text("used > 0"), name="used_positive"),
)

quota_overrun = sa.Table(
    "quota_overrun",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("quota", sa.Text, primary_key=True),
    sa.Column("subject", Foreign(_SUBJECT_BYTES), primary_key=True),
    sa.Column("sentence", Foreign(_SENTENCE_BYTES), nullable=False),
    sa.Column("is_guard", sa.Boolean, nullable=False),
    sa.Column("began_at", Instant, nullable=False),
    sa.Column("last_at", Instant, nullable=False),
    sa.Column("due_at", Instant, nullable=False),  # when it is told how many there were
    sa.Column("sms", sa.BigInteger, nullable=False),
    sa.Column("mail_id", sa.Text, nullable=False),  # the last; no foreign key, for it may be purged before
)

volume = sa.Table(
    "volume",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("hour_at", Instant, primary_key=True),
    sa.Column("parts", sa.BigInteger, nullable=False),
)

# what no longer counts
sa.Index("ix_quota_use_end", quota_use.c.ends_at)
# what is to be told
sa.Index("ix_quota_overrun_due", quota_overrun.c.due_at)
# hours that nobody asks for any more
sa.Index("ix_volume_age", volume.c.hour_at)
