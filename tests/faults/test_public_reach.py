"""What anyone can reach without a key cannot be guessed, and costs no more than a bounded number of rows."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_DNS, NAMESPACE_OID, NAMESPACE_URL, NAMESPACE_X500, UUID, uuid5

import httpx
import pytest
from sqlalchemy import func, insert, select, update

from hogsend.clock import ManualClock
from hogsend.consent import tokens
from hogsend.consent.tokens import ReaderToken
from hogsend.emails.tracking.visits import MOST_VISITS, VISIT
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.tables.emails import email_events, email_links, email_sends
from hogsend.tables.realtime import activity
from tests.driving import rows
from tests.fixtures.emails import MakePerson, Prepare, facts_of, the_send

# What ids of sends were made of before: a constant that anyone can read here, and the caller's key.
ONCE_PUBLIC = UUID("5f0c6a4e-2a8d-4c53-9d0e-6a9d3f1b7c10")
KEY = "password-reset-42"
CLICKS = "query ($id: ID!) { email(id: $id) { links { nodes { clicks { totalCount nodes { count } } } } } }"


async def links_of(runtime: Runtime) -> list[Any]:
    return list(await rows(runtime, "SELECT * FROM email_links ORDER BY position"))


async def counted(runtime: Runtime, type: str) -> tuple[int, int, int]:
    """Rows of `email_events`, how often they say it happened, and rows of the activity log."""
    async with runtime.database.read() as conn:
        events = email_events.c
        facts = (
            await conn.execute(
                select(func.count(), func.coalesce(func.sum(events["count"]), 0)).where(events.type == type)
            )
        ).one()
        told = (
            await conn.execute(select(func.count()).select_from(activity).where(activity.c.type == type))
        ).scalar_one()
    return facts[0], facts[1], told


async def test_who_knows_the_callers_key_cannot_make_the_ids(
    runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person(), key=f"api:{KEY}")
    constants = (ONCE_PUBLIC, NAMESPACE_DNS, NAMESPACE_OID, NAMESPACE_URL, NAMESPACE_X500)
    guesses = {uuid5(space, name) for space in constants for name in (KEY, f"api:{KEY}")}
    (link, *_) = await links_of(runtime)
    assert email_id not in guesses
    assert link.id not in {uuid5(one, str(n)) for one in (*guesses, email_id) for n in range(3)}
    assert {email_id.version, link.id.version} == {4}


async def test_the_same_key_in_another_deployment_has_other_ids(
    runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    made = set()
    for _ in range(2):
        made |= {await prepared(await person(email=None), key=KEY, to="ada@example.com")}
        made |= {row.id for row in await links_of(runtime)}
        async with runtime.database.transaction() as conn:
            await conn.execute(email_sends.delete())
    assert len(made) == 2 * (len(made) // 2) > 2


async def test_a_send_that_is_prepared_twice_is_one_with_the_ids_of_the_first(
    runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    first = await prepared(ada, key=KEY)
    links = {row.id for row in await links_of(runtime)}
    assert await prepared(ada, key=KEY) == first
    assert {row.id for row in await links_of(runtime)} == links
    page = (await the_send(runtime, first)).payload["html"]
    assert all(str(link) in page for link in links)


async def test_links_in_emails_that_were_sent_before_go_on_working(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    old = uuid5(ONCE_PUBLIC, KEY)
    email_id = await prepared(await person())
    async with runtime.database.transaction() as conn:
        send = (await conn.execute(select(email_sends).where(email_sends.c.id == email_id))).mappings().one()
        await conn.execute(insert(email_sends).values({**send, "id": old, "send_key": KEY}))
        link = {"id": uuid5(old, "0"), "email_id": old, "position": 0, "url": "https://a.example/old"}
        await conn.execute(insert(email_links).values(link))
    answer = await site.get(f"/v1/t/c/{uuid5(old, '0')}")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://a.example/old")
    await site.get(f"/v1/t/o/{old}")
    assert await facts_of(runtime, old) == ["clicked", "opened"]


async def test_600_gets_of_one_pixel_are_one_row_that_counts_them(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    for _ in range(600):
        assert (await site.get(f"/v1/t/o/{email_id}")).status_code == 200
    assert await counted(runtime, "opened") == (1, 600, 1)
    clock.advance(VISIT + timedelta(seconds=1))
    await site.get(f"/v1/t/o/{email_id}")
    await site.get(f"/v1/t/o/{email_id}", headers={"User-Agent": "Another/1.0"})
    assert await counted(runtime, "opened") == (3, 602, 3)
    assert (await the_send(runtime, email_id)).status == "opened"


async def test_an_agent_for_each_open_does_not_grow_the_tables_without_end(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    for number in range(MOST_VISITS + 20):
        await site.get(f"/v1/t/o/{email_id}", headers={"User-Agent": f"Reader/{number}"})
    assert await counted(runtime, "opened") == (MOST_VISITS, MOST_VISITS + 20, MOST_VISITS)


async def test_clicks_are_counted_by_their_link_and_total_count_says_how_many(
    site: httpx.AsyncClient,
    client: httpx.AsyncClient,
    runtime: Runtime,
    person: MakePerson,
    prepared: Prepare,
) -> None:
    email_id = await prepared(await person())
    first, *_ = await links_of(runtime)
    for _ in range(5):
        await site.get(f"/v1/t/c/{first.id}")
    assert await counted(runtime, "clicked") == (1, 5, 1)
    asked = {"query": CLICKS, "variables": {"id": str(email_id)}}
    answer = (await client.post("/graphql", json=asked)).json()
    assert answer["data"]["email"]["links"]["nodes"][0]["clicks"] == {
        "totalCount": 5,
        "nodes": [{"count": 5}],
    }
    shown = (await client.get(f"/v1/admin/emails/{email_id}")).json()
    assert next(link["clickCount"] for link in shown["trackedLinks"]) == 5
    metrics = (await client.get("/v1/admin/metrics/emails")).json()
    assert [one["clicked"] for one in metrics["templates"]] == [1]


class TestOneAddress:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"visit_rate_limit": 3})

    async def test_is_answered_over_its_limit_and_records_no_more(
        self,
        site: httpx.AsyncClient,
        runtime: Runtime,
        clock: ManualClock,
        person: MakePerson,
        prepared: Prepare,
    ) -> None:
        ada = await person()
        sends = [await prepared(ada, key=f"k{number}") for number in range(5)]
        links = await links_of(runtime)
        for email_id in sends:
            assert (await site.get(f"/v1/t/o/{email_id}")).headers["content-type"] == "image/gif"
        assert (await counted(runtime, "opened"))[0] == 3
        answer = await site.get(f"/v1/t/c/{links[0].id}")
        assert (answer.status_code, answer.headers["location"]) == (302, links[0].url)
        assert (await counted(runtime, "clicked"))[0] == 0
        clock.advance(timedelta(minutes=1))
        await site.get(f"/v1/t/o/{sends[-1]}")
        assert (await counted(runtime, "opened"))[0] == 4

    async def test_can_opt_out_but_not_write_the_ledger_full(
        self, site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson
    ) -> None:
        ada = await person()
        reader = ReaderToken(ada["email"], ada["id"], None, None)
        page = f"/v1/email/preferences?token={tokens.issue(runtime.settings.secret_key, clock, reader)}"
        answers = [await site.post(page, data={"do": do}) for do in ("unsubscribe", "resubscribe") * 6]
        codes = [answer.status_code for answer in answers]
        assert codes[::2] == [200] * 6
        assert codes[1::2] == [200] * 3 + [429] * 3
        assert re.fullmatch(r"\d+", answers[-1].headers["retry-after"])


async def test_a_repeat_is_told_from_a_fact_of_the_providers(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    """A send that nobody knew the outcome of: each open proves that it arrived, a repeated one too."""
    email_id = await prepared(await person())
    await site.get(f"/v1/t/o/{email_id}")
    async with runtime.database.transaction() as conn:
        unknown = {"outcome_unknown": True, "status": "failed", "refusal": "outcome_unknown"}
        await conn.execute(update(email_sends).where(email_sends.c.id == email_id).values(unknown))
    await site.get(f"/v1/t/o/{email_id}")
    row = await the_send(runtime, email_id)
    assert (row.status, row.outcome_unknown, row.refusal) == ("opened", False, None)
    assert (await counted(runtime, "opened"))[:2] == (1, 2)
