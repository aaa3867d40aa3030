"""Keep what drills found: the alarm certificates."""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "certificates",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("configuration", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("depth", sa.String(length=16), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.Column("resolve_after", sa.Integer(), nullable=False),
        sa.Column("weak_spots", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.CheckConstraint("depth IN ('quick', 'full')", name=op.f("ck_certificates_depth")),
        sa.ForeignKeyConstraint(
            ["bundle_sha"], ["bundles.sha"], name=op.f("fk_certificates_bundle_sha")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
    )
    op.create_index(
        "ix_certificates_of_model", "certificates", ["model", "created_at"], unique=False
    )
