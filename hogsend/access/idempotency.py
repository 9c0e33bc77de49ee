"""Idempotency keys: one effect for each; a call that is repeated gets the first answer again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog
from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.under_way import UnderWay
from hogsend.engine.liveness import Presence, is_gone
from hogsend.errors import Conflict, InvalidInput
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.storage.stopping import stop
from hogsend.tables.access import idempotency_keys
from hogsend.telemetry.counters import DEDUPLICATED
from hogsend.validation import check_text

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=1)
LONGEST_KEY = 255
RENEW_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 0.05
LOOKS = 100
# The first look and then one a second asks whether the other call's process is dead.
LOOKS_AT_OWNER = 20

Answer = Mapping[str, Any]
_keys = idempotency_keys.c


class Claim:
    """The right to have the effect of one key; `answer` makes the effect and its answer one fact.

    An effect of several transactions keeps its `progress` in each: a call that died on the way left it, and the next
    one with the key goes on from there and answers for both. Whoever lost the claim meanwhile (its lease ended, and
    another call took the key) can keep nothing. Without a key there is nothing to keep: the effect need not know.
    """

    def __init__(
        self, operation: str, key: str | None, id: UUID | None = None, progress: Answer | None = None
    ) -> None:
        self._key = key
        self._where = (_keys.operation == operation) & (_keys.key == key) & (_keys.claim == id)
        self.progress: Answer = progress or {}
        self.answered = False

    async def answer(self, conn: AsyncConnection, answer: Answer) -> None:
        """Keep `answer` in the transaction of the effect: a crash leaves both or neither.

        Raises `Conflict` where the claim was lost, so that the effect is rolled back.
        """
        if self._key is None:
            return
        await self._write(conn, answer=dict(answer), progress=None, lease_until=None, lease_owner=None)
        self.answered = True

    async def keep(self, conn: AsyncConnection, progress: Answer) -> None:
        """Keep what was done under the key so far, in the transaction that does the last of it.

        Raises `Conflict` where the claim was lost, so that this transaction is rolled back.
        """
        if self._key is not None:
            await self._write(conn, progress=dict(progress))

    async def _write(self, conn: AsyncConnection, **values: Any) -> None:
        kept = await conn.execute(update(idempotency_keys).where(self._where).values(values))
        if kept.rowcount == 0:
            raise _in_progress()

    async def renew(self, runtime: Runtime) -> None:
        """Hold the key for as long as its effect takes; runs until it is cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await runtime.part(Presence).show()
                async with runtime.database.transaction() as conn:
                    await conn.execute(
                        update(idempotency_keys)
                        .where(self._where, _keys.answer.is_(None))
                        .values(lease_until=runtime.clock.wall() + LEASE)
                    )
            except (SQLAlchemyError, OSError) as error:
                log.warning("claim_not_renewed", error=type(error).__name__)

    async def give_up(self, conn: AsyncConnection) -> None:
        """Let the key be used again: nothing was done with it. Where something was, only with the same input.

        A lease that ended when it began is free for the next call, whatever the clock.
        """
        unanswered = (self._where, _keys.answer.is_(None))
        await conn.execute(delete(idempotency_keys).where(*unanswered, _keys.progress.is_(None)))
        await conn.execute(
            update(idempotency_keys).where(*unanswered).values(lease_until=_keys.created_at, lease_owner=None)
        )


NO_KEY = Claim("", None)


async def once(
    runtime: Runtime,
    operation: str,
    key: str | None,
    input: Mapping[str, Any],
    effect: Callable[[Claim], Awaitable[Answer]],
) -> Answer:
    """`effect`'s answer, or the first one where `key` was used for `operation` with the same `input` before.

    Of calls that come at once one has the effect, whoever still listens to it, and the others wait a few seconds for
    its answer. Where the process dies between, the key is free again, and the effect is tried again: give the claim's
    `answer` the transaction of the effect, or make the effect itself repeatable. An effect that raises frees the key.

    Raises `InvalidInput` where the key was used with another input, `Conflict` where the first call is still
    under way. Without a key the effect just happens.
    """
    if key is None:
        return await runtime.part(UnderWay).whole(_without_key(effect))
    check_text("idempotencyKey", key, LONGEST_KEY)
    await runtime.part(Presence).show()
    return await runtime.part(UnderWay).whole(
        _claimed_or_known(runtime, operation, key, input_hash(input), effect)
    )


async def _without_key(effect: Callable[[Claim], Awaitable[Answer]]) -> Answer:
    return await effect(NO_KEY)


async def _claimed_or_known(
    runtime: Runtime,
    operation: str,
    key: str,
    hashed: str,
    effect: Callable[[Claim], Awaitable[Answer]],
) -> Answer:
    claim_id = new_id()
    claim = await _claim_or_answer(runtime, operation, key, hashed, claim_id)
    if not isinstance(claim, Claim):
        DEDUPLICATED.labels("mutation").inc()
        return claim
    runtime.fault_point("after_idempotency_claim")
    async with _held(runtime, claim):
        answer = await effect(claim)
    runtime.fault_point("before_idempotency_answer")
    if not claim.answered:
        async with runtime.database.transaction() as conn:
            await claim.answer(conn, answer)
    return answer


@asynccontextmanager
async def _held(runtime: Runtime, claim: Claim) -> AsyncIterator[None]:
    """Renewed meanwhile, given up where the block raises."""
    renewing = asyncio.create_task(claim.renew(runtime))
    try:
        yield
    except Exception:
        async with runtime.database.transaction() as conn:
            await claim.give_up(conn)
        raise
    finally:
        await stop(renewing)


def reused() -> InvalidInput:
    """What a key is answered that stands for another input."""
    return InvalidInput(
        "idempotencyKey", "idempotencyKey was used before with another input", code="IDEMPOTENCY_KEY_REUSED"
    )


class ClaimConflict(Conflict):
    """Another call has the key now."""


def _in_progress() -> ClaimConflict:
    return ClaimConflict("The first call with this idempotencyKey is still under way", code="IN_PROGRESS")


async def _claim_or_answer(
    runtime: Runtime, operation: str, key: str, hashed: str, claim_id: UUID
) -> Claim | Answer:
    """The claim where the effect is ours to have."""
    for look in range(LOOKS):
        async with runtime.database.transaction() as conn:
            claim = await _claim(conn, runtime, operation, key, hashed, claim_id)
            if claim is not None:
                return claim
            row = await _read(conn, operation, key)
            if row is not None and row["input_hash"] != hashed:
                raise reused()
            if row is not None and row["answer"] is not None:
                answer: Answer = row["answer"]
                return answer
            if row is not None and look % LOOKS_AT_OWNER == 0:
                await _free_of_the_dead(conn, runtime, operation, key, row)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    raise _in_progress()


async def _claim(
    conn: AsyncConnection, runtime: Runtime, operation: str, key: str, hashed: str, claim_id: UUID
) -> Claim | None:
    """Take a new key, or one whose holder died with the same input: with what it had done."""
    wall = runtime.clock.wall()
    statement = insert(idempotency_keys).values(
        operation=operation,
        key=key,
        input_hash=hashed,
        lease_until=wall + LEASE,
        lease_owner=runtime.owner,
        claim=claim_id,
        created_at=wall,
    )
    taken = await conn.execute(
        statement.on_conflict_do_update(
            index_elements=[_keys.operation, _keys.key],
            set_={name: statement.excluded[name] for name in ("lease_until", "lease_owner", "claim")},
            where=_keys.answer.is_(None) & (_keys.lease_until <= wall) & (_keys.input_hash == hashed),
        ).returning(_keys.progress)
    )
    row = taken.one_or_none()
    return None if row is None else Claim(operation, key, claim_id, row.progress)


async def _free_of_the_dead(
    conn: AsyncConnection, runtime: Runtime, operation: str, key: str, row: RowMapping
) -> None:
    """End the lease of a process that is gone; the next look takes the key."""
    owner = row["lease_owner"]
    if owner is not None and owner != runtime.owner and await is_gone(conn, owner):
        await conn.execute(
            update(idempotency_keys)
            .where(_keys.operation == operation, _keys.key == key, _keys.claim == row["claim"])
            .values(lease_until=runtime.clock.wall(), lease_owner=None)
        )


async def _read(conn: AsyncConnection, operation: str, key: str) -> RowMapping | None:
    found = await conn.execute(
        select(_keys.input_hash, _keys.answer, _keys.lease_owner, _keys.claim).where(
            _keys.operation == operation, _keys.key == key
        )
    )
    return found.mappings().one_or_none()


def input_hash(input: Mapping[str, Any]) -> str:
    """What tells one input from another."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.sha256(orjson.dumps(dict(input), option=options, default=str)).hexdigest()
