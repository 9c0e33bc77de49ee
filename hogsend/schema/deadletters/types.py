"""Dead letters on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, ClassVar

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, field
from hogsend.graphql.node import TYPES, Columns, Node, bare_uuid
from hogsend.schema.deadletters.collections import DEAD_LETTERS, JOBS
from hogsend.storage.collections import Selection
from hogsend.tables.deadletters import DeadLetterSource, DeadLetterStatus


class JobStatus(Enum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


described_enum(
    DeadLetterSource,
    "DeadLetterSource",
    "What could not be done.",
    {
        DeadLetterSource.EMAIL: "An email could not be sent, or nobody knows whether it was.",
        DeadLetterSource.JOURNEY: "A run of a journey broke, or stands still until a person decides.",
        DeadLetterSource.WEBHOOK: "Background work failed every time that it was tried.",
    },
)
described_enum(
    DeadLetterStatus,
    "DeadLetterStatus",
    "How far a dead letter is settled.",
    {
        DeadLetterStatus.PENDING: "It waits for a person.",
        DeadLetterStatus.RETRIED: "It was queued again; a new failure brings it back.",
        DeadLetterStatus.DISCARDED: "It was given up.",
    },
)
described_enum(
    JobStatus,
    "JobStatus",
    "How far background work is.",
    {
        JobStatus.PENDING: "It waits for its turn.",
        JobStatus.RUNNING: "A worker has it.",
        JobStatus.DONE: "It is done.",
        JobStatus.DEAD: "It failed every time.",
    },
)

# The word in the id of what each source's `source_id` stands for.
_SUBJECTS = {
    DeadLetterSource.EMAIL: "email",
    DeadLetterSource.JOURNEY: "state",
    DeadLetterSource.WEBHOOK: "job",
}


@strawberry.type(description="Background work that is not a journey.")
class Job(Node):
    prefix: ClassVar[str] = "job"
    collection = JOBS
    columns: ClassVar[Columns] = {"status": JobStatus}

    kind: str = strawberry.field(description="What is to be done.")
    status: JobStatus = strawberry.field(description="How far it is.")
    attempts: int = strawberry.field(description="How often it was tried.")
    max_attempts: int = strawberry.field(description="How often it is tried at most.")
    run_at: datetime = strawberry.field(description="When it may next run, in real time.")
    error: str | None = strawberry.field(description="How it last failed.")
    created_at: datetime = strawberry.field(description="When it was queued, in real time.")

    uuid = bare_uuid()


@strawberry.type(description="What could not be done, kept for a person to settle.")
class DeadLetter(Node):
    prefix: ClassVar[str] = "deadletter"
    collection = DEAD_LETTERS
    columns: ClassVar[Columns] = {"source": DeadLetterSource, "status": DeadLetterStatus}

    source: DeadLetterSource = strawberry.field(description="What kind of thing failed.")
    source_id: str | None = strawberry.field(description="Which: the bare UUID of the email, run or job.")
    payload: JSON = strawberry.field(description="What was to be done.")
    error: str = strawberry.field(description="How it last failed.")
    retry_count: int = strawberry.field(description="How many retries failed again.")
    status: DeadLetterStatus = strawberry.field(description="How far it is settled.")
    retried_at: datetime | None = strawberry.field(description="When it was last retried.")
    created_at: datetime = strawberry.field(description="When it first failed.")
    updated_at: datetime = strawberry.field(description="When it last failed or was settled.")

    uuid = bare_uuid()

    @field("The email, run or job that it stands for; null where that is gone.")
    async def subject(self, info: Info) -> Node | None:
        kind = TYPES[_SUBJECTS[self.source]]
        return None if self.source_id is None else await kind.fetch(info.context, self.source_id)


@strawberry.input(description="Which dead letters.")
class DeadLetterFilter:
    source: DeadLetterSource | None = strawberry.field(default=None, description="Of this kind.")
    status: DeadLetterStatus | None = strawberry.field(default=None, description="Settled this far.")


@strawberry.type
class DeadLetterQuery:
    @connection("deadletter", scope=Scope.READ, description="What could not be done, newest first.")
    def dead_letters(
        self, filter: Annotated[DeadLetterFilter | None, described("Which; all unless told.")] = None
    ) -> Selection:
        wanted = filter or DeadLetterFilter()
        return DEAD_LETTERS.all().filtered(
            source=wanted.source.value if wanted.source else None,
            status=wanted.status.value if wanted.status else None,
        )
