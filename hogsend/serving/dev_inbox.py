"""The inbox of development: what was sent, as its readers would see it. Served only where `HOGSEND_DEV` is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import Row, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.tables.emails import email_sends, inbox_messages

PAGE = 60
MOST = 1000
VIEWS = ("page", "text", "headers", "source")

_messages = inbox_messages.c
_pages = Environment(
    loader=PackageLoader("hogsend.serving", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

# A message is somebody's HTML. It may show pictures, so that its pixel counts, and open its links; it runs nothing.
_MESSAGE_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src * data:; "
    "style-src 'unsafe-inline' *; font-src *"
)


async def index(request: Request) -> Response:
    """GET /dev/inbox: the list, newest first; as JSON with `?format=json` or by `Accept`.

    `to` is an exact address, `q` a part of an address or a subject, `limit` at most 1,000.
    """
    runtime = _runtime(request)
    wants_json = _wants_json(request)
    limit = _limit(request, 100 if wants_json else PAGE)
    to, q = request.query_params.get("to"), request.query_params.get("q", "").strip()
    async with runtime.database.read() as conn:
        total, rows = await _list(conn, to=to, q=q, limit=limit)
        if wants_json:
            return JSONResponse({"messages": [_json(row) for row in rows], "total": total})
        fates = await _fates(conn, rows)
    values = {"rows": [_line(row, fates) for row in rows], "total": total, "q": q, "selected": None}
    if "fragment" in request.query_params:
        return _page("_inbox_list", **values | {"selected": request.query_params["fragment"]})
    return _page("inbox", **values, message=None, view="page", views=VIEWS)


async def show(request: Request) -> Response:
    """GET /dev/inbox/{id}: one message; `?view=` is page, text, headers or source."""
    runtime = _runtime(request)
    async with runtime.database.read() as conn:
        row = await _get(conn, request.path_params["id"])
        if _wants_json(request):
            return JSONResponse(_json(row))
        total, rows = await _list(conn, to=None, q="", limit=PAGE)
        fates = await _fates(conn, [*rows, row])
    view = request.query_params.get("view", "page")
    return _page(
        "inbox",
        rows=[_line(each, fates) for each in rows],
        total=total,
        q="",
        selected=str(row["id"]),
        message=_json(row) | _line(row, fates),
        view=view if view in VIEWS else "page",
        views=VIEWS,
    )


async def page(request: Request) -> Response:
    """GET /dev/inbox/{id}/page: the message's own HTML, in a sandbox, for the frame."""
    async with _runtime(request).database.read() as conn:
        row = await _get(conn, request.path_params["id"])
    headers = {"Content-Security-Policy": _MESSAGE_POLICY, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(_clicks_open_tabs(row["message"]["html"]), headers=headers)


async def clear(request: Request) -> Response:
    """POST /dev/inbox/clear: empty the inbox. What was sent stays sent."""
    async with _runtime(request).database.transaction() as conn:
        await conn.execute(delete(inbox_messages))
    return RedirectResponse("/dev/inbox", 303)


async def _list(conn: AsyncConnection, *, to: str | None, q: str, limit: int) -> tuple[int, Sequence[Record]]:
    conditions = []
    if to:
        conditions.append(_messages.to_email == to.strip().lower())
    if q:
        conditions.append(
            or_(
                _messages.to_email.icontains(q, autoescape=True),
                _messages.subject.icontains(q, autoescape=True),
            )
        )
    total = (
        await conn.execute(select(func.count()).select_from(inbox_messages).where(*conditions))
    ).scalar_one()
    newest = (_messages.received_at.desc(), _messages.id.desc())
    found = await conn.execute(select(inbox_messages).where(*conditions).order_by(*newest).limit(limit))
    return total, found.mappings().all()


async def _get(conn: AsyncConnection, value: str) -> Record:
    try:
        message_id = UUID(value)
    except ValueError:
        raise HTTPException(404) from None
    found = await conn.execute(select(inbox_messages).where(_messages.id == message_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise HTTPException(404)
    return row


async def _fates(conn: AsyncConnection, rows: Sequence[Record]) -> dict[str, Row[Any]]:
    """What Hogsend knows of each message's send, by the key under which it was sent."""
    keys = [UUID(row["idempotency_key"]) for row in rows if _is_uuid(row["idempotency_key"])]
    found = await conn.execute(select(email_sends).where(email_sends.c.id.in_(keys)))
    return {str(row.id): row for row in found.all()}


def _line(row: Record, fates: Mapping[str, Row[Any]]) -> dict[str, Any]:
    fate = fates.get(row["idempotency_key"])
    return {
        "id": str(row["id"]),
        "to": row["to_email"],
        "subject": row["subject"],
        "at": row["received_at"],
        "template": fate.template_key if fate is not None else None,
        "journey": fate.journey_id if fate is not None else None,
        "status": fate.status if fate is not None else None,
    }


def _json(row: Record) -> dict[str, Any]:
    message = row["message"]
    return {
        "id": str(row["id"]),
        "to": row["to_email"],
        "from": row["from_email"],
        "replyTo": message["reply_to"],
        "subject": row["subject"],
        "idempotency_key": row["idempotency_key"],
        "html": message["html"],
        "text": message["text"],
        "headers": message["headers"],
        "tags": message["tags"],
        "receivedAt": _iso(row["received_at"]),
    }


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clicks_open_tabs(html: str) -> str:
    return html.replace("<head>", '<head><base target="_blank">', 1)


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def _limit(request: Request, default: int) -> int:
    value = request.query_params.get("limit", "")
    return min(int(value), MOST) if value.isascii() and value.isdigit() and len(value) < 9 else default


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return request.query_params.get("format") == "json" or (
        "application/json" in accept and "text/html" not in accept
    )


def _runtime(request: Request) -> Runtime:
    """Raises 404 in production: there is no such page there."""
    runtime: Runtime = request.app.state.runtime
    if not runtime.settings.dev:
        raise HTTPException(404)
    return runtime


def _page(name: str, **values: Any) -> HTMLResponse:
    page = _pages.get_template(f"{name}.html.j2").render(values)
    return HTMLResponse(page, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


routes = [
    Route("/dev/inbox", index, methods=["GET"]),
    Route("/dev/inbox/clear", clear, methods=["POST"]),
    Route("/dev/inbox/{id}", show, methods=["GET"]),
    Route("/dev/inbox/{id}/page", page, methods=["GET"]),
]
