"""Warnings of a credit that gets low, as reports; and since when a credit is not enough."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KINDS = "(kind = 'ack' OR kind = 'not' OR kind = 'credit')"
_STATES = "(state = 'due' OR state = 'held' OR state = 'sending' OR state = 'sent' OR state = 'failed')"
_FINAL = "(state = 'sent' OR state = 'failed')"
_OPEN = "(state = 'due' OR state = 'held' OR state = 'sending')"


def upgrade() -> None:
    """There may be reports of the new kind; no credit is known not to be enough. Every report is as it was."""
    op.add_column("credit", sa.Column("exhausted_at", sa.DateTime(timezone=True), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_report_kind_known"), "report", type_="check")
        op.create_check_constraint(op.f("ck_report_kind_known"), "report", _KINDS)
    else:
        _rebuild_report()


def _rebuild_report() -> None:
    """SQLite cannot change a constraint: the table is written again. Nothing refers to it."""
    op.rename_table("report", "report_before")
    _create_report()
    op.execute("INSERT INTO report SELECT * FROM report_before")  # the same columns in the same order
    op.drop_table("report_before")  # and its indexes
    _index("ix_report_due", ["due_at", "id"], where="(state = 'due')")
    _index("ix_report_lease", ["lease_until"], where="(state = 'sending')")
    _index("ix_report_not", ["envoi_id"], where="(kind = 'not')", unique=True)
    _index("ix_report_open", ["state", "since_at"], where=_OPEN)


def _create_report() -> None:
    op.create_table(
        "report",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mail_id", sa.Text(), nullable=True),
        sa.Column("refusal_id", sa.Text(), nullable=True),
        sa.Column("envoi_id", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("in_reply_to", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_report"),
        sa.ForeignKeyConstraint(["envoi_id"], ["envoi.id"], name="fk_report_envoi_id"),
        sa.ForeignKeyConstraint(["mail_id"], ["mail.id"], name="fk_report_mail_id"),
        sa.ForeignKeyConstraint(["refusal_id"], ["refusal.id"], name="fk_report_refusal_id"),
        sa.CheckConstraint(_KINDS, name=op.f("ck_report_kind_known")),
        sa.CheckConstraint(_STATES, name=op.f("ck_report_state_known")),
        sa.CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name=op.f("ck_report_leased_if_sending")),
        sa.CheckConstraint(f"{_FINAL} = (settled_at IS NOT NULL)", name=op.f("ck_report_settled_if_final")),
        sa.CheckConstraint("(mail_id IS NULL) <> (refusal_id IS NULL)", name=op.f("ck_report_one_cause")),
    )


def _index(name: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    op.create_index(name, "report", columns, unique=unique, sqlite_where=sa.text(where))
