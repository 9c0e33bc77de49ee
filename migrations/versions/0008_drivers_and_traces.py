"""Which process a run's driver is in, so that it is replaced when that dies; and traces, carried through rows."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "journey_states",
        sa.Column(
            "driver_owner",
            sa.Text(),
            nullable=True,
            comment="the process that its driver last came into, where an outside engine drives it",
        ),
    )
    op.add_column(
        "journey_states",
        sa.Column(
            "trace",
            sa.Text(),
            nullable=True,
            comment="W3C trace contexts that the next slice goes on from, where traces are kept",
        ),
    )
    op.add_column(
        "jobs",
        sa.Column(
            "trace",
            sa.Text(),
            nullable=True,
            comment="W3C trace context of what queued it, where traces are kept",
        ),
    )


def downgrade() -> None:
    op.drop_column("jobs", "trace")
    op.drop_column("journey_states", "trace")
    op.drop_column("journey_states", "driver_owner")
