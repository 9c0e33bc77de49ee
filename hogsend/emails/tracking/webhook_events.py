"""Provider webhooks: events stored once each by their id, and recorded as soon as their send is known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.emails.tracking.delivery_events import apply_provider_event
from hogsend.emails.tracking.provider_consent import hear_resend
from hogsend.runtime import Runtime
from hogsend.tables.emails import email_sends, provider_events
from hogsend.telemetry.counters import PROVIDER_EVENTS

log = structlog.get_logger(__name__)

Taken = Literal["recorded", "known", "waiting", "ignored"]


_RESEND_FACTS = {
    "email.sent": "sent",
    "email.delivered": "delivered",
    "email.delivery_delayed": "delivery_delayed",
    "email.opened": "opened",
    "email.clicked": "clicked",
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.failed": "failed",
    # Resend itself keeps the address on its list and did not send.
    "email.suppressed": "failed",
}


async def take_resend_event(runtime: Runtime, event_id: str, body: Mapping[str, Any]) -> Taken:
    """Take one verified webhook in. Safe to repeat, in any order, and before our own `sent` is committed.

    Two transactions: the event is kept first, so that a send that commits meanwhile finds it; then the send is
    looked for. A repeated delivery of an event whose second half was lost finishes it.
    """
    data = body.get("data")
    data = data if isinstance(data, Mapping) else {}
    fact = _fact(runtime.clock, str(body.get("type")), body, data)
    message_id = data.get("email_id") if isinstance(data.get("email_id"), str) else None
    async with runtime.database.transaction() as conn:
        known = await _keep(conn, runtime.clock, event_id, str(body.get("type")), message_id, fact, body)
        said_at = _instant(runtime.clock, body.get("created_at"))
        heard = not known and await hear_resend(conn, runtime.clock, str(body.get("type")), data, said_at)
    outcome: Taken
    if known:
        outcome = "known"
    elif fact is None:
        outcome = "recorded" if heard else "ignored"
    else:
        outcome = await _settle_one(runtime, event_id, _tagged(data))
    PROVIDER_EVENTS.labels("resend", outcome).inc()
    return outcome


async def match_stragglers(runtime: Runtime, limit: int = 100) -> None:
    """Record stored events whose send has become known since. Scheduled; safe to call at any time."""
    events, sends = provider_events.c, email_sends.c
    async with runtime.database.read() as conn:
        found = await conn.execute(
            select(events.id, sends.id)
            .join(email_sends, sends.message_id == events.message_id)
            .where(events.processed_at.is_(None))
            .limit(limit)
        )
        pairs = found.all()
    for event_id, email_id in pairs:
        async with runtime.database.transaction() as conn:
            event = (await conn.execute(select(provider_events).where(events.id == event_id))).one()
            recorded = await apply_provider_event(conn, runtime.clock, event, email_id)
        PROVIDER_EVENTS.labels(event.provider, "recorded" if recorded else "known").inc()


async def _keep(
    conn: AsyncConnection,
    clock: Clock,
    event_id: str,
    type: str,
    message_id: str | None,
    fact: Mapping[str, Any] | None,
    body: Mapping[str, Any],
) -> bool:
    """Store the event. True where it was stored before and is dealt with."""
    now = clock.now()
    written = await conn.execute(
        insert(provider_events)
        .values(
            id=event_id,
            provider="resend",
            type=type,
            message_id=message_id,
            payload={"fact": fact, "body": body},
            received_at=now,
            processed_at=now if fact is None else None,
        )
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(provider_events.c.id)
    )
    if written.scalar_one_or_none() is not None:
        return False
    before = await conn.execute(
        select(provider_events.c.processed_at).where(provider_events.c.id == event_id)
    )
    return before.scalar_one() is not None


async def _settle_one(runtime: Runtime, event_id: str, tagged: UUID | None) -> Taken:
    async with runtime.database.transaction() as conn:
        event = (await conn.execute(select(provider_events).where(provider_events.c.id == event_id))).one()
        email_id = await _find_send(conn, event.message_id, tagged)
        if email_id is None:
            log.info("provider_event_waits", event_id=event_id, type=event.type)
            return "waiting"
        return "recorded" if await apply_provider_event(conn, runtime.clock, event, email_id) else "known"


async def _find_send(conn: AsyncConnection, message_id: str | None, tagged: UUID | None) -> UUID | None:
    """By our own tag first: it is known before the provider's id is."""
    keys = [(email_sends.c.id, tagged), (email_sends.c.message_id, message_id)]
    for column, value in keys:
        if value is not None:
            found = await conn.execute(select(email_sends.c.id).where(column == value).limit(1))
            email_id: UUID | None = found.scalar_one_or_none()
            if email_id is not None:
                return email_id
    return None


def _tagged(data: Mapping[str, Any]) -> UUID | None:
    """The `email_id` that `compose` put on the message. Resend gives tags as an object, or as name and value."""
    tags = data.get("tags")
    if isinstance(tags, list):
        tags = {tag.get("name"): tag.get("value") for tag in tags if isinstance(tag, Mapping)}
    value = tags.get("email_id") if isinstance(tags, Mapping) else None
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _fact(clock: Clock, type: str, body: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The provider's report in our words; None for what is not about a send's fate."""
    fact = _RESEND_FACTS.get(type)
    if fact is None:
        return None
    about = data.get({"opened": "open", "clicked": "click", "bounced": "bounce"}.get(fact, type[6:]))
    about = about if isinstance(about, Mapping) else {}
    bounce_type = str(about.get("type") or "")
    return {
        "type": fact,
        "at": _product_instant(clock, about.get("timestamp") or body.get("created_at")).isoformat(),
        "url": _text(about.get("link")),
        "ip_address": _text(about.get("ipAddress")),
        "user_agent": _text(about.get("userAgent")),
        "detail": _detail(about) or ("Suppressed by the provider" if type == "email.suppressed" else None),
        # Resend reports a bounce when it has given up; only what it calls transient may work the next time.
        "hard": fact != "bounced" or bounce_type.lower() in ("permanent", ""),
    }


def _detail(about: Mapping[str, Any]) -> str | None:
    kind = "/".join(str(about[name]) for name in ("type", "subType") if about.get(name))
    words = _text(about.get("message") or about.get("reason"))
    return ": ".join(part for part in (kind, words) if part) or None


def _text(value: object) -> str | None:
    return value[:2000] if isinstance(value, str) and value else None


def _product_instant(clock: Clock, value: object) -> datetime:
    """When it happened; now where the provider does not say."""
    return _instant(clock, value) or clock.now()


def _instant(clock: Clock, value: object) -> datetime | None:
    """An instant of the provider's, on the clock that journeys run on, and never later than now; None for none."""
    now = clock.now()
    try:
        real = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    if real.tzinfo is None:
        return None
    return min(now, now - clock.product(clock.wall() - real))
