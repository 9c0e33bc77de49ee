"""Real worker processes, killed without warning, over and over: every person's emails are those of a quiet run."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

from hogsend.boot import open_runtime
from hogsend.events.ingest import IngestInput, ingest
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import rows

SPEED = 172_800.0
PEOPLE = int(os.environ.get("HOGSEND_KILL_PEOPLE", "24"))
KILLS = int(os.environ.get("HOGSEND_KILLS", "2"))


@asynccontextmanager
async def worker(settings: Settings):
    env = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "HOGSEND_SPEED": str(SPEED),
        "HOGSEND_EMAIL_PROVIDER": "inbox",
        "HOGSEND_SECRET_KEY": "test-secret-key",
        "HOGSEND_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "worker", env=env)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_workers_killed_without_warning_send_what_a_quiet_run_sends(
    settings: Settings, clean: None
) -> None:
    async with AsyncExitStack() as stack:
        mine = settings.model_copy(update={"speed": SPEED, "email_provider": "inbox"})
        runtime = await stack.enter_async_context(open_runtime(mine))
        want = await enrol(runtime)
        rng = random.Random(3)
        for _ in range(KILLS):
            async with worker(settings) as process:
                before = await delivered(runtime)
                while await delivered(runtime) == before and await live(runtime):
                    await asyncio.sleep(0.02)
                await asyncio.sleep(rng.random() * 0.4)
                process.send_signal(signal.SIGKILL)
                await process.wait()
        async with worker(settings) as process:
            while await live(runtime):
                assert process.returncode is None
                await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
        got = Counter(
            (m.to_email, m.template)
            for m in await rows(
                runtime,
                "SELECT m.to_email, s.template_key AS template FROM inbox_messages m"
                " JOIN email_sends s ON s.id::text = m.idempotency_key",
            )
        )
        assert got == want
        ended = await rows(runtime, "SELECT DISTINCT status FROM journey_states")
        assert [row.status for row in ended] == ["completed"]


async def enrol(runtime: Runtime) -> Counter[tuple[str, str]]:
    """Start the shipped journeys for everyone. Returns what each person must get."""
    want: Counter[tuple[str, str]] = Counter()
    for index in range(PEOPLE):
        email = f"person{index}@example.com"
        if index % 3 == 0:
            events, emails = (
                ["payment.failed"],
                ["payment-failed", "payment-reminder", "payment-final-notice"],
            )
        elif index % 3 == 1:
            events, emails = ["user.signed_up", "project.created"], ["welcome", "activation-congrats"]
        else:
            events, emails = ["user.signed_up"], ["welcome", "activation-nudge"]
        for name in events:
            await ingest(
                runtime, IngestInput(name=name, email=email, properties={"invoice": "1", "amount": 9})
            )
        want.update((email, template) for template in emails)
    return want


async def delivered(runtime: Runtime) -> int:
    return int((await rows(runtime, "SELECT count(*) AS n FROM inbox_messages"))[0].n)


async def live(runtime: Runtime) -> int:
    query = "SELECT count(*) AS n FROM journey_states WHERE status IN ('pending', 'active', 'waiting')"
    return int((await rows(runtime, query))[0].n)
