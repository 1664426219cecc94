"""What accounts used of their quotas, the volume of each hour, and mails about both, as reports."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KINDS = "(kind = 'ack' OR kind = 'not' OR kind = 'receipts' OR kind = 'reply' OR kind = 'credit' OR kind = 'alarm')"
_STATES = "(state = 'due' OR state = 'held' OR state = 'sending' OR state = 'sent' OR state = 'failed')"
_FINAL = "(state = 'sent' OR state = 'failed')"
_OPEN = "(state = 'due' OR state = 'held' OR state = 'sending')"
_ONE_CAUSE = (
    "CASE WHEN mail_id IS NULL THEN 0 ELSE 1 END + CASE WHEN refusal_id IS NULL THEN 0 ELSE 1 END"
    " + CASE WHEN reply_id IS NULL THEN 0 ELSE 1 END = 1"
)


def upgrade() -> None:
    """Make the tables, empty: nothing was used so far. There may be reports of the new kind."""
    _create_tables()
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_report_kind_known"), "report", type_="check")
        op.create_check_constraint(op.f("ck_report_kind_known"), "report", _KINDS)
    else:
        _rebuild_report()


def _create_tables() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "quota_account",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("alarmed_at", instant, nullable=True),
        sa.Column("usual_parts", sa.BigInteger(), nullable=True),
        sa.Column("usual_at", instant, nullable=True),
        sa.PrimaryKeyConstraint("account", name="pk_quota_account"),
    )
    op.create_table(
        "quota_use",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("quota", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("slot_at", instant, nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("account", "quota", "subject", "slot_at", name="pk_quota_use"),
        sa.CheckConstraint("used > 0", name=op.f("ck_quota_use_used_positive")),
    )
    op.create_table(
        "quota_overrun",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("quota", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("is_guard", sa.Boolean(), nullable=False),
        sa.Column("began_at", instant, nullable=False),
        sa.Column("last_at", instant, nullable=False),
        sa.Column("due_at", instant, nullable=False),
        sa.Column("sms", sa.BigInteger(), nullable=False),
        sa.Column("mail_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "quota", "subject", name="pk_quota_overrun"),
    )
    op.create_table(
        "volume",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("hour_at", instant, nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "hour_at", name="pk_volume"),
    )
    op.create_index("ix_quota_use_end", "quota_use", ["ends_at"])
    op.create_index("ix_quota_overrun_due", "quota_overrun", ["due_at"])
    op.create_index("ix_volume_age", "volume", ["hour_at"])


def _rebuild_report() -> None:
    """SQLite cannot change a constraint: the table is written again. Nothing refers to it."""
    kept = (
        "id, kind, mail_id, refusal_id, envoi_id, recipient, message_id, in_reply_to, body, created_at, state,"
        " since_at, epoch, attempts, due_at, expires_at, lease_until, settled_at, reason, reply_id, subject"
    )
    op.rename_table("report", "report_before")
    _create_report()
    op.execute(f"INSERT INTO report ({kept}) SELECT {kept} FROM report_before")  # noqa: S608 names of columns
    op.drop_table("report_before")  # and its indexes
    _index("ix_report_due", ["due_at", "id"], where="(state = 'due')")
    _index("ix_report_lease", ["lease_until"], where="(state = 'sending')")
    _index("ix_report_open", ["state", "since_at"], where=_OPEN)
    _index("ix_report_not", ["envoi_id"], where="(kind = 'not')", unique=True)
    _index("ix_report_receipts", ["envoi_id"], where="(kind = 'receipts')", unique=True)
    for cause in ("mail", "refusal", "reply"):
        _index(f"ix_report_{cause}", [f"{cause}_id"], where=f"{cause}_id IS NOT NULL")


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
        sa.Column("reply_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_report"),
        sa.ForeignKeyConstraint(["mail_id"], ["mail.id"], name="fk_report_mail_id"),
        sa.ForeignKeyConstraint(["refusal_id"], ["refusal.id"], name="fk_report_refusal_id"),
        sa.ForeignKeyConstraint(["reply_id"], ["reply.id"], name="fk_report_reply_id"),
        sa.CheckConstraint(_KINDS, name=op.f("ck_report_kind_known")),
        sa.CheckConstraint(_STATES, name=op.f("ck_report_state_known")),
        sa.CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name=op.f("ck_report_leased_if_sending")),
        sa.CheckConstraint(f"{_FINAL} = (settled_at IS NOT NULL)", name=op.f("ck_report_settled_if_final")),
        sa.CheckConstraint(_ONE_CAUSE, name=op.f("ck_report_one_cause")),
    )


def _index(name: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    op.create_index(name, "report", columns, unique=unique, sqlite_where=sa.text(where))
