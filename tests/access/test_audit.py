"""The audit row is there exactly where the effect is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Row, insert, select

from hogsend.access.audit import Action, AuditAction, Origin, Resource, audit, audited
from hogsend.access.caller import THE_ADMIN_KEY
from hogsend.errors import Conflict
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.access import api_keys, audit_logs
from hogsend.tables.realtime import activity

ORIGIN = Origin(THE_ADMIN_KEY, "192.0.2.1", "request-1")
AUDIT_ACTION = AuditAction(Action.CREATE, Resource.API_KEY)


class Crash(BaseException):
    """The process dies here."""


async def make_something(runtime: Runtime, name: str = "x") -> None:
    """An effect and its audit row, in one transaction; not yet committed when the point is reached."""
    async with runtime.database.transaction() as conn:
        key_id = new_id()
        await conn.execute(
            insert(api_keys).values(
                id=key_id,
                name=name,
                key_hash=name,
                key_prefix=name,
                scopes=[],
                created_at=runtime.clock.wall(),
            )
        )
        await audit(conn, resource_id=key_id, before={"name": None}, after={"name": name, "at": key_id})
        runtime.fault_point("before_commit")
    runtime.fault_point("after_commit")


async def rows(runtime: Runtime) -> tuple[Sequence[Row[Any]], int, int]:
    """Audit rows, effects, and rows of the activity log."""
    async with runtime.database.read() as conn:
        logged = (await conn.execute(select(audit_logs).order_by(audit_logs.c.seq))).all()
        effects = len((await conn.execute(select(api_keys.c.id))).all())
        told = (await conn.execute(select(activity).where(activity.c.kind == "audit"))).all()
    assert {row.ref_id for row in told} == {row.id for row in logged}
    return logged, effects, len(told)


async def test_a_mutation_leaves_its_row_with_its_effect(runtime: Runtime) -> None:
    async with audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate"):
        await make_something(runtime)
    (row,), effects, told = await rows(runtime)
    assert (effects, told) == (1, 1)
    assert (row.actor, row.action, row.resource, row.outcome) == ("legacy", "create", "api-key", "ok")
    assert (row.ip_address, row.request_id) == ("192.0.2.1", "request-1")
    assert (row.before, row.after["name"]) == ({"name": None}, "x")
    assert row.detail == {"operation": "keyCreate"}


@pytest.mark.parametrize(
    ("point", "kept"), [("before_commit", (0, 0)), ("after_commit", (1, 1))], ids=["before", "after"]
)
async def test_a_crash_leaves_both_or_neither(runtime: Runtime, point: str, kept: tuple[int, int]) -> None:
    def crash(reached: str) -> None:
        if reached == point:
            raise Crash

    runtime.fault_point = crash
    with pytest.raises(Crash):
        async with audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate"):
            await make_something(runtime)
    logged, effects, _ = await rows(runtime)
    assert (len(logged), effects) == kept


async def test_what_failed_after_its_commit_stands_as_done(runtime: Runtime) -> None:
    with pytest.raises(RuntimeError):
        async with audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate"):
            await make_something(runtime)
            raise RuntimeError
    (row,), effects, _ = await rows(runtime)
    assert (row.outcome, effects) == ("ok", 1)


@pytest.mark.parametrize(
    ("error", "outcome"), [(Conflict("It is there already"), "refused"), (RuntimeError("s3cret"), "failed")]
)
async def test_what_was_rolled_back_leaves_a_row_that_says_so(
    runtime: Runtime, error: Exception, outcome: str
) -> None:
    def fail(point: str) -> None:
        if point == "before_commit":
            raise error

    runtime.fault_point = fail
    with pytest.raises(type(error)):
        async with audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate", resource_id="named"):
            await make_something(runtime)
    (row,), effects, _ = await rows(runtime)
    assert (row.outcome, effects) == (outcome, 0)
    assert row.resource_id is not None
    assert "s3cret" not in str(row)


async def test_a_transaction_that_is_tried_again_leaves_one_row(runtime: Runtime) -> None:
    tries = iter([RuntimeError, None])

    def fail_once(point: str) -> None:
        if point == "before_commit" and (error := next(tries)) is not None:
            raise error

    runtime.fault_point = fail_once
    async with audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate"):
        with pytest.raises(RuntimeError):
            await make_something(runtime)
        await make_something(runtime)
    (row,), effects, _ = await rows(runtime)
    assert (row.outcome, effects) == ("ok", 1)


async def test_a_route_and_its_field_share_one_row_and_two_fields_have_two(runtime: Runtime) -> None:
    async with (
        audited(runtime, ORIGIN, AUDIT_ACTION, "POST /api-keys", resource_id="named"),
        audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate"),
    ):
        await make_something(runtime, "shared")
    async with audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate"):
        await make_something(runtime, "first")
    async with audited(runtime, ORIGIN, AUDIT_ACTION, "keyCreate") as trail:
        trail.refuse([{"message": "no"}])
    logged, _, _ = await rows(runtime)
    assert [(row.detail["operation"], row.outcome) for row in logged] == [
        ("POST /api-keys", "ok"),
        ("keyCreate", "ok"),
        ("keyCreate", "refused"),
    ]


async def test_outside_the_admin_plane_nothing_is_written(runtime: Runtime) -> None:
    await make_something(runtime)
    logged, effects, _ = await rows(runtime)
    assert (list(logged), effects) == ([], 1)
