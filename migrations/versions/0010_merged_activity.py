"""Rows of the activity log say which merge made them another contact's, so that streams can tell what it brought."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KINDS = "event, state, email, decision, dead_letter, audit, alert, import"


def upgrade() -> None:
    op.add_column(
        "activity",
        sa.Column(
            "merged_by",
            sa.Uuid(),
            nullable=True,
            comment="the decision that made it this contact's; it was another's before",
        ),
    )
    op.create_index(
        "ix_activity_merged",
        "activity",
        ["merged_by", "seq"],
        postgresql_where=sa.text("merged_by IS NOT NULL"),
    )
    op.alter_column("activity", "kind", comment=f"{KINDS}, contact", existing_comment=KINDS)


def downgrade() -> None:
    op.alter_column("activity", "kind", comment=KINDS, existing_comment=f"{KINDS}, contact")
    op.drop_index("ix_activity_merged", table_name="activity")
    op.drop_column("activity", "merged_by")
