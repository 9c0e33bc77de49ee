"""`hogsend api`."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from hogsend.cli.loading import loading
from hogsend.cli.supervised import Supervised, begin_and_end_with_supervisor

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from hogsend.settings import Settings

LONGEST_FRAME = 2**20
"""Bytes of one WebSocket message: longer ones close the socket before anything looks at them."""


def server_config(settings: Settings, app: ASGIApp, environ: Mapping[str, str]) -> uvicorn.Config:
    """How uvicorn serves the application."""
    import uvicorn

    from hogsend.access.client_address import trusted_proxies

    proxies = trusted_proxies(environ)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        ws_max_size=LONGEST_FRAME,
        ws="websockets-sansio",
        # Each message would be compressed for each reader, which doubles what it costs.
        ws_per_message_deflate=False,
    )


def api(
    fd: Annotated[int | None, typer.Option(hidden=True, help="A listening socket to take over.")] = None,
    supervised: Supervised = "",
) -> None:
    """Serve GraphQL, REST and the data plane on HOGSEND_HOST and HOGSEND_PORT."""
    with loading():
        import uvicorn

        from hogsend.app import create_app
        from hogsend.boot import load_project, warn_of_unsent_email
        from hogsend.logs import configure_logs
        from hogsend.settings import load_serving_settings

    if supervised:
        begin_and_end_with_supervisor()
    settings = load_serving_settings()
    configure_logs(settings)
    warn_of_unsent_email(settings)
    # Said here in a line; what goes wrong when the application starts, uvicorn tells with a traceback.
    project = load_project(settings)
    server = uvicorn.Server(server_config(settings, create_app(settings, project=project), os.environ))
    server.run(sockets=[socket.socket(fileno=fd)] if fd is not None else None)
    if not server.started:
        raise SystemExit(3)
