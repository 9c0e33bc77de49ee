"""Health check, `GET /v1/health`: no key, and 200 while the process serves, whatever it says."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hogsend.clock import instant_text
from hogsend.health import Component, check_health
from hogsend.rest.errors import JSONResponse
from hogsend.runtime import Runtime


async def health(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    found = await check_health(runtime)
    schema = found.schema
    return JSONResponse(
        {
            "status": found.status,
            "uptime": round(found.uptime.total_seconds(), 3),
            "timestamp": instant_text(found.at),
            "version": found.version,
            "components": {
                "database": _component(found.database),
                "redis": _component(found.redis),
                "engine": _component(found.engine),
            },
            "schema": {
                "engine": {
                    "required": schema.required if schema else None,
                    "applied": schema.applied if schema else None,
                    "inSync": schema is not None and schema.in_sync,
                    "pending": list(schema.pending) if schema else [],
                }
            },
        }
    )


def _component(component: Component) -> dict[str, Any]:
    return {"status": "up" if component.up else "down", "latencyMs": component.latency_ms}


routes = [Route("/v1/health", health, methods=["GET"])]
