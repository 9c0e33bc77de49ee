"""A mutation that began ends, or says where it was interrupted; a key has one meaning for as long as it is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, insert, text

from hogsend.access import idempotency
from hogsend.access.idempotency import Answer, Claim, once
from hogsend.boot import open_runtime
from hogsend.clock import SystemClock
from hogsend.errors import Conflict
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.metadata import new_id
from hogsend.tables.access import idempotency_keys
from tests.conftest import ADMIN_KEY
from tests.driving import rows
from tests.engine.worker_process import ApiProcess
from tests.faults.site import eventually
from tests.serving.socket import open_socket
from worker.work import somebody_may_be_dead, watchdog

JOURNEY = "activation-welcome"
ENROLL = (
    "mutation ($input: JourneyEnrollBatchInput!) { journeyEnrollBatch(input: $input)"
    " { enrolled skipped results { userId enrolled reason } userErrors { code message } } }"
)


def batch(people: int, key: str = "batch-1") -> dict[str, Any]:
    users = [{"userId": f"u{index}", "userEmail": f"u{index}@example.com"} for index in range(people)]
    return {"input": {"id": JOURNEY, "users": users, "idempotencyKey": key}}


async def audited(runtime: Runtime) -> list[tuple[str, str]]:
    found = await rows(
        runtime, "SELECT detail->>'operation' AS operation, outcome FROM audit_logs ORDER BY seq"
    )
    return [(row.operation, row.outcome) for row in found]


async def count(runtime: Runtime, table: str) -> int:
    return int((await rows(runtime, f"SELECT count(*) AS n FROM {table}"))[0].n)


def whole(people: int) -> dict[str, Any]:
    """The answer about a batch in which everybody was let in."""
    told = [{"userId": f"u{index}", "enrolled": True, "reason": None} for index in range(people)]
    return {"enrolled": people, "skipped": 0, "results": told, "userErrors": []}


def first(runtime: Runtime, point: str) -> asyncio.Event:
    """Set when `runtime` reaches the point for the first time."""
    reached = asyncio.Event()
    runtime.fault_point = lambda at: reached.set() if at == point else None
    return reached


async def test_a_request_that_leaves_in_the_middle_of_a_batch_changes_nothing(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    begun = first(runtime, "after_ingest_commit")
    sent = asyncio.create_task(client.post("/graphql", json={"query": ENROLL, "variables": batch(30)}))
    await begun.wait()
    sent.cancel()
    await asyncio.gather(sent, return_exceptions=True)
    assert await eventually(lambda: audited(runtime)) == [("journeyEnrollBatch", "ok")]
    assert await count(runtime, "journey_states") == 30
    assert await count(runtime, "audit_intents") == 0
    again = await client.post("/graphql", json={"query": ENROLL, "variables": batch(30)})
    assert again.json()["data"]["journeyEnrollBatch"] == whole(30)
    assert await count(runtime, "user_events") == 30


async def test_a_socket_that_leaves_in_the_middle_of_a_batch_changes_nothing(
    client: httpx.AsyncClient, runtime: Runtime, live_server: str
) -> None:
    begun = first(runtime, "after_ingest_commit")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", ENROLL, **batch(60))
        await begun.wait()
    assert await eventually(lambda: audited(runtime)) == [("journeyEnrollBatch", "ok")]
    assert await count(runtime, "journey_states") == 60
    again = await client.post("/graphql", json={"query": ENROLL, "variables": batch(60)})
    assert again.json()["data"]["journeyEnrollBatch"] == whole(60)


@pytest.fixture
async def outside(settings: Settings, clean: None) -> AsyncIterator[Runtime]:
    async with open_runtime(settings, clock=SystemClock()) as opened:
        yield opened


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_process_that_is_told_to_stop_ends_its_batch_and_one_that_is_killed_says_so(
    settings: Settings, outside: Runtime, end: str
) -> None:
    api = ApiProcess(
        {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "ADMIN_API_KEY": ADMIN_KEY,
            "HOGSEND_SECRET_KEY": "a test secret that is long enough",
            "HOGSEND_EMAIL_PROVIDER": "inbox",
        }
    )
    people = 200
    try:
        api.start()
        async with httpx.AsyncClient(
            base_url=api.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30
        ) as http:
            await eventually(lambda: _answers(http))
            body = {"query": ENROLL, "variables": batch(people)}
            sent = asyncio.create_task(http.post("/graphql", json=body))
            await eventually(lambda: count(outside, "journey_states"))
            if end == "stop":
                sent.cancel()
                await api.stop()
            else:
                api.kill()
            await asyncio.gather(sent, return_exceptions=True)
            if end == "stop":
                assert await audited(outside) == [("journeyEnrollBatch", "ok")]
                assert await count(outside, "journey_states") == people
            else:
                assert 0 < await count(outside, "journey_states") < people
                assert await eventually(lambda: somebody_may_be_dead(outside))
                await eventually(lambda: _interrupted(outside))
                assert await audited(outside) == [("journeyEnrollBatch", "interrupted")]
            api.start()
            await eventually(lambda: _answers(http))
            began = time.monotonic()
            again = await http.post("/graphql", json=body)
            assert again.json()["data"]["journeyEnrollBatch"] == whole(people)
            assert time.monotonic() - began < 20
            assert await count(outside, "user_events") == people
            await api.stop()
    finally:
        api.close()


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return bool((await http.get("/v1/health")).status_code)
    except httpx.TransportError:
        return False


async def _interrupted(runtime: Runtime) -> bool:
    await watchdog(runtime)
    return bool(await audited(runtime))


async def _claim_of(runtime: Runtime, owner: str) -> None:
    """What a process leaves that claimed a key, and has not answered."""
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        await conn.execute(delete(idempotency_keys))
        await conn.execute(
            insert(idempotency_keys).values(
                operation="emailSend",
                key="k1",
                input_hash="44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                lease_until=wall + timedelta(seconds=50),
                lease_owner=owner,
                claim=new_id(),
                created_at=wall,
            )
        )


async def test_a_claim_of_a_dead_process_is_free_at_once(runtime: Runtime) -> None:
    async def effect(_claim: Claim) -> Answer:
        return {"done": True}

    await _claim_of(runtime, "dead:1:beef")
    assert await once(runtime, "emailSend", "k1", {}, effect) == {"done": True}


async def test_who_waits_for_a_call_under_way_hears_so_after_seconds(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "LOOK_AGAIN_SECONDS", 0.002)
    ended = asyncio.Event()

    async def slow(_claim: Claim) -> Answer:
        await ended.wait()
        return {"done": True}

    begun = first(runtime, "after_idempotency_claim")
    leaving = asyncio.create_task(once(runtime, "emailSend", "k1", {}, slow))
    await begun.wait()
    leaving.cancel()
    began = time.monotonic()
    with pytest.raises(Conflict) as refused:
        await once(runtime, "emailSend", "k1", {}, slow)
    assert refused.value.code == "IN_PROGRESS"
    assert time.monotonic() - began < 15
    ended.set()
    assert await once(runtime, "emailSend", "k1", {}, slow) == {"done": True}, (
        "it went on, and its answer counts"
    )


async def test_an_effect_whose_claim_was_taken_over_is_rolled_back(runtime: Runtime) -> None:
    async def effect(claim: Claim) -> Answer:
        await _claim_of(runtime, "other:2:beef")
        async with runtime.database.transaction() as conn:
            await conn.execute(text("DELETE FROM idempotency_keys"))
            await claim.answer(conn, {"done": True})
        return {"done": True}

    with pytest.raises(Conflict):
        await once(runtime, "emailSend", "k1", {}, effect)
    assert await count(runtime, "idempotency_keys") == 1


@pytest.fixture
def keys_forgotten(runtime: Runtime) -> Callable[[], Any]:
    """As when `HOGSEND_RETENTION_IDEMPOTENCY_KEYS` is over."""

    async def forget() -> None:
        async with runtime.database.transaction() as conn:
            await conn.execute(delete(idempotency_keys))
        assert await count(runtime, "idempotency_keys") == 0

    return forget


async def test_a_sends_key_means_the_same_send_for_as_long_as_the_send_is_kept(
    client: httpx.AsyncClient, runtime: Runtime, keys_forgotten: Callable[[], Any]
) -> None:
    ada = {"to": "ada@example.com", "template": "welcome", "idempotencyKey": "reset-42"}
    first_answer = await client.post("/v1/emails", json=ada)
    assert first_answer.status_code == 202
    await keys_forgotten()
    other = await client.post("/v1/emails", json=ada | {"to": "bob@example.com"})
    assert (other.status_code, other.json()["error"]) == (
        400,
        "idempotencyKey was used before with another input",
    )
    again = await client.post("/v1/emails", json=ada)
    assert (again.status_code, again.json()["emailSendId"]) == (202, first_answer.json()["emailSendId"])
    assert await count(runtime, "email_sends") == 1


async def test_an_operators_key_means_the_same_send_too(
    client: httpx.AsyncClient, runtime: Runtime, keys_forgotten: Callable[[], Any]
) -> None:
    send = "mutation ($input: EmailSendInput!) { emailSend(input: $input) { email { uuid } userErrors { code } } }"

    async def ask(to: str) -> dict[str, Any]:
        given = {"to": to, "template": "welcome", "idempotencyKey": "k1"}
        answer = await client.post("/graphql", json={"query": send, "variables": {"input": given}})
        found: dict[str, Any] = answer.json()["data"]["emailSend"]
        return found

    before = await ask("ada@example.com")
    await keys_forgotten()
    assert await ask("ada@example.com") == before
    assert (await ask("bob@example.com"))["userErrors"] == [{"code": "IDEMPOTENCY_KEY_REUSED"}]
    assert await count(runtime, "email_sends") == 1


async def test_an_enrollments_key_means_the_same_person_too(
    client: httpx.AsyncClient, runtime: Runtime, keys_forgotten: Callable[[], Any]
) -> None:
    enroll = (
        "mutation ($input: JourneyEnrollInput!) { journeyEnroll(input: $input)"
        " { enrolled reason state { uuid } event { uuid } userErrors { code } } }"
    )

    async def ask(who: str) -> dict[str, Any]:
        given = {"id": JOURNEY, "userId": who, "userEmail": f"{who}@example.com", "idempotencyKey": "k1"}
        answer = await client.post("/graphql", json={"query": enroll, "variables": {"input": given}})
        found: dict[str, Any] = answer.json()["data"]["journeyEnroll"]
        return found

    before = await ask("ada")
    assert before["enrolled"] is True
    await keys_forgotten()
    assert await ask("ada") == before
    assert (await ask("bob"))["userErrors"] == [{"code": "IDEMPOTENCY_KEY_REUSED"}]
    assert await count(runtime, "user_events") == 1


async def test_a_forbidden_id_is_null_alone_with_its_error(client: httpx.AsyncClient) -> None:
    made = await client.post(
        "/graphql",
        json={
            "query": 'mutation { apiKeyCreate(input: { name: "r", scopes: [READ] }) { secret apiKey { id } }'
            ' contactCreate(input: { email: "ada@example.com" }) { contact { id } } }'
        },
    )
    data = made.json()["data"]
    key, contact = data["apiKeyCreate"], data["contactCreate"]["contact"]["id"]
    answer = await client.post(
        "/graphql",
        json={
            "query": "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            "variables": {"ids": [contact, key["apiKey"]["id"], contact]},
        },
        headers={"Authorization": f"Bearer {key['secret']}"},
    )
    body = answer.json()
    assert body["data"]["nodes"] == [{"id": contact}, None, {"id": contact}]
    assert [(error["path"], error["extensions"]["code"]) for error in body["errors"]] == [
        (["nodes", 1], "FORBIDDEN")
    ]
