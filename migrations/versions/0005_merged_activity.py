"""Rows of the activity log say whose they were before a merge, so that streams can tell the survivor's followers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "activity",
        sa.Column(
            "merged_from",
            sa.Uuid(),
            nullable=True,
            comment="the contact whose row it was until that was merged into this one",
        ),
    )


def downgrade() -> None:
    op.drop_column("activity", "merged_from")
