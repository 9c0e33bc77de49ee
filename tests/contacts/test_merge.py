"""Two contacts turn out to be one: nothing of either is lost, and nothing happens twice."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from hogsend import Context, User, days, journey, on
from hogsend.clock import ManualClock
from hogsend.consent.inheritance import preferences_of
from hogsend.consent.suppression import suppress, unsubscribe
from hogsend.contacts.identity_keys import Keys
from hogsend.contacts.lookup import find_by
from hogsend.contacts.merge import MOVED
from hogsend.contacts.resolve import resolve
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.events.event import NewEvent
from hogsend.execution import advance as runner
from hogsend.ingestion.ingest import ingest
from hogsend.runtime import Runtime
from hogsend.tables import metadata
from hogsend.tables.contacts import contact_preferences, contacts
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import journey_states, journey_waits
from hogsend.tables.realtime import activity
from tests.driving import drive, drive_to_end
from tests.fixtures.journeys import RunningWith

EMAIL = "ada@example.com"


@journey(id="greeting", trigger="hello", entry="once")
async def greeting(_user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    activated = await ctx.wait_for_event("activated", timeout=days(3))
    await ctx.send("congrats" if activated else "nudge")


@journey(id="other", trigger=on("hello"), entry="unlimited")
async def other(_user: User, ctx: Context) -> None:
    await ctx.sleep(days(1))


async def report(
    runtime: Runtime, name: str, external_id: str | None = None, email: str | None = None
) -> None:
    await ingest(runtime, NewEvent(name=name, external_id=external_id, email=email))


async def id_of(runtime: Runtime, **key: Any) -> UUID:
    async with runtime.database.read() as conn:
        found = await find_by(conn, **key)
    assert found is not None
    return UUID(str(found["id"]))


async def rows(runtime: Runtime, table: Any) -> list[Any]:
    async with runtime.database.read() as conn:
        return list((await conn.execute(select(table))).all())


def test_no_table_is_forgotten() -> None:
    owned = {table.name for table in metadata.tables.values() if "contact_id" in table.c}
    apart = {"journey_states", "contact_preferences", "contact_aliases", "activity"}
    assert owned == {table.name for table in MOVED} | apart


async def test_everything_of_the_loser_becomes_the_survivors(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running(greeting) as runtime:
        await report(runtime, "hello", email=EMAIL)
        await drive(runtime)
        lead = await id_of(runtime, email=EMAIL)
        await report(runtime, "visited", external_id="ada")
        ada = await id_of(runtime, external_id="ada")
        before = {
            table: len(await rows(runtime, table)) for table in (user_events, email_sends, journey_waits)
        }
        await report(runtime, "signed.in", external_id="ada", email=EMAIL)
        assert await id_of(runtime, id=lead) == ada
        for table in (user_events, email_sends, journey_states, journey_waits, decisions):
            owners = {row.contact_id for row in await rows(runtime, table)} - {None}
            assert owners == {ada}, table.name
        told = await rows(runtime, activity)
        (notice,) = [row for row in told if row.contact_id != ada]
        assert (notice.contact_id, notice.kind, notice.ref_id) == (lead, "contact", ada)
        after = {table: len(await rows(runtime, table)) for table in before}
        assert after == {**before, user_events: before[user_events] + 1}
        (verdict,) = [row for row in await rows(runtime, decisions) if row.kind == "merged"]
        assert verdict.reason == "keys_belong_together"
        assert verdict.detail == {"mergedContactId": str(lead)}
        assert {row.merged_by for row in told} == {None, verdict.id}
        await report(runtime, "hello", external_id="ada")
        assert len(await rows(runtime, journey_states)) == 1


async def test_of_two_live_runs_the_survivors_goes_on(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    async with running(greeting, other, provider=provider) as runtime:
        await report(runtime, "hello", "ada", "work@example.com")
        await report(runtime, "hello", email=EMAIL)
        ada = await id_of(runtime, external_id="ada")
        (mine,) = [
            row.id
            for row in await rows(runtime, journey_states)
            if row.contact_id == ada and row.journey_id == "other"
        ]
        await report(runtime, "signed.in", external_id="ada", email=EMAIL)
        runs = [row for row in await rows(runtime, journey_states) if row.journey_id == "other"]
        assert {(row.id == mine, row.status) for row in runs} == {(True, "pending"), (False, "exited")}
        (gone,) = [row for row in runs if row.id != mine]
        assert gone.ended_reason == "merged_into_another"
        reasons = [row.reason for row in await rows(runtime, decisions) if row.state_id == gone.id]
        assert "merged_into_another" in reasons
        await drive_to_end(runtime, clock)
        (ended,) = [row for row in await rows(runtime, journey_states) if row.id == mine]
        assert ended.status == "completed"


async def test_a_wait_is_ended_by_what_the_other_half_did(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    async with running(greeting, provider=provider) as runtime:
        await report(runtime, "hello", email=EMAIL)
        await drive(runtime)
        clock.advance(timedelta(hours=1))
        await report(runtime, "activated", external_id="ada")
        await drive(runtime)
        assert len(provider.to(EMAIL)) == 1
        await report(runtime, "signed.in", external_id="ada", email=EMAIL)
        await drive(runtime)
        assert [row.status for row in await rows(runtime, journey_states)] == ["completed"]
        resumed = [row.reason for row in await rows(runtime, decisions) if row.kind == "resumed"]
        assert resumed == ["event_arrived"]
        assert len(provider.to(EMAIL)) == 2


async def test_what_the_other_half_did_is_seen_by_a_run_that_is_just_about_to_wait(
    running: RunningWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its wait is armed, and it has yet to be parked until the deadline."""
    park = runner._suspend
    async with running(greeting) as runtime:
        await report(runtime, "hello", external_id="ada", email=EMAIL)
        met = []

        async def meet(*args: Any) -> Any:
            if not met:
                met.append(True)
                await ingest(runtime, NewEvent(name="activated", anonymous_id="her-phone"))
                await ingest(runtime, NewEvent(name="login", external_id="ada", anonymous_id="her-phone"))
            return await park(*args)

        monkeypatch.setattr(runner, "_suspend", meet)
        await drive(runtime)
        (state,) = await rows(runtime, journey_states)
        assert (met, state.status) == ([True], "completed")


async def test_whatever_either_half_refused_stays_refused(running: RunningWith, clock: ManualClock) -> None:
    async with running() as runtime:
        await report(runtime, "x", "ada", "work@example.com")
        await report(runtime, "x", email=EMAIL)
        ada, lead = await id_of(runtime, external_id="ada"), await id_of(runtime, email=EMAIL)
        async with runtime.database.transaction() as conn:
            await unsubscribe(conn, clock, ada, category="news", source="test")
        async with runtime.database.transaction() as conn:
            await unsubscribe(conn, clock, lead, category="tips", source="test")
        async with runtime.database.transaction() as conn:
            await unsubscribe(conn, clock, lead, source="test")
        await report(runtime, "x", "ada", EMAIL)
        (said,) = await rows(runtime, contact_preferences)
        assert said.contact_id == ada
        assert said.email == EMAIL
        assert said.unsubscribed_all
        assert said.categories == {"news": False, "tips": False}


async def test_a_bounced_address_does_not_silence_the_next_one(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running() as runtime:
        await report(runtime, "x", "ada", "old@example.com")
        async with runtime.database.transaction() as conn:
            await suppress(conn, clock, "old@example.com", "bounce")
        await report(runtime, "x", "ada", EMAIL)
        (said,) = await rows(runtime, contact_preferences)
        assert (said.email, said.suppressed) == (EMAIL, False)
        async with runtime.database.transaction() as conn:
            await suppress(conn, clock, EMAIL, "complaint")
        await report(runtime, "x", "ada", "third@example.com")
        (said,) = await rows(runtime, contact_preferences)
        assert (said.email, said.suppressed) == ("third@example.com", True)


@pytest.mark.parametrize("round_", range(12))
async def test_a_merge_races_events_and_the_worker(
    running: RunningWith, clock: ManualClock, round_: int
) -> None:
    """The halves' own events, their merge and their running journey, all at once."""
    provider = MemoryProvider()
    async with running(greeting, other, provider=provider) as runtime:
        await report(runtime, "hello", email=EMAIL)
        await report(runtime, "seen", external_id="ada")
        calls = [
            report(runtime, "signed.in", "ada", EMAIL),
            report(runtime, "activated", external_id="ada"),
            report(runtime, "visited", email=EMAIL),
            drive(runtime, "one"),
            drive(runtime, "two"),
        ]
        await asyncio.gather(*calls[round_ % 5 :], *calls[: round_ % 5])
        await drive_to_end(runtime, clock)
        ada = await id_of(runtime, external_id="ada")
        events = await rows(runtime, user_events)
        assert sorted(row.name for row in events) == ["activated", "hello", "seen", "signed.in", "visited"]
        assert {row.contact_id for row in events} == {ada}
        hers = [row for row in await rows(runtime, activity) if row.kind != "contact"]
        assert {row.contact_id for row in hers} - {None} == {ada}
        assert {row.contact_id for row in await rows(runtime, email_sends)} == {ada}
        assert {row.status for row in await rows(runtime, journey_states)} == {"completed"}
        assert len(provider.to(EMAIL)) == 2
        live = [row for row in await rows(runtime, contacts) if row.deleted_at is None]
        assert [row.id for row in live] == [ada]


async def test_two_merges_at_once(running: RunningWith, clock: ManualClock) -> None:
    async with running() as runtime:
        await report(runtime, "x", "a", "a@example.com")
        await report(runtime, "x", "b", "b@example.com")
        await report(runtime, "x", "c", "c@example.com")

        async def join(external_id: str, email: str) -> None:
            async with runtime.database.transaction() as conn:
                await resolve(conn, clock, Keys.of(external_id, email))

        await asyncio.gather(
            join("a", "b@example.com"),
            join("b", "a@example.com"),
            join("b", "c@example.com"),
            join("c", "a@example.com"),
            *(report(runtime, "y", email=f"{name}@example.com") for name in "abc"),
        )
        survivor = await id_of(runtime, external_id="a")
        assert {await id_of(runtime, external_id=name) for name in "abc"} == {survivor}
        assert {await id_of(runtime, email=f"{name}@example.com") for name in "abc"} == {survivor}
        assert {row.contact_id for row in await rows(runtime, user_events)} == {survivor}
        async with runtime.database.read() as conn:
            stale = select(func.count()).where(
                contacts.c.merged_into.is_not(None), contacts.c.merged_into != survivor
            )
            assert (await conn.execute(stale)).scalar_one() == 0
            assert await preferences_of(conn, survivor) is None
