"""An API and a worker as processes, and a collector: one trace over both, on each engine."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from tests.conftest import ADMIN_KEY
from tests.engine.plant import EMBEDDED, STANDIN, open_plant
from tests.engine.worker_process import ApiProcess, eventually
from tests.servers import create_database
from tests.telemetry.collector import Collector

ENGINES = [EMBEDDED, pytest.param(*STANDIN.values, marks=[*STANDIN.marks, pytest.mark.slow])]


@pytest.mark.parametrize("engine", ENGINES)
async def test_one_trace_over_processes(engine: str, postgres_url: str, redis_url: str) -> None:
    database_url = await create_database(postgres_url, f"traces_{uuid4().hex[:8]}")
    async with (
        Collector() as collector,
        open_plant(
            engine, database_url=database_url, redis_url=redis_url, journeys=["tests.engine.scripts"]
        ) as plant,
    ):
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        api = ApiProcess({**plant.environment, **told, "ADMIN_API_KEY": ADMIN_KEY})
        try:
            api.start()
            await plant.staffed(**told)
            ada = plant.somebody()
            headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
            async with httpx.AsyncClient(base_url=api.url, headers=headers) as http:
                await eventually(lambda: _answers(api), within=60)
                event = {"name": "ping", "userId": ada, "email": ada, "eventProperties": {}}
                answer = await http.post("/v1/events", json=event)
            assert answer.status_code == 202, answer.text
            names = ("POST /v1/events", "journey brief", "send email")
            await eventually(lambda: all(collector.named(name) for name in names))
        finally:
            api.close()
        request, slice_of, sent = (collector.one(name) for name in names)
        assert {request.trace, slice_of.trace, sent.trace} == {request.trace}
        assert (request.service, slice_of.service, sent.service) == (
            "hogsend-api",
            "hogsend-worker",
            "hogsend-worker",
        )
        assert (slice_of.parent, sent.parent) == (request.span, slice_of.span)
        plant.got(ada, "Welcome")


def _answers(api: ApiProcess) -> bool:
    try:
        return httpx.get(f"{api.url}/livez", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
