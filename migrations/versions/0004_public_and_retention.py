"""Repeats of opens and clicks are counted, not stored; what retention needs to find old rows."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A range of an append-only table in a few pages, where a tree would cost every insert.
BRIN = (
    ("ix_email_events_at", "email_events", "at"),
    ("ix_provider_events_received", "provider_events", "received_at"),
    ("ix_journey_steps_opened", "journey_steps", "opened_at"),
)
PARTIAL = (
    ("ix_jobs_finished", "jobs", "finished_at", "finished_at IS NOT NULL"),
    ("ix_journey_states_ended", "journey_states", "ended_at", "ended_at IS NOT NULL"),
    ("ix_email_sends_content", "email_sends", "created_at", "payload IS NOT NULL"),
)


class Xid8(UserDefinedType[int]):
    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def upgrade() -> None:
    op.add_column(
        "email_events",
        sa.Column(
            "count",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="itself and the repeats soon after",
        ),
    )
    op.add_column(
        "email_events",
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True, comment="of the latest repeat"),
    )
    op.create_table_comment(
        "email_events",
        "The ordered history of a send: facts; a repeat soon after is counted on the row of the first",
        existing_comment="The ordered history of a send: facts, never updated",
    )
    op.create_table(
        "activity_horizon",
        sa.Column(
            "id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="1: there is one row, or none",
        ),
        sa.Column("txid", Xid8(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity_horizon")),
        comment="The last row of the activity log that was forgotten: nothing up to it is there any more",
    )
    for name, table, column in BRIN:
        op.create_index(name, table, [column], postgresql_using="brin")
    for name, table, column, where in PARTIAL:
        op.create_index(name, table, [column], postgresql_where=sa.text(where))


def downgrade() -> None:
    for name, table, *_ in (*PARTIAL, *BRIN):
        op.drop_index(name, table_name=table)
    op.drop_table("activity_horizon")
    op.drop_column("email_events", "last_at")
    op.drop_column("email_events", "count")
