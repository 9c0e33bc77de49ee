"""Probes, `/livez` and `/readyz`, and Prometheus' `/metrics`: on the API's port, and on one of their own."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hogsend.health import Readiness, readiness
from hogsend.monitoring.exposition import CONTENT_TYPE, Exposition
from hogsend.monitoring.loop_lag import LoopLag
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError

log = structlog.get_logger(__name__)

NO_STORE = {"Cache-Control": "no-store"}


async def livez(_request: Request) -> Response:
    """200 while the process answers at all. It asks nobody: a process is not restarted for what something else has."""
    return PlainTextResponse("ok\n", headers=NO_STORE)


async def readyz(request: Request) -> Response:
    """200 where the process should get work, else 503; with each dependency, and the reasons against it."""
    found = await readiness(request.app.state.runtime)
    return Response(
        orjson.dumps(_shown(found)),
        200 if found.ready else 503,
        NO_STORE,
        media_type="application/json",
    )


def _shown(found: Readiness) -> dict[str, Any]:
    return {
        "status": "ready" if found.ready else "not_ready",
        "reasons": list(found.reasons),
        "dependencies": {
            each.name: {"up": each.up, "required": each.required} for each in found.dependencies
        },
    }


async def metrics(request: Request) -> Response:
    """Prometheus' text, to whoever has the key; on the API's port there must be one."""
    runtime: Runtime = request.app.state.runtime
    key = runtime.settings.metrics_key
    if key is None and not getattr(request.app.state, "has_own_port", False):
        return PlainTextResponse("Not Found\n", 404)
    if key is not None and not _opens(request.headers.get("authorization", ""), key.get_secret_value()):
        return PlainTextResponse(
            "Send Authorization: Bearer, and HOGSEND_METRICS_KEY\n", 401, {"WWW-Authenticate": "Bearer"}
        )
    return Response(await runtime.part(Exposition).text(), headers=NO_STORE | {"Content-Type": CONTENT_TYPE})


def _opens(authorization: str, key: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    is_same = hmac.compare_digest(given.strip().encode("utf-8", "surrogatepass"), key.encode())
    return is_same and scheme.lower() == "bearer"


routes = [
    Route("/livez", livez, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
]


@asynccontextmanager
async def monitored(runtime: Runtime, port: int | None, variable: str) -> AsyncIterator[None]:
    """Measure this process's loop, and serve `routes` on a port of their own, where one is set by `variable`.

    Raises `SettingsError` where the port cannot be had.
    """
    runtime.part(LoopLag)
    if port is None:
        yield
        return
    listener = _listen(runtime.settings, port, variable)
    app = Starlette(routes=routes)
    app.state.runtime = runtime
    app.state.has_own_port = True
    server = _server(app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    log.info("monitoring_on", host=runtime.settings.metrics_host, port=listener.getsockname()[1])
    try:
        yield
    finally:
        server.should_exit = True
        await serving
        listener.close()


def _listen(settings: Settings, port: int, variable: str) -> socket.socket:
    try:
        return socket.create_server((settings.metrics_host, port), reuse_port=False)
    except OSError as error:
        raise SettingsError(
            [f"{variable}: {settings.metrics_host}:{port} cannot be listened on: {error.strerror}"]
        ) from None


def _server(app: Starlette) -> Any:
    """Uvicorn is imported by who serves alone."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """The process has its own way to end."""
            yield

    return Server(
        uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
