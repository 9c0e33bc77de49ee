"""A deploy that would stop parked runs is told before they wake; runs are countable by version."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from hogsend import Context, Journey, StepFailed, User, days, journey
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.operations import deploy_check as forecasting
from hogsend.operations.deploy_check import warn_of_breaking
from hogsend.operations.versions import by_version
from hogsend.runtime import Runtime
from tests.driving import drive, drive_to_end, journal, rows, send_event, statuses
from tests.fixtures.journeys import RunningWith


@journey(id="course", trigger="signup", entry="unlimited")
async def course(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.once("coupon", _coupon)
    if await ctx.wait_for_event("activated", timeout=days(3)):
        await ctx.sleep(days(1))
    await ctx.send("bye")


async def _coupon() -> str:
    return "SAVE10"


async def enroll(runtime: Runtime, people: int) -> None:
    for index in range(people):
        await send_event(runtime, "signup", email=f"p{index}@example.com")
    await drive(runtime)


async def kept(runtime: Runtime, journey_id: str = "course") -> list[Any]:
    async with runtime.database.read() as conn:
        return list((await conn.execute(by_version([journey_id]))).all())


async def test_runs_are_countable_by_version(running: RunningWith, clock: ManualClock) -> None:
    @journey(id="course", trigger="signup", entry="unlimited")
    async def shorter(user: User, ctx: Context) -> None:
        await ctx.sleep(days(9))

    async with running(course) as runtime:
        await warn_of_breaking(runtime)
        await enroll(runtime, 3)
    began = clock.now()
    clock.advance(timedelta(hours=1))
    async with running(shorter) as runtime:
        await send_event(runtime, "signup", email="late@example.com")
        assert [(v.version, v.live_runs, v.first_seen_at) for v in await kept(runtime)] == [
            (shorter.version, 1, clock.now()),
            (course.version, 3, began),
        ]
        await drive_to_end(runtime, clock)
        await warn_of_breaking(runtime)
        # Those of the other version are blocked: a person has still to settle them.
        assert {v.version: v.live_runs for v in await kept(runtime)} == {
            course.version: 3,
            shorter.version: 0,
        }


async def test_a_deploy_that_breaks_parked_runs_is_told_before_they_wake(
    running: RunningWith, clock: ManualClock
) -> None:
    calls: list[str] = []
    provider = MemoryProvider()
    async with running(course, provider=provider) as runtime:
        await enroll(runtime, 4)
        await send_event(runtime, "activated", email="p0@example.com")
        await drive(runtime)

    async def called() -> None:
        calls.append("called")

    @journey(id="course", trigger="signup", entry="unlimited")
    async def changed(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        await ctx.once("coupon", called)
        if await ctx.wait_for_event("activated", timeout=days(3)):
            await ctx.send("congrats")
            await ctx.once("after", called)
        await ctx.send("bye")

    async with running(changed, provider=provider) as runtime:
        before = await rows(runtime, "SELECT * FROM journey_states ORDER BY id")
        with capture_logs() as logs:
            await warn_of_breaking(runtime)
        (warning,) = [line for line in logs if line["log_level"] == "warning"]
        assert warning["event"] == "deploy_would_stop_parked_runs"
        assert (warning["journey"], warning["runs_of_version"], warning["version_now"]) == (
            "course",
            course.version,
            changed.version,
        )
        assert (warning["parked"], warning["checked"], warning["would_stop"]) == (4, 4, 1)
        assert warning["because"] == "step 4 was sleep:1d#1, and the code now asks for send:congrats#1"
        kept_of = {v.version: v for v in await kept(runtime)}
        check = kept_of[course.version]
        assert (check.checked_against, check.checked_at) == (changed.version, clock.now())
        assert (check.parked_runs, check.checked_runs, check.breaking_runs) == (4, 4, 1)
        assert check.first_mismatch == warning["because"]
        assert kept_of[changed.version].checked_at is None

        assert calls == []
        assert await rows(runtime, "SELECT * FROM journey_states ORDER BY id") == before
        assert {a.message.subject.split()[0] for a in provider.accepted} == {"Welcome"}
        await drive_to_end(runtime, clock)
        assert sorted(await statuses(runtime)) == ["blocked", "completed", "completed", "completed"]


async def test_a_deploy_that_only_changes_what_is_ahead_is_no_matter(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running(course) as runtime:
        await enroll(runtime, 2)

    @journey(id="course", trigger="signup", entry="unlimited")
    async def longer(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        try:
            await ctx.once("coupon", _coupon)
            await ctx.wait_for_event("activated", timeout=days(3))
        except:  # noqa: E722
            await ctx.checkpoint("swallowed")
        await ctx.checkpoint("new")

    async with running(longer) as runtime:
        with capture_logs() as logs:
            await warn_of_breaking(runtime)
        assert [(line["event"], line["parked"]) for line in logs] == [("parked_runs_go_on", 2)]
        await drive_to_end(runtime, clock)
        assert set(await statuses(runtime)) == {"completed"}


@journey(id="course", trigger="signup", entry="unlimited")
async def ends_early(user: User, ctx: Context) -> None:
    await ctx.send("welcome")


@journey(id="course", trigger="signup", entry="unlimited")
async def waits_longer(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.once("coupon", _coupon)
    await ctx.wait_for_event("activated", timeout=days(30))


@journey(id="course", trigger="signup", entry="unlimited")
async def raises(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    raise SystemExit("no more")


@pytest.mark.parametrize(
    ("now", "because"),
    [
        (ends_early, "the code now ends before once:coupon#1, which is recorded"),
        (waits_longer, "wait:activated#1 was recorded with other arguments than the code now gives"),
        (raises, "SystemExit: no more (in raises"),
        (None, "no journey 'course' in this deployment"),
    ],
    ids=["ends early", "other arguments", "raises", "gone"],
)
async def test_what_stops_a_run_is_told_as_the_run_would_tell_it(
    running: RunningWith, clock: ManualClock, now: Journey | None, because: str
) -> None:
    async with running(course) as runtime:
        await enroll(runtime, 1)
    async with running(*([now] if now else [])) as runtime:
        await warn_of_breaking(runtime)
        (check,) = [v for v in await kept(runtime) if v.version == course.version]
        assert check.first_mismatch.startswith(because)
        await drive_to_end(runtime, clock)
        (state,) = await rows(runtime, "SELECT status, error FROM journey_states")
        assert state.status in ("blocked", "failed")
        assert state.error == check.first_mismatch


async def test_only_the_newest_runs_are_replayed_and_a_hanging_one_is_left(
    running: RunningWith, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    async with running(course) as runtime:
        for index in range(5):
            await send_event(runtime, "signup", email=f"p{index}@example.com")
            clock.advance(timedelta(minutes=1))
        await drive(runtime)

    @journey(id="course", trigger="signup", entry="unlimited")
    async def hangs(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        if user.email == "p4@example.com":
            await asyncio.Event().wait()
        await ctx.once("coupon", _coupon)

    monkeypatch.setattr(forecasting, "MOST_RUNS", 3)
    monkeypatch.setattr(forecasting, "LONGEST_REPLAY", timedelta(milliseconds=20))
    async with running(hangs) as runtime:
        await warn_of_breaking(runtime)
        (check,) = [v for v in await kept(runtime) if v.version == course.version]
        assert (check.parked_runs, check.checked_runs) == (5, 3)
        assert check.breaking_runs == 3
        assert check.first_mismatch == "the code did not come to its next step within 0.02 s"
        (newest,) = await rows(
            runtime, "SELECT email FROM journey_states WHERE id = :id", id=check.breaking_run_id
        )
        assert newest.email == "p4@example.com"


async def test_a_failure_that_was_journaled_is_replayed_as_it_was(
    running: RunningWith, clock: ManualClock
) -> None:
    async def fails() -> None:
        raise KeyError("plan")

    def stubborn(last: str) -> Journey:
        @journey(id="course", trigger="signup", entry="unlimited")
        async def made(user: User, ctx: Context) -> None:
            try:
                await ctx.once("plan", fails)
            except StepFailed:
                await ctx.sleep(days(1))
            await ctx.checkpoint(last)

        return made

    async with running(stubborn("one")) as runtime:
        await enroll(runtime, 1)
    async with running(stubborn("two")) as runtime:
        with capture_logs() as logs:
            await warn_of_breaking(runtime)
        assert [line["event"] for line in logs] == ["parked_runs_go_on"]
        await drive_to_end(runtime, clock)
        assert await journal(runtime) == ["once:plan#1", "sleep:1d#1", "checkpoint:two#1"]


async def test_a_worker_starts_although_the_database_does_not_answer(
    running: RunningWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(course) as runtime:

        def gone(*_: object) -> None:
            raise ConnectionRefusedError

        monkeypatch.setattr(runtime.database, "read", gone)
        with capture_logs() as logs:
            await warn_of_breaking(runtime)
        assert [line["event"] for line in logs] == ["parked_runs_not_checked"]


async def test_an_earlier_check_is_forgotten(running: RunningWith, clock: ManualClock) -> None:
    async with running(course) as runtime:
        await enroll(runtime, 1)
    async with running(ends_early) as runtime:
        await warn_of_breaking(runtime)
    async with running(course) as runtime:
        await warn_of_breaking(runtime)
        assert {v.version: v.checked_at for v in await kept(runtime)} == {
            course.version: None,
            ends_early.version: None,
        }
