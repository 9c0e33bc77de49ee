"""GraphiQL, served from here: it works without a network, and its example tabs without reading anything first."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import orjson
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from hogsend.serving.examples import EXAMPLES
from hogsend.settings import Settings

STATIC = Path(__file__).parent / "static"

_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'"
)


def static_files() -> StaticFiles:
    """Scripts and styles, of GraphiQL and of the page around it."""
    return StaticFiles(directory=STATIC)


def graphiql(settings: Settings) -> Response:
    """The page. In development the admin key is filled in already; nowhere else does a page know a key."""
    key = settings.admin_api_key.get_secret_value() if settings.dev and settings.admin_api_key else None
    config = orjson.dumps({"key": key, "tabs": [{"query": text} for text in EXAMPLES]}).decode()
    page = _page().replace("{{config}}", config.replace("<", "\\u003c"))
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})


@cache
def _page() -> str:
    return (STATIC / "page.html").read_text()
