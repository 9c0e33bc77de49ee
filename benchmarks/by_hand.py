"""The floor of `benchmarks.reads`: its operations by hand, in Starlette, asyncpg, orjson and SQL written for each.

    DATABASE_URL=… python -m benchmarks.by_hand PORT

It answers the same bytes and does nothing besides: no keys, no limits, no validation, one operation a function.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import uvicorn
from sqlalchemy import event
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hogsend.metrics.queries import overview as count_overview
from hogsend.settings import load_settings
from hogsend.storage.database import Database

Row = Mapping[str, Any]
Answer = dict[str, Any]

CONTACTS = "SELECT {} FROM contacts WHERE deleted_at IS NULL {} ORDER BY last_seen_at DESC, id DESC LIMIT $1"
SEARCHED = """AND (coalesce(email, '') || ' ' || coalesce(external_id, '')) ILIKE $2
              AND (email ILIKE $2 OR external_id ILIKE $2)"""
ONE = "SELECT * FROM contacts WHERE external_id = $1 AND deleted_at IS NULL"
PREFERENCES = "SELECT * FROM contact_preferences WHERE contact_id = ANY($1)"
TIMELINES = """
    SELECT person.id AS person, entry.* FROM unnest($1::uuid[]) AS person(id), LATERAL (
        SELECT seq, at, kind, type, ref_id FROM activity
        WHERE contact_id = person.id AND kind IN ('event', 'state', 'email', 'decision')
        ORDER BY at DESC, seq DESC LIMIT $2) AS entry"""
FIRSTS = """
    FROM activity WHERE contact_id = $1 AND (kind, type) IN
        (('event', 'received'), ('state', 'entered'), ('email', 'queued'))"""
THINGS = {
    "event": "SELECT id, name, properties, occurred_at FROM user_events WHERE id = ANY($1)",
    "email": "SELECT id, template_key, subject, status, to_email, sent_at, delivered_at, opened_at, created_at"
    " FROM email_sends WHERE id = ANY($1)",
    "state": "SELECT id, journey_id, status, current_node AS current_node_id, completed_at, exited_at, created_at"
    " FROM journey_states WHERE id = ANY($1)",
    "decision": "SELECT id, kind, reason FROM decisions WHERE id = ANY($1)",
}
LISTED = """
    SELECT s.id, s.template_key, s.subject, s.to_email, s.status, s.sent_at, s.delivered_at, s.opened_at,
           s.clicked_at, c.id AS person, c.external_id, c.email AS person_email,
           r.id AS run, r.journey_id AS run_journey, r.status AS run_status, r.current_node AS current_node_id
    FROM email_sends s
    LEFT JOIN contacts c ON c.id = s.contact_id AND c.deleted_at IS NULL
    LEFT JOIN journey_states r ON r.id = s.state_id ORDER BY s.created_at DESC, s.id DESC LIMIT $1"""
OF_A_PERSON = {
    "events": "name, properties, occurred_at FROM user_events WHERE contact_id = $1"
    " ORDER BY occurred_at DESC, id DESC LIMIT 10",
    "journeyStates": "journey_id, status, created_at FROM journey_states WHERE contact_id = $1"
    " ORDER BY created_at DESC, id DESC LIMIT 10",
    "emails": "subject, status, created_at FROM email_sends WHERE contact_id = $1"
    " ORDER BY created_at DESC, id DESC LIMIT 10",
    "decisions": "kind, reason, at FROM decisions WHERE contact_id = $1 ORDER BY at DESC, id DESC LIMIT 10",
}


def text(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="milliseconds")[:-6] + "Z"


def word(value: str | None) -> str | None:
    return None if value is None else value.upper()


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def told(row: Row, *names: str) -> Answer:
    """Columns of a row as the wire has them: in camel case, instants as text."""
    return {camel(name): text(value) if isinstance(value := row[name], datetime) else value for name in names}


async def timelines(
    pool: Any, people: Sequence[Any], size: int, entry: Callable[[Row, Row], Answer]
) -> dict[Any, Any]:
    """The first entries of each person, and what they are about: a statement for each kind of thing."""
    rows = await pool.fetch(TIMELINES, people, size)
    found = {}
    for kind, sql in THINGS.items():
        keys = [row["ref_id"] for row in rows if row["kind"] == kind]
        if keys:
            found |= {thing["id"]: thing for thing in await pool.fetch(sql, keys)}
    entries: dict[Any, list[Answer]] = {person: [] for person in people}
    for row in rows:
        entries[row["person"]].append(entry(row, found[row["ref_id"]]))
    return entries


def entry(row: Row, thing: Row) -> Answer:
    kind, at = row["kind"], text(row["at"])
    begun = {"id": f"entry_{row['seq']}", "at": at}
    if kind == "event":
        happened = {
            "name": thing["name"],
            "properties": thing["properties"],
            "occurredAt": text(thing["occurred_at"]),
        }
        return {"__typename": "EventReceived", **begun, "event": happened}
    if kind == "email":
        sent = {
            "templateKey": thing["template_key"],
            "subject": thing["subject"],
            "status": word(thing["status"]),
            "sentAt": text(thing["sent_at"]),
        }
        return {"__typename": "EmailActivity", **begun, "activity": word(row["type"]), "email": sent}
    if kind == "state":
        run = {"journeyId": thing["journey_id"], "status": word(thing["status"])}
        return {"__typename": "JourneyProgress", **begun, "progress": word(row["type"]), "state": run}
    decision = {"kind": word(thing["kind"]), "reason": word(thing["reason"])}
    return {"__typename": "DecisionMade", **begun, "decision": decision}


async def people(pool: Any, given: Answer) -> Answer:
    columns = "id, external_id, email, properties, last_seen_at"
    rows = await pool.fetch(CONTACTS.format(columns, ""), given["n"])
    keys = [row["id"] for row in rows]
    agreed = {row["contact_id"]: row for row in await pool.fetch(PREFERENCES, keys)}
    entries = await timelines(pool, keys, given["t"], entry)
    nodes = [
        {
            "id": f"contact_{row['id']}",
            "externalId": row["external_id"],
            "email": row["email"],
            "properties": row["properties"],
            "lastSeenAt": text(row["last_seen_at"]),
            "preferences": preferences(agreed.get(row["id"])),
            "timeline": {"nodes": entries[row["id"]]},
        }
        for row in rows
    ]
    return {"contacts": {"nodes": nodes}}


def preferences(row: Row | None) -> Answer | None:
    return None if row is None else told(row, "unsubscribed_all", "suppressed", "bounce_count", "categories")


async def timeline(pool: Any, given: Answer) -> Answer:
    row = await pool.fetchrow(ONE, given["x"])
    entries = await timelines(pool, [row["id"]], given["t"], entry)
    person = {"id": f"contact_{row['id']}", "externalId": row["external_id"], "email": row["email"]}
    return {"contact": person | {"timeline": {"nodes": entries[row["id"]]}}}


async def emails(pool: Any, given: Answer) -> Answer:
    return {"emails": {"nodes": [listed(row) for row in await pool.fetch(LISTED, given["n"])]}}


def listed(row: Row) -> Answer:
    columns = ("sent_at", "delivered_at", "opened_at", "clicked_at")
    person = {
        "id": f"contact_{row['person']}",
        "externalId": row["external_id"],
        "email": row["person_email"],
    }
    run = {
        "id": f"state_{row['run']}",
        "journeyId": row["run_journey"],
        "status": word(row["run_status"]),
        "currentNodeId": row["current_node_id"],
    }
    return {
        "id": f"email_{row['id']}",
        **told(row, "template_key", "subject", "to_email"),
        "status": word(row["status"]),
        **{camel(name): text(row[name]) for name in columns},
        "contact": None if row["person"] is None else person,
        "state": None if row["run"] is None else run,
    }


async def searched(pool: Any, search: str, limit: int, columns: str) -> list[Row]:
    rows: list[Row] = await pool.fetch(CONTACTS.format(columns, SEARCHED), limit, f"%{search}%")
    return rows


async def search(pool: Any, given: Answer) -> Answer:
    columns = ("id", "external_id", "email", "last_seen_at")
    rows = await searched(pool, given["search"], 50, ", ".join(columns))
    return {"contacts": {"nodes": [told(row, *columns) | {"id": f"contact_{row['id']}"} for row in rows]}}


async def person(pool: Any, given: Answer) -> Answer:
    row = await pool.fetchrow(ONE, given["x"])
    [agreed] = await pool.fetch(PREFERENCES, [row["id"]]) or [None]
    lists = {name: await pool.fetch(f"SELECT {source}", row["id"]) for name, source in OF_A_PERSON.items()}
    of = {
        "events": lambda one: told(one, "name", "properties", "occurred_at"),
        "journeyStates": lambda one: told(one, "journey_id", "created_at") | {"status": word(one["status"])},
        "emails": lambda one: told(one, "subject", "created_at") | {"status": word(one["status"])},
        "decisions": lambda one: told(one, "at") | {"reason": word(one["reason"]), "kind": word(one["kind"])},
    }
    columns = ("external_id", "email", "properties", "first_seen_at", "last_seen_at")
    parts = {name: {"nodes": [of[name](one) for one in rows]} for name, rows in lists.items()}
    answer = {"id": f"contact_{row['id']}", **told(row, *columns), "preferences": preferences(agreed)}
    return {"contact": answer | parts}


async def rest_contacts(pool: Any, given: Answer) -> Answer:
    columns = ("id", "external_id", "email", "properties", "first_seen_at", "last_seen_at")
    columns += ("created_at", "updated_at")
    rows = await searched(pool, given["search"], int(given["limit"]), ", ".join(columns))
    total = await pool.fetchval(
        f"SELECT count(*) FROM contacts WHERE deleted_at IS NULL {SEARCHED.replace('$2', '$1')}",
        f"%{given['search']}%",
    )
    return page("contacts", [told(row, *columns) for row in rows], total, given)


def page(name: str, rows: Iterable[Answer], total: int, given: Answer) -> Answer:
    return {name: list(rows), "total": total, "limit": int(given["limit"]), "offset": 0}


async def rest_timeline(pool: Any, given: Answer) -> Answer:
    row = await pool.fetchrow(ONE, given["id"])
    total = await pool.fetchval(f"SELECT count(*) {FIRSTS}", row["id"])
    rows = await pool.fetch(
        f"SELECT kind, ref_id {FIRSTS} ORDER BY at DESC, seq DESC LIMIT $2", row["id"], int(given["limit"])
    )
    found = {}
    for kind, sql in THINGS.items():
        keys = [one["ref_id"] for one in rows if one["kind"] == kind]
        found |= {thing["id"]: thing for thing in await pool.fetch(sql, keys)} if keys else {}
    return page("timeline", (rest_entry(one["kind"], found[one["ref_id"]]) for one in rows), total, given)


def rest_entry(kind: str, thing: Row) -> Answer:
    if kind == "event":
        at, data = thing["occurred_at"], told(thing, "id", "properties") | {"event": thing["name"]}
    elif kind == "state":
        columns = ("id", "journey_id", "status", "current_node_id", "completed_at", "exited_at")
        at, data = thing["created_at"], told(thing, *columns)
    else:
        columns = ("id", "template_key", "subject", "status", "to_email", "sent_at", "delivered_at")
        at, data = thing["created_at"], told(thing, *columns, "opened_at")
    return {"type": "journey" if kind == "state" else kind, "timestamp": text(at), "data": data}


class Overview:
    """The project's own statement, which nobody would write otherwise; its text is made once."""

    def __init__(self) -> None:
        self._statement: tuple[str, Sequence[Any]] = ("", ())

    async def prepare(self) -> None:
        database = Database.open(load_settings())

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if "_stats" in statement:
                self._statement = (statement, parameters)

        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        async with database.each_alone() as conn:
            await count_overview(conn, datetime.now(UTC))
        await database.close()

    async def rest(self, pool: Any, _given: Answer) -> Answer:
        sql, values = self._statement
        row = await pool.fetchrow(sql, *values)
        return {
            "totalContacts": row["contacts"],
            "activeJourneys": row["journeys"],
            "emailsSent24h": row["sent1"],
            "emailsSent7d": row["sent7"],
            "emailsSent30d": row["sent30"],
            "bounceRate30d": round(row["bounced30"] / row["sent30"], 4) if row["sent30"] else 0.0,
            "unsubscribeRate": round(row["away"] / row["contacts"], 4),
        }

    async def graphql(self, pool: Any, given: Answer) -> Answer:
        return {"metrics": {"overview": await self.rest(pool, given)}}


OVERVIEW = Overview()
OPERATIONS: dict[str, Callable[[Any, Answer], Awaitable[Answer]]] = {
    "People": people,
    "Timeline": timeline,
    "Emails": emails,
    "Search": search,
    "Person": person,
    "Overview": OVERVIEW.graphql,
}
ROUTES = {
    "/v1/admin/contacts": rest_contacts,
    "/v1/admin/contacts/{id}/timeline": rest_timeline,
    "/v1/admin/metrics/overview": OVERVIEW.rest,
}


async def _connected(conn: Any) -> None:
    await conn.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=str, decoder=lambda found: orjson.Fragment(found.encode())
    )


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await OVERVIEW.prepare()
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, init=_connected) as pool:
        app.state.pool = pool
        yield


async def graphql(request: Request) -> Response:
    asked = orjson.loads(await request.body())
    answer = await OPERATIONS[asked["operationName"]](request.app.state.pool, asked["variables"])
    return Response(orjson.dumps({"data": answer}), media_type="application/json")


def rest(
    answered: Callable[[Any, Answer], Awaitable[Answer]],
) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        answer = await answered(
            request.app.state.pool, {**request.query_params, **request.path_params, "offset": 0}
        )
        return Response(orjson.dumps(answer, default=str), media_type="application/json")

    return route


def main() -> None:
    routes = [Route(path, rest(answered)) for path, answered in ROUTES.items()]
    app = Starlette(routes=[Route("/graphql", graphql, methods=["POST"]), *routes], lifespan=lifespan)
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="error", access_log=False
    )


if __name__ == "__main__":
    main()
