"""Paging by key: whatever the order, the direction and the size, every row comes exactly once."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from hogsend.access.caller import THE_ADMIN_KEY
from hogsend.clock import ManualClock
from hogsend.graphql.context import Context
from hogsend.runtime import Runtime
from hogsend.serving.server import GraphQLServer
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contacts
from hogsend.tables.emails import email_sends
from tests.fixtures.graphql import Ask

EMAILS = """
query ($sort: EmailSort!, $order: SortOrder!, $first: Int, $after: String, $last: Int, $before: String, $offset: Int) {
  emails(sort: $sort, order: $order, first: $first, after: $after, last: $last, before: $before, offset: $offset) {
    nodes { uuid } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""
ROWS = 23


def email(number: int, at: Any, opened: int | None) -> dict[str, Any]:
    return {
        "id": new_id(),
        "send_key": f"key-{number}",
        "from_email": "a@example.com",
        "to_email": f"{number}@example.com",
        "subject": str(number),
        "status": "sent",
        "created_at": at + timedelta(seconds=number // 3),
        "updated_at": at,
        "opened_at": None if opened is None else at + timedelta(seconds=opened),
    }


@pytest.fixture
async def emails(runtime: Runtime, clock: ManualClock) -> list[dict[str, Any]]:
    """Rows with ties in what they are sorted by, and a third of them never opened."""
    rows = [email(n, clock.now(), None if n % 3 == 0 else n // 4) for n in range(ROWS)]
    async with runtime.database.transaction() as conn:
        await conn.execute(insert(email_sends), rows)
    return rows


def expected(rows: list[dict[str, Any]], column: str, down: bool) -> list[str]:
    """Sorted by hand: those without a value last, ties by id, the same way."""
    have = sorted(
        (r for r in rows if r[column] is not None), key=lambda r: (r[column], r["id"]), reverse=down
    )
    lack = sorted((r for r in rows if r[column] is None), key=lambda r: r["id"], reverse=down)
    return [str(row["id"]) for row in have + lack]


@pytest.mark.parametrize("sort", ["CREATED_AT", "OPENED_AT"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
async def test_both_ways_through_a_list(
    ask: Ask, emails: list[dict[str, Any]], sort: str, order: str
) -> None:
    whole = expected(emails, sort.lower(), order == "DESC")
    for size in (1, 4, 50):
        forward: list[str] = []
        page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
        while page["hasNextPage"]:
            given = {"sort": sort, "order": order, "first": size, "after": page["endCursor"]}
            answer = (await ask(EMAILS, given))["emails"]
            forward += [node["uuid"] for node in answer["nodes"]]
            page = answer["pageInfo"]
        assert forward == whole
        backward: list[str] = []
        page = {"hasPreviousPage": True, "startCursor": None}
        while page["hasPreviousPage"]:
            given = {"sort": sort, "order": order, "last": size, "before": page["startCursor"]}
            answer = (await ask(EMAILS, given))["emails"]
            backward = [node["uuid"] for node in answer["nodes"]] + backward
            page = answer["pageInfo"]
        assert backward == whole
        by_number: list[str] = []
        for offset in range(0, ROWS, size):
            given = {"sort": sort, "order": order, "first": size, "offset": offset}
            by_number += [node["uuid"] for node in (await ask(EMAILS, given))["emails"]["nodes"]]
        assert by_number == whole


async def test_a_list_between_two_cursors(ask: Ask, emails: list[dict[str, Any]]) -> None:
    document = (
        "query ($a: String, $b: String) { emails(after: $a, before: $b) { edges { cursor node { uuid } } } }"
    )
    edges = (await ask(document))["emails"]["edges"]
    between = await ask(document, {"a": edges[3]["cursor"], "b": edges[9]["cursor"]})
    assert between["emails"]["edges"] == edges[4:9]


async def test_paging_arguments_that_make_no_sense(client: Any, emails: object) -> None:
    for arguments, message in (
        ("first: 101", "`first` must be between 0 and 100"),
        ("first: -1", "`first` must be between 0 and 100"),
        ("last: 101", "`last` must be between 0 and 100"),
        ("first: 1, last: 1", "Give `first` or `last`, not both"),
        ("last: 1, offset: 1", "`offset` must be 0 or more, and goes with `first`, not with `last`"),
        ("offset: -1", "`offset` must be 0 or more, and goes with `first`, not with `last`"),
        ('after: "nonsense"', "That is not a cursor of this list"),
        ('after: "WyJlbWFpbHMiLDEsMl0"', "That is not a cursor of this list"),
    ):
        body = (
            await client.post("/graphql", json={"query": f"{{ emails({arguments}) {{ nodes {{ id }} }} }}"})
        ).json()
        assert [error["message"] for error in body["errors"]] == [message]
        assert body["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


async def test_a_cursor_of_another_order_is_refused(client: Any, ask: Ask, emails: object) -> None:
    cursor = (await ask("{ emails(first: 1) { pageInfo { endCursor } } }"))["emails"]["pageInfo"]["endCursor"]
    query = "query ($c: String) { emails(sort: OPENED_AT, after: $c) { nodes { id } } }"
    body = (await client.post("/graphql", json={"query": query, "variables": {"c": cursor}})).json()
    assert body["errors"][0]["message"] == "That is not a cursor of this list"


async def test_lists_in_memory_page_alike(ask: Ask) -> None:
    document = """query ($first: Int, $after: String) {
        templates(first: $first, after: $after) { totalCount nodes { key } pageInfo { hasNextPage endCursor } } }"""
    whole = (await ask(document))["templates"]
    keys: list[str] = []
    page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
    while page["hasNextPage"]:
        answer = (await ask(document, {"first": 2, "after": page["endCursor"]}))["templates"]
        keys += [node["key"] for node in answer["nodes"]]
        page = answer["pageInfo"]
    assert keys == [node["key"] for node in whole["nodes"]]
    assert len(keys) == whole["totalCount"]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "page"]), st.integers(0, 30)), min_size=4, max_size=30
)


@given(size=st.integers(1, 4), operations=OPERATIONS)
@settings(
    max_examples=int(os.environ.get("HOGSEND_EXAMPLES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_rows_that_come_and_go_leave_no_gap_and_no_double(
    runtime: Runtime, clock: ManualClock, size: int, operations: list[tuple[str, int]]
) -> None:
    """A list of contacts by creation changes while somebody walks through it."""
    people = People(runtime, clock)
    await people.clear()
    always = [await people.insert(number) for number in range(6)]
    passing: list[UUID] = []
    seen: list[str] = []
    after: str | None = None
    more = True
    for what, number in operations:
        match what:
            case "insert":
                passing.append(await people.insert(number))
            case "delete" if passing:
                await people.delete(passing.pop(number % len(passing)))
            case "page" if more:
                after, more = await people.page(size, after, seen)
    while more:
        after, more = await people.page(size, after, seen)
    assert len(set(seen)) == len(seen), "a row came twice"
    assert {str(one) for one in always} <= set(seen), "a row that was there all along did not come"


class People:
    """Contacts that come and go, and the list of them."""

    def __init__(self, runtime: Runtime, clock: ManualClock) -> None:
        self.runtime = runtime
        self.clock = clock

    async def clear(self) -> None:
        async with self.runtime.database.transaction() as conn:
            await conn.execute(delete(contacts))

    async def insert(self, number: int) -> UUID:
        at = self.clock.now() + timedelta(seconds=number)
        row = dict.fromkeys(("first_seen_at", "last_seen_at", "created_at", "updated_at"), at)
        contact_id = new_id()
        async with self.runtime.database.transaction() as conn:
            await conn.execute(insert(contacts).values(id=contact_id, external_id=str(contact_id), **row))
        return contact_id

    async def delete(self, contact_id: UUID) -> None:
        async with self.runtime.database.transaction() as conn:
            await conn.execute(delete(contacts).where(contacts.c.id == contact_id))

    async def page(self, size: int, after: str | None, seen: list[str]) -> tuple[str | None, bool]:
        """Read one page into `seen`; the cursor behind it, and whether there is more."""
        executor = self.runtime.part(GraphQLServer).executor
        prepared = executor.prepare(
            "query ($n: Int, $a: String) { contacts(sort: CREATED_AT, first: $n, after: $a)"
            " { nodes { uuid } pageInfo { hasNextPage endCursor } } }"
        )
        answer = await executor.execute(
            prepared, {"n": size, "a": after}, Context(self.runtime, THE_ADMIN_KEY)
        )
        assert answer.data is not None, answer.errors
        found = answer.data["contacts"]
        seen += [str(node["uuid"]) for node in found["nodes"]]
        return found["pageInfo"]["endCursor"] or after, found["pageInfo"]["hasNextPage"]
