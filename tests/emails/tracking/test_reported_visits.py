"""Opens and clicks that Resend reports: one visit seen both ways counts once, and repeats grow no table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from hogsend.clock import ManualClock
from hogsend.emails.sending.protocol import deliver
from hogsend.emails.tracking.visits import MOST_VISITS, VISIT
from hogsend.runtime import Runtime
from hogsend.tables.emails import email_links
from tests.driving import rows
from tests.fixtures.emails import MakePerson, Prepare, the_send
from tests.standins.resend import webhook

URL = "/v1/webhooks/email/resend"
ELSEWHERE = {"ipAddress": "203.0.113.9", "userAgent": "Proxy/2"}


class Reader:
    """Somebody who has the email, seen by our own pixel and links, and by Resend's."""

    def __init__(self, site: httpx.AsyncClient, clock: ManualClock, email_id: UUID, message_id: str) -> None:
        self.site = site
        self.clock = clock
        self.email_id = email_id
        self.message_id = message_id
        self.reports = 0

    async def opens(self) -> None:
        assert (await self.site.get(f"/v1/t/o/{self.email_id}")).status_code == 200

    async def clicks(self, link: UUID) -> None:
        assert (await self.site.get(f"/v1/t/c/{link}")).status_code == 302

    async def reported(self, kind: str, *, event_id: str | None = None, **about: Any) -> None:
        self.reports += 1
        what = {"email.opened": "open", "email.clicked": "click"}[kind]
        told = {what: {"timestamp": self.clock.wall().isoformat(), **ELSEWHERE, **about}}
        event = webhook(
            kind,
            message_id=self.message_id,
            at=self.clock.wall(),
            event_id=event_id or f"report-{self.reports}",
            **told,
        )
        assert (await self.site.post(URL, content=event[0], headers=event[1])).status_code == 200


@pytest.fixture
async def reader(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> Reader:
    email_id = await prepared(await person())
    message_id = (await deliver(runtime, email_id)).message_id
    assert message_id is not None
    return Reader(site, clock, email_id, message_id)


async def counts(runtime: Runtime, fact: str) -> list[int]:
    """How often each row of the fact happened, the first one first."""
    found = await rows(runtime, f"SELECT count FROM email_events WHERE type = '{fact}' ORDER BY at, id")
    return [row[0] for row in found]


async def a_link(runtime: Runtime) -> Any:
    async with runtime.database.read() as conn:
        return (await conn.execute(select(email_links).order_by(email_links.c.position).limit(1))).one()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_one_open_that_both_saw_is_one_open(runtime: Runtime, reader: Reader, ours_first: bool) -> None:
    first, second = reader.opens(), reader.reported("email.opened")
    if not ours_first:
        first, second = second, first
    await first
    reader.clock.advance(timedelta(seconds=20))
    await second
    assert await counts(runtime, "opened") == [1]
    send = await the_send(runtime, reader.email_id)
    assert send.status == "opened"
    # Each further open is seen both ways too.
    for _ in range(3):
        reader.clock.advance(timedelta(seconds=5))
        await reader.opens()
        await reader.reported("email.opened")
    assert await counts(runtime, "opened") == [4]
    activity = await rows(runtime, "SELECT 1 FROM activity WHERE kind = 'email' AND type = 'opened'")
    assert len(activity) == 1


async def test_what_only_resend_saw_counts_and_its_repeats_grow_no_table(
    runtime: Runtime, reader: Reader
) -> None:
    for _ in range(50):
        await reader.reported("email.opened")
    assert await counts(runtime, "opened") == [50]
    reader.clock.advance(VISIT + timedelta(seconds=1))
    await reader.reported("email.opened")
    assert await counts(runtime, "opened") == [50, 1]


async def test_reports_without_end_are_counted_on_the_latest(runtime: Runtime, reader: Reader) -> None:
    for _ in range(MOST_VISITS + 5):
        reader.clock.advance(VISIT + timedelta(seconds=1))
        await reader.reported("email.opened")
    found = await counts(runtime, "opened")
    assert (len(found), sum(found), found[-1]) == (MOST_VISITS, MOST_VISITS + 5, 6)


async def test_a_report_that_comes_twice_counts_once(runtime: Runtime, reader: Reader) -> None:
    await reader.reported("email.opened")
    for _ in range(3):
        await reader.reported("email.opened", event_id="the-same")
    assert await counts(runtime, "opened") == [2]


@pytest.mark.parametrize("wrapped", [True, False])
async def test_a_click_that_both_saw_is_one_click_of_its_link(
    runtime: Runtime, reader: Reader, wrapped: bool
) -> None:
    """Resend's own tracking wraps the link that is in the email, which is ours."""
    link = await a_link(runtime)
    await reader.clicks(link.id)
    await reader.reported(
        "email.clicked", link=f"http://hogsend.test/v1/t/c/{link.id}" if wrapped else link.url
    )
    await reader.reported("email.clicked", link="https://elsewhere.example/")
    found = await rows(
        runtime, "SELECT link_id, url, count FROM email_events WHERE type = 'clicked' ORDER BY id"
    )
    assert sorted((row.link_id, row.url, row[2]) for row in found if row.link_id) == [(link.id, link.url, 1)]
    assert [(row.url, row[2]) for row in found if not row.link_id] == [("https://elsewhere.example/", 1)]


async def test_a_bounce_of_another_address_is_not_the_contacts(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person("ada@example.com")
    email_id = await prepared(ada, to="elsewhere@example.com")
    message_id = (await deliver(runtime, email_id)).message_id or ""
    bounced = {"bounce": {"type": "Permanent", "message": "No such mailbox"}}
    event = webhook("email.bounced", message_id=message_id, at=clock.wall(), **bounced)
    assert (await site.post(URL, content=event[0], headers=event[1])).status_code == 200
    suppressed = await rows(runtime, "SELECT email, type FROM suppressions")
    assert [tuple(row) for row in suppressed] == [("elsewhere@example.com", "bounce")]
    said = await rows(runtime, "SELECT bounce_count, suppressed FROM contact_preferences")
    assert [tuple(row) for row in said] in ([], [(0, False)])
    await prepared(ada, key="own")
    refused = await rows(runtime, "SELECT to_email, refusal FROM email_sends ORDER BY created_at, id")
    assert {row.to_email: row.refusal for row in refused} == {
        "elsewhere@example.com": None,
        "ada@example.com": None,
    }
