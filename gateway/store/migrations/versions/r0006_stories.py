"""Facts of connections, who was turned away, what operators did, and ways to find a mail among many."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TROUBLE = "(state = 'undelivered' OR state = 'refused' OR state = 'expired' OR state = 'cancelled')"


def upgrade() -> None:
    """Make the tables and indexes; of mails that came before, the facts are not known."""
    instant = sa.DateTime(timezone=True)
    op.add_column("mail", sa.Column("facts", sa.Text(), nullable=True))
    op.add_column("mail", sa.Column("duplicate_of", sa.Text(), nullable=True))
    for column in (
        sa.Column("ground", sa.Text(), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("email_id", sa.Text(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=True),
    ):
        op.add_column("refusal", column)
    op.create_table(
        "turned_away",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", instant, nullable=False),
        sa.Column("last_at", instant, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_turned_away"),
    )
    op.create_table(
        "operation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sms_id", sa.Text(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_operation"),
    )
    _index("ix_mail_message_id", "mail", ["message_id"], where="message_id IS NOT NULL", using="hash")
    _index("ix_mail_duplicate", "mail", ["duplicate_of"], where="duplicate_of IS NOT NULL")
    op.create_index("ix_mail_account", "mail", ["account", "id"])
    _index("ix_sms_tel", "sms", ["tel", "id"], where="msisdn IS NULL")
    _index("ix_sms_trouble", "sms", ["id", "state"], where=_TROUBLE)
    _index("ix_reply_sms", "reply", ["sms_id"], where="sms_id IS NOT NULL")
    op.create_index("ix_operation_sms", "operation", ["sms_id"])
    op.create_index("ix_turned_away_age", "turned_away", ["last_at"])


def _index(name: str, table: str, columns: list[str], *, where: str, using: str | None = None) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition, postgresql_using=using)
