"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _any(column: str, *values: str) -> str:
    return "(" + " OR ".join(f"{column} = '{value}'" for value in values) + ")"


_FORMATS = _any("report_format", "source", "wellformed")
_SMS_FINAL = _any("state", "delivered", "undelivered", "refused", "expired", "cancelled")
_SMS_STATES = _any(
    "state",
    "queued",
    "held",
    "sending",
    "uncertain",
    "accepted",
    "delivered",
    "undelivered",
    "refused",
    "expired",
    "cancelled",
)
_LATER_WORDS = _any("learnt", "taken", "refused", "delivered", "undelivered")
_VERDICTS = _any("verdict", "not_sent", "taken", "refused", "lost")
_KINDS = _any("kind", "ack", "not")
_REPORT_STATES = _any("state", "due", "held", "sending", "sent", "failed")
_REPORT_FINAL = _any("state", "sent", "failed")
_SMS_WAITING = _any("state", "queued", "held")
_SMS_OPEN = _any("state", "queued", "held", "sending", "uncertain", "accepted")
_REPORT_OPEN = _any("state", "due", "held", "sending")


def upgrade() -> None:
    """The tables of this revision stand."""
    op.create_table(
        "mail",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("listener", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("envelope_from", sa.Text(), nullable=False),
        sa.Column("header_from", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mail"),
        sa.UniqueConstraint("fingerprint", name="uq_mail_fingerprint"),
    )
    op.create_table(
        "email_id",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("email_id", sa.Text(), nullable=False),
        sa.Column("envoi_id", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "email_id", name="pk_email_id"),
    )
    op.create_table(
        "envoi",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("mail_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("email_id", sa.Text(), nullable=True),
        sa.Column("customer_tracker", sa.Text(), nullable=True),
        sa.Column("not_to", sa.Text(), nullable=True),
        sa.Column("report_format", sa.Text(), nullable=False),
        sa.Column("commercial", sa.Boolean(), nullable=False),
        sa.Column("fault", sa.Integer(), nullable=True),
        sa.Column("not_staged_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_envoi"),
        sa.ForeignKeyConstraint(["mail_id"], ["mail.id"], name="fk_envoi_mail_id"),
        sa.CheckConstraint(_FORMATS, name=op.f("ck_envoi_report_format_known")),
    )
    op.create_table(
        "sms",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("envoi_id", sa.Text(), nullable=False),
        sa.Column("mail_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tel", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("originator", sa.Text(), nullable=True),
        sa.Column("max_parts", sa.Integer(), nullable=False),
        sa.Column("nostop", sa.Boolean(), nullable=False),
        sa.Column("ucs2", sa.Boolean(), nullable=False),
        sa.Column("commercial", sa.Boolean(), nullable=False),
        sa.Column("tracker", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_ref", sa.Text(), nullable=True),
        sa.Column("billed_parts", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sms"),
        sa.UniqueConstraint("envoi_id", "position", name="uq_sms_envoi_id"),
        sa.UniqueConstraint("tracker", name="uq_sms_tracker"),
        sa.ForeignKeyConstraint(["envoi_id"], ["envoi.id"], name="fk_sms_envoi_id"),
        sa.CheckConstraint(f"{_SMS_FINAL} = (settled_at IS NOT NULL)", name=op.f("ck_sms_settled_if_final")),
        sa.CheckConstraint(
            f"{_SMS_FINAL} OR (msisdn IS NOT NULL AND text IS NOT NULL AND tracker IS NOT NULL "
            "AND due_at IS NOT NULL AND expires_at IS NOT NULL)",
            name=op.f("ck_sms_sendable_if_open"),
        ),
        sa.CheckConstraint(_SMS_STATES, name=op.f("ck_sms_state_known")),
        sa.CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name=op.f("ck_sms_leased_if_sending")),
        sa.CheckConstraint("epoch >= attempts AND attempts >= 0", name=op.f("ck_sms_epoch_counts_claims")),
    )
    op.create_table(
        "attempt",
        sa.Column("sms_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("raw", sa.Text(), nullable=True),
        sa.Column("learnt", sa.Text(), nullable=True),
        sa.Column("learnt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("learnt_raw", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sms_id", "epoch", name="pk_attempt"),
        sa.ForeignKeyConstraint(["sms_id"], ["sms.id"], name="fk_attempt_sms_id"),
        sa.CheckConstraint(f"learnt IS NULL OR {_LATER_WORDS}", name=op.f("ck_attempt_learnt_known")),
        sa.CheckConstraint(f"verdict IS NULL OR {_VERDICTS}", name=op.f("ck_attempt_verdict_known")),
        sa.CheckConstraint("(verdict IS NULL) = (ended_at IS NULL)", name=op.f("ck_attempt_ended_with_verdict")),
    )
    op.create_table(
        "refusal",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("listener", sa.Text(), nullable=False),
        sa.Column("envelope_from", sa.Text(), nullable=False),
        sa.Column("header_from", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_refusal"),
    )
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
        sa.CheckConstraint(_REPORT_STATES, name=op.f("ck_report_state_known")),
        sa.CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name=op.f("ck_report_leased_if_sending")),
        sa.CheckConstraint(f"{_REPORT_FINAL} = (settled_at IS NOT NULL)", name=op.f("ck_report_settled_if_final")),
        sa.CheckConstraint("(mail_id IS NULL) <> (refusal_id IS NULL)", name=op.f("ck_report_one_cause")),
    )
    _index("ix_sms_due", "sms", ["due_at"], where="(state = 'queued')")
    _index("ix_sms_expiry", "sms", ["expires_at"], where=_SMS_WAITING)
    _index("ix_sms_lane", "sms", ["account", "due_at", "id"], where="(state = 'queued')")
    _index("ix_sms_lease", "sms", ["lease_until"], where="(state = 'sending')")
    _index("ix_sms_open", "sms", ["state", "since_at"], where=_SMS_OPEN)
    _index("ix_report_due", "report", ["due_at", "id"], where="(state = 'due')")
    _index("ix_report_lease", "report", ["lease_until"], where="(state = 'sending')")
    _index("ix_report_not", "report", ["envoi_id"], where="(kind = 'not')", unique=True)
    _index("ix_report_open", "report", ["state", "since_at"], where=_REPORT_OPEN)


def _index(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
