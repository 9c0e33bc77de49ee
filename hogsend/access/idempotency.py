"""One effect for each key: a call that is repeated gets the first answer again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.errors import Conflict, InvalidInput
from hogsend.runtime import Runtime
from hogsend.tables.access import idempotency_keys
from hogsend.validation import check_text

LEASE = timedelta(minutes=2)
LONGEST_KEY = 255
LOOK_AGAIN_SECONDS = 0.05
LOOKS = 600

Answer = Mapping[str, Any]


class Claim:
    """The right to have the effect of one key; `answer` makes the effect and its answer one fact.

    Without a key there is nothing to keep: the effect need not know.
    """

    def __init__(self, operation: str, key: str | None) -> None:
        self._key = key
        self._where = (idempotency_keys.c.operation == operation) & (idempotency_keys.c.key == key)
        self.answered = False

    async def answer(self, conn: AsyncConnection, answer: Answer) -> None:
        """Keep `answer` in the transaction of the effect: a crash leaves both or neither."""
        if self._key is not None:
            await conn.execute(
                update(idempotency_keys).where(self._where).values(answer=dict(answer), lease_until=None)
            )
            self.answered = True

    async def give_up(self, conn: AsyncConnection) -> None:
        """Let the key be used again: nothing was done with it."""
        await conn.execute(delete(idempotency_keys).where(self._where, idempotency_keys.c.answer.is_(None)))


NO_KEY = Claim("", None)


async def once(
    runtime: Runtime,
    operation: str,
    key: str | None,
    input: Mapping[str, Any],
    effect: Callable[[Claim], Awaitable[Answer]],
) -> Answer:
    """`effect`'s answer, or the first one where `key` was used for `operation` with the same `input` before.

    Of calls that come at once one has the effect and the others wait for its answer. Where the process dies
    between, the key is free again after two minutes, and the effect is tried again: give the claim's `answer`
    the transaction of the effect, or make the effect itself repeatable. An effect that raises frees the key.

    Raises `InvalidInput` where the key was used with another input, `Conflict` where the first call is still
    under way after half a minute. Without a key the effect just happens.
    """
    if key is None:
        return await effect(NO_KEY)
    check_text("idempotencyKey", key, LONGEST_KEY)
    known = await _claim_or_answer(runtime, operation, key, _hash(input))
    if known is not None:
        return known
    claim = Claim(operation, key)
    runtime.fault_point("after_idempotency_claim")
    try:
        answer = await effect(claim)
    except Exception:
        async with runtime.database.transaction() as conn:
            await claim.give_up(conn)
        raise
    runtime.fault_point("before_idempotency_answer")
    if not claim.answered:
        async with runtime.database.transaction() as conn:
            await claim.answer(conn, answer)
    return answer


async def _claim_or_answer(runtime: Runtime, operation: str, key: str, input_hash: str) -> Answer | None:
    """None where the effect is ours to have."""
    for _ in range(LOOKS):
        async with runtime.database.transaction() as conn:
            if await _claim(conn, runtime.clock, operation, key, input_hash):
                return None
            row = await _read(conn, operation, key)
            if row is not None and row["input_hash"] != input_hash:
                raise InvalidInput(
                    "idempotencyKey",
                    "idempotencyKey was used before with another input",
                    code="IDEMPOTENCY_KEY_REUSED",
                )
            if row is not None and row["answer"] is not None:
                answer: Answer = row["answer"]
                return answer
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    raise Conflict("The first call with this idempotencyKey is still under way", code="IN_PROGRESS")


async def _claim(conn: AsyncConnection, clock: Clock, operation: str, key: str, input_hash: str) -> bool:
    """Take a new key, or one whose holder died with the same input."""
    wall = clock.wall()
    columns = idempotency_keys.c
    statement = insert(idempotency_keys).values(
        operation=operation,
        key=key,
        input_hash=input_hash,
        lease_until=wall + LEASE,
        created_at=wall,
    )
    taken = await conn.execute(
        statement.on_conflict_do_update(
            index_elements=[columns.operation, columns.key],
            set_={"lease_until": statement.excluded.lease_until},
            where=columns.answer.is_(None)
            & (columns.lease_until <= wall)
            & (columns.input_hash == input_hash),
        ).returning(columns.key)
    )
    return taken.scalar_one_or_none() is not None


async def _read(conn: AsyncConnection, operation: str, key: str) -> RowMapping | None:
    columns = idempotency_keys.c
    found = await conn.execute(
        select(columns.input_hash, columns.answer).where(columns.operation == operation, columns.key == key)
    )
    return found.mappings().one_or_none()


def _hash(input: Mapping[str, Any]) -> str:
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.sha256(orjson.dumps(dict(input), option=options, default=str)).hexdigest()
