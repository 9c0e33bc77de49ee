"""A bulk mutation whose process died on the way: the same key goes on, and answers for all that was done under it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from hogsend.emails.providers.errors import ProviderRefused
from hogsend.runtime import Runtime
from hogsend.schema.journeys import run_mutations
from hogsend.tables.access import idempotency_keys
from tests.driving import Crashed, crash_once_at, drive, rows, send_event

PEOPLE = 7
CANCEL = """mutation { journeyStatesCancel(input: {journeyId: "activation-welcome", idempotencyKey: "k"}) {
    matched cancelled sample { contact { email } } userErrors { code } } }"""
REPLAY = """mutation { eventsReplay(input: {filter: {event: "user.signed_up"}, idempotencyKey: "k"}) {
    matched replayed errors { eventId } sample { name } userErrors { code } } }"""
RETRY = """mutation { deadLettersRetry(input: {limit: 7, idempotencyKey: "k"}) {
    retried refused results { retried } userErrors { code } } }"""


async def ask(client: httpx.AsyncClient, query: str) -> dict[str, Any]:
    answer = await client.post("/graphql", json={"query": query})
    (found,) = answer.json()["data"].values()
    return dict(found)


async def die_on_the_way(client: httpx.AsyncClient, runtime: Runtime, query: str, point: str) -> None:
    """Let the second transaction be the last, and what the dead process held be free, as the watchdog sees to."""
    crash_once_at(runtime, point)
    with pytest.raises(Crashed):
        await ask(client, query)
    async with runtime.database.transaction() as conn:
        await conn.execute(update(idempotency_keys).values(lease_until=runtime.clock.wall()))


@pytest.fixture(autouse=True)
async def people(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_mutations, "BATCH", 3)
    for index in range(PEOPLE):
        await send_event(runtime, "user.signed_up", email=f"p{index}@example.com")


async def test_a_cancellation_counts_what_was_cancelled_before(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await die_on_the_way(client, runtime, CANCEL, "after_cancel_batch")
    live = await rows(runtime, "SELECT 1 FROM journey_states WHERE status = 'pending'")
    assert len(live) == PEOPLE - 3
    told = await ask(client, CANCEL)
    assert (told["matched"], told["cancelled"], told["userErrors"]) == (PEOPLE, PEOPLE, [])
    assert [one["contact"]["email"] for one in told["sample"]] == [
        f"p{index}@example.com" for index in range(PEOPLE)
    ]
    assert await ask(client, CANCEL) == told
    exits = await rows(runtime, "SELECT 1 FROM decisions WHERE reason = 'operator_cancelled'")
    assert len(exits) == PEOPLE


async def test_a_replay_goes_on_behind_the_last_event_and_counts_those_before(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await die_on_the_way(client, runtime, REPLAY, "after_replay")
    told = await ask(client, REPLAY)
    assert (told["matched"], told["replayed"], told["errors"]) == (PEOPLE, PEOPLE, [])
    assert len(told["sample"]) == PEOPLE
    assert await ask(client, REPLAY) == told
    verdicts = await rows(runtime, "SELECT 1 FROM decisions WHERE detail->>'replayed' = 'true'")
    assert len(verdicts) == PEOPLE, "none is replayed twice"


async def test_a_retry_of_dead_letters_counts_those_before(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    runtime.provider.faults = [ProviderRefused("no such mailbox")] * PEOPLE  # type: ignore[attr-defined]
    await drive(runtime)
    await die_on_the_way(client, runtime, RETRY, "after_dead_letter_retry")
    told = await ask(client, RETRY)
    assert (told["retried"], told["refused"], told["userErrors"]) == (PEOPLE, 0, [])
    assert await ask(client, RETRY) == told


async def test_with_another_input_a_key_that_did_something_is_refused(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await die_on_the_way(client, runtime, CANCEL, "after_cancel_batch")
    other = await ask(client, CANCEL.replace("{journeyId", '{userId: "ada", journeyId'))
    assert other["userErrors"] == [{"code": "IDEMPOTENCY_KEY_REUSED"}]
