"""A contact's timeline: one list over everything that happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import ClassVar
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping

from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import field
from hogsend.graphql.links import row_by_key
from hogsend.graphql.node import Node, link
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.streams import ActivityEntry
from hogsend.schema.contacts.collections import TIMELINE
from hogsend.schema.emails.enums import EmailFact
from hogsend.schema.refs import DecisionRef, EmailRef, EventRef, StateRef
from hogsend.storage.collections import Selection
from hogsend.tables.realtime import ActivityKind, activity


class TimelineKind(Enum):
    EVENT = ActivityKind.EVENT.value
    JOURNEY = ActivityKind.RUN.value
    EMAIL = ActivityKind.EMAIL.value
    DECISION = ActivityKind.DECISION.value


described_enum(
    TimelineKind,
    "TimelineKind",
    "What an entry of a timeline is about.",
    {
        TimelineKind.EVENT: "An event was reported.",
        TimelineKind.JOURNEY: "A run of a journey began, ended or got stuck.",
        TimelineKind.EMAIL: "Something became of an email.",
        TimelineKind.DECISION: "A verdict was reached.",
    },
)


class Progress(Enum):
    ENTERED = "entered"
    COMPLETED = "completed"
    EXITED = "exited"
    FAILED = "failed"
    BLOCKED = "blocked"


described_enum(
    Progress,
    "JourneyProgressKind",
    "How far a run got.",
    {
        Progress.ENTERED: "It began.",
        Progress.COMPLETED: "It ran to its end.",
        Progress.EXITED: "It was ended early, by an exit event or an operator.",
        Progress.FAILED: "The journey's code raised.",
        Progress.BLOCKED: "It is stuck until an operator decides.",
    },
)


@strawberry.interface(description="One thing that happened to a contact.")
class TimelineEntry(Node):
    prefix: ClassVar[str] = "entry"
    collection = TIMELINE

    ref_id: strawberry.Private[UUID]
    type: strawberry.Private[str]
    at: datetime = strawberry.field(description="When it happened.")
    kind: TimelineKind = strawberry.field(description="What it is about.")
    cursor: str = strawberry.field(
        description="Where the live stream goes on: as `after` of `contactTimeline` it continues a list exactly where "
        "the list was read, and a stream exactly behind this entry."
    )

    @classmethod
    def of(cls, row: RowMapping) -> TimelineEntry:
        return _TYPES[row["kind"]](
            key=row["seq"],
            ref_id=row["ref_id"],
            type=row["type"],
            at=row["at"],
            kind=TimelineKind(row["kind"]),
            cursor=StreamCursor.of_snapshot(row["snapshot"]).encode(),
        )

    @classmethod
    def live(cls, entry: ActivityEntry) -> TimelineEntry:
        """Make one from a row of a stream."""
        return _TYPES[entry.kind](
            key=entry.seq,
            ref_id=entry.ref_id,
            type=entry.type,
            at=entry.at,
            kind=TimelineKind(entry.kind),
            cursor=entry.cursor.encode(),
        )

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        _, seq = ids.split(id)
        if not (seq.isascii() and seq.isdecimal() and len(seq) < 19):
            return None
        row = await row_by_key(context, TIMELINE, int(seq), activity.c.seq)
        return None if row is None or row["kind"] not in _TYPES else cls.of(row)


@strawberry.type(description="An event was reported.")
class EventReceived(TimelineEntry):
    @field("The event.")
    async def event(self, info: Info) -> EventRef | None:
        return await link(info.context, "event", self.ref_id)  # type: ignore[no-any-return]


@strawberry.type(description="A run of a journey began, ended or got stuck.")
class JourneyProgress(TimelineEntry):
    @field("The run.")
    async def state(self, info: Info) -> StateRef | None:
        return await link(info.context, "state", self.ref_id)  # type: ignore[no-any-return]

    @field("How far it got.")
    def progress(self) -> Progress:
        return Progress(self.type)


@strawberry.type(description="Something became of an email.")
class EmailActivity(TimelineEntry):
    @field("The email.")
    async def email(self, info: Info) -> EmailRef | None:
        return await link(info.context, "email", self.ref_id)  # type: ignore[no-any-return]

    @field("What became of it.")
    def activity(self) -> EmailFact:
        return EmailFact(self.type)


@strawberry.type(description="A verdict was reached.")
class DecisionMade(TimelineEntry):
    @field("The verdict.")
    async def decision(self, info: Info) -> DecisionRef | None:
        return await link(info.context, "decision", self.ref_id)  # type: ignore[no-any-return]


_TYPES: dict[str, type[TimelineEntry]] = {
    ActivityKind.EVENT: EventReceived,
    ActivityKind.RUN: JourneyProgress,
    ActivityKind.EMAIL: EmailActivity,
    ActivityKind.DECISION: DecisionMade,
}
ENTRY_TYPES: tuple[type, ...] = tuple(_TYPES.values())


def timeline_of(contact_id: object, kinds: Sequence[TimelineKind] | None, *, first_only: bool) -> Selection:
    """The timeline of one contact. `first_only`: each event, run and email once, where it began."""
    found = TIMELINE.under(activity.c.contact_id, contact_id)
    return found.filtered(
        kinds=None if kinds is None else [kind.value for kind in kinds],
        first_only=True if first_only else None,
    )
