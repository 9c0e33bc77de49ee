"""Mutations of dead letters: retry one or many, discard one."""

from __future__ import annotations

from uuid import UUID

import strawberry

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import Answer, idempotency_key, mutation, named_by_id, part, payload
from hogsend.graphql.node import by_key
from hogsend.operations.dead_letters import MOST_AT_ONCE, DeadLetterRetry, discard, retry, retry_many
from hogsend.schema.deadletters.types import DeadLetter
from hogsend.tables.deadletters import DeadLetterSource

SAMPLE = 20


@strawberry.input
class OneDeadLetter:
    """What each mutation of one dead letter takes."""

    id: strawberry.ID = attribute("Its id, or its bare UUID.")


@strawberry.input(description="A dead letter to retry.")
class DeadLetterRetryInput(OneDeadLetter):
    idempotency_key: str | None = idempotency_key("retry")


@strawberry.input(description="A dead letter to discard.")
class DeadLetterDiscardInput(OneDeadLetter):
    pass


@strawberry.input(description="Dead letters to retry: those named, or the oldest pending ones.")
class DeadLettersRetryInput:
    ids: list[strawberry.ID] | None = optional(f"These, at most {MOST_AT_ONCE}; not together with `source`.")
    source: DeadLetterSource | None = optional("The oldest of this kind.")
    limit: int = strawberry.field(
        default=100, description=f"How many at most where none are named, up to {MOST_AT_ONCE}."
    )
    dry_run: bool = strawberry.field(default=False, description="Only say which would be retried.")
    idempotency_key: str | None = idempotency_key("retry")


@payload(
    "What `deadLetterRetry` did.",
    errors="INVALID NOT_FOUND NOT_PENDING MOVED_ON NOT_STUCK ALREADY_IN_JOURNEY",
    keyed=True,
)
class DeadLetterRetryPayload:
    dead_letter: DeadLetter | None = part("The dead letter; null where it was not retried.")

    @classmethod
    async def of(cls, context: Context, answer: Answer) -> DeadLetterRetryPayload:
        return cls(dead_letter=await by_key(context, DeadLetter, UUID(answer["id"])))


@payload("What `deadLetterDiscard` did.", errors="NOT_FOUND NOT_PENDING")
class DeadLetterDiscardPayload:
    dead_letter: DeadLetter | None = part("The dead letter; null where it was not discarded.")


@strawberry.type(description="How it went with one of many.")
class DeadLetterRetryResult:
    dead_letter_id: strawberry.ID = attribute("The dead letter.")
    retried: bool = attribute("Whether it was queued again, or would be tried.")
    reason: str | None = attribute("Why not.")


@payload("What `deadLettersRetry` did, or would do.", errors="INVALID", keyed=True)
class DeadLettersRetryPayload:
    retried: int | None = part("How many were queued again.")
    refused: int | None = part("How many were not.")
    results: list[DeadLetterRetryResult] | None = part(
        f"A sample: each that was refused, and the first {SAMPLE} others."
    )

    @classmethod
    async def of(cls, _context: Context, answer: Answer) -> DeadLettersRetryPayload:
        retried, refused = answer["retried"], answer["refused"]
        results = [
            *(_result(key, why) for key, why in refused.items()),
            *(_result(key, None) for key in retried[:SAMPLE]),
        ]
        return cls(retried=len(retried), refused=len(refused), results=results)


def _key(id: str) -> UUID:
    return ids.key_of(id, DeadLetter.prefix, "DLQ entry")


def _retries(input: DeadLettersRetryInput) -> DeadLetterRetry:
    return DeadLetterRetry(
        ids=None if input.ids is None else _keys(input.ids),
        source=input.source.value if input.source else None,
        limit=input.limit,
    )


async def _would_retry(info: Info, input: DeadLettersRetryInput) -> Answer:
    return (await retry_many(info.context.runtime, _retries(input), dry_run=True)).to_json()


@strawberry.type
class DeadLetterMutation:
    @mutation(
        DeadLetterRetryPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.RETRY, Resource.DLQ, named_by_id(DeadLetter.prefix)),
        description="Queue what a dead letter stands for again. A new failure brings it back.",
    )
    async def dead_letter_retry(self, info: Info, input: DeadLetterRetryInput, claim: Claim) -> Answer:
        key = _key(input.id)
        await retry(info.context.runtime, key, claim)
        return {"id": str(key)}

    @mutation(
        DeadLetterDiscardPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.DISCARD, Resource.DLQ, named_by_id(DeadLetter.prefix)),
        description="Give a dead letter up. It stays to be read.",
    )
    async def dead_letter_discard(
        self, info: Info, input: DeadLetterDiscardInput
    ) -> DeadLetterDiscardPayload:
        key = _key(input.id)
        await discard(info.context.runtime, key)
        return DeadLetterDiscardPayload(dead_letter=await by_key(info.context, DeadLetter, key))

    @mutation(
        DeadLettersRetryPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.RETRY, Resource.DLQ, None),
        description="Retry many dead letters, each for itself; one that is refused does not stop the others.",
        cost=100,
        preview=_would_retry,
        several=True,
    )
    async def dead_letters_retry(self, info: Info, input: DeadLettersRetryInput, claim: Claim) -> Answer:
        return (await retry_many(info.context.runtime, _retries(input), claim)).to_json()


def _result(key: str, why: str | None) -> DeadLetterRetryResult:
    return DeadLetterRetryResult(
        dead_letter_id=strawberry.ID(ids.encode(DeadLetter.prefix, key)), retried=why is None, reason=why
    )


def _keys(given: list[strawberry.ID]) -> tuple[UUID, ...]:
    keys = [ids.uuid_of(one, DeadLetter.prefix) for one in given]
    for index, key in enumerate(keys):
        if key is None:
            raise InvalidInput(f"ids.{index}", f"ids.{index} must be the id of a dead letter")
    return tuple(key for key in keys if key is not None)
