"""Whether the process lives, should get work, and who may read its metrics."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisDown
from sqlalchemy import text

from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.monitoring.probes import monitored
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError
from tests.driving import statements
from tests.monitoring.conftest import KEY
from tests.monitoring.figures import scrape


async def test_alive_asks_nobody_and_no_key(runtime: Runtime, client: httpx.AsyncClient) -> None:
    database = runtime.database
    with statements(database) as asked, statements(database, database.health) as asked_aside:
        answer = await client.get("/livez", headers={"Authorization": "", "Host": "10.1.2.3:3002"})
    assert (answer.status_code, answer.text, asked, asked_aside) == (200, "ok\n", [], [])


async def test_ready_names_each_dependency(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz", headers={"Authorization": "", "Host": "10.1.2.3:3002"})
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "reasons": [],
        "dependencies": {
            "database": {"up": True, "required": True},
            "redis": {"up": True, "required": False},
            # No worker runs in this test: what it would do waits, and the API takes events in.
            "engine": {"up": False, "required": False},
        },
    }


async def test_ready_without_redis(
    runtime: Runtime, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise RedisDown

    monkeypatch.setattr(runtime.redis, "ping", refuse)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["dependencies"]["redis"]["up"]) == (200, False)


async def test_not_ready_without_postgres_but_alive(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    elsewhere = Settings.model_validate(
        {**settings.model_dump(), "database_url": f"postgresql://nobody@127.0.0.1:{port}/none"}
    )
    async with open_runtime(elsewhere) as runtime:
        transport = httpx.ASGITransport(create_app(elsewhere, runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://hogsend.test") as http:
            answer = await http.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == ["Postgres does not answer"]
            assert (await http.get("/livez")).status_code == 200
            # The figures that need no database are told all the same.
            told = await scrape(http, Authorization=f"Bearer {KEY}")
            assert told.of("hogsend_backlog_up") == 0
            assert told.of("hogsend_pool_limit", pool="health") == 2
            assert not [name for name, _ in told.series if name.startswith("hogsend_queue")]


@pytest.mark.parametrize(("revision", "ready"), [("0003", False), ("9999_of_a_later_release", True)])
async def test_readiness_follows_the_revision_of_the_tables(
    runtime: Runtime, client: httpx.AsyncClient, revision: str, ready: bool
) -> None:
    """An older database lacks what the code needs; a newer one is what a deploy makes first of all."""
    async with runtime.database.transaction() as conn:
        (known,) = (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalars()
        await conn.execute(text("ALTER TABLE alembic_version ALTER version_num TYPE text"))
        await conn.execute(text("UPDATE alembic_version SET version_num = :one"), {"one": revision})
    try:
        answer = await client.get("/readyz")
        assert answer.status_code == (200 if ready else 503)
        told = ["The database lacks revision 0004: run `hogsend migrate`"]
        assert answer.json()["reasons"] == ([] if ready else told)
    finally:
        async with runtime.database.transaction() as conn:
            await conn.execute(text("UPDATE alembic_version SET version_num = :one"), {"one": known})


async def test_probes_in_a_burst_ask_once(
    runtime: Runtime, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogsend.health.FRESH_SECONDS", 60.0)
    with statements(runtime.database, runtime.database.health) as asked:
        for _ in range(20):
            assert (await client.get("/readyz")).status_code == 200
    assert asked.count("SELECT 1") == 1


@pytest.mark.parametrize(
    "authorization", ["", f"Bearer {KEY}x", "Bearer", f"Basic {KEY}", KEY, "Bearer \u00e9\u00e9"]
)
async def test_metrics_want_the_key(client: httpx.AsyncClient, authorization: str) -> None:
    refused = await client.get("/metrics", headers={"Authorization": authorization.encode("latin-1")})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "hogsend_" not in refused.text


async def test_without_a_key_the_port_of_the_api_has_no_metrics(runtime: Runtime, settings: Settings) -> None:
    runtime.settings = settings.model_copy(update={"metrics_key": None})
    transport = httpx.ASGITransport(create_app(runtime.settings, runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://hogsend.test") as http:
        assert (await http.get("/metrics")).status_code == 404


@pytest.mark.parametrize("key", [None, KEY])
async def test_a_port_of_its_own_serves_probes_and_metrics(
    runtime: Runtime, settings: Settings, key: str | None
) -> None:
    runtime.settings = Settings.model_validate({**settings.model_dump(), "metrics_key": key})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with (
        monitored(runtime, port, "HOGSEND_WORKER_METRICS_PORT"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        assert [(await http.get(path)).status_code for path in ("/livez", "/readyz")] == [200, 200]
        assert (await http.get("/metrics")).status_code == (200 if key is None else 401)
        told = await scrape(http, Authorization=f"Bearer {KEY}")
        assert told.of("hogsend_backlog_up") == 1
        assert (await http.get("/v1/health")).status_code == 404
        with pytest.raises(SettingsError, match=r"HOGSEND_METRICS_PORT: 127\.0\.0\.1:"):
            async with monitored(runtime, port, "HOGSEND_METRICS_PORT"):
                raise AssertionError("the port was taken")


def test_a_short_metrics_key_is_refused(database_url: str) -> None:
    with pytest.raises(ValueError, match="at least 20 random characters"):
        Settings(database_url=database_url, metrics_key="short")


def test_containers_are_asked_for_what_the_probes_answer() -> None:
    compose = (Path(__file__).parents[2] / "compose.yaml").read_text()
    assert compose.count("/livez") == 2
    assert "HOGSEND_WORKER_METRICS_PORT" in compose
