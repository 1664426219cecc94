"""The tables of the console: who is logged in, and what was done there."""

import sqlalchemy as sa

from gateway.store.columns import Foreign, Instant
from gateway.store.tables import metadata

_OBJECT_BYTES = 512

console_session = sa.Table(
    "console_session",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),  # SHA-256 of what the browser holds; that is not kept
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("credential", sa.LargeBinary, nullable=False),  # digest of the password's hash: another ends the session
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),  # to the minute
)

console_action = sa.Table(
    "console_action",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("who", Foreign(_OBJECT_BYTES), nullable=False),  # as given, where nobody was logged in
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", Foreign(_OBJECT_BYTES), nullable=False),  # ids and names; of a number only its ends
    sa.Column("outcome", Foreign(_OBJECT_BYTES), nullable=False),
)

# whose oldest sessions end when there are too many
sa.Index("ix_console_session_who", console_session.c.who, console_session.c.created_at)
# what was done last; what is to be purged
sa.Index("ix_console_action_at", console_action.c.at)
