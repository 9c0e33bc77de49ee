"""Streams follow an order of their own: rows of the activity log are numbered as they are seen committed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# A part at a time: a statement may take a minute.
ROWS_A_STATEMENT = 500_000
NUMBER = sa.text("""
INSERT INTO activity_order (pos, seq, kind)
SELECT (SELECT coalesce(max(pos), 0) FROM activity_order) + row_number() OVER (ORDER BY seq), seq, kind
FROM activity WHERE seq > :after AND seq <= :until
""")
FIRST_ROUND = """
INSERT INTO activity_rounds (round, pos, snapshot)
SELECT 1, coalesce(max(pos), 0), pg_current_snapshot() FROM activity_order
"""


class PgSnapshot(UserDefinedType[str]):
    def get_col_spec(self, **_: object) -> str:
        return "pg_snapshot"


class Xid8(UserDefinedType[int]):
    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def upgrade() -> None:
    op.create_table(
        "activity_order",
        sa.Column(
            "pos",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the position in every stream",
        ),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="the row of activity"),
        sa.Column("kind", sa.Text(), nullable=False, comment="that row's"),
        sa.PrimaryKeyConstraint("pos", name=op.f("pk_activity_order")),
        comment="The order of streams: rows of activity, numbered as they are seen committed",
    )
    op.create_table(
        "activity_rounds",
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False, comment="the last position given out"),
        sa.Column("snapshot", PgSnapshot(), nullable=False, comment="rows that it shows are numbered"),
        sa.PrimaryKeyConstraint("round", name=op.f("pk_activity_rounds")),
        comment="How far the activity log is numbered: the last row counts, some before it are kept",
    )
    # Nobody writes meanwhile, so the first round's snapshot shows what is numbered and nothing else.
    op.execute("LOCK TABLE activity IN SHARE MODE")
    connection = op.get_bind()
    last = connection.execute(sa.text("SELECT coalesce(max(seq), 0) FROM activity")).scalar_one()
    for after in range(0, last, ROWS_A_STATEMENT):
        connection.execute(NUMBER, {"after": after, "until": after + ROWS_A_STATEMENT})
    op.execute(FIRST_ROUND)
    op.create_index("uq_activity_order_seq", "activity_order", ["seq"], unique=True)
    op.create_index("ix_activity_order_kind", "activity_order", ["kind", "pos"])
    op.drop_index("ix_activity_kind_stream", table_name="activity")
    op.drop_index("ix_activity_contact_stream", table_name="activity")
    op.create_table_comment(
        "activity",
        "One append-only row for each thing that happened; streams follow the order in activity_order",
        existing_comment="One append-only row for each thing that happened; ordered for streams by (txid, seq)",
    )
    # Cursors of before are refused whatever was forgotten, so the horizon begins anew.
    op.execute("DELETE FROM activity_horizon")
    op.drop_column("activity_horizon", "txid")
    op.drop_column("activity_horizon", "seq")
    op.add_column("activity_horizon", sa.Column("pos", sa.BigInteger(), nullable=False))
    op.create_table_comment(
        "activity_horizon",
        "The last position of the activity log that was forgotten: nothing up to it is there any more",
        existing_comment="The last row of the activity log that was forgotten: nothing up to it is there any more",
    )


def downgrade() -> None:
    op.execute("DELETE FROM activity_horizon")
    op.drop_column("activity_horizon", "pos")
    op.add_column("activity_horizon", sa.Column("txid", Xid8(), nullable=False))
    op.add_column("activity_horizon", sa.Column("seq", sa.BigInteger(), nullable=False))
    op.create_index("ix_activity_contact_stream", "activity", ["contact_id", "txid", "seq"])
    op.create_index("ix_activity_kind_stream", "activity", ["kind", "txid", "seq"])
    op.drop_table("activity_rounds")
    op.drop_table("activity_order")
