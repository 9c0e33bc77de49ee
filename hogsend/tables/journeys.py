"""Tables of runs and their journal, and the statuses of a run."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from hogsend.storage.metadata import instant, json, metadata, one_of, uuid

LIVE_STATUSES = ("pending", "active", "waiting", "blocked")
DRIVEN_STATUSES = ("pending", "active", "waiting")
ENDED_STATUSES = ("completed", "exited", "failed")
# What an operator may resume. The wire calls both of them failed.
STUCK_STATUSES = ("blocked", "failed")
STATUSES = (*LIVE_STATUSES, *ENDED_STATUSES)

_LIVE = text("status IN ('pending', 'active', 'waiting', 'blocked')")
_DRIVEN = text("status IN ('pending', 'active', 'waiting')")

journey_settings = Table(
    "journey_settings",
    metadata,
    Column("journey_id", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False, comment="an operator's override; outranks the code"),
    instant("updated_at", nullable=False),
)

journey_states = Table(
    "journey_states",
    metadata,
    uuid("id", primary_key=True),
    Column("journey_id", Text, nullable=False),
    uuid("contact_id", ForeignKey("contacts.id"), nullable=False),
    Column("email", Text, nullable=False, comment="the address at entry, for display"),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("version", Text, nullable=False, comment="hash of the definition that the run began with"),
    Column(
        "epoch",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="who holds an older one is fenced",
    ),
    Column(
        "generation", Integer, nullable=False, server_default=text("0"), comment="of its driver in the engine"
    ),
    Column("lease_owner", Text),
    instant("lease_until", comment="real time"),
    instant("wake_at", comment="product time at which it is due"),
    Column(
        "attempt", Integer, nullable=False, server_default=text("0"), comment="slices since the last progress"
    ),
    Column(
        "cursor_seq",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="events up to here are past",
    ),
    Column("current_node", Text),
    json(
        "input",
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="the event and the person at entry, frozen",
    ),
    json(
        "context",
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="the trigger event's properties",
    ),
    Column("entry_key", Text, unique=True, comment="holds `once` and `once per period`"),
    Column("entry_count", Integer, nullable=False, server_default=text("1")),
    uuid("trigger_event_id"),
    Column("engine_run_id", Text, comment="the engine's own id, for display and cancelling"),
    Column(
        "driver_owner",
        Text,
        comment="the process that its driver last came into, where an outside engine drives it",
    ),
    Column(
        "trace", Text, comment="W3C trace contexts that the next slice goes on from, where traces are kept"
    ),
    Column("error", Text),
    Column("ended_reason", Text),
    Column(
        "changed_seq",
        Integer,
        comment="the first recorded step that the code no longer fits, where it does not",
    ),
    instant("completed_at"),
    instant("exited_at"),
    instant("ended_at"),
    instant("created_at", nullable=False),
    instant("updated_at", nullable=False),
    one_of("status", STATUSES),
    Index("uq_journey_states_live", "journey_id", "contact_id", unique=True, postgresql_where=_LIVE),
    Index("ix_journey_states_due", "wake_at", postgresql_where=_DRIVEN),
    Index("ix_journey_states_leased", "lease_owner", postgresql_where=text("lease_owner IS NOT NULL")),
    Index("ix_journey_states_journey", "journey_id", text("created_at DESC"), text("id DESC")),
    Index(
        "ix_journey_states_journey_status", "journey_id", "status", text("created_at DESC"), text("id DESC")
    ),
    Index("ix_journey_states_contact", "contact_id", text("created_at DESC"), text("id DESC")),
    Index("ix_journey_states_created", text("created_at DESC"), text("id DESC")),
    Index("ix_journey_states_trigger", "trigger_event_id"),
    Index("ix_journey_states_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
)

journey_steps = Table(
    "journey_steps",
    metadata,
    uuid("id", nullable=False, unique=True),
    uuid("state_id", ForeignKey("journey_states.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False, comment="<kind>:<label>#<n>"),
    Column("seq", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, comment="of the arguments; another one blocks the run"),
    Column("status", Text, nullable=False),
    json("args", nullable=False, server_default=text("'{}'::jsonb")),
    json("result"),
    instant("deadline"),
    Column("since_seq", BigInteger),
    Column("epoch", BigInteger, nullable=False),
    instant("opened_at", nullable=False),
    instant("closed_at"),
    PrimaryKeyConstraint("state_id", "key"),
    UniqueConstraint("state_id", "seq"),
    Index("ix_journey_steps_opened", "opened_at", postgresql_using="brin"),
    one_of("status", ("open", "done")),
)

journey_waits = Table(
    "journey_waits",
    metadata,
    uuid("state_id", ForeignKey("journey_states.id", ondelete="CASCADE"), primary_key=True),
    Column("step_key", Text, nullable=False),
    uuid("contact_id", nullable=False),
    Column("event", Text, nullable=False),
    json("conditions", comment="what the event's payload must satisfy"),
    Column("since_seq", BigInteger, nullable=False),
    instant("deadline", nullable=False),
    Index("ix_journey_waits_contact_event", "contact_id", "event"),
)

journey_versions = Table(
    "journey_versions",
    metadata,
    Column("journey_id", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    instant("first_seen_at", nullable=False),
    Column(
        "checked_against", Text, comment="the version that runs of this one were replayed with, if they were"
    ),
    instant("checked_at"),
    Column("parked_runs", Integer, comment="how many there were then"),
    Column("checked_runs", Integer, comment="how many of those were replayed"),
    Column("breaking_runs", Integer, comment="how many of those would have stopped"),
    Column("first_mismatch", Text, comment="what stopped the newest of them"),
    uuid("breaking_run_id", comment="that run"),
    comment="The code of journeys that was seen, and what a later one would do to the runs of each",
)
