"""Make the tables of decisions by humans and of the accuracy last found."""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=True),
        sa.Column("case_id", sa.String(length=200), nullable=True),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("decided_by", sa.String(length=200), nullable=False),
        sa.Column("decided_at", UTCDateTime, nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("inclusion_probability", sa.Float(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("supersedes", NUMBER, nullable=True),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("recorded_by", sa.String(length=200), nullable=False),
        sa.Column("recorded_at", UTCDateTime, nullable=False),
        sa.CheckConstraint(
            "(event_id IS NULL) <> (case_id IS NULL)", name=op.f("ck_decisions_subject")
        ),
        sa.CheckConstraint(
            "inclusion_probability IS NULL OR "
            "(inclusion_probability > 0 AND inclusion_probability <= 1)",
            name=op.f("ck_decisions_inclusion"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["decisions.id"], name=op.f("fk_decisions_supersedes")
        ),
        sa.UniqueConstraint("model", "key", name=op.f("uq_decisions_model_key")),
    )
    op.create_index("ix_decisions_of_event", "decisions", ["model", "event_id"], unique=False)
    op.create_index("ix_decisions_of_case", "decisions", ["model", "case_id"], unique=False)
    op.create_table(
        "accuracy_readings",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("reading", sa.Text(), nullable=False),
        sa.Column("computed_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_accuracy_readings")),
    )
