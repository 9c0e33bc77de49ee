"""The inbox of development, as a person and as a script see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from hogsend.clock import ManualClock
from hogsend.emails.providers.inbox import InboxProvider
from hogsend.emails.sending.protocol import deliver
from hogsend.runtime import Runtime
from tests.fixtures.emails import MakePerson, Prepare, the_send

UNKNOWN = "0190f000-0000-7000-8000-00000000dead"

Sent = Callable[..., Awaitable[None]]


@pytest.fixture
def sent(runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare) -> Sent:
    """Send one template to some people through the inbox."""
    runtime.provider = InboxProvider(runtime.database, clock)

    async def send(*addresses: str) -> None:
        for address in addresses:
            email_id = await prepared(await person(address), key=address)
            await deliver(runtime, email_id)
            clock.advance(timedelta(minutes=1))

    return send


async def messages(site: httpx.AsyncClient, query: str = "") -> list[dict[str, str]]:
    answer = await site.get(f"/dev/inbox?format=json{query}")
    listed: list[dict[str, str]] = answer.json()["messages"]
    return listed


async def test_a_script_reads_what_was_sent(site: httpx.AsyncClient, runtime: Runtime, sent: Sent) -> None:
    await sent("ada@example.com", "eve@example.com")
    answer = await site.get("/dev/inbox", headers={"Accept": "application/json"})
    body = answer.json()
    assert (body["total"], [each["to"] for each in body["messages"]]) == (
        2,
        ["eve@example.com", "ada@example.com"],
    )
    first = body["messages"][1]
    assert first["receivedAt"] == "2026-01-15T10:30:00.000Z"
    assert first["subject"] == "Welcome: here is where to start"
    assert "List-Unsubscribe" in first["headers"]
    assert "/v1/t/o/" in first["html"]
    assert "Make your first project" in first["text"]
    one = await site.get(f"/dev/inbox/{first['id']}?format=json")
    assert one.json() == first


async def test_a_delivered_message_is_reported_as_a_provider_would(
    site: httpx.AsyncClient, runtime: Runtime, sent: Sent
) -> None:
    await sent("ada@example.com", "bounce@example.com")
    keys = {each["to"]: each["idempotency_key"] for each in await messages(site)}
    fates = {to: (await the_send(runtime, key)).status for to, key in keys.items()}  # type: ignore[arg-type]
    assert fates == {"ada@example.com": "delivered", "bounce@example.com": "bounced"}


async def test_the_list_is_searched_by_person_and_subject(site: httpx.AsyncClient, sent: Sent) -> None:
    await sent("ada@example.com", "eve_1@example.com", "evex1@example.com")
    assert [each["to"] for each in await messages(site, "&q=EVE_")] == ["eve_1@example.com"]
    assert [each["to"] for each in await messages(site, "&to=Ada@example.com")] == ["ada@example.com"]
    assert len(await messages(site, "&q=here+is+where")) == 3
    assert len(await messages(site, "&limit=2")) == 2
    assert len(await messages(site, "&limit=x")) == 3


@pytest.mark.parametrize("view", ["page", "text", "headers", "source", "junk"])
async def test_a_person_reads_a_message(site: httpx.AsyncClient, sent: Sent, view: str) -> None:
    await sent("ada@example.com")
    (message,) = await messages(site)
    page = (await site.get(f"/dev/inbox/{message['id']}?view={view}")).text
    assert "<title>Welcome: here is where to start · Inbox</title>" in page
    assert {
        "page": 'sandbox="allow-popups allow-popups-to-escape-sandbox"',
        "junk": "<iframe",
        "text": "Make your first project: https://app.example.com/projects/new",
        "headers": "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "source": "&lt;!DOCTYPE html&gt;",
    }[view] in page


async def test_a_message_runs_nothing(
    site: httpx.AsyncClient, runtime: Runtime, sent: Sent, clock: ManualClock
) -> None:
    await sent("ada@example.com")
    (message,) = await messages(site)
    answer = await site.get(f"/dev/inbox/{message['id']}/page")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-popups")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


async def test_what_others_wrote_is_escaped_in_the_list(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, prepared: Prepare
) -> None:
    runtime.provider = InboxProvider(runtime.database, clock)
    await deliver(runtime, await prepared(None, to="eve@example.com", subject="<script>alert(1)</script>"))
    page = (await site.get("/dev/inbox")).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


async def test_an_empty_inbox_says_what_will_come(site: httpx.AsyncClient) -> None:
    assert "Nothing yet" in (await site.get("/dev/inbox")).text
    assert "Nothing matches “zz”" in (await site.get("/dev/inbox?q=zz")).text


async def test_the_list_alone_is_served_for_refreshing(site: httpx.AsyncClient, sent: Sent) -> None:
    await sent("ada@example.com")
    (message,) = await messages(site)
    fragment = (await site.get(f"/dev/inbox?q=&fragment={message['id']}")).text
    assert "<html" not in fragment
    assert 'aria-current="true"' in fragment


async def test_the_inbox_can_be_emptied(site: httpx.AsyncClient, sent: Sent) -> None:
    await sent("ada@example.com")
    assert (await site.post("/dev/inbox/clear")).status_code == 303
    assert await messages(site) == []


@pytest.mark.parametrize("path", ["", f"/{UNKNOWN}", "/junk", "/%00", f"/{UNKNOWN}/page"])
async def test_there_is_no_inbox_in_production(site: httpx.AsyncClient, runtime: Runtime, path: str) -> None:
    expected = 200 if path == "" else 404
    assert (await site.get(f"/dev/inbox{path}")).status_code == expected
    runtime.settings = runtime.settings.model_copy(update={"dev": False})
    assert (await site.get(f"/dev/inbox{path}")).status_code == 404
    assert (await site.post("/dev/inbox/clear")).status_code == 404
