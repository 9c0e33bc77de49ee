"""The demo's story is told through the public API, and its readers really open and click."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest
from sqlalchemy import select

from hogsend.cli.demo_people import inbox, read, send, watch_bounces
from hogsend.cli.demo_story import ADA, story
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.tables.emails import email_sends
from tests.driving import drive


def test_the_story_is_in_order_and_the_same_for_a_seed() -> None:
    moments = story(50, seed=1)
    assert [moment.day for moment in moments] == sorted(moment.day for moment in moments)
    assert moments == story(50, seed=1)
    assert moments != story(50, seed=2)
    assert len({moment.person for moment in moments}) == 50
    assert len({moment.person.email for moment in moments}) == 50


def test_each_person_signs_up_before_anything_else() -> None:
    seen = set()
    for moment in story(200, seed=3):
        assert (moment.event == "user.signed_up") == (moment.person not in seen)
        seen.add(moment.person)


def test_everything_happens_to_ada() -> None:
    moments = story(60, seed=4)
    assert moments[0].person == ADA
    hers = Counter(moment.event for moment in moments if moment.person == ADA)
    assert set(hers) == {moment.event for moment in moments}
    assert {"user.signed_up", "trial.started", "payment.failed", "payment.succeeded"} <= set(hers)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"email_provider": "inbox", "dev": True})


async def test_events_bring_mail_that_is_opened_and_clicked(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await send(client, story(1, seed=5)[0])
    await drive(runtime)
    [message] = await inbox(client)
    assert message["to"] == ADA.email
    await read(client, message, opens=1, clicks=1)
    async with runtime.database.read() as conn:
        email = (await conn.execute(select(email_sends))).mappings().one()
    assert email["status"] == "clicked"
    assert email["opened_at"] is not None


async def test_without_the_inbox_of_development_nothing_is_read(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    runtime.settings.dev = False
    assert await inbox(client) == []


async def test_one_rule_watches_for_bounces_where_the_key_may_make_one(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/admin/api-keys", json={"name": "products", "scopes": ["ingest"]})
    admin = client.headers["Authorization"]
    rules = "/v1/admin/alerts/rules"
    for key, count in ((f"Bearer {made.json()['key']}", 0), (admin, 1), (admin, 1)):
        client.headers["Authorization"] = key
        await watch_bounces(client)
        found = (await client.get(rules, headers={"Authorization": admin})).json()["rules"]
        assert len(found) == count
