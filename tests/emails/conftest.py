"""What tests about email share: people, sends, and the public routes as an application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import insert, select
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from hogsend.clock import ManualClock
from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.prepare import prepare
from hogsend.emails.sending.request import SendRequest
from hogsend.errors import HogsendError
from hogsend.rest import public, webhooks
from hogsend.rest.errors import on_hogsend_error, on_http_exception
from hogsend.rest.middleware import BodyLimit
from hogsend.runtime import Runtime
from hogsend.serving import dev_inbox as inbox
from hogsend.settings import Settings
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_preferences, contacts
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_events, email_sends
from tests.standins.resend import WEBHOOK_SECRET

MakePerson = Callable[..., Awaitable[dict[str, Any]]]
Prepare = Callable[..., Awaitable[UUID]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {
        "resend_webhook_secret": WEBHOOK_SECRET,
        "posthog_webhook_secret": "posthog-secret",
        "dev": True,
    }
    return Settings(**{**settings.model_dump(), **changes})


@pytest.fixture
async def site(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    """What anyone can reach without a key; redirects are not followed."""
    app = Starlette(
        routes=[*public.routes, *webhooks.routes, *inbox.routes],
        middleware=[Middleware(BodyLimit, default=1_000_000)],
        exception_handlers={HogsendError: on_hogsend_error, HTTPException: on_http_exception},
    )
    app.state.runtime = runtime
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hogsend.test") as client:
        yield client


@pytest.fixture
def person(runtime: Runtime, clock: ManualClock) -> MakePerson:
    """Make a contact; returns its row."""

    async def make(email: str | None = "ada@example.com", **values: Any) -> dict[str, Any]:
        now = clock.now()
        row = {
            "id": new_id(),
            "email": email,
            "properties": {},
            "first_seen_at": now,
            "last_seen_at": now,
            "created_at": now,
            "updated_at": now,
            **values,
        }
        async with runtime.database.transaction() as conn:
            await conn.execute(insert(contacts).values(row))
        return {"external_id": None, **row}

    return make


@pytest.fixture
def prepared(runtime: Runtime) -> Prepare:
    """Prepare one send to a person; returns its id."""

    async def make(
        contact: dict[str, Any] | None, template: str = "welcome", key: str = "send-1", **values: Any
    ) -> UUID:
        request = SendRequest(send_key=key, template=template, reason=Reason.API_ASKED, **values)
        async with runtime.database.transaction() as conn:
            return (await prepare(conn, runtime, contact, request)).email_id

    return make


async def the_send(runtime: Runtime, email_id: UUID) -> Any:
    async with runtime.database.read() as conn:
        return (await conn.execute(select(email_sends).where(email_sends.c.id == email_id))).one()


async def facts_of(runtime: Runtime, email_id: UUID) -> list[str]:
    """The types of a send's facts, in the order in which they were recorded."""
    async with runtime.database.read() as conn:
        found = await conn.execute(
            select(email_events.c.type).where(email_events.c.email_id == email_id).order_by(email_events.c.id)
        )
        return list(found.scalars())


async def preferences_of(runtime: Runtime, contact_id: UUID) -> Any:
    async with runtime.database.read() as conn:
        found = await conn.execute(
            select(contact_preferences).where(contact_preferences.c.contact_id == contact_id)
        )
        return found.one_or_none()


async def reasons_of(runtime: Runtime, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Reason and detail of each decision of a kind, in order."""
    async with runtime.database.read() as conn:
        found = await conn.execute(
            select(decisions.c.reason, decisions.c.detail)
            .where(decisions.c.kind == kind)
            .order_by(decisions.c.seq)
        )
        return [(row.reason, row.detail) for row in found.all()]
