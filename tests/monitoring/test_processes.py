"""Processes as they are deployed: a worker and an API answer on a port of their own, and end in peace."""

from __future__ import annotations

import asyncio
import socket
from uuid import uuid4

import httpx
import pytest

from tests.engine.plant import EMBEDDED, STANDIN, open_plant
from tests.engine.worker_process import ApiProcess, eventually
from tests.monitoring.figures import scrape
from tests.servers import create_database

ENGINES = [EMBEDDED, pytest.param(*STANDIN.values, marks=[*STANDIN.marks, pytest.mark.slow])]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_worker_is_asked_whether_it_lives(engine: str, postgres_url: str, redis_url: str) -> None:
    database_url = await create_database(postgres_url, f"probes_{uuid4().hex[:8]}")
    port = free_port()
    async with open_plant(
        engine, database_url=database_url, redis_url=redis_url, journeys=["tests.engine.scripts"]
    ) as plant:
        await plant.staffed(HOGSEND_WORKER_METRICS_PORT=port)
        run = await plant.begin("ping", plant.somebody())
        await plant.until(run, "status = 'completed'")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert [(await http.get(path)).status_code for path in ("/livez", "/readyz")] == [200, 200]
            told = await scrape(http)
            async with asyncio.timeout(60):
                while not told.of("hogsend_event_loop_lag_seconds_count"):  # looked at once a second
                    await asyncio.sleep(0.1)
                    told = await scrape(http)
        assert told.of("hogsend_slices_total", state="done") == 1
        assert told.of("hogsend_sends_total", outcome="sent") == 1
        assert told.of("hogsend_cron_runs_total", cron="heartbeat", outcome="done") >= 1
        assert await plant.worker.stop() == 0, plant.told()


async def test_a_port_that_is_taken_is_named(database_url: str, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        api = ApiProcess(
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "HOGSEND_EMAIL_PROVIDER": "memory",
                "HOGSEND_METRICS_PORT": port,
            }
        )
        try:
            api.start()
            await eventually(lambda: not api.lives, within=60)
            assert f"HOGSEND_METRICS_PORT: 127.0.0.1:{port} cannot be listened on" in api.output
        finally:
            api.close()
