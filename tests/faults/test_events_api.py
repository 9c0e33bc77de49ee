"""The door: many connections, few keys."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from hogsend.runtime import Runtime
from tests.conftest import ADMIN_KEY
from tests.driving import rows


@pytest.mark.parametrize("posts", [200, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_many_posts_from_twenty_connections_with_ten_keys_are_ten_events(
    live_server: str, runtime: Runtime, posts: int
) -> None:
    async def post_its_share(client: httpx.AsyncClient) -> list[bool]:
        answers = []
        for index in range(posts // 20):
            response = await client.post(
                "/v1/events",
                json={"name": "user.signed_up", "email": f"p{index % 10}@example.com"},
                headers={"Idempotency-Key": f"key-{index % 10}"},
            )
            assert response.status_code == 202, response.text
            answers.append(response.json()["stored"])
        return answers

    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    clients = [httpx.AsyncClient(base_url=live_server, headers=headers, timeout=30) for _ in range(20)]
    try:
        stored = await asyncio.gather(*(post_its_share(client) for client in clients))
    finally:
        await asyncio.gather(*(client.aclose() for client in clients))
    assert sum(sum(answers) for answers in stored) == 10
    (events,) = await rows(
        runtime, "SELECT count(*) AS n, count(DISTINCT contact_id) AS people FROM user_events"
    )
    assert (events.n, events.people) == (10, 10)
    (runs,) = await rows(runtime, "SELECT count(*) AS n FROM journey_states")
    assert runs.n == 10
