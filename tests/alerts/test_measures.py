"""What rules measure: of little traffic no rate, windows of product time, lateness in seconds of real time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from graphql import parse, validate
from sqlalchemy import insert, update

from hogsend.alerts.notice import look_at
from hogsend.alerts.rule_types import RULE_TYPES, RULE_WORDS, AlertRuleType, current_values
from hogsend.clock import ManualClock
from hogsend.deadletters.actions import add_dead_letter
from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.engine.outbox import enqueue_job
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.settings import Settings
from hogsend.storage.metadata import new_id
from hogsend.tables.alerts import invariant_findings
from hogsend.tables.deadletters import DeadLetterSource
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import journey_settings, journey_states
from tests.driving import send_email, send_event

HAPPENED = ("sent", "delivered", "opened", "clicked", "bounced", "complained")


def send(at: datetime, *happened: str) -> dict[str, Any]:
    email_id = new_id()
    known = {f"{name}_at": at if name in happened else None for name in HAPPENED}
    addresses = {"from_email": "a@example.com", "to_email": "b@example.com", "subject": "Hi"}
    stamps = {"status": "sent", "created_at": at, "updated_at": at}
    return {"id": email_id, "send_key": str(email_id), **addresses, **stamps, **known}


async def values_of(runtime: Runtime, *words: str) -> Mapping[str, float | None]:
    async with runtime.database.read() as conn:
        return await current_values(conn, runtime, words or RULE_WORDS)


async def value_of(runtime: Runtime, word: str) -> float | None:
    return (await values_of(runtime, word))[word]


async def test_where_nothing_happened_there_is_no_rate_and_nothing_is_late(runtime: Runtime) -> None:
    assert await values_of(runtime) == {
        "bounce_rate_exceeded": None,
        "journey_failure_spike": 0,
        "delivery_issue": None,
        "high_complaint_rate": None,
        "dlq_growth": 0,
        "journey_silent": None,
        "engine_lag": 0,
        "queue_lag": 0,
        "invariant_broken": 0,
    }


@pytest.mark.parametrize(("minimum", "there_is_a_rate"), [(3, True), (4, False)])
async def test_rates_are_over_30_days_and_of_a_minimum_of_emails(
    runtime: Runtime, clock: ManualClock, minimum: int, there_is_a_rate: bool
) -> None:
    runtime.settings = Settings(**{**runtime.settings.model_dump(), "alert_minimum_sends": minimum})
    now = clock.now()
    sends = [
        send(now - timedelta(days=1), "sent", "delivered", "complained"),
        send(now - timedelta(days=2), "sent", "bounced"),
        send(now - timedelta(days=3), "sent"),
        send(now - timedelta(days=40), "sent", "bounced"),
        send(now - timedelta(days=1)),
    ]
    async with runtime.database.transaction() as conn:
        await conn.execute(insert(email_sends), sends)
    rate = 0.3333 if there_is_a_rate else None
    words = ("bounce_rate_exceeded", "delivery_issue", "high_complaint_rate")
    assert await values_of(runtime, *words) == dict.fromkeys(words, rate)


async def test_failures_dead_letters_and_findings_are_counted_in_their_windows(
    runtime: Runtime, clock: ManualClock
) -> None:
    start = clock.now()
    async with runtime.database.transaction() as conn:
        for kind, ago in (
            (DecisionKind.FAILED, 10),
            (DecisionKind.BLOCKED, 59),
            (DecisionKind.FAILED, 61),
            (DecisionKind.EXITED, 1),
        ):
            at = start - timedelta(minutes=ago)
            await record_decision(
                conn, at, NewDecision(kind=kind, reason=Reason.JOURNEY_RAISED, contact_id=None)
            )
        for number in range(2):
            await add_dead_letter(
                conn, clock, source=DeadLetterSource.WEBHOOK, source_id=str(number), error="x", payload={}
            )
        found = [
            {"id": new_id(), "kind": "send_without_end", "subject": str(number), "found_at": start}
            for number in range(3)
        ]
        await conn.execute(insert(invariant_findings), found)
        settled = update(invariant_findings).where(invariant_findings.c.subject == "0")
        await conn.execute(settled.values(settled_at=start))
    words = ("journey_failure_spike", "dlq_growth", "invariant_broken")
    assert await values_of(runtime, *words) == dict(zip(words, (2, 2, 2), strict=True))
    clock.advance(timedelta(minutes=55))
    assert await values_of(runtime, *words) == dict(zip(words, (0, 2, 2), strict=True))
    clock.advance(timedelta(minutes=6))
    assert await values_of(runtime, *words) == dict(zip(words, (0, 0, 2), strict=True))
    clock.advance(timedelta(days=1))
    assert await value_of(runtime, "invariant_broken") == 0


async def test_how_late_work_and_mail_are(runtime: Runtime, clock: ManualClock) -> None:
    await send_email(runtime)
    clock.advance(timedelta(seconds=50))
    async with runtime.database.transaction() as conn:
        await enqueue_job(conn, clock, "some.work", {}, delay=timedelta(seconds=10))
    assert await values_of(runtime, "engine_lag", "queue_lag") == {"engine_lag": 50, "queue_lag": 50}
    async with runtime.database.transaction() as conn:
        await conn.execute(update(email_sends).values(status="sent"))
    clock.advance(timedelta(seconds=30))
    await send_event(runtime, "user.signed_up")
    assert await values_of(runtime, "engine_lag", "queue_lag") == {"engine_lag": 80, "queue_lag": 0}
    async with runtime.database.transaction() as conn:
        held = {"lease_owner": "somebody", "lease_until": clock.wall() + timedelta(minutes=1)}
        await conn.execute(update(journey_states).values(held))
        await conn.exec_driver_sql("DELETE FROM jobs")
    clock.advance(timedelta(seconds=20))
    assert await value_of(runtime, "engine_lag") == 0, "what somebody works on is not late"
    clock.advance(timedelta(minutes=1))
    assert await value_of(runtime, "engine_lag") == 80


async def enrolled(runtime: Runtime, journey_id: str, *ago: timedelta) -> None:
    """Runs of this journey that began so long ago, each of somebody else."""
    for number, before in enumerate(ago):
        ingested = await send_event(runtime, "nobody.listens", email=f"{journey_id}-{number}@example.com")
        at = runtime.clock.now() - before
        row = {
            "id": new_id(),
            "journey_id": journey_id,
            "contact_id": ingested.contact_id,
            "email": "a@example.com",
            "status": "completed",
            "version": "1",
            "ended_at": at,
            "created_at": at,
            "updated_at": at,
        }
        async with runtime.database.transaction() as conn:
            await conn.execute(insert(journey_states).values(row))


async def test_a_journey_is_silent_only_where_people_usually_enter(runtime: Runtime) -> None:
    first, second, third, *_ = [journey.id for journey in runtime.registry.all() if journey.enabled]
    hour, day = timedelta(hours=1), timedelta(days=1)
    await enrolled(runtime, first, 5 * hour, 5 * hour + day / 2, 5 * hour + 1.5 * day, 5 * hour + 2.5 * day)
    assert await value_of(runtime, "journey_silent") == 5
    # A burst of one day is no habit, and who has been silent for a month is retired.
    await enrolled(runtime, second, *(9 * hour + number * timedelta(minutes=1) for number in range(20)))
    await enrolled(runtime, third, 31 * day, 31.5 * day, 32.5 * day, 33.5 * day)
    await enrolled(runtime, "gone-from-the-code", 9 * hour, 10 * hour, 1.5 * day, 2.5 * day, 3 * day)
    assert await value_of(runtime, "journey_silent") == 5
    async with runtime.database.transaction() as conn:
        off = {"journey_id": first, "enabled": False, "updated_at": runtime.clock.now()}
        await conn.execute(insert(journey_settings).values(off))
    assert await value_of(runtime, "journey_silent") is None, "nobody enters what is switched off"


class Sped(ManualClock):
    """A clock whose product time runs an hour a second."""

    def product(self, real: timedelta) -> timedelta:
        return real * 3600

    def real(self, product: timedelta) -> timedelta:
        return product / 3600


async def test_at_a_higher_speed_nothing_falls_between_two_evaluations(runtime: Runtime) -> None:
    runtime.clock = Sped()
    async with runtime.database.transaction() as conn:
        at = runtime.clock.now() - timedelta(hours=59)
        await record_decision(
            conn, at, NewDecision(kind=DecisionKind.FAILED, reason=Reason.JOURNEY_RAISED, contact_id=None)
        )
    assert await value_of(runtime, "journey_failure_spike") == 1


@pytest.mark.parametrize("rule_type", AlertRuleType)
def test_what_to_look_at_is_a_query_that_the_schema_takes(rule_type: AlertRuleType) -> None:
    document = RULE_TYPES[rule_type].document
    assert validate(graphql_schema(), parse(document)) == []
    asked = look_at(rule_type.value, datetime.fromisoformat("2026-01-15T10:30:00Z"))
    assert ("$from" in document) == bool(asked["variables"])


@pytest.mark.parametrize("rule_type", AlertRuleType)
def test_the_side_that_is_worse(rule_type: AlertRuleType) -> None:
    of_type = RULE_TYPES[rule_type]
    assert not of_type.is_past(0.5, 0.5)
    assert of_type.is_past(0.6, 0.5) == (of_type.worse == "above")
    assert of_type.is_past(0.4, 0.5) == (of_type.worse == "below")
