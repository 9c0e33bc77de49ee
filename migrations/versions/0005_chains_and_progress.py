"""How long a chain of triggered events is through its rests; what was done so far under an idempotency key."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "user_events",
        sa.Column(
            "chain",
            sa.SmallInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="the same through whatever rests there were between them",
        ),
    )
    op.add_column(
        "idempotency_keys",
        sa.Column(
            "progress",
            postgresql.JSONB(none_as_null=True),
            nullable=True,
            comment="what was done under the key so far, where that is several transactions",
        ),
    )


def downgrade() -> None:
    op.drop_column("idempotency_keys", "progress")
    op.drop_column("user_events", "chain")
