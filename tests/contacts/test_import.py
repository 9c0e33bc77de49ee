"""Files become contacts: every row once, every bad row with its reason, whatever crashes."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from hogsend.clock import ManualClock
from hogsend.consent.inheritance import preferences_of
from hogsend.consent.suppression import unsubscribe
from hogsend.contacts import imports as importing
from hogsend.contacts.actions import create, delete_contact
from hogsend.contacts.identity_keys import Keys
from hogsend.contacts.import_files import Format, _items, csv_rows, cut
from hogsend.contacts.lookup import find_by
from hogsend.contacts.resolve import resolve
from hogsend.engine.jobs import RunAgain
from hogsend.errors import InvalidInput, NotFound
from hogsend.storage.database import Database
from hogsend.tables.contacts import contacts, import_batches, import_errors
from hogsend.tables.realtime import activity
from hogsend.validation import NOBODYS

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


class Crash(BaseException):
    """The process dies here."""


class Imports:
    """Start imports and run them as a worker does, on the parts of a runtime that they need."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.fault_point: Any = lambda _point: None

    async def start(self, data: str, format: Format = "csv") -> UUID:
        file = await importing.read_file(format, data, "people.csv")
        async with self.database.transaction() as conn:
            job = await importing.start_import(conn, self.clock, file, actor="legacy")
        return UUID(str(job.id))

    async def work(self, job_id: UUID) -> None:
        runtime: Any = SimpleNamespace(
            database=self.database,
            clock=self.clock,
            settings=SimpleNamespace(nobodys_ids=NOBODYS),
            fault_point=lambda point: self.fault_point(point),
        )
        while True:
            try:
                return await importing.run_import(runtime, {"job_id": str(job_id)})
            except RunAgain:
                continue

    async def of(self, data: str, format: Format = "csv") -> tuple[Any, list[tuple[int, str]]]:
        job_id = await self.start(data, format)
        await self.work(job_id)
        return await self.state(job_id)

    async def state(self, job_id: UUID) -> tuple[Any, list[tuple[int, str]]]:
        async with self.database.read() as conn:
            return await importing.find_job(conn, job_id), await importing.errors_of(conn, job_id)

    async def people(self) -> dict[str, dict[str, Any]]:
        async with self.database.read() as conn:
            rows = await conn.execute(select(contacts).where(contacts.c.deleted_at.is_(None)))
            return {row["external_id"]: dict(row) for row in rows.mappings()}

    async def count(self, table: Any) -> int:
        async with self.database.read() as conn:
            return int((await conn.execute(select(func.count()).select_from(table))).scalar_one())


@pytest.fixture
def imports(database: Database, clock: ManualClock) -> Imports:
    return Imports(database, clock)


async def test_good_rows_land_and_bad_ones_say_why(imports: Imports) -> None:
    job, errors = await imports.of(
        "externalId,email,plan,city\n"
        "ada,ADA@Example.com ,pro,London\n"
        "bob,nonsense,free,\n"
        ",c@example.com,free,Paris\n"
        "ada,ada2@example.com,free,Rome\n"
        "dan,ada@example.com,free,Oslo\n"
        "eve,,free,\n"
        "too,few\n"
    )
    assert (job.status, job.total_rows, job.processed_rows, job.failed_rows) == ("completed", 7, 7, 5)
    assert errors == [
        (2, "Invalid email format"),
        (3, "Missing externalId"),
        (4, "Duplicate externalId"),
        (5, "Email belongs to another contact"),
        (7, "Row has 2 cells where the header has 4"),
    ]
    people = await imports.people()
    assert people.keys() == {"ada", "eve"}
    assert people["ada"]["email"] == "ada@example.com"
    assert people["ada"]["properties"] == {"plan": "pro", "city": "London"}
    assert people["eve"]["properties"] == {"plan": "free"}
    assert await imports.count(import_batches) == 0


async def test_json_and_csv_upsert_by_external_id(imports: Imports) -> None:
    await imports.of("externalId,email,plan,seats\nada,ada@example.com,pro,3\n")
    before = (await imports.people())["ada"]
    rows = [
        {"externalId": "ada", "properties": {"plan": "free", "seats": None, "tags": ["a", {"b": 1}]}},
        {"externalId": "bob", "email": "bob@example.com", "properties": {"gone": None, "n": {"x": None}}},
        {"externalId": 7},
        "nobody",
        {"externalId": "cy", "properties": [1]},
        {"externalId": "di", "properties": {"a": "\u0000"}},
        {"externalId": "ed", "email": ["x"]},
    ]
    _, errors = await imports.of(json.dumps(rows), "json")
    assert errors == [
        (3, "externalId must be a non-empty string"),
        (4, "Row is not an object"),
        (5, "properties must be an object"),
        (6, "properties.a must not contain NUL or unpaired surrogate characters"),
        (7, "Invalid email format"),
    ]
    people = await imports.people()
    assert people["ada"]["id"] == before["id"]
    assert people["ada"]["email"] == "ada@example.com"
    assert people["ada"]["properties"] == {"plan": "free", "tags": ["a", {"b": 1}]}
    assert people["bob"]["properties"] == {"n": {"x": None}}
    assert people["ada"]["last_seen_at"] == before["last_seen_at"]


async def test_a_lead_becomes_the_user_and_two_users_stay_two(imports: Imports) -> None:
    async with imports.database.transaction() as conn:
        lead = await resolve(conn, imports.clock, Keys.of(None, "lead@example.com"))
        await resolve(conn, imports.clock, Keys.of("bob", "bob@example.com"))
        await resolve(conn, imports.clock, Keys.of("ada", "old@example.com"))
    _, errors = await imports.of(
        "externalId,email\nnew,lead@example.com\neve,bob@example.com\nada,new@example.com\n"
    )
    assert errors == [(2, "Email belongs to another contact")]
    people = await imports.people()
    assert people.keys() == {"new", "bob", "ada"}
    assert people["new"]["id"] == lead.contact["id"]
    assert people["ada"]["email"] == "new@example.com"
    async with imports.database.read() as conn:
        by_old = await find_by(conn, email="old@example.com")
    assert by_old is not None
    assert by_old["external_id"] == "ada"


async def test_an_opt_out_survives_deletion_and_import(imports: Imports) -> None:
    async with imports.database.transaction() as conn:
        ada = await create(conn, imports.clock, external_id="ada", email="ada@example.com", refused=NOBODYS)
        await unsubscribe(conn, imports.clock, ada["id"], source="test")
        await delete_contact(conn, imports.clock, ada["id"])
    await imports.of("externalId,email\nada2,ada@example.com\n")
    again = (await imports.people())["ada2"]
    assert again["id"] != ada["id"]
    async with imports.database.read() as conn:
        said = await preferences_of(conn, again["id"])
    assert said is not None
    assert said["unsubscribed_all"]


@pytest.mark.parametrize("point", ["before_import_commit", "after_import_piece"])
async def test_a_killed_import_resumes_and_takes_nothing_twice(imports: Imports, point: str) -> None:
    rows = [f"user{n % 1990},user{n % 1990}@example.com,{n}" for n in range(2000)]
    rows[700] = "user700,nonsense,700"
    job_id = await imports.start("externalId,email,n\n" + "\n".join(rows))
    reached: list[str] = []

    def crash(at: str) -> None:
        if at == point:
            reached.append(at)
            if len(reached) in (1, 2, 4):
                raise Crash

    imports.fault_point = crash
    for _ in range(3):
        with pytest.raises(Crash):
            await imports.work(job_id)
    await imports.work(job_id)
    job, errors = await imports.state(job_id)
    assert (job.status, job.processed_rows, job.failed_rows) == ("completed", 2000, 11)
    assert errors[0] == (701, "Invalid email format")
    assert errors[1:] == [(n, "Duplicate externalId") for n in range(1991, 2001)]
    people = await imports.people()
    assert len(people) == 1989
    assert all(person["properties"]["n"] == name.removeprefix("user") for name, person in people.items())
    async with imports.database.read() as conn:
        steps = (
            await conn.execute(
                select(activity.c.type).where(activity.c.ref_id == job_id).order_by(activity.c.seq)
            )
        ).scalars()
        assert list(steps) == ["pending", *["processing"] * 4, "completed"]


async def test_two_workers_on_one_job_share_it(imports: Imports) -> None:
    job_id = await imports.start("externalId\n" + "\n".join(f"u{n}" for n in range(2600)))
    await asyncio.gather(*(imports.work(job_id) for _ in range(3)))
    job, errors = await imports.state(job_id)
    assert (job.status, job.processed_rows, job.failed_rows, errors) == ("completed", 2600, 0, [])
    assert len(await imports.people()) == 2600


async def test_an_import_races_events_for_the_same_people(imports: Imports) -> None:
    job_id = await imports.start(
        "externalId,email,plan\n" + "\n".join(f"u{n},u{n}@example.com,pro" for n in range(600))
    )

    async def event(n: int) -> None:
        async with imports.database.transaction() as conn:
            await resolve(
                conn,
                imports.clock,
                Keys.of(f"u{n}" if n % 2 else None, f"u{n}@example.com"),
                {"seen": n},
            )

    await asyncio.gather(imports.work(job_id), *(event(n) for n in range(0, 600, 7)))
    job, errors = await imports.state(job_id)
    assert (job.status, errors) == ("completed", [])
    people = await imports.people()
    assert people.keys() == {f"u{n}" for n in range(600)}
    assert all(person["properties"]["plan"] == "pro" for person in people.values())
    assert all(people[f"u{n}"]["properties"]["seen"] == n for n in range(0, 600, 7))


async def test_a_job_that_cannot_be_finished_says_so(imports: Imports) -> None:
    job_id = await imports.start("externalId\nada\n")
    async with imports.database.transaction() as conn:
        await importing.give_up(conn, imports.clock, job_id)
    await imports.work(job_id)
    job, _ = await imports.state(job_id)
    assert job.status == "failed"
    assert "could not be finished" in job.error
    assert await imports.count(contacts) == await imports.count(import_errors) == 0
    with pytest.raises(NotFound):
        await imports.state(UUID(int=0))


async def test_a_preview_counts_and_writes_nothing(imports: Imports) -> None:
    await imports.of("externalId,email\nada,ada@example.com\n")
    data = "externalId,email,plan\nada,ada@example.com,pro\nbob,,pro\nbob,,pro\ncy,bad,pro\ndi,ada@example.com,\n"
    seen = await importing.preview(imports.database, await importing.read_file("csv", data))
    assert (seen.total_rows, seen.new, seen.updated, seen.failed) == (5, 1, 1, 3)
    assert seen.errors == [
        (3, "Duplicate externalId"),
        (4, "Invalid email format"),
        (5, "Email belongs to another contact"),
    ]
    assert [person.external_id for person in seen.sample] == ["bob"]
    assert (await imports.people()).keys() == {"ada"}


def test_reads_what_spreadsheets_write() -> None:
    data = '\ufeff"externalId";Email;Note\r\n\r\nada;a@b.co;"two\r\nlines; ""quoted"""\r\n"bob";;\r\n'
    total, pieces = cut("csv", data)
    assert total == 2
    assert json.loads(pieces[0].rows) == [
        ["ada", "a@b.co", {"Note": 'two\r\nlines; "quoted"'}],
        ["bob", None, {}],
    ]


def test_a_bad_quote_spoils_its_row_only() -> None:
    assert list(csv_rows('externalId,a\none,"x"y\ntwo,2\nthree,"open\nfour,4\n')) == [
        "Text stands behind a closing quote",
        ["two", None, {"a": "2"}],
        "A quote is opened and never closed",
    ]


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("csv", "", "must begin with a header"),
        ("csv", "\n\n", "must begin with a header"),
        ("csv", "email,plan\na@b.co,x", "must have a column externalId"),
        ("csv", "externalId,plan,plan\n", "has two columns named plan"),
        ("csv", "externalId,,plan\n", "no name for column 2"),
        ("csv", 'externalId,"plan\n', "header that cannot be read"),
        ("csv", "externalId\n\ud800", "unpaired surrogate"),
        ("json", "{}", "must be a JSON array"),
        ("json", "[{]", "not valid JSON: line 1"),
        ("json", "[" * 2000 + "]" * 2000, "not valid JSON"),
        ("json", "[1 2]", "not valid JSON: line 1, column 4"),
        ("json", "[1,]", "not valid JSON"),
        ("json", "[1] 2", "not valid JSON: line 1, column 5"),
        ("json", "[NaN]", "not valid JSON"),
        ("json", "[1,\n", "not valid JSON: line 2"),
        ("json", '["' + "x" * 3_000_000 + '"]', "a row of more than 1,000,000 characters"),
        ("json", '["' + "x" * 1_500_000 + '"]', "a row of more than 1,000,000 characters"),
        (
            "json",
            "[" + "[]," * 5_000_000 + "[]]",
            "data is too much: JSON may hold at most 10,000,000 values",
        ),
        ("json", "[" + "0," * 500_000 + "0]", "at most 500,000 rows"),
        ("csv", "externalId\n" + "a\n" * 500_001, "at most 500,000 rows"),
        ("csv", ",".join(["externalId", *map(str, range(1_000))]), "at most 1,000 columns"),
        ("csv", "," * 2_000_000, "more than 1,000,000 characters"),
        ("xml", "<a/>", "format must be csv or json"),
    ],
)
async def test_an_unusable_file_is_refused_with_its_reason(format: Any, data: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        await importing.read_file(format, data)


async def test_a_cell_of_ten_megabytes_is_one_bad_row(imports: Imports) -> None:
    huge = "x" * 10_000_000
    job, errors = await imports.of(f"externalId,note\nada,{huge}\nbob,fine\n")
    assert job.status == "completed"
    assert errors == [(1, "Row has more than 1,000,000 characters")]
    assert (await imports.people()).keys() == {"bob"}


async def test_a_quote_that_is_never_closed_costs_its_rows_only(imports: Imports) -> None:
    job, errors = await imports.of('externalId,note\nada,"' + "x" * 20_000_000 + "\nbob,fine\n")
    assert (job.status, errors) == ("completed", [(1, "Row has more than 1,000,000 characters")])
    assert (await imports.people()).keys() == {"bob"}


async def test_rejected_rows_are_counted_and_the_first_are_kept(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MOST_ERRORS", 700)
    job, errors = await imports.of(json.dumps([*["nobody"] * 1_200, {"externalId": "ada"}]), "json")
    assert (job.status, job.failed_rows, job.processed_rows) == ("completed", 1_200, 1_201)
    assert errors == [(n, "Row is not an object") for n in range(1, 701)]
    assert job.error == "1,200 rows were rejected; the first 700 are listed"
    assert (await imports.people()).keys() == {"ada"}


@given(st.lists(json_values, max_size=20), st.sampled_from(["", " ", "\n\t "]))
def test_an_array_is_read_item_by_item_as_it_would_be_whole(items: list[Any], space: str) -> None:
    data = space + "[" + f"{space},{space}".join(map(json.dumps, items)) + "]" + space
    assert list(_items(data)) == items


def test_rows_that_cross_the_window_are_whole() -> None:
    items = [[n, "x" * 300_000] for n in range(20)]
    assert list(_items(json.dumps(items))) == items
