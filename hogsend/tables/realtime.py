"""Tables of the activity log, which timelines and live streams read, of its order, and the kinds of its rows."""

from enum import StrEnum

from sqlalchemy import BigInteger, Column, FetchedValue, Identity, Index, Integer, Table, Text, text
from sqlalchemy.types import UserDefinedType

from hogsend.storage.metadata import instant, metadata, uuid


class ActivityKind(StrEnum):
    """What a row of the log speaks of: the word in the column `kind`."""

    EVENT = "event"
    RUN = "state"
    EMAIL = "email"
    DECISION = "decision"
    DEAD_LETTER = "dead_letter"
    AUDIT = "audit"
    ALERT = "alert"
    IMPORT = "import"
    CONTACT = "contact"


TIMELINE_KINDS = (ActivityKind.EVENT, ActivityKind.RUN, ActivityKind.EMAIL, ActivityKind.DECISION)
"""What belongs on a contact's timeline."""


class Xid8(UserDefinedType[int]):
    """A 64-bit transaction id. Bound and read as text: asyncpg has no codec for it."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


class PgSnapshot(UserDefinedType[str]):
    """Which transactions a statement could see: `xmin:xmax:xip,…`. Bound and read as text."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "pg_snapshot"


activity = Table(
    "activity",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("txid", Xid8, FetchedValue(), nullable=False, server_default=text("pg_current_xact_id()")),
    instant("at", nullable=False),
    Column("kind", Text, nullable=False, comment=", ".join(ActivityKind)),
    Column("type", Text, nullable=False, comment="what happened to it: received, entered, queued, opened …"),
    uuid("ref_id", nullable=False, comment="the row it speaks of"),
    uuid("contact_id"),
    Column("journey_id", Text),
    uuid("merged_by", comment="the decision that made it this contact's; it was another's before"),
    Index("ix_activity_stream", "txid", "seq"),
    # With what its entries are about, so that pages and counts need not look at rows.
    Index(
        "ix_activity_timeline",
        "contact_id",
        text("at DESC"),
        text("seq DESC"),
        postgresql_include=["kind", "type", "ref_id"],
    ),
    Index("ix_activity_ref", "ref_id"),
    Index("ix_activity_merged", "merged_by", "seq", postgresql_where=text("merged_by IS NOT NULL")),
    comment="One append-only row for each thing that happened; streams follow the order in activity_order",
)

# A table of its own, so that numbering a row never waits for whoever holds it, and costs its writer nothing.
activity_order = Table(
    "activity_order",
    metadata,
    Column("pos", BigInteger, primary_key=True, autoincrement=False, comment="the position in every stream"),
    Column("seq", BigInteger, nullable=False, comment="the row of activity"),
    Column("kind", Text, nullable=False, comment="that row's"),
    Index("uq_activity_order_seq", "seq", unique=True),
    Index("ix_activity_order_kind", "kind", "pos"),
    comment="The order of streams: rows of activity, numbered as they are seen committed",
)

# Appended to, never updated: versions of one row would pile up behind a transaction that stays open.
activity_rounds = Table(
    "activity_rounds",
    metadata,
    Column("round", BigInteger, primary_key=True, autoincrement=False),
    Column("pos", BigInteger, nullable=False, comment="the last position given out"),
    Column("snapshot", PgSnapshot, nullable=False, comment="rows that it shows are numbered"),
    comment="How far the activity log is numbered: the last row counts, some before it are kept",
)

activity_horizon = Table(
    "activity_horizon",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one row, or none"),
    Column("pos", BigInteger, nullable=False),
    comment="The last position of the activity log that was forgotten: nothing up to it is there any more",
)
