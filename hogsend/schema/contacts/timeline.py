"""A contact's timeline in the schema: one list over everything that happened to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

from hogsend.graphql import ids
from hogsend.graphql.context import Context
from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.links import row_by_key
from hogsend.graphql.mapping import Mapped, from_object
from hogsend.graphql.node import Node
from hogsend.graphql.rows import Argument, to_one, worked_out
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.streams import ActivityEntry
from hogsend.schema.contacts.collections import TIMELINE
from hogsend.schema.emails.enums import EmailFact
from hogsend.storage.database import Record
from hogsend.tables.realtime import ActivityKind, activity


@wire_enum("Kind of a timeline entry.")
class TimelineKind(WireEnum):
    EVENT = ActivityKind.EVENT.value, "An event was ingested."
    JOURNEY = ActivityKind.RUN.value, "A run of a journey began, ended or was blocked."
    EMAIL = ActivityKind.EMAIL.value, "Something happened to an email."
    DECISION = ActivityKind.DECISION.value, "A decision was recorded."


@wire_enum("Milestone of a run.", name="JourneyProgressKind")
class Progress(WireEnum):
    ENTERED = "entered", "The run began."
    COMPLETED = "completed", "It ran to its end."
    EXITED = "exited", "It was ended early, by an exit event or an operator."
    FAILED = "failed", "The journey's code raised an error."
    BLOCKED = "blocked", "It is blocked until an operator decides."


@strawberry.interface(description="A timeline entry: one thing that happened to a contact.")
class TimelineEntry(
    Node,
    collection=TIMELINE,
    columns={
        "key": "seq",
        "cursor": Mapped("head", lambda head: StreamCursor.of_head(head).encode()),
    },
):
    ref_id: strawberry.Private[UUID]
    type: strawberry.Private[str]
    at: datetime = attribute("When it happened.")
    kind: TimelineKind = attribute("Kind of thing that happened.")
    cursor: str = attribute(
        "Position in the live stream: `contactTimeline(after:)` continues a list exactly where the list "
        "was read, and a stream exactly behind this entry."
    )

    told_by = ("kind",)

    @classmethod
    def type_of(cls, row: Record) -> Any:
        return _TYPES[row["kind"]]

    @classmethod
    def live(cls, entry: ActivityEntry) -> TimelineEntry:
        """Make one from a row of a stream."""
        return from_object(_TYPES[entry.kind], entry, cursor=entry.cursor.encode())

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        _, seq = ids.split(id)
        if not (seq.isascii() and seq.isdecimal() and len(seq) < 19):
            return None
        row = await row_by_key(context, TIMELINE, int(seq), activity.c.seq)
        return None if row is None or row["kind"] not in _TYPES else cls.of(row)


@wire_type("Timeline entry: an event was ingested.")
class EventReceived(TimelineEntry):
    event = to_one("event", "ref_id", "The event.")


@wire_type("Timeline entry: a run of a journey began, ended or was blocked.")
class JourneyProgress(TimelineEntry):
    state = to_one("state", "ref_id", "The run.")

    progress = worked_out(Progress, "Milestone that the run reached.", "type", make=Progress)


@wire_type("Timeline entry: something happened to an email.")
class EmailActivity(TimelineEntry):
    email = to_one("email", "ref_id", "The email.")

    activity = worked_out(EmailFact, "What happened to the email.", "type", make=EmailFact)


@wire_type("Timeline entry: a decision about the contact was recorded.")
class DecisionMade(TimelineEntry):
    decision = to_one("decision", "ref_id", "The decision.")


_TYPES: dict[str, type[TimelineEntry]] = {
    ActivityKind.EVENT: EventReceived,
    ActivityKind.RUN: JourneyProgress,
    ActivityKind.EMAIL: EmailActivity,
    ActivityKind.DECISION: DecisionMade,
}
ENTRY_TYPES: tuple[type, ...] = tuple(_TYPES.values())


TIMELINE_ARGUMENTS = {
    "types": Argument(list[TimelineKind] | None, "Only entries of these kinds.", by="kinds"),
    "milestones": Argument(
        bool,
        "Only the first entry of each event, run and email: where it began, not what became of it.",
        by=Mapped("first_only", lambda wanted: wanted or None),
        default=False,
    ),
}
