"""Callers who want to stop the process: each is refused before the database is asked, and nobody else is held up."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hogsend.access.errors import RateLimited
from hogsend.access.failed_attempts import FailedAttempts
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.serving.execution import Executor
from hogsend.settings import Settings
from hogsend.storage.unreachable import busy
from tests.access.keys import make_key
from tests.driving import statements

ANONYMOUS = {"Authorization": ""}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/graphql", b'{"query":"{viewer{name}}","variables":{"n":[' + b"1," * 100_000 + b"1]}}"),
        (
            "/v1/events",
            b'{"name":"x","email":"a@example.com","eventProperties":{"p":[' + b"[]," * 100_000 + b"[]]}}",
        ),
        ("/v1/admin/contacts", b'{"externalId":"a","properties":{"p":[' + b"{}," * 100_000 + b"{}]}}"),
    ],
)
async def test_millions_of_values_are_refused_in_words(
    client: httpx.AsyncClient, runtime: Runtime, path: str, body: bytes
) -> None:
    with statements(runtime.database) as seen:
        answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "at most 50,000 values" in answer.text
    # A mutation of the admin plane that is refused leaves its row in the audit log, and that is all.
    assert [one for one in seen if "audit_logs" not in one and "activity" not in one] == []


async def test_a_long_greeting_closes_the_socket_before_it_is_parsed(live_server: str) -> None:
    url = live_server.replace("http", "ws") + "/graphql"
    async with connect(url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": {"p": [0] * 20_000}}))
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400


async def test_the_same_bad_document_is_judged_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    whole = Executor._judged
    monkeypatch.setattr(
        Executor, "_judged", lambda self, source: judged.append(source) or whole(self, source)
    )
    for _ in range(3):
        answer = await client.post("/graphql", json={"query": "{ viewer { nmae unheard } }"})
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) == 2
    assert len(judged) == 1


async def test_whoever_guesses_keys_is_slowed_down_and_a_key_that_was_good_is_let_in(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    runtime.settings.failed_auth_limit = 5
    _, good = await make_key(runtime)
    assert (await client.get("/v1/admin/contacts", headers={"Authorization": good})).status_code == 200
    guesses = [f"Bearer hsk_{n:043d}" for n in range(8)]
    seen = [
        (await client.get("/v1/admin/contacts", headers={"Authorization": one})).status_code
        for one in guesses
    ]
    assert seen == [401] * 5 + [429] * 3
    with statements(runtime.database) as asked:
        refused = await client.post(
            "/graphql", json={"query": "{viewer{name}}"}, headers={"Authorization": guesses[0]}
        )
    assert (refused.status_code, asked) == (429, [])
    assert int(refused.headers["retry-after"]) > 0
    assert (await client.get("/v1/admin/contacts", headers={"Authorization": good})).status_code == 200


async def test_the_addresses_of_one_ipv6_network_guess_as_one(runtime: Runtime) -> None:
    runtime.settings.failed_auth_limit = 3
    attempts = runtime.part(FailedAttempts)
    for host in range(3):
        await attempts.note(f"2001:db8:0:1::{host:x}")
    with pytest.raises(RateLimited):
        await attempts.check("2001:db8:0:1:ffff::9")
    await attempts.check("2001:db8:0:2::1")


async def test_processes_count_a_guessers_failures_together(
    settings: Settings, clock: ManualClock, runtime: Runtime
) -> None:
    runtime.settings.failed_auth_limit = 4
    async with open_runtime(runtime.settings, clock=clock) as other:
        mine, theirs = runtime.part(FailedAttempts), other.part(FailedAttempts)
        for attempts in (mine, theirs, mine, theirs):
            await attempts.check("203.0.113.7")
            await attempts.note("203.0.113.7")
        for attempts in (mine, theirs):
            with pytest.raises(RateLimited):
                await attempts.check("203.0.113.7")
        clock.advance(timedelta(seconds=61))
        await theirs.check("203.0.113.7")


async def test_a_webhooks_secret_is_guessed_no_oftener_than_a_key(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    runtime.settings.failed_auth_limit = 3
    runtime.settings.posthog_webhook_secret = SecretStr("s3cret")
    event = {"event": {"event": "seen", "distinct_id": "ada"}}

    async def post(secret: str) -> int:
        headers = {"X-PostHog-Webhook-Secret": secret}
        return (await client.post("/v1/webhooks/posthog", json=event, headers=headers)).status_code

    assert [await post(f"guess-{number}") for number in range(5)] == [401] * 3 + [429] * 2
    assert await post("s3cret") == 200, "PostHog itself is not to suffer for who guesses beside it"


async def test_failures_are_counted_in_memory_while_redis_is_away(
    settings: Settings, clock: ManualClock, clean: None
) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "failed_auth_limit": 2})
    async with open_runtime(away, clock=clock) as runtime:
        attempts = runtime.part(FailedAttempts)
        for _ in range(2):
            await attempts.check("203.0.113.7")
            await attempts.note("203.0.113.7")
        with pytest.raises(RateLimited):
            await attempts.check("203.0.113.7")


async def test_exports_take_no_connection_from_others(client: httpx.AsyncClient, runtime: Runtime) -> None:
    async with runtime.database.exports.connect(), runtime.database.exports.connect():
        answer = await client.get("/v1/admin/contacts/export")
        assert answer.status_code == 503
        assert answer.json()["error"] == "The server is busy now; try again"
        assert (await client.get("/v1/admin/contacts")).status_code == 200


async def test_a_busy_pool_is_not_told_as_a_database_that_is_away(
    client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.database.engine.sync_engine.pool, "_timeout", 0.05)
    size = runtime.settings.database_pool_size + runtime.settings.database_pool_size // 2
    held = [await runtime.database.engine.connect() for _ in range(size)]
    try:
        rest, graphql, health = await asyncio.gather(
            client.get("/v1/admin/contacts"),
            client.post("/graphql", json={"query": "{ contacts { totalCount } }"}),
            client.get("/v1/health"),
        )
    finally:
        for connection in held:
            await connection.close()
    assert (rest.status_code, rest.json()["error"]) == (503, "The server is busy now; try again")
    assert rest.headers["retry-after"] == "1"
    error = graphql.json()["errors"][0]
    assert (error["extensions"]["code"], error["extensions"]["retryAfter"]) == ("THROTTLED", 1)
    assert health.json()["components"]["database"]["status"] == "up"
    assert not busy(ConnectionError())
