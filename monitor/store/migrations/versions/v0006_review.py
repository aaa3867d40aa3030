"""Keep the review queue: items, leases, readings, and how far it has read."""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "review_items",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=1000), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("inclusion_probability", sa.Float(), nullable=False),
        sa.Column("audit", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.String(length=200), nullable=True),
        sa.Column("unit", sa.String(length=200), nullable=True),
        sa.Column("at", UTCDateTime, nullable=True),
        sa.Column("prediction", sa.String(length=200), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("loss", sa.Float(), nullable=True),
        sa.Column("split", sa.String(length=16), nullable=True),
        sa.Column("picture", sa.String(length=400), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("not_for", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("resolved_at", UTCDateTime, nullable=True),
        sa.Column("action", sa.String(length=16), nullable=True),
        sa.Column("truth", sa.String(length=200), nullable=True),
        sa.CheckConstraint(
            "inclusion_probability > 0 AND inclusion_probability <= 1",
            name=op.f("ck_review_items_inclusion"),
        ),
        sa.CheckConstraint(
            "state IN ('open', 'done', 'conflicting', 'withdrawn')",
            name=op.f("ck_review_items_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_items")),
    )
    op.create_index(
        "uq_review_items_once",
        "review_items",
        ["model", "bundle_sha", "origin", "subject", "purpose"],
        unique=True,
    )
    op.create_index(
        "ix_review_items_next", "review_items", ["state", "model", "priority"], unique=False
    )
    op.create_table(
        "review_leases",
        sa.Column("item_id", sa.String(length=36), nullable=False),
        sa.Column("reviewer", sa.String(length=200), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("until", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["review_items.id"], name=op.f("fk_review_leases_item_id")
        ),
        sa.PrimaryKeyConstraint("item_id", "reviewer", name=op.f("pk_review_leases")),
    )
    op.create_index("ix_review_leases_of_reviewer", "review_leases", ["reviewer"], unique=False)
    op.create_table(
        "review_readings",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("item_id", sa.String(length=36), nullable=False),
        sa.Column("reviewer", sa.String(length=200), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("changed_after_reveal", sa.Boolean(), nullable=False),
        sa.Column("supersedes", _ID, nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["review_items.id"], name=op.f("fk_review_readings_item_id")
        ),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["review_readings.id"], name=op.f("fk_review_readings_supersedes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_readings")),
        sa.UniqueConstraint("reviewer", "key", name=op.f("uq_review_readings_reviewer_key")),
    )
    op.create_index("ix_review_readings_of_item", "review_readings", ["item_id"], unique=False)
    op.create_table(
        "review_cursors",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("writer", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "writer", name=op.f("pk_review_cursors")),
    )
