"""Keep the false-alarm budget as a ledger; tell streams of segments and modes apart.

Detector states begin afresh: what they had earned was not tied to a claim on the budget.
"""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("streams")
    op.create_table(
        "streams",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("segment", sa.String(length=400), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "bundle_sha", "stream", "segment", "mode", name=op.f("pk_streams")
        ),
    )
    op.create_table(
        "budget",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("claim", sa.String(length=36), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("segment", sa.String(length=400), nullable=False),
        sa.Column("pool", sa.String(length=16), nullable=False),
        sa.Column("demand", sa.Float(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("granted_at", UTCDateTime, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begun_at", UTCDateTime, nullable=False),
        sa.Column("ended_at", UTCDateTime, nullable=True),
        sa.Column("ended_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("weight > 0 AND weight <= 1", name=op.f("ck_budget_weight")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_reason IS NULL)", name=op.f("ck_budget_ended")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget")),
    )
    op.create_index(
        "uq_budget_one_running",
        "budget",
        ["model", "bundle_sha", "stream", "segment"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "registered_references",
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("registered_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("bundle_sha", name=op.f("pk_registered_references")),
        sa.UniqueConstraint("number", name=op.f("uq_registered_references_number")),
    )
    op.create_table(
        "exclusions",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("observations", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "cause", name=op.f("pk_exclusions")),
    )
    op.create_table(
        "sightings",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("last_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("model", "unit", name=op.f("pk_sightings")),
    )
    op.add_column("alarms", sa.Column("acknowledged_by", sa.String(length=200), nullable=True))
    op.add_column("alarms", sa.Column("acknowledged_at", UTCDateTime, nullable=True))
    op.add_column("alarms", sa.Column("acknowledged_reason", sa.Text(), nullable=True))
