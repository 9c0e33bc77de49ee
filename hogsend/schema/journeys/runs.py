"""Runs of journeys in the schema, where a run is a `JourneyState`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql.connections import InMemoryList, connection
from hogsend.graphql.context import Info
from hogsend.graphql.fields import attribute, field, optional, wire_type
from hogsend.graphql.ids import name_from
from hogsend.graphql.links import row_by_key, rows_by_key
from hogsend.graphql.mapping import Filter, Mapped, from_object
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import by_id, in_code, rows, to_one
from hogsend.runs.logs import Ending, logs_of
from hogsend.runs.status import WIRE_STATUS
from hogsend.schema.contacts.types import user_id_of_contact
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.emails.collections import EMAILS
from hogsend.schema.journeys.collections import STATES, STEPS, WAITS
from hogsend.schema.journeys.enums import JourneyStateStatus
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_steps


@wire_type("What a run waits for.")
class WaitingFor:
    event: str | None = attribute("Name of the event; null where the run only waits for time.")
    until: datetime | None = attribute("When the run goes on without the event.")


@wire_type(
    "A step of a run, from its journal.",
    columns={
        "uuid": "id",
        "from_node_id": "from_node",
        "to_node_id": "to_node",
        "created_at": "at",
    },
)
class JourneyLog:
    uuid: UUID = attribute("UUID of the step.")
    from_node_id: str | None = attribute("Label of the previous step; null at the start.")
    to_node_id: str | None = attribute("Label of this step; null at the end.")
    action: str = attribute(
        "`entered`, the kind of the step (`send`, `sleep`, `wait` …), or how the run ended."
    )
    detail: JSON | None = attribute("Arguments and result of the step; null where it has none.")
    created_at: datetime = attribute("When the step began.")


@wire_type("One contact's run of a journey.")
class JourneyState(
    Node,
    collection=STATES,
    columns={
        "user_email": "email",
        "current_node_id": "current_node",
        "status": lambda status: JourneyStateStatus(WIRE_STATUS[status]),
        "stored_status": "status",
        "blocked": Mapped("status", lambda status: status == "blocked"),
        "error_message": "error",
    },
):
    contact_id: strawberry.Private[UUID]
    trigger_event_id: strawberry.Private[UUID | None]
    wake_at: strawberry.Private[datetime | None]
    ended_at: strawberry.Private[datetime | None]
    stored_status: strawberry.Private[str]
    journey_id: str = attribute("Key of the journey.")
    user_email: str = attribute("Email address of the contact when the run began.")
    current_node_id: str | None = attribute("Label of its current or last step.")
    status: JourneyStateStatus = attribute("Its status.")
    blocked: bool = attribute("Whether it is blocked until an operator resumes, skips or cancels.")
    ended_reason: Reason | None = attribute("Why it ended, or is blocked.")
    error_message: str | None = attribute("What went wrong, for the author of the journey.")
    context: JSON = attribute("Properties of its trigger event.")
    entry_count: int = attribute("Which of the contact's entries into this journey it is, from 1.")
    version: str = attribute("Version of the journey's code that it began with.")
    engine_run_id: str | None = attribute("Run id of the engine, where it has one.")
    completed_at: datetime | None = attribute("When it completed.")
    exited_at: datetime | None = attribute("When it was ended early.")
    created_at: datetime = attribute("When it began.")
    updated_at: datetime = attribute("When it last progressed.")

    uuid = bare_uuid()

    user_id = user_id_of_contact()
    contact = to_one("contact", "contact_id", "The contact; null where that was deleted.")
    journey = in_code("journey", "journey_id", "The journey; null where this deployment has it no more.")
    trigger_event = to_one("event", "trigger_event_id", "The event that began it.")

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
    async def logs(self, info: Info) -> InMemoryList:
        steps = await rows_by_key(info.context, STEPS, self.key, journey_steps.c.state_id)
        logs = logs_of(UUID(str(self.key)), self.created_at, steps, self._ending())
        return InMemoryList("logs", [from_object(JourneyLog, log) for log in logs], lambda log: str(log.uuid))

    emails = rows(
        EMAILS, email_sends.c.state_id, description="Emails that it sent, or withheld, newest first."
    )
    decisions = rows(
        DECISIONS,
        decisions.c.state_id,
        ascending="recorded",
        description="Decisions about it, oldest first.",
    )


@strawberry.input(description="Filter of runs: all given fields must match.")
class JourneyStateFilter(
    Filter,
    filters={
        "journey_id": name_from("journey"),
        "status": "statuses",
        "blocked": "stuck",
    },
):
    journey_id: strawberry.ID | None = optional("Only runs of this journey.")
    status: list[JourneyStateStatus] | None = optional("Only runs with one of these statuses.")
    blocked: bool | None = optional("Only blocked runs (true), or only others (false).")
    user_id: str | None = optional("Only runs of the contact with this externalId or UUID.")


@strawberry.type
class JourneyStateQuery:
    journey_state = by_id(JourneyState, "A run by id; null where there is none.")
    journey_states = rows(
        STATES, scope=Scope.READ, filter=JourneyStateFilter, description="Runs of journeys, newest first."
    )
