"""Keep rollouts: their plans, states, events, verdicts, supervisors and spent actions."""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_version", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UTCDateTime, nullable=False),
        sa.Column("ended_at", UTCDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["bundle_sha"], ["bundles.sha"], name=op.f("fk_rollouts_bundle_sha")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
        sa.UniqueConstraint("name", "attempt", name=op.f("uq_rollouts_name_attempt")),
    )
    op.create_index(
        "uq_rollouts_one_active",
        "rollouts",
        ["model"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "rollout_events",
        sa.Column("rollout_id", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("evidence_hash", sa.String(length=64), nullable=True),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("fk_rollout_events_rollout_id")
        ),
        sa.PrimaryKeyConstraint("rollout_id", "sequence", name=op.f("pk_rollout_events")),
        sa.UniqueConstraint("rollout_id", "key", name=op.f("uq_rollout_events_rollout_id_key")),
    )
    op.create_table(
        "rollout_evidence",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("rollout_id", sa.String(length=36), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("frozen_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("fk_rollout_evidence_rollout_id")
        ),
        sa.PrimaryKeyConstraint("rollout_id", "hash", name=op.f("pk_rollout_evidence")),
    )
    op.create_table(
        "gate_verdicts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("rollout_id", sa.String(length=36), nullable=False),
        sa.Column("gate", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("measured_at", UTCDateTime, nullable=False),
        sa.CheckConstraint(
            "outcome IN ('pass', 'fail', 'inconclusive', 'error')",
            name=op.f("ck_gate_verdicts_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("fk_gate_verdicts_rollout_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_verdicts")),
    )
    op.create_index(
        "ix_gate_verdicts_newest", "gate_verdicts", ["rollout_id", "gate", "id"], unique=False
    )
    op.create_table(
        "gate_states",
        sa.Column("rollout_id", sa.String(length=36), nullable=False),
        sa.Column("gate", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("fk_gate_states_rollout_id")
        ),
        sa.PrimaryKeyConstraint("rollout_id", "gate", "epoch", name=op.f("pk_gate_states")),
    )
    op.create_table(
        "supervisors",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("person", sa.String(length=200), nullable=False),
        sa.Column("last_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("model", "person", name=op.f("pk_supervisors")),
    )
    op.create_table(
        "spent_actions",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "attempt", "day", name=op.f("pk_spent_actions")),
    )
