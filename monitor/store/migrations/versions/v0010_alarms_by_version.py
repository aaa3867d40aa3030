"""Let every served version of a model have its alarms, and its gauged accuracy.

The accuracy kept is what was found last; it is found again within minutes.
"""

import sqlalchemy as sa
from alembic import op

from monitor.store.columns import UTCDateTime

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("uq_alarms_one_open", table_name="alarms")
    op.create_index(
        "uq_alarms_one_open",
        "alarms",
        ["model", "bundle_sha", "kind"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_table("accuracy_readings")
    op.create_table(
        "accuracy_readings",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("bundle_sha", sa.String(length=64), nullable=False),
        sa.Column("reading", sa.Text(), nullable=False),
        sa.Column("computed_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("model", "bundle_sha", name=op.f("pk_accuracy_readings")),
    )
