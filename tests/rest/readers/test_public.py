"""What readers reach by the links in an email."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from hogsend.clock import ManualClock
from hogsend.consent import tokens
from hogsend.consent.tokens import ReaderToken
from hogsend.rest.public import PIXEL
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contacts
from hogsend.tables.emails import email_events, email_links, email_sends
from tests.fixtures.emails import MakePerson, Prepare, facts_of, preferences_of, reasons_of, the_send

UNKNOWN = "0190f000-0000-7000-8000-00000000dead"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


async def link_of(runtime: Runtime) -> Any:
    async with runtime.database.read() as conn:
        return (await conn.execute(select(email_links).order_by(email_links.c.position))).first()


async def way_out(runtime: Runtime, email_id: Any) -> str:
    """The URL of the mail client's own button."""
    payload = (await the_send(runtime, email_id)).payload
    url: str = payload["headers"]["List-Unsubscribe"].strip("<>")
    return url


@pytest.mark.parametrize("id", [UNKNOWN, "junk", "%00", "a.gif"])
async def test_the_pixel_is_always_a_picture(site: httpx.AsyncClient, id: str) -> None:
    answer = await site.get(f"/v1/t/o/{id}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.content == PIXEL
    assert "no-store" in answer.headers["cache-control"]


async def test_the_pixel_of_a_send_records_an_open(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    page = (await the_send(runtime, email_id)).payload["html"]
    pixel = re.search(r'<img src="([^"]+)"[^>]*></body>', page)
    assert pixel is not None
    assert (await site.head(pixel.group(1))).status_code == 200
    assert await facts_of(runtime, email_id) == ["queued"]
    await site.get(pixel.group(1), headers={"User-Agent": "Reader/1.0"})
    async with runtime.database.read() as conn:
        event = (await conn.execute(select(email_events).where(email_events.c.type == "opened"))).one()
    assert (event.user_agent, event.at) == ("Reader/1.0", clock.now())
    assert event.ip_address


async def test_a_click_leads_to_what_the_email_held(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person(), props={"start_url": "https://a.example/ü?x=1&y=a b#c"})
    link = await link_of(runtime)
    assert (await site.head(f"/v1/t/c/{link.id}")).status_code == 302
    assert await facts_of(runtime, email_id) == ["queued"]
    answer = await site.get(f"/v1/t/c/{link.id}?url=https://evil.example&to=https://evil.example")
    assert answer.status_code == 302
    assert answer.headers["location"] == "https://a.example/%C3%BC?x=1&y=a%20b#c"
    async with runtime.database.read() as conn:
        event = (await conn.execute(select(email_events).where(email_events.c.type == "clicked"))).one()
    assert (event.email_id, event.link_id, event.url) == (email_id, link.id, link.url)


@pytest.mark.parametrize("id", [UNKNOWN, "junk", "%00", "https://evil.example"])
async def test_an_unknown_link_leads_nowhere(site: httpx.AsyncClient, id: str) -> None:
    answer = await site.get(f"/v1/t/c/{id}")
    assert (answer.status_code, "location" in answer.headers) == (404, False)


async def test_one_click_unsubscribes(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    email_id = await prepared(ada)
    url = await way_out(runtime, email_id)
    for _ in range(2):
        answer = await site.post(url, data=ONE_CLICK)
        assert answer.status_code == 200
    assert "You are unsubscribed" in answer.text
    assert (await preferences_of(runtime, ada["id"])).unsubscribed_all
    assert await reasons_of(runtime, "preference") == [
        ("unsubscribed", {"scope": "all", "source": "one-click"})
    ]
    refused = await prepared(ada, key="send-2")
    assert (await the_send(runtime, refused)).refusal == "unsubscribed_from_all"


async def test_one_click_counts_with_a_body_that_is_too_long(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    answer = await site.post(await way_out(runtime, await prepared(ada)), content=b"x" * 3_000_000)
    assert (answer.status_code, "You are unsubscribed" in answer.text) == (200, True)
    assert (await preferences_of(runtime, ada["id"])).unsubscribed_all


async def test_one_click_counts_with_a_body_that_breaks_off(
    live_server: str, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    way = urlsplit(await way_out(runtime, await prepared(ada)))
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(live_server).port)
    head = f"POST {way.path}?{way.query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 26\r\n\r\n"
    writer.write(f"{head}List-Unsub".encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(10):
        while (said := await preferences_of(runtime, ada["id"])) is None:
            await asyncio.sleep(0.02)
    assert said.unsubscribed_all


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_changes_nothing(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare, method: str
) -> None:
    ada = await person()
    url = await way_out(runtime, await prepared(ada))
    for address in (url, url.replace("/unsubscribe", "/preferences")):
        answer = await site.request(method, address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"].startswith("no-store")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert await preferences_of(runtime, ada["id"]) is None


async def test_the_page_offers_only_this_kind_of_email(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    url = await way_out(runtime, await prepared(ada))
    assert "Only from “Onboarding”" in (await site.get(url)).text
    answer = await site.post(url, data={"scope": "category"})
    assert "about “Onboarding” any more" in answer.text
    said = await preferences_of(runtime, ada["id"])
    assert (said.unsubscribed_all, said.categories) == (False, {"onboarding": False})


async def test_the_preference_centre_saves_what_is_ticked(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    url = (await way_out(runtime, await prepared(ada))).replace("/unsubscribe", "/preferences")
    page = (await site.get(url)).text
    assert re.findall(r'name="category" value="([^"]+)" checked', page) == ["billing", "onboarding"]
    answer = await site.post(
        url, data={"do": "save", "known": ["billing", "onboarding", "forged"], "category": ["billing"]}
    )
    assert "Saved." in answer.text
    assert re.findall(r'name="category" value="([^"]+)" checked', answer.text) == ["billing"]
    said = await preferences_of(runtime, ada["id"])
    assert said.categories == {"onboarding": False}


async def test_the_preference_centre_writes_what_the_reader_changed(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    """The page stood open while the other kind was refused elsewhere."""
    ada = await person()
    way = await way_out(runtime, await prepared(ada))
    url = way.replace("/unsubscribe", "/preferences")
    both = {"known": ["billing", "onboarding"]}
    assert 'name="refused"' not in (await site.get(url)).text
    await site.post(way, data={"scope": "category"})
    assert 'name="refused" value="onboarding"' in (await site.get(url)).text
    answer = await site.post(url, data={"do": "save", **both, "category": ["onboarding"]})
    said = await preferences_of(runtime, ada["id"])
    assert (answer.status_code, said.categories) == (200, {"onboarding": False, "billing": False})
    shown = {**both, "refused": ["billing", "onboarding"]}
    await site.post(url, data={"do": "save", **shown, "category": ["billing"]})
    assert (await preferences_of(runtime, ada["id"])).categories == {"onboarding": False, "billing": True}


@pytest.mark.parametrize("form", [{}, {"do": "nonsense"}, {"do": ""}, {"category": ["billing"]}])
async def test_a_form_that_says_nothing_saves_nothing_and_says_so(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare, form: Any
) -> None:
    ada = await person()
    url = (await way_out(runtime, await prepared(ada))).replace("/unsubscribe", "/preferences")
    answer = await site.post(url, data=form)
    assert (answer.status_code, "Saved." in answer.text) == (400, False)
    assert "Nothing was saved" in answer.text
    assert await preferences_of(runtime, ada["id"]) is None


async def test_the_preference_centre_unsubscribes_and_takes_back(
    site: httpx.AsyncClient, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    url = (await way_out(runtime, await prepared(ada))).replace("/unsubscribe", "/preferences")
    answer = await site.post(url, data={"do": "unsubscribe"})
    assert "is unsubscribed from everything" in answer.text
    assert (await preferences_of(runtime, ada["id"])).unsubscribed_all
    both = ["billing", "onboarding"]
    answer = await site.post(url, data={"do": "resubscribe", "known": both, "category": both})
    assert "is unsubscribed" not in answer.text
    assert not (await preferences_of(runtime, ada["id"])).unsubscribed_all


@pytest.mark.parametrize("path", ["unsubscribe", "preferences"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_bad_link_gets_a_plain_page(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, path: str, method: str
) -> None:
    token = tokens.issue(runtime.settings.secret_key, clock, ReaderToken("ada@example.com", None, None, None))
    for bad in ("", "?token=", "?token=junk", f"?token={token[:-3]}aaa", "?token=%00%ff"):
        answer = await site.request(method, f"/v1/email/{path}{bad}")
        assert (answer.status_code, "This link is not valid" in answer.text) == (400, True)
    clock.advance(tokens.LIFETIME + timedelta(days=1))
    answer = await site.request(method, f"/v1/email/{path}?token={token}")
    assert (answer.status_code, "This link has expired" in answer.text) == (400, True)


async def test_an_address_in_a_page_is_escaped(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    reader = ReaderToken("<script>alert(1)</script>@example.com", None, None, "<b>")
    token = tokens.issue(runtime.settings.secret_key, clock, reader)
    for path in ("unsubscribe", "preferences"):
        assert "<script>" not in (await site.get(f"/v1/email/{path}?token={token}")).text


async def test_an_opt_out_outlives_its_contact(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    """Deleted in between, and the address belongs to a new contact: they are who meant it."""
    old = await person()
    url = await way_out(runtime, await prepared(old))
    async with runtime.database.transaction() as conn:
        await conn.execute(update(contacts).where(contacts.c.id == old["id"]).values(deleted_at=clock.now()))
    new = await person()
    assert (await site.post(url, data=ONE_CLICK)).status_code == 200
    assert (await preferences_of(runtime, new["id"])).unsubscribed_all


async def test_an_opt_out_of_an_address_that_nobody_holds_is_kept(
    site: httpx.AsyncClient, runtime: Runtime, prepared: Prepare
) -> None:
    url = await way_out(runtime, await prepared(None, to="stranger@example.com"))
    assert (await site.post(url, data=ONE_CLICK)).status_code == 200
    refused = await prepared(None, key="again", to="stranger@example.com")
    send = await the_send(runtime, refused)
    assert (send.status, send.refusal) == ("failed", "unsubscribed_from_all")


async def test_a_reader_gets_the_picture_and_the_page_while_tracking_is_down(
    site: httpx.AsyncClient,
    runtime: Runtime,
    person: MakePerson,
    prepared: Prepare,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    email_id = await prepared(await person())
    link = await link_of(runtime)

    async def broken(*_: Any, **__: Any) -> bool:
        raise OSError("no database")

    monkeypatch.setattr("hogsend.rest.public.record_fact", broken)
    assert (await site.get(f"/v1/t/o/{email_id}")).status_code == 200
    assert (await site.get(f"/v1/t/c/{link.id}")).status_code == 302
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(email_sends.c.status))).scalar_one() == "queued"
