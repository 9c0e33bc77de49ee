"""A fixed rate of events, reads and streams, for as long as one likes: nothing is lost and nothing grows.

`HOGSEND_SOAK_SECONDS=3600 pytest tests/faults/test_soak.py -s` prints a sample each half minute.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import astuple, fields
from itertools import pairwise
from statistics import median

import asyncpg
import pytest

from hogsend.clock import SystemClock
from hogsend.settings import Settings
from hogsend.storage.stopping import stop
from tests.faults.soak import Deployment, Load, Sample, deployed, sample
from tests.faults.soak_journeys import LISTENERS

SECONDS = float(os.environ.get("HOGSEND_SOAK_SECONDS", "3"))
RATE = float(os.environ.get("HOGSEND_SOAK_RATE", "20" if SECONDS < 60 else "5"))
SAMPLES_EVERY = 30.0
# A shorter run is still filling its caches and pools.
LONG_ENOUGH = 600.0

UNDECIDED = """
SELECT e.name, j.journey, count(d.id) AS verdicts
FROM user_events e
JOIN unnest($1::text[], $2::text[]) AS j(event, journey) ON j.event = e.name
LEFT JOIN decisions d ON d.event_id = e.id AND d.journey_id = j.journey AND d.kind IN ('enrolled', 'skipped')
GROUP BY e.id, e.name, j.journey HAVING count(d.id) <> 1
"""
WITHOUT_THEIR_SEND = """
SELECT d.id, count(s.id) FROM decisions d LEFT JOIN email_sends s
  ON s.id = d.email_id AND s.status NOT IN ('queued', 'rendered')
WHERE d.kind = 'send' GROUP BY d.id HAVING count(s.id) <> 1
"""
SENDS_TWICE_DECIDED = """
SELECT email_id FROM decisions WHERE kind = 'send' GROUP BY email_id HAVING count(*) <> 1
"""
# What a run that was ended leaves on its way out is settled by a sweep, once a minute.
UNFINISHED = """
SELECT 'run ' || status AS what, count(*) FROM journey_states
  WHERE status IN ('pending', 'active', 'waiting') GROUP BY 1
UNION ALL SELECT 'send ' || status, count(*) FROM email_sends WHERE status IN ('queued', 'rendered') GROUP BY 1
UNION ALL SELECT 'outbox ' || topic, count(*) FROM outbox WHERE published_at IS NULL GROUP BY 1
UNION ALL SELECT 'job ' || kind, count(*) FROM jobs WHERE status IN ('pending', 'running') GROUP BY 1
"""
PATIENCE = 180.0


@pytest.mark.slow
async def test_a_fixed_rate_for_a_while(settings: Settings, clean: None) -> None:
    async with deployed(settings.database_url, settings.redis_url, SystemClock()) as deployment:
        load = Load(deployment, RATE)
        samples: list[Sample] = []
        sampling = asyncio.create_task(_sample_on(deployment, load, samples))
        await load.run(SECONDS)
        await _all_done(settings.database_url)
        await stop(sampling)
        assert load.streamed
        assert deployment.api.lives and deployment.worker.lives
        await _conserved(settings.database_url, deployment, load)
        for process in (deployment.api, deployment.worker):
            assert await process.stop() in (0, -15), process.output
        if SECONDS >= LONG_ENOUGH:
            _flat(samples)


async def _sample_on(deployment: Deployment, load: Load, samples: list[Sample]) -> None:
    began = asyncio.get_running_loop().time()
    print("\n" + " ".join(field.name for field in fields(Sample)), flush=True)
    while True:
        samples.append(await sample(deployment, load, asyncio.get_running_loop().time() - began))
        print(*astuple(samples[-1]), flush=True)
        await asyncio.sleep(SAMPLES_EVERY)


async def _all_done(database_url: str) -> None:
    """Wait for as long as it gets on: a busy machine may be behind."""
    loop = asyncio.get_running_loop()
    connection = await asyncpg.connect(database_url)
    before: list[asyncpg.Record] = []
    deadline = loop.time() + PATIENCE
    while left := await connection.fetch(UNFINISHED):
        if left != before:
            before, deadline = left, loop.time() + PATIENCE
        assert loop.time() < deadline, f"these do not get on: {left}"
        await asyncio.sleep(0.1)
    await connection.close()


async def _conserved(database_url: str, deployment: Deployment, load: Load) -> None:
    connection = await asyncpg.connect(database_url)
    told = await connection.fetchval("SELECT count(*) FROM user_events WHERE name LIKE 'soak.%'")
    assert told == len(load.keys), "each event that was answered is there, once"
    listening = [(event, journey) for event, journeys in LISTENERS.items() for journey in journeys]
    events, journeys = zip(*listening, strict=True)
    assert await connection.fetch(UNDECIDED, list(events), list(journeys)) == []
    assert await connection.fetch(WITHOUT_THEIR_SEND) == []
    assert await connection.fetch(SENDS_TWICE_DECIDED) == []
    assert await connection.fetchval("SELECT count(*) FROM dead_letters") == 0
    ends = {row["status"] for row in await connection.fetch("SELECT DISTINCT status FROM journey_states")}
    assert ends <= {"completed", "exited"}
    sent = await connection.fetch("SELECT id::text FROM email_sends WHERE message_id IS NOT NULL")
    await connection.close()
    assert deployment.resend.by_key == Counter(row["id"] for row in sent)
    to_whom = Counter((email.to, email.body["subject"]) for email in deployment.resend.accepted)
    assert to_whom and set(to_whom.values()) == {1}, "nobody got anything twice"


def _flat(samples: list[Sample]) -> None:
    """The last quarter looks like the second one."""
    quarter = len(samples) // 4
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    for name, allowed in (
        ("api_memory", 15.0),
        ("worker_memory", 15.0),
        ("api_files", 3),
        ("worker_files", 3),
        ("database", 3),
        ("redis", 2),
    ):
        was, became = (median(getattr(each, name) for each in part) for part in (before, after))
        assert became - was <= allowed, f"{name} grew from {was} to {became}"
    for one, next_one in pairwise(samples):
        assert next_one.events >= one.events
