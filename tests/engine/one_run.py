"""One run, and what the engine was told of it."""

from __future__ import annotations

from uuid import UUID

from hogsend.runtime import Runtime
from tests.driving import rows, send_event


async def enrolled(runtime: Runtime, event: str = "signup") -> UUID:
    (enrollment,) = (await send_event(runtime, event)).enrollments
    assert enrollment.state_id is not None
    return enrollment.state_id


async def generation(runtime: Runtime) -> int:
    (state,) = await rows(runtime, "SELECT generation FROM journey_states")
    return int(state.generation)


async def starts(runtime: Runtime) -> list[int]:
    query = "SELECT payload FROM outbox WHERE topic = 'run.start' ORDER BY id"
    return [row.payload["generation"] for row in await rows(runtime, query)]
