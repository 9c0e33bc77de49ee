"""Nothing grows without end: each table has a policy, and the job keeps it, in batches that wait for nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, text

from hogsend.clock import ManualClock
from hogsend.engine import retention
from hogsend.engine.retention import POLICIES, Aged, Forever, Prefix, With, forget_old
from hogsend.errors import InvalidInput
from hogsend.realtime import activity
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.entries import EVERYTHING, read_after
from hogsend.realtime.order import number_all
from hogsend.realtime.start import begin, head
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError, load_settings
from hogsend.storage.metadata import new_id
from hogsend.tables import metadata
from hogsend.tables.access import audit_logs
from hogsend.tables.decisions import decisions
from hogsend.tables.engine import jobs, outbox
from worker.work import SCHEDULE

KEPT = [policy for policy in POLICIES if isinstance(policy, Aged | Prefix)]


def test_no_table_is_without_a_policy() -> None:
    named = {policy.table.name for policy in POLICIES}
    assert named == set(metadata.tables)
    whole = Counter(
        one.table.name for one in POLICIES if not (isinstance(one, Aged) and one.clearing is not None)
    )
    assert set(whole.values()) == {1}


def test_what_stays_says_why_and_what_goes_with_another_goes_by_its_key() -> None:
    for policy in POLICIES:
        if isinstance(policy, Forever):
            assert policy.why
        if isinstance(policy, With) and policy.keyed:
            (key,) = [one for one in policy.table.foreign_keys if one.column.table is policy.owner]
            assert key.ondelete == "CASCADE"


def test_each_retention_setting_is_some_policys_and_the_job_is_on_the_schedule() -> None:
    settings = {name for name in Settings.model_fields if name.startswith("retention_")}
    assert {policy.setting for policy in KEPT} == settings
    assert forget_old in {cron.run for cron in SCHEDULE}


def test_what_is_searched_by_age_has_an_index_that_begins_with_it() -> None:
    for policy in KEPT:
        if isinstance(policy, Aged):
            begins = [
                str(next(iter(index.expressions))).split(".")[-1].split(" ")[0]
                for index in policy.table.indexes
            ]
            begins += [column.name for column in policy.table.columns if column.index]
            assert policy.since.name in begins, policy.table.name


def test_a_key_may_not_be_forgotten_before_its_send() -> None:
    given: dict[str, Any] = {"database_url": "postgresql://x/x"}
    load_settings(**given, retention_emails=30, retention_idempotency_keys=30)
    load_settings(**given, retention_emails=0, retention_idempotency_keys=0)
    for emails, keys in ((31, 30), (0, 30)):
        with pytest.raises(SettingsError, match="HOGSEND_RETENTION_IDEMPOTENCY_KEYS must not be shorter"):
            load_settings(**given, retention_emails=emails, retention_idempotency_keys=keys)
    with pytest.raises(SettingsError, match="HOGSEND_RETENTION_JOBS"):
        load_settings(**given, retention_jobs=-1)


async def count(runtime: Runtime, table: Any) -> int:
    async with runtime.database.read() as conn:
        number: int = (await conn.execute(select(func.count()).select_from(table))).scalar_one()
    return number


async def decide(runtime: Runtime, times: int = 1) -> None:
    now = runtime.clock.now()
    async with runtime.database.transaction() as conn:
        await conn.execute(
            insert(decisions),
            [{"id": new_id(), "at": now, "kind": "send", "reason": "api_asked"} for _ in range(times)],
        )


@pytest.mark.parametrize("policy", KEPT, ids=lambda one: f"{one.table.name}-{one.setting}")
async def test_every_policys_statement_is_one_that_postgres_takes(
    runtime: Runtime, policy: Aged | Prefix
) -> None:
    assert await retention._forget(runtime, policy, runtime.clock.now()) == 0


async def test_what_is_older_is_forgotten_in_batches_and_the_rest_stays(
    runtime: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    await decide(runtime, 7)
    clock.advance(timedelta(days=runtime.settings.retention_decisions - 1))
    await decide(runtime, 2)
    await forget_old(runtime)
    assert await count(runtime, decisions) == 9
    clock.advance(timedelta(days=2))
    await forget_old(runtime)
    assert await count(runtime, decisions) == 2


async def test_zero_is_for_ever(runtime: Runtime, clock: ManualClock) -> None:
    runtime.settings.retention_decisions = 0
    try:
        await decide(runtime)
        clock.advance(timedelta(days=30_000))
        await forget_old(runtime)
        assert await count(runtime, decisions) == 1
    finally:
        runtime.settings.retention_decisions = 400


async def test_what_somebody_holds_is_left_and_nobody_waits(runtime: Runtime, clock: ManualClock) -> None:
    await decide(runtime, 2)
    clock.advance(timedelta(days=runtime.settings.retention_decisions + 1))
    async with runtime.database.transaction() as conn:
        await conn.execute(select(decisions.c.id).limit(1).with_for_update())
        async with asyncio.timeout(10):
            await forget_old(runtime)
        assert await count(runtime, decisions) == 1
    await forget_old(runtime)
    assert await count(runtime, decisions) == 0


async def test_one_tables_failure_keeps_no_other_waiting(
    runtime: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Aged(audit_logs, audit_logs.c.created_at, "retention_audit", text("no_such_column"))  # type: ignore[arg-type]
    monkeypatch.setattr(retention, "POLICIES", (broken, *POLICIES))
    await decide(runtime)
    clock.advance(timedelta(days=runtime.settings.retention_decisions + 1))
    with pytest.raises(Exception, match="no_such_column"):
        await forget_old(runtime)
    assert await count(runtime, decisions) == 0


async def test_jobs_and_outbox_go_by_real_time_and_what_waits_stays(
    runtime: Runtime, clock: ManualClock
) -> None:
    wall = clock.wall()
    letters = (
        "INSERT INTO dead_letters (id, source, source_id, payload, error, status, created_at, updated_at)"
    )
    done, waits, settled = new_id(), new_id(), new_id()
    async with runtime.database.transaction() as conn:
        for job, status in ((done, "done"), (waits, "dead"), (settled, "dead")):
            row = {"id": job, "kind": "x", "payload": {}, "status": status, "run_at": wall}
            await conn.execute(insert(jobs).values(**row, created_at=wall, finished_at=wall))
        await conn.execute(
            text(
                f"{letters} VALUES (:id, 'webhook', 'x', jsonb_build_object('jobId', CAST(:job AS text)), 'x',"
                " 'pending', :at, :at)"
            ),
            {"id": new_id(), "job": str(waits), "at": wall},
        )
        for published in (wall, None):
            row = {"topic": "x", "payload": {}, "created_at": wall, "available_at": wall}
            await conn.execute(insert(outbox).values(**row, published_at=published))
    clock.advance(timedelta(days=31))
    await forget_old(runtime)
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(jobs.c.id))).scalars().all() == [waits]
    assert await count(runtime, outbox) == 1


async def write(runtime: Runtime, at: Any = None) -> None:
    async with runtime.database.transaction() as conn:
        await activity.record(
            conn,
            at=at or runtime.clock.now(),
            kind="event",
            type="received",
            ref_id=uuid4(),  # type: ignore[arg-type]
        )


async def cursor_of_the_last(runtime: Runtime) -> StreamCursor:
    await number_all(runtime.database)
    async with runtime.database.read() as conn:
        return (await read_after(conn, EVERYTHING, 0))[-1].cursor


async def test_a_cursor_into_forgotten_activity_is_answered_in_words(
    runtime: Runtime, clock: ManualClock
) -> None:
    async with runtime.database.read() as conn:
        start = await head(conn)
    await write(runtime)
    first = await cursor_of_the_last(runtime)
    await write(runtime)
    second = await cursor_of_the_last(runtime)
    clock.advance(timedelta(days=runtime.settings.retention_activity + 1))
    await write(runtime)
    # What was reported late is young in the log, however long ago it occurred.
    await write(runtime, clock.now() - timedelta(days=3000))
    await forget_old(runtime)
    async with runtime.database.read() as conn:
        for table in ("activity", "activity_order"):
            assert (await conn.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 2
        for old in (start, first):
            with pytest.raises(InvalidInput, match="older than the activity that is kept"):
                await begin(conn, old)
        await begin(conn, second)
        await begin(conn, await head(conn))
