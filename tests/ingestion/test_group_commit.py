"""Single events that come together share a transaction, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from hogsend.events.event import NewEvent
from hogsend.ingestion.group_commit import GroupCommit
from hogsend.ingestion.ingest import ingest
from hogsend.runtime import Runtime
from hogsend.storage.database import lock_subjects
from tests.driving import rows, statements


def seen(number: int, **properties: object) -> NewEvent:
    return NewEvent("seen", external_id=f"u{number}", properties=properties)


async def test_events_that_come_together_share_transactions(runtime: Runtime) -> None:
    with statements(runtime.database) as asked:
        results = await asyncio.gather(*(ingest(runtime, seen(number)) for number in range(60)))
    assert all(one.stored for one in results)
    assert len({one.contact_id for one in results}) == 60
    stored = await rows(runtime, "SELECT id FROM user_events")
    assert {row.id for row in stored} == {one.event_id for one in results}
    assert sum("INSERT INTO user_events" in one for one in asked) <= 3


async def test_what_is_wrong_with_one_reaches_no_other(runtime: Runtime, poisoned: None) -> None:
    events = [seen(number, **({"poison": 1} if number in (3, 11) else {})) for number in range(20)]
    results = await asyncio.gather(*(ingest(runtime, one) for one in events), return_exceptions=True)
    failed = [number for number, one in enumerate(results) if isinstance(one, Exception)]
    assert failed == [3, 11]
    assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 18


async def test_who_leaves_takes_nobody_along(runtime: Runtime) -> None:
    waiting = [asyncio.create_task(ingest(runtime, seen(number))) for number in range(20)]
    await asyncio.sleep(0)
    waiting[10].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results.pop(10), asyncio.CancelledError)
    assert len(await rows(runtime, "SELECT 1 FROM user_events")) == len(results) == 19


async def test_a_process_that_stops_answers_whoever_waits(runtime: Runtime) -> None:
    waiting = [asyncio.create_task(ingest(runtime, seen(number))) for number in range(20)]
    await asyncio.sleep(0)
    await runtime.part(GroupCommit).close()
    assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 20
    assert all(one.stored for one in await asyncio.gather(*waiting))


@pytest.mark.parametrize("names", [["external:u0"], ["contact"]])
async def test_who_waits_for_a_lock_keeps_nobody(runtime: Runtime, names: list[str]) -> None:
    first = await ingest(runtime, seen(0))
    async with runtime.database.transaction() as conn:
        await lock_subjects(conn, [str(first.contact_id) if name == "contact" else name for name in names])
        held = asyncio.create_task(ingest(runtime, seen(0)))
        others = await asyncio.gather(*(ingest(runtime, seen(number)) for number in range(1, 9)))
        assert all(one.stored for one in others)
        assert not held.done()
    assert (await held).contact_id == first.contact_id


async def test_one_persons_events_at_once_are_all_there(runtime: Runtime) -> None:
    results = await asyncio.gather(
        *(
            ingest(runtime, NewEvent("seen", external_id="ada", contact_properties={f"p{number}": number}))
            for number in range(12)
        )
    )
    assert len({one.contact_id for one in results}) == 1
    (contact,) = await rows(runtime, "SELECT properties FROM contacts")
    assert contact.properties == {f"p{number}": number for number in range(12)}
