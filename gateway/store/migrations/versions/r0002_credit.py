"""Credit of accounts, and what each SMS has reserved of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SMS_UNANSWERED = "(state = 'queued' OR state = 'held' OR state = 'sending' OR state = 'uncertain')"


def upgrade() -> None:
    """Make them; no account has a credit, no SMS has reserved anything."""
    op.create_table(
        "credit",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=True),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_credit"),
        sa.CheckConstraint("balance IS NULL OR balance >= 0", name=op.f("ck_credit_balance_not_negative")),
        sa.CheckConstraint("reserved >= 0 AND spent >= 0", name=op.f("ck_credit_counts_not_negative")),
    )
    # Written out, for so SQLite adds column and constraint in place; Alembic would copy the whole table
    op.execute(
        "ALTER TABLE sms ADD COLUMN reserved_parts INTEGER CONSTRAINT ck_sms_reserved_until_answered "
        f"CHECK (reserved_parts IS NULL OR (reserved_parts > 0 AND {_SMS_UNANSWERED}))"
    )
