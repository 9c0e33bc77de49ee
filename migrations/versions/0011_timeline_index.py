"""Timelines are read and counted from their index alone, which holds what an entry is about."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_COLUMNS = ["contact_id", sa.text("at DESC"), sa.text("seq DESC")]


def upgrade() -> None:
    op.drop_index("ix_activity_timeline", table_name="activity")
    op.create_index(
        "ix_activity_timeline", "activity", _COLUMNS, postgresql_include=["kind", "type", "ref_id"]
    )


def downgrade() -> None:
    op.drop_index("ix_activity_timeline", table_name="activity")
    op.create_index("ix_activity_timeline", "activity", _COLUMNS)
