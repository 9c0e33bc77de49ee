"""Public routes for readers of emails, without a key: open pixel, tracked links, unsubscribe, preference centre."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any
from uuid import UUID

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import Row, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message

from hogsend.access.client_address import address_of
from hogsend.consent import preference_centre as preferences
from hogsend.consent import tokens
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.emails.tracking.visits import Visit
from hogsend.rest.errors import NOT_FOUND, error_response
from hogsend.rest.visit_limit import WINDOW_SECONDS, VisitLimit
from hogsend.runtime import Runtime
from hogsend.storage.bounded_wait import at_most
from hogsend.storage.unreachable import retry_seconds, unreachable
from hogsend.tables.emails import email_links
from hogsend.telemetry.counters import VISITS_UNCOUNTED

log = structlog.get_logger(__name__)

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
LONGEST_AGENT = 512
MOST_CATEGORIES = 100
LONGEST_FORM = 65_536
LONGEST_WAIT = 3.0
"""Seconds that a reader waits for what is left out rather than waited for: their own body, or Postgres."""
_WAYS = ("save", "unsubscribe", "resubscribe")

_NO_STORE = {"Cache-Control": "no-store, max-age=0", "X-Robots-Tag": "noindex"}
_PAGE_HEADERS = {
    **_NO_STORE,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_pages = Environment(
    loader=PackageLoader("hogsend.serving", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
_pages.filters["words"] = lambda name: name.replace("-", " ").replace("_", " ").capitalize()


async def open_pixel(request: Request) -> Response:
    """GET /v1/t/o/{id}: always the picture, whatever became of the fact."""
    email_id = _uuid(request.path_params["id"])
    if email_id is not None and request.method == "GET":
        await _record(request, email_id, "opened", _visit(request))
    return Response(PIXEL, media_type="image/gif", headers=_NO_STORE)


async def click(request: Request) -> Response:
    """GET /v1/t/c/{id}: to the address that the email held, and never to one from the request."""
    link_id = _uuid(request.path_params["id"])
    runtime: Runtime = request.app.state.runtime
    try:
        link = await at_most(LONGEST_WAIT, _find_link(runtime, link_id))
    except Exception as error:
        if not unreachable(error):
            raise
        log.warning("link_not_found_now", error=type(error).__name__)
        return _page("later", 503, headers={"Retry-After": str(retry_seconds(error))})
    if link is None:
        return error_response(404, NOT_FOUND)
    if request.method == "GET":
        visit = replace(_visit(request), link_id=link.id, url=link.url)
        await _record(request, link.email_id, "clicked", visit)
    return RedirectResponse(link.url, 302, headers=_NO_STORE)


async def _find_link(runtime: Runtime, link_id: UUID | None) -> Row[Any] | None:
    async with runtime.database.read() as conn:
        return (await conn.execute(select(email_links).where(email_links.c.id == link_id))).one_or_none()


def _for_reader(
    page: Callable[[Request, tokens.ReaderToken, str], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A page for whoever the `token` of the query names; where it is bad or expired, a page that says so."""

    @wraps(page)
    async def endpoint(request: Request) -> Response:
        runtime: Runtime = request.app.state.runtime
        token = request.query_params.get("token", "")
        try:
            reader = tokens.read(runtime.settings.secret_key, runtime.clock, token)
        except tokens.BadToken as error:
            return _page("problem", 400, expired=error.expired)
        return await page(request, reader, token)

    return endpoint


@_for_reader
async def unsubscribe(request: Request, reader: tokens.ReaderToken, token: str) -> Response:
    """GET shows what would happen and changes nothing; POST does it, from the page or in one click (RFC 8058)."""
    runtime: Runtime = request.app.state.runtime
    if request.method != "POST":
        return _page("unsubscribe", email=reader.email, category=reader.category, token=token)
    form = await _form_or_none(request)
    category = reader.category if form is not None and form.get("scope") == "category" else None
    source = "form" if form is not None and "scope" in form else "one-click"
    await preferences.unsubscribe(runtime, reader, category=category, source=source)
    page = _page("unsubscribed", email=reader.email, category=category, token=token)
    if form is None:
        # The rest of the body is not read.
        page.headers["Connection"] = "close"
    return page


async def _form_or_none(request: Request) -> FormData | None:
    """The form of a request; None where it cannot be read, is long or slow, or breaks off.

    Mail clients send what they like, and each click counts.
    """
    body = b""
    try:
        async with asyncio.timeout(LONGEST_WAIT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_FORM:
                    raise ValueError("long")
        return await Request(request.scope, _of(body)).form()
    except Exception as error:
        log.info("unsubscribe_body_unread", error=type(error).__name__)
        return None


def _of(body: bytes) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


@_for_reader
async def preference_centre(request: Request, reader: tokens.ReaderToken, token: str) -> Response:
    """GET shows what the reader chose; POST saves what they choose now."""
    runtime: Runtime = request.app.state.runtime
    heard = True
    if request.method == "POST":
        form = await request.form()
        # Whoever opts out is always heard; going to and fro writes the ledger full.
        if form.get("do") != "unsubscribe" and not runtime.part(VisitLimit).allows(address_of(request)):
            return error_response(429, "Too many requests", headers={"Retry-After": str(WINDOW_SECONDS)})
        heard = form.get("do") in _WAYS
        if heard:
            await _save(runtime, reader, form)
    chosen = await preferences.choices(runtime, reader)
    return _page(
        "preferences",
        200 if heard else 400,
        email=reader.email,
        token=token,
        saved=heard and request.method == "POST",
        heard=heard,
        suppressed=chosen.suppressed,
        unsubscribed_all=chosen.unsubscribed_all,
        categories=chosen.categories,
    )


async def _save(runtime: Runtime, reader: tokens.ReaderToken, form: FormData) -> None:
    """Write what the reader changed on the page. What it showed and they left may have been changed elsewhere since."""
    if form.get("do") == "unsubscribe":
        await preferences.unsubscribe(runtime, reader, category=None, source="preference-centre")
        return
    offered = (await preferences.choices(runtime, reader)).categories
    known = [str(name) for name in form.getlist("known")[:MOST_CATEGORIES] if name in offered]
    was_refused = {str(name) for name in form.getlist("refused")}
    wanted = {str(name) for name in form.getlist("category")}
    changed = [name for name in known if (name in wanted) == (name in was_refused)]
    await preferences.choose(
        runtime, reader, known=changed, wanted=wanted, resubscribe=form.get("do") == "resubscribe"
    )


def _visit(request: Request) -> Visit:
    return Visit(
        ip_address=address_of(request),
        user_agent=request.headers.get("user-agent", "")[:LONGEST_AGENT] or None,
    )


async def _record(request: Request, email_id: UUID, type: str, visit: Visit) -> None:
    """Record what a reader did, where their address has not done too much of it already.

    Where the database does not answer, the reader still gets what they came for.
    """
    runtime: Runtime = request.app.state.runtime
    if not runtime.part(VisitLimit).allows(visit.ip_address):
        VISITS_UNCOUNTED.labels(type).inc()
        return
    try:
        await at_most(LONGEST_WAIT, _keep(runtime, email_id, type, visit))
    except (SQLAlchemyError, OSError) as error:
        told = {"error": error.__class__.__name__} if unreachable(error) else {"exc_info": error}
        log.error("tracking_lost", email_id=str(email_id), type=type, **told)


async def _keep(runtime: Runtime, email_id: UUID, type: str, visit: Visit) -> None:
    async with runtime.database.transaction() as conn:
        await record_fact(conn, email_id=email_id, type=type, at=runtime.clock.now(), visit=visit)


def _page(
    name: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    page = _pages.get_template(f"{name}.html.j2").render(values)
    return HTMLResponse(page, status, headers={**_PAGE_HEADERS, **(headers or {})})


def _uuid(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


routes = [
    Route("/v1/t/o/{id}", open_pixel, methods=["GET"]),
    Route("/v1/t/c/{id}", click, methods=["GET"]),
    Route("/v1/email/unsubscribe", unsubscribe, methods=["GET", "POST"]),
    Route("/v1/email/preferences", preference_centre, methods=["GET", "POST"]),
]
