"""Take in what Alertmanager tells, and keep its silences beside acknowledgements."""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alarms", sa.Column("acknowledged_silence", sa.String(length=64)))
    _make_signals()
    _make_silences()


def _make_signals() -> None:
    op.create_table(
        "signals",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("severity", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200)),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("annotations", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("alarm_id", sa.String(length=36)),
        sa.Column("starts_at", UTCDateTime, nullable=False),
        sa.Column("received_at", UTCDateTime, nullable=False),
        sa.Column("seen_at", UTCDateTime, nullable=False),
        sa.Column("resolved_at", UTCDateTime),
        sa.Column("acknowledged_by", sa.String(length=200)),
        sa.Column("acknowledged_at", UTCDateTime),
        sa.Column("acknowledged_reason", sa.Text()),
        sa.Column("acknowledged_silence", sa.String(length=64)),
        sa.CheckConstraint("state IN ('firing', 'resolved')", name=op.f("ck_signals_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
        sa.UniqueConstraint(
            "fingerprint", "starts_at", name=op.f("uq_signals_fingerprint_starts_at")
        ),
    )
    op.create_index("ix_signals_newest", "signals", ["state", "starts_at"])
    op.create_index("ix_signals_of_alarm", "signals", ["alarm_id"])
    op.create_index(
        "uq_signals_one_firing",
        "signals",
        ["fingerprint"],
        unique=True,
        sqlite_where=sa.text("state = 'firing'"),
        postgresql_where=sa.text("state = 'firing'"),
    )


def _make_silences() -> None:
    wanted = sa.text("origin = 'here' AND state IN ('pending', 'active')")
    op.create_table(
        "silences",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("silence_id", sa.String(length=64)),
        sa.Column("matchers", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("ends_at", UTCDateTime, nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("ended_at", UTCDateTime),
        sa.Column("owner", sa.String(length=200)),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", UTCDateTime, nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.CheckConstraint("origin IN ('here', 'alertmanager')", name=op.f("ck_silences_origin")),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'ending', 'ended')", name=op.f("ck_silences_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
        sa.UniqueConstraint("silence_id", "subject", name=op.f("uq_silences_silence_id_subject")),
    )
    op.create_index("ix_silences_of_subject", "silences", ["subject", "created_at"])
    op.create_index("ix_silences_due", "silences", ["state", "not_before"])
    op.create_index(
        "uq_silences_one_wanted",
        "silences",
        ["subject"],
        unique=True,
        sqlite_where=wanted,
        postgresql_where=wanted,
    )
