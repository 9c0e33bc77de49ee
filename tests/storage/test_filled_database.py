"""A database of the first revision that has people, sends and events in it, brought to the newest one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.consent.refusal import refusal
from hogsend.consent.suppression import TRANSACTIONAL
from hogsend.settings import Settings
from hogsend.storage.database import Database
from hogsend.storage.migrate import migrate, schema_status
from tests.servers import execute, in_database

BEGAN = datetime(2026, 1, 5, tzinfo=UTC)
IDN, PUNYCODE = "münchen.de", "xn--mnchen-3ya.de"
COMPOSED, DECOMPOSED = "rené@example.com", "rene\N{COMBINING ACUTE ACCENT}@example.com"


@dataclass
class Person:
    """One contact of the old database, and what it said; `said_at`: the address beside its preferences."""

    email: str | None
    deleted: bool = False
    merged_into: UUID | None = None
    said_at: str | None = None
    unsubscribed_all: bool = False
    suppressed: bool = False
    categories: dict[str, bool] | None = None
    id: UUID = field(default_factory=uuid4)

    @property
    def spoke(self) -> bool:
        return self.unsubscribed_all or self.suppressed or self.categories is not None


SURVIVOR = Person("survivor@example.com", unsubscribed_all=True)
PEOPLE = [
    Person("ada@example.com", unsubscribed_all=True),
    Person("bob@example.com", deleted=True, unsubscribed_all=True),
    # Deleted with an opt-out, here again, and opted in since.
    Person("dora@example.com", deleted=True, unsubscribed_all=True),
    Person("dora@example.com", categories={}),
    Person("eve@example.com", categories={"news": False, "tips": True}),
    Person("fay@example.com", suppressed=True),
    # The spellings of one address, which knew nothing of one another.
    Person(f"max@{PUNYCODE}", deleted=True, unsubscribed_all=True),
    Person(f"max@{IDN}", categories={"news": False}),
    Person(f"kim@{PUNYCODE}", unsubscribed_all=True),
    Person(f"kim@{IDN}"),
    Person(f"lea@{PUNYCODE}"),
    Person(DECOMPOSED, categories={"news": False}),
    SURVIVOR,
    Person("loser@example.com", deleted=True, merged_into=SURVIVOR.id),
    # Said before it had an address; said at one that it has no more.
    Person("late@example.com", said_at="", unsubscribed_all=True),
    Person("new@example.com", said_at="former@example.com", unsubscribed_all=True),
    Person(None, said_at="", unsubscribed_all=True),
    Person("nothing@example.com"),
]
SUPPRESSIONS = [
    (f"jo@{PUNYCODE}", "complaint"),
    (f"jo@{IDN}", "bounce"),
    (f"twice@{PUNYCODE}", "bounce"),
    (f"twice@{IDN}", "bounce"),
    ("gone@example.com", "bounce"),
]
# Address, category → the reason for which nothing is sent, or None.
WANTED: dict[tuple[str, str | None], str | None] = {
    ("ada@example.com", None): "unsubscribed_from_all",
    ("ada@example.com", TRANSACTIONAL): None,
    ("bob@example.com", None): "unsubscribed_from_all",
    ("dora@example.com", None): None,
    ("eve@example.com", "news"): "unsubscribed_from_category",
    ("eve@example.com", "tips"): None,
    ("fay@example.com", TRANSACTIONAL): "suppressed_by_operator",
    (f"max@{IDN}", "tips"): "unsubscribed_from_all",
    (f"max@{PUNYCODE}", "news"): "unsubscribed_from_all",
    (f"kim@{IDN}", None): "unsubscribed_from_all",
    (f"lea@{IDN}", None): None,
    (COMPOSED, "news"): "unsubscribed_from_category",
    ("survivor@example.com", None): "unsubscribed_from_all",
    ("late@example.com", None): "unsubscribed_from_all",
    ("new@example.com", None): "unsubscribed_from_all",
    ("former@example.com", None): "unsubscribed_from_all",
    ("nothing@example.com", None): None,
    (f"jo@{IDN}", TRANSACTIONAL): "address_complained",
    (f"twice@{IDN}", TRANSACTIONAL): "address_bounced",
    ("gone@example.com", TRANSACTIONAL): "address_bounced",
}


@asynccontextmanager
async def at_first_revision(postgres_url: str) -> AsyncIterator[Database]:
    name = f"filled_{uuid4().hex[:8]}"
    await execute(postgres_url, f"CREATE DATABASE {name}")
    database = Database.open(
        Settings(database_url=in_database(postgres_url, name), database_pool_size=2), application="test"
    )
    try:
        await migrate(database, "0001")
        yield database
    finally:
        await database.close()
        await execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


async def insert_row(conn: AsyncConnection, table: str, **values: Any) -> None:
    columns = ", ".join(values)
    given = ", ".join(f":{name}" for name in values)
    types = {"categories": "CAST(:categories AS jsonb)", "answer": "CAST(:answer AS jsonb)"}
    for name, cast in types.items():
        given = given.replace(f":{name}", cast)
    await conn.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({given})"), values)


async def fill(conn: AsyncConnection) -> None:
    for number, one in enumerate(PEOPLE):
        at = BEGAN + timedelta(hours=number)
        made = {"created_at": at, "updated_at": at}
        gone = {"deleted_at": at, "merged_into": one.merged_into} if one.deleted else {}
        seen = {"first_seen_at": at, "last_seen_at": at}
        await insert_row(conn, "contacts", id=one.id, email=one.email, **made, **seen, **gone)
        if one.spoke:
            await insert_row(
                conn,
                "contact_preferences",
                id=uuid4(),
                contact_id=one.id,
                email=one.email if one.said_at is None else one.said_at,
                unsubscribed_all=one.unsubscribed_all,
                suppressed=one.suppressed,
                categories=_json(one.categories or {}),
                **made,
            )
    for email, kind in SUPPRESSIONS:
        await insert_row(conn, "suppressions", id=uuid4(), email=email, type=kind, created_at=BEGAN)
    await insert_row(
        conn,
        "contact_aliases",
        kind="email",
        value=f"alias@{PUNYCODE}",
        contact_id=SURVIVOR.id,
        created_at=BEGAN,
    )
    await fill_traffic(conn)


async def fill_traffic(conn: AsyncConnection) -> None:
    email_id, ada = uuid4(), PEOPLE[0].id
    made = {"created_at": BEGAN, "updated_at": BEGAN}
    await insert_row(
        conn,
        "email_sends",
        id=email_id,
        send_key="api:1",
        contact_id=ada,
        from_email="us@example.com",
        to_email=f"jo@{PUNYCODE}",
        subject="Hello",
        status="opened",
        **made,
    )
    await insert_row(conn, "email_events", id=uuid4(), email_id=email_id, type="opened", at=BEGAN)
    await insert_row(
        conn,
        "user_events",
        id=uuid4(),
        occurred_at=BEGAN,
        contact_id=ada,
        name="signed_up",
        received_at=BEGAN,
    )
    await insert_row(conn, "event_keys", key="k", event_id=uuid4(), created_at=BEGAN)
    await insert_row(
        conn,
        "idempotency_keys",
        operation="emailSend",
        key="k",
        input_hash="x",
        answer='{"id": "1"}',
        created_at=BEGAN,
    )


def _json(value: dict[str, bool]) -> str:
    return str(value).replace("'", '"').replace("True", "true").replace("False", "false")


async def test_what_stood_against_an_address_stands_after_every_migration(postgres_url: str) -> None:
    async with at_first_revision(postgres_url) as database:
        async with database.transaction() as conn:
            await fill(conn)
        await migrate(database)
        async with database.read() as conn:
            assert (await schema_status(conn)).in_sync
            found = {
                asked: await refusal(conn, contact_id=None, email=asked[0], category=asked[1])
                for asked in WANTED
            }
            told = {asked: None if why is None else why.reason.value for asked, why in found.items()}
            assert told == WANTED
            spellings = await conn.execute(
                text("SELECT email FROM contacts WHERE email LIKE 'kim@%' ORDER BY 1")
            )
            assert list(spellings.scalars()) == [f"kim@{IDN}", f"kim@{PUNYCODE}"], "people are not merged"
            respelled = await conn.execute(text("SELECT email FROM contacts WHERE email ~ '^(lea|ren)'"))
            assert set(respelled.scalars()) == {f"lea@{IDN}", COMPOSED}
            alias = await conn.execute(text("SELECT value FROM contact_aliases"))
            assert alias.scalar_one() == f"alias@{IDN}"


async def test_traffic_of_the_first_revision_is_whole_after_every_migration(postgres_url: str) -> None:
    async with at_first_revision(postgres_url) as database:
        async with database.transaction() as conn:
            await fill_traffic_of_ada(conn)
        await migrate(database)
        async with database.read() as conn:
            events = await conn.execute(text("SELECT depth, chain FROM user_events"))
            assert [tuple(row) for row in events] == [(0, 0)]
            opened = await conn.execute(text("SELECT count, last_at FROM email_events"))
            assert [tuple(row) for row in opened] == [(1, None)]
            sends = await conn.execute(text("SELECT to_email, explicit, request_hash FROM email_sends"))
            assert [tuple(row) for row in sends] == [(f"jo@{IDN}", None, None)]
            keys = await conn.execute(text("SELECT answer, claim, progress FROM idempotency_keys"))
            assert [tuple(row) for row in keys] == [({"id": "1"}, None, None)]


async def fill_traffic_of_ada(conn: AsyncConnection) -> None:
    seen = {"created_at": BEGAN, "updated_at": BEGAN, "first_seen_at": BEGAN, "last_seen_at": BEGAN}
    await insert_row(conn, "contacts", id=PEOPLE[0].id, email=PEOPLE[0].email, **seen)
    await fill_traffic(conn)
