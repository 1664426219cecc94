"""What carriers say later: receipts, replies, STOP lists; routes and costs of SMS."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KINDS = "(kind = 'ack' OR kind = 'not' OR kind = 'receipts' OR kind = 'reply' OR kind = 'credit')"
_STATES = "(state = 'due' OR state = 'held' OR state = 'sending' OR state = 'sent' OR state = 'failed')"
_FINAL = "(state = 'sent' OR state = 'failed')"
_OPEN = "(state = 'due' OR state = 'held' OR state = 'sending')"
_SMS_OPEN = "state NOT IN ('delivered', 'undelivered', 'refused', 'expired', 'cancelled', 'accepted')"
_ONE_CAUSE = (
    "CASE WHEN mail_id IS NULL THEN 0 ELSE 1 END + CASE WHEN refusal_id IS NULL THEN 0 ELSE 1 END"
    " + CASE WHEN reply_id IS NULL THEN 0 ELSE 1 END = 1"
)


def upgrade() -> None:
    """Make the tables; every SMS that is open is in the lane of its account, no word of a carrier is awaited for it."""
    _create_tables()
    instant = sa.DateTime(timezone=True)
    for column in (
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("deliver_at", instant, nullable=True),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("ask_at", instant, nullable=True),
        sa.Column("network_at", instant, nullable=True),
        sa.Column("network_code", sa.Integer(), nullable=True),
    ):
        op.add_column("sms", column)
    op.add_column("mail", sa.Column("purged_at", instant, nullable=True))
    op.add_column("envoi", sa.Column("receipts_to", sa.Text(), nullable=True))
    op.add_column("envoi", sa.Column("receipts_staged_at", instant, nullable=True))
    op.execute(f"UPDATE sms SET lane = account WHERE {_SMS_OPEN}")  # noqa: S608 a constant
    op.drop_index("ix_sms_lane", "sms")
    _index("ix_sms_lane", "sms", ["lane", "due_at", "id"], where="(state = 'queued')")
    _index("ix_sms_ask", "sms", ["provider", "ask_at"], where="ask_at IS NOT NULL")
    _index("ix_sms_ref", "sms", ["provider", "provider_ref"], where="provider_ref IS NOT NULL")
    _index("ix_sms_msisdn", "sms", ["msisdn", "id"], where="msisdn IS NOT NULL")
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("report", sa.Column("reply_id", sa.Text(), nullable=True))
        op.add_column("report", sa.Column("subject", sa.Text(), nullable=True))
        op.drop_constraint("fk_report_envoi_id", "report", type_="foreignkey")
        op.create_foreign_key("fk_report_reply_id", "report", "reply", ["reply_id"], ["id"])
        for name, condition in (("ck_report_kind_known", _KINDS), ("ck_report_one_cause", _ONE_CAUSE)):
            op.drop_constraint(op.f(name), "report", type_="check")
            op.create_check_constraint(op.f(name), "report", condition)
    else:
        _rebuild_report()
    _index("ix_mail_contents", "mail", ["received_at"], where="purged_at IS NULL")
    _index("ix_mail_purged", "mail", ["received_at"], where="purged_at IS NOT NULL")
    _index("ix_reply_contents", "reply", ["received_at"], where="purged_at IS NULL")
    for cause in ("mail", "refusal", "reply"):
        _index(f"ix_report_{cause}", "report", [f"{cause}_id"], where=f"{cause}_id IS NOT NULL")
    op.create_index("ix_envoi_mail", "envoi", ["mail_id"])
    op.create_index("ix_refusal_age", "refusal", ["refused_at"])
    _index("ix_report_receipts", "report", ["envoi_id"], where="(kind = 'receipts')", unique=True)


def _create_tables() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "receipt",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("received_at", instant, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("tracker", sa.Text(), nullable=True),
        sa.Column("provider_ref", sa.Text(), nullable=True),
        sa.Column("msisdn", sa.Text(), nullable=True),
        sa.Column("fate", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("at", instant, nullable=True),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_receipt"),
    )
    op.create_table(
        "reply",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("received_at", instant, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.Text(), nullable=False),
        sa.Column("sent_to", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_stop", sa.Boolean(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("sms_id", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("purged_at", instant, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_reply"),
        sa.UniqueConstraint("fingerprint", name="uq_reply_fingerprint"),
    )
    op.create_table(
        "reply_part",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.Text(), nullable=False),
        sa.Column("sent_to", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("received_at", instant, nullable=False),
        sa.Column("joined_at", instant, nullable=True),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "msisdn", "sent_to", "reference", "number", name="pk_reply_part"),
    )
    op.create_table(
        "optout",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.Text(), nullable=False),
        sa.Column("since_at", instant, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", "msisdn", name="pk_optout"),
    )
    op.create_table(
        "carrier_optout",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.Text(), nullable=False),
        sa.Column("is_listed", sa.Boolean(), nullable=False),
        sa.Column("due_at", instant, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "msisdn", name="pk_carrier_optout"),
    )
    _index("ix_receipt_tracker", "receipt", ["tracker"], where="tracker IS NOT NULL")
    _index("ix_receipt_ref", "receipt", ["provider", "provider_ref"], where="provider_ref IS NOT NULL")
    op.create_index("ix_receipt_age", "receipt", ["provider", "received_at"])
    op.create_index("ix_reply_part_age", "reply_part", ["received_at"])
    _index("ix_carrier_optout_due", "carrier_optout", ["due_at"], where="due_at IS NOT NULL")


def _rebuild_report() -> None:
    """SQLite cannot change a constraint: the table is written again. Nothing refers to it."""
    kept = (
        "id, kind, mail_id, refusal_id, envoi_id, recipient, message_id, in_reply_to, body, created_at, state,"
        " since_at, epoch, attempts, due_at, expires_at, lease_until, settled_at, reason"
    )
    op.rename_table("report", "report_before")
    _create_report()
    op.execute(f"INSERT INTO report ({kept}) SELECT {kept} FROM report_before")  # noqa: S608 names of columns
    op.drop_table("report_before")  # and its indexes
    _index("ix_report_due", "report", ["due_at", "id"], where="(state = 'due')")
    _index("ix_report_lease", "report", ["lease_until"], where="(state = 'sending')")
    _index("ix_report_not", "report", ["envoi_id"], where="(kind = 'not')", unique=True)
    _index("ix_report_open", "report", ["state", "since_at"], where=_OPEN)


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


def _index(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
