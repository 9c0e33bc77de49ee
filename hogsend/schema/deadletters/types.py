"""Dead letters in the schema, and the jobs that some of them stand for."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.enums import WireEnum, described_enum, wire_enum
from hogsend.graphql.fields import attribute, field, optional, wire_type
from hogsend.graphql.mapping import Filter
from hogsend.graphql.node import TYPES, Node, bare_uuid
from hogsend.graphql.rows import rows
from hogsend.schema.deadletters.collections import DEAD_LETTERS, JOBS
from hogsend.tables.deadletters import DeadLetterSource, DeadLetterStatus

described_enum(
    DeadLetterSource,
    "DeadLetterSource",
    "What a dead letter stands for.",
    {
        DeadLetterSource.EMAIL: "An email that could not be sent, or whose outcome is unknown.",
        DeadLetterSource.JOURNEY: "A run of a journey that failed, or is blocked until an operator decides.",
        DeadLetterSource.WEBHOOK: "A background job that failed on every attempt.",
    },
)
described_enum(
    DeadLetterStatus,
    "DeadLetterStatus",
    "Whether a dead letter is settled.",
    {
        DeadLetterStatus.PENDING: "Waiting for an operator.",
        DeadLetterStatus.RETRIED: "Queued again; a new failure makes it pending again.",
        DeadLetterStatus.DISCARDED: "Given up by an operator.",
    },
)


@wire_enum("Status of a background job.")
class JobStatus(WireEnum):
    PENDING = "pending", "Queued."
    RUNNING = "running", "Leased by a worker."
    DONE = "done", "Done."
    DEAD = "dead", "Failed on every attempt."


# The prefix of the type that each source's `source_id` is a key of.
_SUBJECTS = {
    DeadLetterSource.EMAIL: "email",
    DeadLetterSource.JOURNEY: "state",
    DeadLetterSource.WEBHOOK: "job",
}


@wire_type("A background job: work that is not a journey, such as a webhook or an import.")
class Job(Node, collection=JOBS):
    kind: str = attribute("Name of the kind of work.")
    status: JobStatus = attribute("Its status.")
    attempts: int = attribute("Number of attempts made.")
    max_attempts: int = attribute("Number of attempts after which it is dead.")
    run_at: datetime = attribute("When it may next run, in real time.")
    error: str | None = attribute("Error of the last failed attempt.")
    created_at: datetime = attribute("When it was queued, in real time.")

    uuid = bare_uuid()


@wire_type("A dead letter: work that failed for good, kept until an operator settles it.")
class DeadLetter(Node, collection=DEAD_LETTERS):
    source: DeadLetterSource = attribute("What it stands for.")
    source_id: str | None = attribute("Bare UUID of the email, run or job.")
    payload: JSON = attribute("Input of the work that failed.")
    error: str = attribute("Error of the last failure.")
    retry_count: int = attribute("Number of retries that failed again.")
    status: DeadLetterStatus = attribute("Whether it is settled.")
    retried_at: datetime | None = attribute("When it was last retried.")
    created_at: datetime = attribute("When the work first failed.")
    updated_at: datetime = attribute("When it last failed, or was settled.")

    uuid = bare_uuid()

    @field("The email, run or job that it stands for; null where that is gone.")
    async def subject(self, info: Info) -> Node | None:
        kind = TYPES[_SUBJECTS[self.source]]
        return None if self.source_id is None else await kind.fetch(info.context, self.source_id)


@strawberry.input(description="Filter of dead letters: all given fields must match.")
class DeadLetterFilter(Filter):
    source: DeadLetterSource | None = optional("Only those that stand for this.")
    status: DeadLetterStatus | None = optional("Only those with this status.")


@strawberry.type
class DeadLetterQuery:
    dead_letters = rows(
        DEAD_LETTERS, scope=Scope.READ, filter=DeadLetterFilter, description="Dead letters, newest first."
    )
