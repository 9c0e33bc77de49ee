"""A file of everyone: one snapshot, nothing that a spreadsheet would run."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from starlette.applications import Starlette

from hogsend.clock import ManualClock
from hogsend.contacts import export as exporting
from hogsend.contacts import imports as importing
from hogsend.contacts.actions import create, delete_contact
from hogsend.contacts.export import exported
from hogsend.contacts.identity_keys import Keys
from hogsend.contacts.resolve import resolve
from hogsend.errors import HogsendError
from hogsend.rest.errors import on_hogsend_error
from hogsend.rest.exports import routes
from hogsend.runtime import Runtime
from hogsend.storage.database import Database
from hogsend.tables.access import audit_logs
from hogsend.validation import NOBODYS
from tests.conftest import ADMIN_KEY


async def make(database: Database, clock: ManualClock, external_id: str | None, **more: Any) -> Any:
    clock.advance(timedelta(seconds=1))
    async with database.transaction() as conn:
        keys = Keys.of(external_id, more.pop("email", None))
        return (await resolve(conn, clock, keys, **more)).contact


async def read(database: Database, format: exporting.Format, **more: Any) -> str:
    async with exported(database, format, **more) as pieces:
        return b"".join([piece async for piece in pieces]).decode()


async def test_json_is_the_contacts_last_seen_first(database: Database, clock: ManualClock) -> None:
    await make(database, clock, "ada", email="ada@example.com", properties={"plan": "pro", "n": 1.5})
    bob = await make(database, clock, None, email="bob@example.com")
    gone = await make(database, clock, "gone")
    async with database.transaction() as conn:
        await delete_contact(conn, clock, gone["id"])
    people = json.loads(await read(database, "json"))
    assert [person["email"] for person in people] == ["bob@example.com", "ada@example.com"]
    assert people[0] == {
        "id": str(bob["id"]),
        "externalId": None,
        "email": "bob@example.com",
        "properties": {},
        "firstSeenAt": "2026-01-15T10:30:02.000Z",
        "lastSeenAt": "2026-01-15T10:30:02.000Z",
        "createdAt": "2026-01-15T10:30:02.000Z",
        "updatedAt": "2026-01-15T10:30:02.000Z",
    }
    assert people[1]["properties"] == {"plan": "pro", "n": 1.5}
    assert [person["externalId"] for person in json.loads(await read(database, "json", search="ADA"))] == [
        "ada"
    ]
    assert json.loads(await read(database, "json", search="%")) == []
    assert len(json.loads(await read(database, "json", limit=1))) == 1


async def test_csv_has_a_column_a_property_and_no_formula(database: Database, clock: ManualClock) -> None:
    await make(
        database,
        clock,
        "=cmd",
        email="-x@example.com",
        properties={
            "+sum": "@A1",
            "email": "inner",
            "list": [1, {"a": "b"}],
            "loss": -5,
            "no": False,
            "note": 'two\nlines, "quoted"',
            "space": "  =1",
            "tab": "\tx",
            "wide": "＝1",  # noqa: RUF001
        },
    )
    await make(database, clock, "plain", properties={"loss": None, "other": "a-b=c"})
    text = await read(database, "csv")
    header, plain, risky = csv.reader(io.StringIO(text, newline=""))
    assert header == [
        "externalId",
        "email",
        "'+sum",
        "properties.email",
        "list",
        "loss",
        "no",
        "note",
        "other",
        "space",
        "tab",
        "wide",
    ]
    assert risky == [
        "'=cmd",
        "'-x@example.com",
        "'@A1",
        "inner",
        '[1,{"a":"b"}]',
        "-5",
        "false",
        'two\nlines, "quoted"',
        "",
        "'  =1",
        "'\tx",
        "'＝1",  # noqa: RUF001
    ]
    assert plain == ["plain", "", "", "", "", "", "", "", "a-b=c", "", "", ""]


async def test_an_empty_export_is_an_empty_file(database: Database) -> None:
    assert await read(database, "json") == "[]"
    assert await read(database, "csv") == "externalId,email\r\n"


async def test_what_is_written_meanwhile_does_not_show(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "ROWS_A_CHUNK", 3)
    for n in range(20):
        await make(database, clock, f"user{n}", properties={"n": n})
    for form in ("json", "csv"):
        async with exported(database, form) as pieces:  # type: ignore[arg-type]
            got = [await anext(pieces)]
            await make(database, clock, f"late-{form}", properties={"late": True})
            await make(database, clock, "user3", properties={"n": "changed"})
            got += [piece async for piece in pieces]
        text = b"".join(got).decode()
        assert f"late-{form}" not in text
        assert len(got) > 6
        if form == "json":
            assert {person["properties"]["n"] for person in json.loads(text)} == set(range(20))


async def test_an_export_can_be_imported_again(database: Database, clock: ManualClock) -> None:
    await make(
        database, clock, "ada", email="ada@example.com", properties={"plan": "pro", "city": "Paris, 5e"}
    )
    for form in ("json", "csv"):
        file = await importing.read_file(form, await read(database, form))  # type: ignore[arg-type]
        seen = await importing.preview(database, file)
        assert (seen.total_rows, seen.updated, seen.failed) == (1, 1, 0)


@pytest.fixture
async def exports(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=routes, exception_handlers={HogsendError: on_hogsend_error})
    app.state.runtime = runtime
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://hogsend.test/v1/admin/contacts",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
    ) as client:
        yield client


async def test_the_route_streams_a_file_and_is_audited(
    exports: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    async with runtime.database.transaction() as conn:
        await create(conn, clock, external_id="ada", email="ada@example.com", refused=NOBODYS)
    got = await exports.get("/export", params={"format": "csv", "search": "ada"})
    assert got.status_code == 200
    assert got.headers["content-type"] == "text/csv; charset=utf-8"
    assert got.headers["content-disposition"] == 'attachment; filename="contacts.csv"'
    assert got.headers["x-ratelimit-limit"]
    assert got.text == "externalId,email\r\nada,ada@example.com\r\n"
    assert (await exports.get("/export")).json()[0]["externalId"] == "ada"
    async with runtime.database.read() as conn:
        entries = (await conn.execute(select(audit_logs).order_by(audit_logs.c.seq))).all()
    assert [(e.actor, e.action, e.resource, e.outcome) for e in entries] == [
        ("legacy", "export", "contact", "ok")
    ] * 2
    assert entries[0].detail["search"] == "ada"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"format": "xml"}, "format"),
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"search": "a\x00"}, "search"),
    ],
)
async def test_says_which_parameter_is_wrong(
    exports: httpx.AsyncClient, query: dict[str, str], field: str
) -> None:
    got = await exports.get("/export", params=query)
    assert got.status_code == 400
    assert got.json()["details"][0]["path"] == field


async def test_needs_a_key(exports: httpx.AsyncClient) -> None:
    got = await exports.get("/export", headers={"Authorization": "Bearer wrong"})
    assert (got.status_code, got.json()) == (401, {"error": "Unauthorized"})
