"""One person's run of a journey on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, ClassVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.connections import Listed, connection
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, field, query
from hogsend.graphql.links import row_by_key, rows_by_key
from hogsend.graphql.node import Column, Columns, Node, bare_uuid, link
from hogsend.runs.logs import Ending, Log, logs_of
from hogsend.schema.contacts.types import Contact, user_id
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.emails.collections import EMAILS
from hogsend.schema.events.types import Event
from hogsend.schema.journeys.collections import STANDS_FOR, STATES, STEPS, WAITS
from hogsend.schema.refs import JourneyRef, journey_named
from hogsend.storage.collections import Selection
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_steps


class JourneyStateStatus(Enum):
    ACTIVE = "active"
    WAITING = "waiting"
    COMPLETED = "completed"
    EXITED = "exited"
    FAILED = "failed"


described_enum(
    JourneyStateStatus,
    "JourneyStateStatus",
    "Where a run stands.",
    {
        JourneyStateStatus.ACTIVE: "It runs, or is about to.",
        JourneyStateStatus.WAITING: "It waits, for a time or for an event.",
        JourneyStateStatus.COMPLETED: "It ran to its end.",
        JourneyStateStatus.EXITED: "It was ended early, by an exit event or an operator.",
        JourneyStateStatus.FAILED: "It broke, or is stuck until an operator decides (`blocked`).",
    },
)


@strawberry.type(description="What a run waits for.")
class WaitingFor:
    event: str | None = strawberry.field(description="The event; null where only time has to pass.")
    until: datetime | None = strawberry.field(description="When it goes on anyway.")


@strawberry.type(description="One step of a run, from its journal.")
class JourneyLog:
    uuid: UUID = strawberry.field(description="Names it.")
    from_node_id: str | None = strawberry.field(description="The step before; null at the start.")
    to_node_id: str | None = strawberry.field(description="This step; null at the end.")
    action: str = strawberry.field(
        description="`entered`, the kind of the step (`send`, `sleep`, `wait` …), or how the run ended."
    )
    detail: JSON | None = strawberry.field(
        description="Its arguments and its result; null where it has none."
    )
    created_at: datetime = strawberry.field(description="When it began.")

    @classmethod
    def showing(cls, log: Log) -> JourneyLog:
        return cls(
            uuid=log.id,
            from_node_id=log.from_node,
            to_node_id=log.to_node,
            action=log.action,
            detail=None if log.detail is None else JSON(log.detail),
            created_at=log.at,
        )


@strawberry.type(description="One person's run of a journey.")
class JourneyState(Node):
    prefix: ClassVar[str] = "state"
    collection = STATES
    columns: ClassVar[Columns] = {
        "user_email": "email",
        "current_node_id": "current_node",
        "status": lambda status: JourneyStateStatus(STANDS_FOR[status]),
        "stored_status": "status",
        "blocked": Column("status", lambda status: status == "blocked"),
        "ended_reason": Reason,
        "error_message": "error",
    }

    contact_id: strawberry.Private[UUID]
    trigger_event_id: strawberry.Private[UUID | None]
    wake_at: strawberry.Private[datetime | None]
    ended_at: strawberry.Private[datetime | None]
    stored_status: strawberry.Private[str]
    journey_id: str = strawberry.field(description="The author's id of the journey.")
    user_email: str = strawberry.field(description="The person's address when it began.")
    current_node_id: str | None = strawberry.field(description="The step that it is at, or was at last.")
    status: JourneyStateStatus = strawberry.field(description="Where it stands.")
    blocked: bool = strawberry.field(description="It is stuck until an operator resumes, skips or cancels.")
    ended_reason: Reason | None = strawberry.field(description="Why it ended, or is stuck.")
    error_message: str | None = strawberry.field(
        description="What went wrong, for whoever wrote the journey."
    )
    context: JSON = strawberry.field(description="The properties of the event that began it.")
    entry_count: int = strawberry.field(
        description="Which of the person's entries into this journey it is, from 1."
    )
    version: str = strawberry.field(description="Of the journey's code when it began.")
    engine_run_id: str | None = strawberry.field(description="The engine's own id for it, where it has one.")
    completed_at: datetime | None = strawberry.field(description="When it came to its end.")
    exited_at: datetime | None = strawberry.field(description="When it was ended early.")
    created_at: datetime = strawberry.field(description="When it began.")
    updated_at: datetime = strawberry.field(description="When it last moved.")

    uuid = bare_uuid()

    @field("The contact's externalId, or its UUID where it has none.")
    async def user_id(self, info: Info) -> str | None:
        return await user_id(info.context, self.contact_id)

    @field("Whose run it is; null where the contact was deleted.")
    async def contact(self, info: Info) -> Contact | None:
        return await link(info.context, "contact", self.contact_id)  # type: ignore[no-any-return]

    @field("The journey; null where this deployment has it no more.")
    def journey(self, info: Info) -> JourneyRef | None:
        return journey_named(info.context, self.journey_id)

    @field("The event that began it.")
    async def trigger_event(self, info: Info) -> Event | None:
        return await link(info.context, "event", self.trigger_event_id)  # type: ignore[no-any-return]

    def _ending(self) -> Ending | None:
        if self.stored_status in DRIVEN_STATUSES:
            return None
        reason = None if self.ended_reason is None else self.ended_reason.value
        at = self.ended_at or self.updated_at
        return Ending(self.stored_status, reason, self.error_message, at)

    @field("What it waits for; null where it does not wait.")
    async def waiting_for(self, info: Info) -> WaitingFor | None:
        if self.status is not JourneyStateStatus.WAITING:
            return None
        wait = await row_by_key(info.context, WAITS, self.key)
        if wait is None:
            return WaitingFor(event=None, until=self.wake_at)
        return WaitingFor(event=wait["event"], until=wait["deadline"])

    @connection(JourneyLog, description="Its steps, oldest first, from its journal.")
    async def logs(self, info: Info) -> Listed:
        steps = await rows_by_key(info.context, STEPS, self.key, journey_steps.c.state_id)
        logs = [
            JourneyLog.showing(log)
            for log in logs_of(UUID(str(self.key)), self.created_at, steps, self._ending())
        ]
        return Listed("logs", logs, lambda log: str(log.uuid))

    @connection("email", description="What it sent, or was kept from sending, newest first.")
    def emails(self) -> Selection:
        return EMAILS.under(email_sends.c.state_id, self.key)

    @connection("decision", description="Its verdicts, oldest first.")
    def decisions(self) -> Selection:
        return DECISIONS.under(decisions.c.state_id, self.key).sorted("recorded", descending=False)


@strawberry.input(description="Which runs.")
class JourneyStateFilter:
    journey_id: strawberry.ID | None = strawberry.field(default=None, description="Of this journey.")
    status: list[JourneyStateStatus] | None = strawberry.field(
        default=None, description="In one of these statuses."
    )
    blocked: bool | None = strawberry.field(
        default=None, description="Only those that are stuck, or are not."
    )
    user_id: str | None = strawberry.field(
        default=None, description="Of the contact with this externalId or UUID."
    )

    def narrow(self, selection: Selection) -> Selection:
        return selection.filtered(
            journey_id=None if self.journey_id is None else ids.name_of(self.journey_id, "journey"),
            statuses=None if self.status is None else [one.value for one in self.status],
            stuck=self.blocked,
            user_id=self.user_id,
        )


@strawberry.type
class JourneyStateQuery:
    @query(description="One run of a journey; null where there is none.")
    async def journey_state(
        self, info: Info, id: Annotated[strawberry.ID, described("Its id, or its bare UUID.")]
    ) -> JourneyState | None:
        return await JourneyState.fetch(info.context, id)  # type: ignore[return-value]

    @connection("state", scope=Scope.READ, description="Runs of journeys, newest first.")
    def journey_states(
        self, filter: Annotated[JourneyStateFilter | None, described("Which runs; all unless told.")] = None
    ) -> Selection:
        return (filter or JourneyStateFilter()).narrow(STATES.all())
