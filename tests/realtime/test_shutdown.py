"""A real API process is told to stop: streams end with a cursor, another process goes on from it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.conftest import ADMIN_KEY
from tests.realtime.test_timeline_stream import events, snapshot, tell

PATIENCE = 60.0


@asynccontextmanager
async def api_process(settings: Settings) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """`hogsend api` on a free port, answering; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "ADMIN_API_KEY": ADMIN_KEY,
        "HOGSEND_PORT": str(port),
        "HOGSEND_EMAIL_PROVIDER": "inbox",
        "HOGSEND_SECRET_KEY": "test-secret-key-that-is-long-enough",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hogsend.cli",
        "api",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as http:
            while True:
                try:
                    await http.get(f"{url}/v1/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield url, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sigterm_ends_streams_with_a_cursor_that_another_process_takes_up(
    settings: Settings, client: httpx.AsyncClient, runtime: Runtime, live_server: str
) -> None:
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    await tell(client, "first")
    async with api_process(settings) as (url, process), events(url, after=cursor) as stream:
        _, data = await anext(stream)
        last = data["data"]["contactTimeline"]["cursor"]
        process.send_signal(signal.SIGTERM)
        _, data = await anext(stream)
        assert data["errors"][0]["extensions"] == {"code": "GOING_AWAY", "cursor": last}
        assert await anext(stream) == ("complete", None)
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() in (0, -signal.SIGTERM)
    await tell(client, "meanwhile")
    async with events(live_server, after=last) as stream:
        _, data = await anext(stream)
        assert data["data"]["contactTimeline"]["event"]["name"] == "meanwhile"
