"""What a journey can ask about now: the answers behind `ctx.history`, `ctx.guard`, `ctx.throttle` and `ctx.now`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.consent.refusal import refusal
from hogsend.enrollment.condition_facts import ENGAGEMENT
from hogsend.journeys.conditions.builders import Condition, matches_properties
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contacts
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import journey_states

Answer = Callable[[AsyncConnection, Runtime, RowMapping, Mapping[str, Any]], Awaitable[Any]]


async def answer(
    ask: str, conn: AsyncConnection, runtime: Runtime, run: RowMapping, args: Mapping[str, Any]
) -> Any:
    """Answer the question `ask` for the person of `run`, as of the caller's transaction."""
    return await _ANSWERS[ask](conn, runtime, run, args)


async def _nothing(_c: AsyncConnection, _r: Runtime, _run: RowMapping, _args: Mapping[str, Any]) -> None:
    return None


async def _now(_c: AsyncConnection, runtime: Runtime, _run: RowMapping, _args: Mapping[str, Any]) -> str:
    return runtime.clock.now().isoformat()


async def _user(
    conn: AsyncConnection, _r: Runtime, run: RowMapping, _args: Mapping[str, Any]
) -> dict[str, Any]:
    row = (await conn.execute(select(contacts).where(contacts.c.id == run["contact_id"]))).one()
    return {
        "id": str(row.id),
        "external_id": row.external_id,
        "email": row.email,
        "properties": row.properties,
    }


async def _has_event(
    conn: AsyncConnection, runtime: Runtime, run: RowMapping, args: Mapping[str, Any]
) -> bool:
    events = user_events.c
    query = select(events.properties).where(
        events.contact_id == run["contact_id"], events.name == args["name"]
    )
    since = _since(runtime, args)
    if since is not None:
        query = query.where(events.occurred_at >= since)
    if not args["where"]:
        return (await conn.execute(query.limit(1))).first() is not None
    condition = Condition.from_json(args["where"])
    person = await _user(conn, runtime, run, args)
    async with conn.stream(query) as rows:
        async for row in rows:
            if matches_properties(condition, row.properties, person["properties"]):
                return True
    return False


async def _has_journey(
    conn: AsyncConnection, runtime: Runtime, run: RowMapping, args: Mapping[str, Any]
) -> bool:
    states = journey_states.c
    found = [
        states.contact_id == run["contact_id"],
        states.journey_id == args["name"],
        states.id != run["id"],
    ]
    if args["status"]:
        found.append(states.status == args["status"])
    since = _since(runtime, args)
    if since is not None:
        found.append(states.created_at >= since)
    return bool((await conn.execute(select(exists().where(*found)))).scalar_one())


async def _has_email(
    conn: AsyncConnection, runtime: Runtime, run: RowMapping, args: Mapping[str, Any]
) -> bool:
    column = ENGAGEMENT[args["what"]]
    since = _since(runtime, args)
    found = [
        email_sends.c.contact_id == run["contact_id"],
        email_sends.c.template_key == args["name"],
        column.is_not(None) if since is None else column >= since,
    ]
    return bool((await conn.execute(select(exists().where(*found)))).scalar_one())


async def _is_subscribed(
    conn: AsyncConnection, runtime: Runtime, run: RowMapping, args: Mapping[str, Any]
) -> bool:
    person = await _user(conn, runtime, run, args)
    if not person["email"]:
        return False
    found = await refusal(
        conn, contact_id=run["contact_id"], email=person["email"], category=args["category"]
    )
    return found is None


async def _throttle(
    conn: AsyncConnection, runtime: Runtime, run: RowMapping, args: Mapping[str, Any]
) -> bool:
    since = runtime.clock.now() - timedelta(seconds=args["seconds"])
    sent = await conn.execute(
        select(func.count()).where(
            email_sends.c.contact_id == run["contact_id"], email_sends.c.sent_at >= since
        )
    )
    return int(sent.scalar_one()) < int(args["limit"])


def _since(runtime: Runtime, args: Mapping[str, Any]) -> datetime | None:
    within = args.get("within")
    return runtime.clock.now() - timedelta(seconds=within) if within else None


_ANSWERS: dict[str, Answer] = {
    "nothing": _nothing,
    "now": _now,
    "user": _user,
    "has_event": _has_event,
    "has_journey": _has_journey,
    "has_email": _has_email,
    "is_subscribed": _is_subscribed,
    "throttle": _throttle,
}
