"""Delivery events from Resend: verified, once each, in any order, before and after our own `sent`."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from itertools import permutations
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select, update

from hogsend.clock import ManualClock
from hogsend.emails.sending.protocol import deliver
from hogsend.emails.tracking.webhook_events import match_stragglers
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contacts
from hogsend.tables.emails import email_sends, provider_events
from hogsend.tables.events import user_events
from tests.fixtures.emails import MakePerson, Prepare, facts_of, preferences_of, the_send
from tests.standins.resend import signed, webhook

URL = "/v1/webhooks/email/resend"
HARD: dict[str, Any] = {"bounce": {"type": "Permanent", "subType": "General", "message": "No such mailbox"}}
SOFT: dict[str, Any] = {"bounce": {"type": "Transient", "subType": "MailboxFull", "message": "Full"}}


async def post(
    site: httpx.AsyncClient, event: tuple[bytes, dict[str, str]], url: str = URL
) -> httpx.Response:
    return await site.post(url, content=event[0], headers=event[1])


@pytest.mark.parametrize("url", [URL, "/v1/webhooks/resend"])
async def test_a_delivery_event_is_recorded(
    site: httpx.AsyncClient,
    runtime: Runtime,
    clock: ManualClock,
    person: MakePerson,
    prepared: Prepare,
    url: str,
) -> None:
    email_id = await prepared(await person())
    message_id = (await deliver(runtime, email_id)).message_id
    happened = clock.now() - timedelta(seconds=30)
    clock.advance(timedelta(seconds=1))
    click: dict[str, Any] = {
        "click": {"link": "https://a.example", "ipAddress": "10.0.0.1", "timestamp": happened.isoformat()}
    }
    assert message_id is not None
    body, headers = webhook("email.clicked", message_id=message_id, at=clock.wall(), **click)
    answer = await post(site, (body, headers), url)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    send = await the_send(runtime, email_id)
    assert (send.status, send.clicked_at) == ("clicked", happened)


async def test_five_times_in_every_order_ends_the_same(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    kinds = ["email.sent", "email.delivered", "email.opened", "email.bounced"]
    for number, order in enumerate(random.Random(1).sample(list(permutations(kinds)), 6)):
        ada = await person(f"ada{number}@example.com")
        email_id = await prepared(ada, key=f"k{number}")
        message_id = (await deliver(runtime, email_id)).message_id or ""
        for kind in order * 5:
            more = SOFT if kind == "email.bounced" else {}
            event = webhook(
                kind, message_id=message_id, at=clock.wall(), event_id=f"msg-{number}-{kind}", **more
            )
            assert (await post(site, event)).status_code == 200
        assert (await the_send(runtime, email_id)).status == "bounced"
        assert sorted(await facts_of(runtime, email_id)) == [
            "bounced",
            "delivered",
            "opened",
            "queued",
            "sent",
        ]
        assert (await preferences_of(runtime, ada["id"])).bounce_count == 1


async def test_the_same_event_at_once_counts_once(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    email_id = await prepared(ada)
    message_id = (await deliver(runtime, email_id)).message_id or ""
    event = webhook("email.bounced", message_id=message_id, at=clock.wall(), event_id="same", **HARD)
    answers = await asyncio.gather(*(post(site, event) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    said = await preferences_of(runtime, ada["id"])
    assert (said.bounce_count, said.suppressed) == (1, True)


@pytest.mark.parametrize("tagged", [True, False])
async def test_events_before_our_own_commit_are_not_lost(
    site: httpx.AsyncClient,
    runtime: Runtime,
    clock: ManualClock,
    person: MakePerson,
    prepared: Prepare,
    tagged: bool,
) -> None:
    ada = await person()
    email_id = await prepared(ada)
    send = runtime.provider.send

    async def send_and_hear_of_it_at_once(message: Any, *, idempotency_key: str) -> str:
        message_id = await send(message, idempotency_key=idempotency_key)
        tags = dict(message.tags) if tagged else {}
        for kind, more in (("email.bounced", HARD), ("email.delivered", {}), ("email.sent", {})):
            event = webhook(kind, message_id=message_id, at=clock.wall(), tags=tags, **more)
            assert (await post(site, event)).status_code == 200
        return message_id

    runtime.provider.send = send_and_hear_of_it_at_once  # type: ignore[method-assign]
    outcome = await deliver(runtime, email_id)
    assert outcome.state == "sent"
    row = await the_send(runtime, email_id)
    assert (row.status, row.message_id, row.outcome_unknown) == ("bounced", outcome.message_id, False)
    assert sorted(await facts_of(runtime, email_id)) == ["bounced", "delivered", "queued", "sent"]
    assert (await preferences_of(runtime, ada["id"])).suppressed


async def test_an_event_of_an_unknown_send_waits_until_it_is_known(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    event = webhook("email.delivered", message_id="not-yet", at=clock.wall())
    assert (await post(site, event)).status_code == 200
    await match_stragglers(runtime)
    email_id = await prepared(await person())
    await deliver(runtime, email_id)
    async with runtime.database.transaction() as conn:
        await conn.execute(update(email_sends).values(message_id="not-yet"))
    for _ in range(2):
        await match_stragglers(runtime)
    assert (await the_send(runtime, email_id)).status == "delivered"
    assert await facts_of(runtime, email_id) == ["queued", "sent", "delivered"]


@pytest.mark.parametrize("kind", ["email.scheduled", "contact.created", "", "email.unheard_of"])
async def test_what_is_not_about_a_sends_fate_is_taken_and_left(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, kind: str
) -> None:
    assert (await post(site, webhook(kind, message_id="m", at=clock.wall()))).status_code == 200
    async with runtime.database.read() as conn:
        row = (await conn.execute(select(provider_events))).one()
    assert row.processed_at is not None


async def test_a_soft_bounce_does_not_suppress(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    email_id = await prepared(ada)
    message_id = (await deliver(runtime, email_id)).message_id or ""
    await post(site, webhook("email.bounced", message_id=message_id, at=clock.wall(), **SOFT))
    said = await preferences_of(runtime, ada["id"])
    assert (said.suppressed, said.bounce_count) == (False, 1)


def tampered(clock: ManualClock) -> dict[str, tuple[bytes, dict[str, str]]]:
    body, headers = webhook("email.delivered", message_id="m", at=clock.wall())
    old = webhook("email.delivered", message_id="m", at=clock.wall() - timedelta(minutes=6))
    early = webhook("email.delivered", message_id="m", at=clock.wall() + timedelta(minutes=6))
    other = signed(body, at=clock.wall(), secret="whsec_c29tZWJvZHkgZWxzZQ")
    return {
        "body": (body.replace(b"delivered", b"bounced00"), headers),
        "no headers": (body, {}),
        "no signature": (body, {**headers, "svix-signature": ""}),
        "bad signature": (body, {**headers, "svix-signature": "v1,AAAA"}),
        "junk signature": (
            body,
            {**headers, "svix-signature": "junk ünd,so,weiter"},
        ),
        "another secret": (body, other),
        "another id": (body, {**headers, "svix-id": "msg_other"}),
        "long id": (body, {**headers, "svix-id": "m" * 300}),
        "old": old,
        "early": early,
        "fresh stamp on an old signature": (old[0], {**old[1], "svix-timestamp": headers["svix-timestamp"]}),
        "no timestamp": (body, {**headers, "svix-timestamp": "soon"}),
        "huge timestamp": (body, {**headers, "svix-timestamp": "9" * 30}),
        "not text": (b"\xff\xfe", signed(b"{}", at=clock.wall())),
    }


@pytest.mark.parametrize("case", sorted(tampered(ManualClock())))
async def test_what_is_not_from_resend_is_refused(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, case: str
) -> None:
    body, headers = tampered(clock)[case]
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = await site.post(URL, content=body, headers=raw)
    assert (answer.status_code, answer.json()) == (401, {"error": "Webhook verification failed"})
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(func.count()).select_from(provider_events))).scalar_one() == 0


async def test_ten_megabytes_are_not_read(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    body = b'{"type":"' + b"x" * 10_000_000 + b'"}'
    answer = await post(site, (body, signed(body, at=clock.wall())))
    assert (answer.status_code, answer.json()) == (413, {"error": "Request body too large"})
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(func.count()).select_from(provider_events))).scalar_one() == 0


async def test_one_of_several_signatures_is_enough(site: httpx.AsyncClient, clock: ManualClock) -> None:
    body, headers = webhook("email.delivered", message_id="m", at=clock.wall())
    rotated = {**headers, "svix-signature": f"v1,AAAA v2,BBBB {headers['svix-signature']}"}
    assert (await post(site, (body, rotated))).status_code == 200
    standard = {name.replace("svix-", "webhook-"): value for name, value in headers.items()}
    assert (await post(site, (body, standard))).status_code == 200


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b"1"])
async def test_a_signed_body_that_is_no_object_is_refused(
    site: httpx.AsyncClient, clock: ManualClock, body: bytes
) -> None:
    answer = await post(site, (body, signed(body, at=clock.wall())))
    assert (answer.status_code, answer.json()["error"]) == (400, "The body must be a JSON object")


async def test_strange_contents_are_no_fault_of_ours(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    message_id = (await deliver(runtime, email_id)).message_id
    strange: list[Any] = [
        {"email_id": message_id, "click": {"link": "https://a.example/\x00", "userAgent": "\x00" * 5000}},
        {"email_id": message_id, "click": {"link": "https://a.example/", "timestamp": "yesterday"}},
        {"email_id": {"a": 1}, "click": [], "tags": [1, {"name": "email_id", "value": "no-uuid"}]},
        {"email_id": message_id, "tags": {"email_id": 7}},
        [],
    ]
    for data in strange:
        body = orjson.dumps({"type": "email.clicked", "created_at": "junk", "data": data})
        headers = signed(body, at=clock.wall(), event_id=f"msg_{len(body)}")
        assert (await post(site, (body, headers))).status_code == 200
    assert (await the_send(runtime, email_id)).clicked_at == clock.now()


async def test_posthog_events_go_through_the_one_pipeline(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    body = {
        "event": {
            "event": "project.created",
            "distinct_id": "u1",
            "uuid": "0190f000-0000-7000-8000-000000000009",
            "timestamp": "2026-01-15T10:00:00+02:00",
            "properties": {"plan": "pro"},
        },
        "person": {"properties": {"email": "Ada@Example.com"}},
    }
    headers = {"X-PostHog-Webhook-Secret": "posthog-secret"}
    for _ in range(2):
        answer = await site.post("/v1/webhooks/posthog", json=body, headers=headers)
        assert (answer.status_code, answer.json()) == (
            200,
            {"ok": True, "event": "project.created", "userId": "u1", "exits": []},
        )
    async with runtime.database.read() as conn:
        event = (await conn.execute(select(user_events))).one()
    assert (event.name, event.properties, event.source) == ("project.created", {"plan": "pro"}, "posthog")
    assert event.occurred_at.isoformat() == "2026-01-15T08:00:00+00:00"


@pytest.mark.parametrize("secret", ["", "posthog-secre", "posthog-secret ", "pösthog"])
async def test_posthog_must_know_the_secret(site: httpx.AsyncClient, secret: str) -> None:
    answer = await site.post(
        "/v1/webhooks/posthog",
        json={"event": {"event": "x", "distinct_id": "u"}},
        headers=[(b"X-PostHog-Webhook-Secret", secret.encode())],
    )
    assert (answer.status_code, answer.json()) == (401, {"error": "Webhook verification failed"})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "event"),
        ({"event": "x"}, "event"),
        ({"event": {"distinct_id": "u"}}, "event.event"),
        ({"event": {"event": "x"}}, "event.distinct_id"),
        ({"event": {"event": "x", "distinct_id": "u", "timestamp": "soon"}}, "event.timestamp"),
        ({"event": {"event": "x", "distinct_id": "u", "properties": []}}, "properties"),
        ({"event": {"event": "x", "distinct_id": "u"}, "person": 1}, "person"),
    ],
)
async def test_a_malformed_posthog_event_is_named(
    site: httpx.AsyncClient, body: dict[str, Any], path: str
) -> None:
    headers = {"X-PostHog-Webhook-Secret": "posthog-secret"}
    answer = await site.post("/v1/webhooks/posthog", json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"] == path


async def test_an_unidentified_person_is_anonymous(site: httpx.AsyncClient, runtime: Runtime) -> None:
    headers = {"X-PostHog-Webhook-Secret": "posthog-secret"}
    event = {"event": "seen", "distinct_id": "anon-1", "properties": {"$is_identified": False}}
    answer = await site.post("/v1/webhooks/posthog", json={"event": event}, headers=headers)
    assert answer.json()["userId"] == "anon-1"
    async with runtime.database.read() as conn:
        row = (await conn.execute(select(contacts))).one()
    assert (row.anonymous_id, row.external_id) == ("anon-1", None)


async def test_nobody_waits_for_each_other(
    site: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    """A send's answer, its bounce, its complaint, an open and an opt-out take the same locks in one order."""
    ada = await person()
    sends = [await prepared(ada, key=f"k{n}", template="payment-failed") for n in range(4)]
    send = runtime.provider.send
    told: list[asyncio.Task[httpx.Response]] = []

    def tell(kind: str, message_id: str, tags: dict[str, str]) -> None:
        event = webhook(kind, message_id=message_id, at=clock.wall(), tags=tags)
        told.append(asyncio.create_task(post(site, event)))

    async def send_and_hear(message: Any, *, idempotency_key: str) -> str:
        message_id = await send(message, idempotency_key=idempotency_key)
        for kind in ("email.bounced", "email.complained", "email.opened"):
            tell(kind, message_id, dict(message.tags))
        told.append(asyncio.create_task(site.get(f"/v1/t/o/{idempotency_key}")))
        return message_id

    runtime.provider.send = send_and_hear  # type: ignore[method-assign]
    outcomes = await asyncio.gather(*(deliver(runtime, email_id) for email_id in sends))
    answers = await asyncio.gather(*told)
    assert {answer.status_code for answer in answers} == {200}
    sent = [email_id for email_id, outcome in zip(sends, outcomes, strict=True) if outcome.state == "sent"]
    assert sent
    for email_id in sent:
        assert (await the_send(runtime, email_id)).status == "complained"
    said = await preferences_of(runtime, ada["id"])
    assert (said.suppressed, said.bounce_count) == (True, len(sent))
