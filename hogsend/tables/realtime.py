"""Table of the activity log, which timelines and live streams read, and the kinds of its rows."""

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


TIMELINE_KINDS = (ActivityKind.EVENT, ActivityKind.RUN, ActivityKind.EMAIL, ActivityKind.DECISION)
"""What belongs on a contact's timeline."""


class Xid8(UserDefinedType[int]):
    """A 64-bit transaction id. Bound and read as text: asyncpg has no codec for it."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


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
    Index("ix_activity_stream", "txid", "seq"),
    Index("ix_activity_kind_stream", "kind", "txid", "seq"),
    # With what its entries are about, so that pages and counts need not look at rows.
    Index(
        "ix_activity_timeline",
        "contact_id",
        text("at DESC"),
        text("seq DESC"),
        postgresql_include=["kind", "type", "ref_id"],
    ),
    Index("ix_activity_contact_stream", "contact_id", "txid", "seq"),
    Index("ix_activity_ref", "ref_id"),
    comment="One append-only row for each thing that happened; ordered for streams by (txid, seq)",
)

activity_horizon = Table(
    "activity_horizon",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one row, or none"),
    Column("txid", Xid8, nullable=False),
    Column("seq", BigInteger, nullable=False),
    comment="The last row of the activity log that was forgotten: nothing up to it is there any more",
)
