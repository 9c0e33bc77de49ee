"""Who is let in, and how soon a revoked key is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from hogsend.access.authenticate import authenticate, until_refused
from hogsend.access.caller import Scope
from hogsend.access.errors import AccessError, KeyExpired, NotConfigured, Unauthorized
from hogsend.access.keys import KeyRing
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.tables.access import api_keys
from tests.access.keys import make_key, revoke_row
from tests.conftest import ADMIN_KEY


@pytest.fixture
async def other(settings: Settings, clock: ManualClock, runtime: Runtime) -> AsyncIterator[Runtime]:
    """A second process on the same servers."""
    async with open_runtime(settings, clock=clock) as other:
        yield other


async def refusal(runtime: Runtime, authorization: str | None) -> AccessError | None:
    try:
        await authenticate(runtime, authorization)
    except AccessError as error:
        return error
    return None


async def test_the_admin_key_is_legacy_and_holds_full_admin(runtime: Runtime) -> None:
    caller = await authenticate(runtime, f"Bearer {ADMIN_KEY}")
    assert (caller.name, caller.key_id, caller.scopes) == ("legacy", None, {Scope.FULL_ADMIN})
    assert all(caller.may(scope) for scope in Scope)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        ADMIN_KEY,
        f"Basic {ADMIN_KEY}",
        f"Bearer {ADMIN_KEY}x",
        "Bearer hsk_unknown",
        "Bearer hsk_" + "x" * 5000,
        "Bearer hsk_é\udcff\x00",
    ],
)
async def test_whatever_is_not_a_key_is_unauthorized(runtime: Runtime, header: str | None) -> None:
    error = await refusal(runtime, header)
    assert isinstance(error, Unauthorized)
    assert (error.status, error.message) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("held", "opened"),
    [
        (Scope.READ, {Scope.READ}),
        (Scope.JOURNEY_ADMIN, {Scope.READ, Scope.JOURNEY_ADMIN}),
        (Scope.FULL_ADMIN, set(Scope)),
        (Scope.INGEST, {Scope.INGEST}),
    ],
)
async def test_each_scope_opens_those_below_it(runtime: Runtime, held: Scope, opened: set[Scope]) -> None:
    key_id, header = await make_key(runtime, held, name="dashboard")
    caller = await authenticate(runtime, header)
    assert (caller.name, caller.key_id) == ("dashboard", key_id)
    assert {scope for scope in Scope if caller.may(scope)} == opened


async def test_an_expired_key_says_so(runtime: Runtime, clock: ManualClock) -> None:
    _, header = await make_key(runtime, expires_at=clock.wall() + timedelta(seconds=1))
    assert await refusal(runtime, header) is None
    clock.advance(timedelta(seconds=1))
    assert isinstance(await refusal(runtime, header), KeyExpired)


async def test_without_any_key_the_admin_api_is_not_configured(
    settings: Settings, clock: ManualClock, runtime: Runtime
) -> None:
    keyless = settings.model_copy(update={"admin_api_key": None})
    async with open_runtime(keyless, clock=clock) as bare:
        assert isinstance(await refusal(bare, "Bearer anything"), NotConfigured)
        _, header = await make_key(bare)
        assert await refusal(bare, header) is None
        assert isinstance(await refusal(bare, "Bearer anything"), Unauthorized)


async def test_a_revocation_reaches_the_other_process_at_once(runtime: Runtime, other: Runtime) -> None:
    key_id, header = await make_key(runtime)
    assert await refusal(runtime, header) is None
    assert await refusal(other, header) is None
    await other.part(KeyRing).listening.wait()
    changed = asyncio.create_task(other.part(KeyRing).wait_changed(10))
    await asyncio.sleep(0)
    await revoke_row(runtime, key_id)
    await runtime.part(KeyRing).announce_revoked(key_id)
    assert isinstance(await refusal(runtime, header), Unauthorized)
    await changed
    assert isinstance(await refusal(other, header), Unauthorized)


async def test_an_unheard_revocation_counts_after_two_seconds(runtime: Runtime, clock: ManualClock) -> None:
    key_id, header = await make_key(runtime)
    assert await refusal(runtime, header) is None
    await revoke_row(runtime, key_id)
    clock.advance(timedelta(seconds=2))
    assert isinstance(await refusal(runtime, header), Unauthorized)


async def test_a_revocation_succeeds_while_redis_is_down(settings: Settings, clean: None) -> None:
    unreachable = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with open_runtime(unreachable, clock=ManualClock()) as alone:
        key_id, header = await make_key(alone)
        assert await refusal(alone, header) is None
        await revoke_row(alone, key_id)
        await alone.part(KeyRing).announce_revoked(key_id)
        assert isinstance(await refusal(alone, header), Unauthorized)


async def test_an_open_stream_hears_that_its_key_was_revoked(runtime: Runtime, other: Runtime) -> None:
    key_id, header = await make_key(runtime)
    assert await refusal(other, header) is None
    stream = asyncio.create_task(until_refused(other, header))
    await other.part(KeyRing).listening.wait()
    assert not stream.done()
    await revoke_row(runtime, key_id)
    await runtime.part(KeyRing).announce_revoked(key_id)
    async with asyncio.timeout(2):
        assert isinstance(await stream, Unauthorized)


async def test_use_is_recorded_behind_once_for_each_two_seconds(runtime: Runtime, clock: ManualClock) -> None:
    key_id, header = await make_key(runtime)
    await runtime.part(KeyRing).listening.wait()
    first = clock.wall()
    for _ in range(3):
        await authenticate(runtime, header)
        clock.advance(timedelta(milliseconds=500))
    assert await _last_used(runtime) == {key_id: None}
    await runtime.part(KeyRing).write_uses()
    assert await _last_used(runtime) == {key_id: first}
    clock.advance(timedelta(seconds=1))
    await authenticate(runtime, header)
    await runtime.part(KeyRing).write_uses()
    assert await _last_used(runtime) == {key_id: clock.wall()}


async def test_a_refused_key_is_not_recorded_as_used(runtime: Runtime) -> None:
    key_id, header = await make_key(runtime)
    await revoke_row(runtime, key_id)
    assert isinstance(await refusal(runtime, header), Unauthorized)
    assert await _last_used(runtime) == {key_id: None}


async def test_many_unknown_keys_do_not_grow_the_memory_without_end(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogsend.access.keys.MOST_REMEMBERED", 5)
    for number in range(12):
        assert isinstance(await refusal(runtime, f"Bearer hsk_{number}"), Unauthorized)
    assert len(runtime.part(KeyRing)._seen) == 5


async def test_a_reconnect_forgets_everything(runtime: Runtime, redis_url: str) -> None:
    """What was announced while nobody listened is unknown, so nothing that was remembered is trusted."""
    key_id, header = await make_key(runtime)
    assert await refusal(runtime, header) is None
    ring = runtime.part(KeyRing)
    await ring.listening.wait()
    await revoke_row(runtime, key_id)
    changed = asyncio.create_task(ring.wait_changed(10))
    await asyncio.sleep(0)
    async with Redis.from_url(redis_url) as redis:
        await redis.client_kill_filter(_type="pubsub")
    await changed
    assert isinstance(await refusal(runtime, header), Unauthorized)


async def _last_used(runtime: Runtime) -> dict[object, object]:
    async with runtime.database.read() as conn:
        rows = await conn.execute(select(api_keys.c.id, api_keys.c.last_used_at))
        return {row.id: row.last_used_at for row in rows}
