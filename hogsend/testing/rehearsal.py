"""Rehearsal: one journey run from its trigger to its end, as fast as Python can."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import NAMESPACE_URL, uuid5

from hogsend.clock import ManualClock
from hogsend.decisions.reasons import Reason
from hogsend.enrollment.guards import EntryHistory, Guard, check_entry, refusal
from hogsend.journeys.context import Context
from hogsend.journeys.definition import Journey
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.steps.interrupts import CodeChanged, RunEnded, RunFailed, Transient
from hogsend.journeys.steps.journal import Journal, Step
from hogsend.journeys.steps.step_results import TriggerEvent, User
from hogsend.testing.driver import MemoryDriver
from hogsend.testing.script import Happening
from hogsend.testing.world import PastEvent, SentEmail, World

if TYPE_CHECKING:
    from hogsend.emails.templates.render import Templates


@dataclass(frozen=True)
class Rehearsal:
    """How it went. `skipped` means that a guard kept the person out: `reason` says which, `guards` all of them."""

    status: Literal["completed", "exited", "skipped"]
    reason: Reason
    emails: tuple[SentEmail, ...]
    steps: tuple[Step, ...]
    events: tuple[PastEvent, ...]
    guards: tuple[Guard, ...]
    exited_by: str | None
    started_at: datetime
    ended_at: datetime

    @property
    def sent(self) -> list[str]:
        """The templates that were really sent, in order."""
        return [email.template for email in self.emails if email.status == "sent"]

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints that were reached, in order."""
        return [step.label for step in self.steps if step.kind == "checkpoint"]

    @property
    def lasted(self) -> timedelta:
        """From the trigger to the end."""
        return self.ended_at - self.started_at


def rehearse(
    journey: Journey,
    *,
    user: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    happens: Iterable[Happening] = (),
    templates: Templates | Path | str | None = None,
    starts: datetime | None = None,
) -> Rehearsal:
    """Let the trigger event happen to someone, and follow the journey to its end.

    `user` may give `email`, `external_id`, `id` and `properties`; `properties` are the trigger event's. `happens`
    is the script: what is imported from `hogsend.testing` beside this. With `templates`, a folder or loaded, every
    email is rendered too. `starts` is the instant of the trigger.

    What the journey raises comes out. Raises `JourneyError` where a replay would not take the same steps.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(
            rehearse_async(
                journey, user=user, properties=properties, happens=happens, templates=templates, starts=starts
            )
        )
    raise JourneyError("rehearse(…) was called in an async test: write `await rehearse_async(…)`")


async def rehearse_async(
    journey: Journey,
    *,
    user: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    happens: Iterable[Happening] = (),
    templates: Templates | Path | str | None = None,
    starts: datetime | None = None,
) -> Rehearsal:
    """`rehearse`, for tests that are async themselves."""
    if starts is not None and starts.tzinfo is None:
        raise JourneyError("starts=…: give an aware datetime, e.g. datetime(2026, 3, 1, 9, tzinfo=UTC)")
    world = World(ManualClock(starts), _person(user or {}), happens, journey)
    world.remember_the_past()
    event = world.trigger(properties or {})
    guards = await _guards(journey, world)
    refused = refusal(guards)
    if refused is not None:
        return _result(world, "skipped", refused.reason, (), guards)
    driver = MemoryDriver(world, _loaded(templates))
    status = await _run(journey, driver, event, dict(world.user))
    reason = Reason.JOURNEY_ENDED if status == "completed" else Reason.EXIT_EVENT
    return _result(world, status, reason, driver.steps, guards)


async def _run(
    journey: Journey, driver: MemoryDriver, event: PastEvent, person: Mapping[str, Any]
) -> Literal["completed", "exited"]:
    """Once for its effects, and once more over the journal, which must take the same steps."""
    frozen = {**person, "properties": dict(person["properties"])}
    first = _context(driver, Journal(), frozen, event)
    status = await _follow(journey, first)
    if driver.world.exited_by is not None:
        # By the event that its last step triggered.
        status = "exited"
    journal = Journal(driver.steps)
    replay = _context(driver, journal, frozen, event)
    taken = len(driver.steps)
    try:
        await _follow(journey, replay)
        if status == "completed":
            journal.check_finished()
        if len(driver.steps) > taken:
            raise CodeChanged(f"the code now goes on with {driver.steps[taken].key}", taken)
    except CodeChanged as changed:
        raise JourneyError(
            f"journey {journey.id!r} takes other steps when it is replayed, so it would be blocked: {changed}. Take "
            "time, chance and what you look up from ctx.now(), ctx.variant() and ctx.once()"
        ) from None
    return status


async def _follow(journey: Journey, context: Context) -> Literal["completed", "exited"]:
    try:
        await journey.run(context.user, context)
        if context.interrupt is not None:
            # Swallowed by an `except` of the author's.
            raise context.interrupt
        context.check_awaited()
    except RunEnded:
        return "exited"
    except Transient as hiccup:
        # In memory nothing is ever away for a while: whatever a step raised is the author's to see.
        raise hiccup.__cause__ or hiccup from None
    except RunFailed as broken:
        raise broken.__cause__ or broken from None
    return "completed"


def _context(driver: MemoryDriver, journal: Journal, person: Mapping[str, Any], event: PastEvent) -> Context:
    trigger = TriggerEvent(event.id, event.name, event.properties, event.at)
    return Context(driver, journal, User.from_json(person), trigger)


async def _guards(journey: Journey, world: World) -> list[Guard]:
    runs = [run for run in world.past_runs if run.journey_id == journey.id]
    emails = [one for one in world.past_emails if one.journey_id == journey.id]
    live = next((run for run in runs if run.status == "active"), None)
    history = EntryHistory(
        live_state_id=uuid5(NAMESPACE_URL, "live") if live else None,
        live_status="active" if live else None,
        entries=len(runs),
        last_entered_at=max((world.started_at - run.ago for run in runs), default=None),
        last_emailed_at=max((world.started_at - one.ago for one in emails), default=None),
    )
    return await check_entry(journey, {**world.user, "deleted_at": None}, history, world)


def _person(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(given) - {"id", "external_id", "email", "properties"}
    if unknown:
        raise JourneyError(
            f"user={{…}} has {', '.join(sorted(unknown))}: put what is yours under `properties`"
        )
    defaults = {
        "id": str(uuid5(NAMESPACE_URL, "contact")),
        "external_id": "user-1",
        "email": "ada@example.com",
        "properties": {},
    }
    return {**defaults, **given}


def _loaded(templates: Templates | Path | str | None) -> Templates | None:
    return _templates_of(Path(templates)) if isinstance(templates, str | Path) else templates


@cache
def _templates_of(folder: Path) -> Templates:
    # What renders is heavy, and most rehearsals look at names only.
    from hogsend.emails.templates.render import Templates

    return Templates.load([folder])


def _result(
    world: World,
    status: Literal["completed", "exited", "skipped"],
    reason: Reason,
    steps: Iterable[Step],
    guards: Iterable[Guard],
) -> Rehearsal:
    return Rehearsal(
        status=status,
        reason=reason,
        emails=tuple(world.emails),
        steps=tuple(steps),
        events=tuple(world.events),
        guards=tuple(guards),
        exited_by=world.exited_by.name if world.exited_by else None,
        started_at=world.started_at,
        ended_at=world.now,
    )
