"""The ASGI application: every route in one list."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from hogsend.access.under_way import UnderWay
from hogsend.boot import Project, keep_what_started, load_project, open_runtime
from hogsend.errors import HogsendError
from hogsend.health import Uptime
from hogsend.monitoring import probes
from hogsend.monitoring.requests import Measured, name_routes
from hogsend.realtime.live import Live
from hogsend.rest import admin, exports, health, openapi, public, webhooks
from hogsend.rest.allowed_hosts import HostCheck
from hogsend.rest.data_plane import routes as data_plane
from hogsend.rest.errors import on_hogsend_error, on_http_exception
from hogsend.rest.middleware import BodyLimit, Deadline, RequestId
from hogsend.runtime import Runtime
from hogsend.serving import dev_inbox as inbox
from hogsend.serving.graphiql import static_files
from hogsend.serving.http import GraphQLEndpoint
from hogsend.serving.pace import PacedSockets
from hogsend.serving.server import GraphQLServer
from hogsend.serving.ws import GraphQLSocket
from hogsend.settings import Settings

MEBIBYTE = 2**20
BODY_LIMIT = MEBIBYTE
BODY_LIMITS = (
    ("/v1/admin/contacts/import", 64 * MEBIBYTE),
    ("/graphql", 16 * MEBIBYTE),
    ("/v1/events/batch", 8 * MEBIBYTE),
    # It reads the beginning alone, and counts a click whatever comes with it.
    ("/v1/email/unsubscribe", sys.maxsize),
)


def routes(settings: Settings) -> Sequence[BaseRoute]:
    """Every route of the application."""
    return [
        Route("/graphql", GraphQLEndpoint(), methods=None),
        WebSocketRoute("/graphql", GraphQLSocket()),
        Mount("/graphql/static", static_files()),
        *health.routes,
        *probes.routes,
        *openapi.routes,
        *exports.routes,
        *admin.routes,
        *admin.unanswered_routes,
        *data_plane.routes,
        *webhooks.routes,
        *public.routes,
        *(_development() if settings.dev else ()),
    ]


def _development() -> Sequence[BaseRoute]:
    """What only a developer's own machine shows."""
    return [*inbox.routes, Route("/", lambda _request: RedirectResponse("/graphql"))]


def create_app(
    settings: Settings, runtime: Runtime | None = None, project: Project | None = None
) -> Starlette:
    """The application. Without a `runtime`, it opens one when it starts and closes it when it stops.

    What `load_project` made may be given; else it is made then.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if runtime is not None:
            yield
            return
        templates, registry = project or load_project(settings)
        async with open_runtime(
            settings, templates=templates, registry=registry, application="hogsend-api"
        ) as opened:
            app.state.runtime = opened
            # Made now, so that what is wrong with them is said at start and not on the first request.
            opened.part(GraphQLServer)
            opened.part(Uptime)
            under_way = opened.part(UnderWay)
            async with probes.monitored(opened, settings.metrics_port, "HOGSEND_METRICS_PORT"):
                with _DrainOnSignal(opened):
                    keep_what_started()
                    yield
            await under_way.drain()

    app = Starlette(
        routes=routes(settings),
        lifespan=lifespan,
        middleware=[
            Middleware(Measured),
            Middleware(PacedSockets),
            Middleware(RequestId),
            Middleware(HostCheck, settings=settings),
            Middleware(Deadline),
            Middleware(BodyLimit, default=BODY_LIMIT, limits=BODY_LIMITS),
        ],
        exception_handlers={HTTPException: on_http_exception, HogsendError: on_hogsend_error},
    )
    name_routes(app.routes)
    if runtime is not None:
        app.state.runtime = runtime
    return app


class _DrainOnSignal:
    """End live streams when the process is told to stop.

    A server waits for open connections before it ends the lifespan, so streams that only ended there would
    hold it up: the signal is heard beside the server's own handler.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._previous: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                server_handler = signal.getsignal(number)
                if callable(server_handler):
                    self._previous[number] = server_handler
                    signal.signal(number, self._heard)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(lambda: self._runtime.part(Live).draining.set())
        self._previous[number](number, frame)
