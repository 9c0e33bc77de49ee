"""`once`: the same answer again, one effect for calls at once, and what a crash leaves."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hogsend.access.idempotency import Answer, Claim, once
from hogsend.clock import ManualClock
from hogsend.engine.retention import forget_old
from hogsend.errors import InvalidInput
from hogsend.runtime import Runtime
from worker.work import SCHEDULE


class Crash(BaseException):
    """The process dies here: nothing that catches `Exception` runs."""


class Effect:
    """Counts how often it happened."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, _claim: Claim) -> Answer:
        self.times += 1
        await asyncio.sleep(0)
        return {"number": self.times}


async def test_the_same_key_and_input_get_the_first_answer_again(runtime: Runtime) -> None:
    effect = Effect()
    first = await once(runtime, "emailSend", "k1", {"b": 2, "a": 1}, effect)
    again = await once(runtime, "emailSend", "k1", {"a": 1, "b": 2}, effect)
    assert first == again == {"number": 1}
    assert effect.times == 1


async def test_another_operation_has_keys_of_its_own_and_no_key_means_no_memory(runtime: Runtime) -> None:
    effect = Effect()
    await once(runtime, "emailSend", "k1", {}, effect)
    await once(runtime, "emailResend", "k1", {}, effect)
    await once(runtime, "emailSend", None, {}, effect)
    await once(runtime, "emailSend", None, {}, effect)
    assert effect.times == 4


async def test_another_input_is_a_user_error(runtime: Runtime) -> None:
    effect = Effect()
    await once(runtime, "emailSend", "k1", {"to": "ada"}, effect)
    with pytest.raises(InvalidInput) as refused:
        await once(runtime, "emailSend", "k1", {"to": "bob"}, effect)
    assert (refused.value.field, refused.value.code) == ("idempotencyKey", "IDEMPOTENCY_KEY_REUSED")
    assert effect.times == 1


async def test_calls_at_once_have_one_effect(runtime: Runtime) -> None:
    effect = Effect()
    calls = [once(runtime, "emailSend", "k1", {}, effect) for _ in range(20)]
    assert await asyncio.gather(*calls) == [{"number": 1}] * 20
    assert effect.times == 1


@pytest.mark.parametrize("point", ["after_idempotency_claim", "before_idempotency_answer"])
async def test_a_crash_frees_the_key_when_its_lease_ends(
    runtime: Runtime, clock: ManualClock, point: str
) -> None:
    effect = Effect()

    def crash(reached: str) -> None:
        if reached == point:
            raise Crash

    runtime.fault_point = crash
    with pytest.raises(Crash):
        await once(runtime, "emailSend", "k1", {}, effect)
    runtime.fault_point = lambda _point: None
    before = effect.times
    clock.advance(timedelta(minutes=3))
    await once(runtime, "emailSend", "k1", {}, effect)
    await once(runtime, "emailSend", "k1", {}, effect)
    assert effect.times == before + 1


async def test_an_answer_kept_with_the_effect_survives_the_crash(runtime: Runtime) -> None:
    async def effect(claim: Claim) -> Answer:
        assert claim is not None
        async with runtime.database.transaction() as conn:
            await claim.answer(conn, {"number": 7})
        raise Crash

    async def never(_claim: Claim) -> Answer:
        raise AssertionError

    with pytest.raises(Crash):
        await once(runtime, "emailSend", "k1", {}, effect)
    assert await once(runtime, "emailSend", "k1", {}, never) == {"number": 7}


@pytest.mark.parametrize("key", ["", " ", "\x00", "k" * 256])
async def test_a_key_that_cannot_be_kept_is_refused(runtime: Runtime, key: str) -> None:
    effect = Effect()
    with pytest.raises(InvalidInput) as refused:
        await once(runtime, "emailSend", key, {}, effect)
    assert (refused.value.field, effect.times) == ("idempotencyKey", 0)


async def test_an_effect_that_raises_frees_the_key_at_once(runtime: Runtime) -> None:
    async def broken(_claim: Claim) -> Answer:
        raise InvalidInput("to", "to must be an email address")

    effect = Effect()
    with pytest.raises(InvalidInput):
        await once(runtime, "emailSend", "k1", {"to": "?"}, broken)
    assert await once(runtime, "emailSend", "k1", {"to": "ada@example.com"}, effect) == {"number": 1}


async def test_keys_are_remembered_for_as_long_as_sends_and_forgotten_on_a_schedule(
    runtime: Runtime, clock: ManualClock
) -> None:
    assert forget_old in {cron.run for cron in SCHEDULE}
    effect = Effect()
    await once(runtime, "emailSend", "k1", {}, effect)
    clock.advance(timedelta(days=runtime.settings.retention_emails - 1))
    await forget_old(runtime)
    await once(runtime, "emailSend", "k1", {}, effect)
    assert effect.times == 1
    clock.advance(timedelta(days=runtime.settings.retention_idempotency_keys))
    await forget_old(runtime)
    await once(runtime, "emailSend", "k1", {}, effect)
    assert effect.times == 2
