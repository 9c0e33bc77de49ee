"""Conditions on what a person did, asked of Postgres by ingestion."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from hogsend import Context, User, days, email, event, hours, journey, on, prop, user_prop
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import ADA, drive, rows, send_event

TEMPLATES = Path(__file__).parent.parent / "templates"


@journey(id="greets", trigger="start")
async def greets(user: User, ctx: Context) -> None:
    await ctx.send("welcome")


@journey(
    id="follows",
    trigger=on(
        "next",
        where=(prop("deep.seats") > 2)
        & (user_prop("country") == "BE")
        & event("login").at_least(2, within=days(7))
        & event("churned").never()
        & email("welcome").opened(within=hours(3)),
    ),
    entry="unlimited",
)
async def follows(user: User, ctx: Context) -> None:
    await ctx.checkpoint("in")


async def test_a_trigger_asks_about_events_emails_and_both_kinds_of_properties(
    settings: Settings, clock: ManualClock, clean: None
) -> None:
    mine = settings.model_copy(update={"templates": [TEMPLATES]})
    async with open_runtime(
        mine, clock=clock, registry=Registry([greets, follows]), provider=MemoryProvider()
    ) as runtime:
        assert await try_to_enter(runtime, seats=2) == "event property deep.seats is 2"
        assert await try_to_enter(runtime) == "contact property country is missing"
        await ingest(runtime, NewEvent(name="login", email=ADA, contact_properties={"country": "BE"}))
        assert await try_to_enter(runtime) == "login happened once within 7 days"
        clock.advance(days(6))
        await send_event(runtime, "login")
        assert await try_to_enter(runtime) == "email welcome was not opened within 3 hours"
        await send_event(runtime, "start")
        await drive(runtime)
        assert await try_to_enter(runtime) == "email welcome was not opened within 3 hours"
        await open_email(runtime, clock)
        assert await try_to_enter(runtime) == "entered"
        clock.advance(hours(4))
        assert await try_to_enter(runtime) == "email welcome was not opened within 3 hours"
        clock.advance(days(1))
        assert await try_to_enter(runtime) == "login happened once within 7 days"
        await send_event(runtime, "login")
        await send_event(runtime, "churned")
        assert await try_to_enter(runtime) == "churned happened once"


async def try_to_enter(runtime: Runtime, seats: int = 3) -> str:
    """What the ledger says of the trigger's conditions, or `entered`."""
    await send_event(runtime, "next", deep={"seats": seats})
    await drive(runtime)
    [found] = await rows(
        runtime,
        "SELECT kind, detail FROM decisions WHERE journey_id = 'follows' AND kind IN ('enrolled', 'skipped') "
        "ORDER BY seq DESC LIMIT 1",
    )
    if found.kind == "enrolled":
        return "entered"
    return str(next(guard for guard in found.detail["guards"] if guard["outcome"] == "failed")["actual"])


async def open_email(runtime: Runtime, clock: ManualClock) -> None:
    [sent] = await rows(runtime, "SELECT id FROM email_sends")
    async with runtime.database.transaction() as conn:
        assert await record_fact(conn, email_id=UUID(str(sent.id)), type="opened", at=clock.now())
