"""Keep the episodes whose frames are still coming."""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "open_episodes",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("model", "bundle_sha", name=op.f("pk_open_episodes")),
    )
