"""Audit log: one row for each mutation of the admin plane, refused and failed ones too.

`audited` surrounds a mutation. What carries it out calls `audit` in the transaction of its effect, so that the row
is there exactly where the effect is. Whatever did not get that far is written down when the block ends. A mutation of
several transactions leaves an intent before the first; where its process dies, the intent becomes the row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.caller import Caller
from hogsend.clock import Clock
from hogsend.engine.liveness import Presence
from hogsend.errors import HogsendError
from hogsend.realtime import activity
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.access import audit_intents, audit_logs
from hogsend.tables.realtime import ActivityKind

log = structlog.get_logger(__name__)

LONGEST_ID = 512
LONGEST_MUTATION = timedelta(days=1)


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REVOKE = "revoke"
    ENROLL = "enroll"
    CANCEL = "cancel"
    IMPORT = "import"
    EXPORT = "export"
    REPLAY = "replay"
    RESEND = "resend"
    RETRY = "retry"
    DISCARD = "discard"


class Resource(StrEnum):
    CONTACT = "contact"
    JOURNEY = "journey"
    API_KEY = "api-key"
    ALERT_RULE = "alert-rule"
    EMAIL = "email"
    EVENT = "event"
    DLQ = "dlq"


class Outcome(StrEnum):
    """`refused`: the caller got something wrong. `failed`: we did. `interrupted`: the process died on the way."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class AuditAction:
    """What a mutation does, and to what."""

    action: Action
    resource: Resource


@dataclass(frozen=True)
class Origin:
    """Who asked, and from where."""

    caller: Caller
    ip_address: str | None = None
    request_id: str | None = None


@dataclass
class Trail:
    """The audit row of the mutation that is under way. `resource_id` is what was named, before it was looked up."""

    clock: Clock
    origin: Origin
    audit_action: AuditAction
    operation: str
    resource_id: str | None = None
    outcome: Outcome = Outcome.OK
    detail: dict[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=new_id)
    claimed: bool = False
    written: bool = False
    intended: bool = False
    closed: bool = False

    def refuse(self, errors: Sequence[Mapping[str, Any]]) -> None:
        """Note what the caller got wrong."""
        self.outcome = Outcome.REFUSED
        self.detail["errors"] = [dict(error) for error in errors]


_trail: ContextVar[Trail | None] = ContextVar("audit_trail", default=None)


async def audit(
    conn: AsyncConnection,
    *,
    resource_id: object = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write the row of the mutation that is under way, in the transaction of its effect.

    Does nothing outside the admin plane: a journey's own sends are in the decision ledger. The first call of a
    mutation counts; `before` and `after` are what the resource's row says, without secrets.
    """
    trail = _trail.get()
    if trail is None:
        return
    if resource_id is not None:
        trail.resource_id = str(resource_id)
    trail.detail.update(detail or {})
    await _write(conn, trail, before, after)
    trail.written = True


@asynccontextmanager
async def audited(
    runtime: Runtime,
    origin: Origin,
    audit_action: AuditAction,
    operation: str,
    *,
    resource_id: str | None = None,
    several: bool = False,
) -> AsyncIterator[Trail]:
    """Surround one mutation: when the block ends, it has left its row. One of `several` transactions has an intent.

    Inside a REST route's block the GraphQL field that the route maps to shares the route's row; it writes it too,
    since it goes on where the route's own block is cancelled.
    """
    outer = _trail.get()
    if outer is not None and not outer.claimed:
        outer.claimed = True
        outer.resource_id = outer.resource_id or resource_id
        async with _closing(runtime, outer, several):
            yield outer
        return
    trail = Trail(runtime.clock, origin, audit_action, operation, resource_id)
    token = _trail.set(trail)
    try:
        async with _closing(runtime, trail, several):
            yield trail
    finally:
        _trail.reset(token)


@asynccontextmanager
async def _closing(runtime: Runtime, trail: Trail, several: bool) -> AsyncIterator[None]:
    if several:
        await _intend(runtime, trail)
    try:
        with _noting_failure(trail):
            yield
    except Exception:
        await _close(runtime, trail)
        raise
    else:
        await _close(runtime, trail)


@contextmanager
def _noting_failure(trail: Trail) -> Iterator[None]:
    try:
        yield
    except HogsendError as error:
        trail.refuse([{"message": str(error)}])
        raise
    except Exception:
        trail.outcome = Outcome.FAILED
        raise


async def _close(runtime: Runtime, trail: Trail) -> None:
    """Write the row unless it was committed with the effect; where it was, that row stands."""
    if trail.closed or (trail.written and trail.outcome is Outcome.OK):
        return
    trail.closed = True
    try:
        async with runtime.database.transaction() as conn:
            await _write(conn, trail, None, None)
    except (SQLAlchemyError, OSError):
        # The effect did not happen either: without the database nothing does.
        log.exception("mutation_not_audited", operation=trail.operation, actor=trail.origin.caller.name)
        if trail.outcome is Outcome.OK:
            raise


async def _intend(runtime: Runtime, trail: Trail) -> None:
    """Say in a transaction of its own what is about to begin."""
    await runtime.part(Presence).show()
    values = _values(trail) | {
        "lease_owner": runtime.owner,
        "lease_until": runtime.clock.wall() + LONGEST_MUTATION,
    }
    async with runtime.database.transaction() as conn:
        await conn.execute(insert(audit_intents).values(values))
    trail.intended = True
    runtime.fault_point("after_audit_intent")


async def note_interrupted(runtime: Runtime) -> None:
    """Turn intents whose process died into audit rows with the outcome `interrupted`."""
    async with runtime.database.transaction() as conn:
        dead = await conn.execute(
            delete(audit_intents).where(audit_intents.c.lease_owner.is_(None)).returning(audit_intents)
        )
        for row in dead.mappings().all():
            kept = {name: value for name, value in row.items() if not name.startswith("lease_")}
            await _insert(conn, kept | {"outcome": Outcome.INTERRUPTED.value})


def _values(trail: Trail) -> dict[str, Any]:
    return {
        "id": trail.id,
        "created_at": trail.clock.now(),
        "actor": trail.origin.caller.name,
        "actor_key_id": trail.origin.caller.key_id,
        "action": trail.audit_action.action.value,
        "resource": trail.audit_action.resource.value,
        "resource_id": _storable(trail.resource_id),
        "detail": {"operation": trail.operation, **trail.detail},
        "ip_address": trail.origin.ip_address,
        "request_id": trail.origin.request_id,
    }


async def _write(
    conn: AsyncConnection,
    trail: Trail,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    states = {
        name: None if value is None else dict(value) for name, value in (("before", before), ("after", after))
    }
    await _insert(conn, _values(trail) | states | {"outcome": trail.outcome.value})
    if trail.intended:
        await conn.execute(delete(audit_intents).where(audit_intents.c.id == trail.id))


async def _insert(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    statement = (
        insert(audit_logs)
        .values(values)
        .on_conflict_do_nothing(index_elements=[audit_logs.c.id])
        .returning(audit_logs.c.id)
    )
    if (await conn.execute(statement)).scalar_one_or_none() is not None:
        await activity.record(
            conn, at=values["created_at"], kind=ActivityKind.AUDIT, type=values["action"], ref_id=values["id"]
        )


def _storable(named: str | None) -> str | None:
    """What a caller named may be anything: it is kept as far as Postgres can hold it."""
    return None if named is None else named[:LONGEST_ID].replace("\x00", "\ufffd")
