"""Nobody is written to against their word: consent belongs to the address, whoever holds it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text, update

from hogsend.clock import ManualClock
from hogsend.consent.ledger import address_lock, refused_among, words_about
from hogsend.consent.suppression import suppress
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.sending.protocol import deliver
from hogsend.emails.tracking.webhook_events import take_resend_event
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.rest.webhooks import posthog_event
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.database import lock_subjects
from hogsend.tables.contacts import contacts
from hogsend.tables.emails import email_sends
from hogsend.validation import NOBODYS, NOBODYS_IDS
from tests.driving import rows
from worker.work import WORK

ALICE, BOB, DORA = "alice@example.com", "bob@example.com", "dora@example.com"
ADDRESSES_THAT_NO_PROVIDER_TAKES = (
    "x@example.com.",
    "a,b@example.com",
    "a..b@example.com",
    f"{'a' * 65}@example.com",
    "mailto:a@example.com",
    "two@at@example.com",
)


async def put(client: httpx.AsyncClient, user_id: str, email: str) -> None:
    answer = await client.put("/v1/contacts", json={"userId": user_id, "email": email})
    assert answer.status_code == 200, answer.text


async def send(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await client.post("/v1/emails", json={"template": "welcome", **asked})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def work_jobs(runtime: Runtime) -> None:
    for job_id in await due_jobs(runtime, 100):
        await run_job(runtime, WORK, job_id, "test")


def sent_to(runtime: Runtime, address: str) -> int:
    assert isinstance(runtime.provider, MemoryProvider)
    return len(runtime.provider.to(address))


async def opt_out(client: httpx.AsyncClient, runtime: Runtime, address: str, **form: str) -> None:
    """Get an email, and follow its link."""
    await send(client, to=address, category="news")
    await work_jobs(runtime)
    assert isinstance(runtime.provider, MemoryProvider)
    link = runtime.provider.to(address)[-1].headers["List-Unsubscribe"].strip("<>")
    answer = await client.post(link, data={"List-Unsubscribe": "One-Click", **form})
    assert answer.status_code == 200


@pytest.mark.parametrize("form", [{}, {"scope": "category"}], ids=["all", "one category"])
async def test_another_contact_does_not_open_an_address_that_opted_out(
    client: httpx.AsyncClient, runtime: Runtime, form: dict[str, str]
) -> None:
    await put(client, "alice", ALICE)
    await put(client, "bob", BOB)
    await opt_out(client, runtime, BOB, **form)
    for spelling in (BOB, " BOB@Example.com "):
        answer = await send(client, to=spelling, userId="alice", category="news")
        assert answer["status"] == "unsubscribed"
    await work_jobs(runtime)
    assert sent_to(runtime, BOB) == 1
    (row,) = await rows(
        runtime, "SELECT detail FROM decisions WHERE kind = 'suppressed' ORDER BY seq DESC LIMIT 1"
    )
    consent = row.detail["consent"]
    assert (consent["scope"], consent["source"]) == (
        "category:news" if form else "all",
        "form" if form else "one-click",
    )
    assert consent["ledger"] > 0


EXPLAIN = """{ journey(id: "activation-welcome") { explainEnrollment(contact: {externalId: "bob"}) {
    enrolled emailRefusal { reason word { row scope source } } } } }"""


async def test_explain_shows_the_row_that_refuses(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await put(client, "bob", BOB)
    for expected in (None, ("UNSUBSCRIBED_FROM_ALL", "all", "one-click")):
        answer = (await client.post("/graphql", json={"query": EXPLAIN})).json()
        found = answer["data"]["journey"]["explainEnrollment"]["emailRefusal"]
        assert (found and (found["reason"], found["word"]["scope"], found["word"]["source"])) == expected
        await opt_out(client, runtime, BOB) if expected is None else None


async def test_who_takes_an_address_over_takes_its_refusals(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await put(client, "alice", ALICE)
    await put(client, "bob", BOB)
    await opt_out(client, runtime, BOB)
    await put(client, "bob", "bob@elsewhere.example")
    assert (await send(client, userId="bob"))["status"] == "unsubscribed"
    await client.request("DELETE", "/v1/contacts", json={"userId": "bob"})
    await put(client, "alice", BOB)
    assert (await send(client, userId="alice"))["status"] == "unsubscribed"
    (said,) = await rows(
        runtime,
        "SELECT unsubscribed_all FROM contact_preferences p JOIN contacts c ON c.id = p.contact_id"
        " WHERE c.external_id = 'alice' AND c.deleted_at IS NULL",
    )
    assert said.unsubscribed_all


async def test_a_deleted_contacts_opt_out_holds(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await put(client, "dora", DORA)
    await opt_out(client, runtime, DORA)
    await client.request("DELETE", "/v1/contacts", json={"userId": "dora"})
    assert (await send(client, to=DORA))["status"] == "unsubscribed"
    await put(client, "dora", DORA)
    assert (await send(client, to=DORA))["status"] == "unsubscribed"
    await work_jobs(runtime)
    assert sent_to(runtime, DORA) == 1


async def test_the_ledger_holds_no_address_in_the_clear(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await put(client, "dora", DORA)
    await opt_out(client, runtime, DORA)
    (row,) = await rows(runtime, "SELECT l::text AS line, length(address_hash) AS n FROM consent_ledger l")
    assert "dora" not in row.line
    assert row.n == 32


async def test_both_spellings_of_a_domain_are_one_address(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await put(client, "jo", "jo@münchen.de")
    await opt_out(client, runtime, "jo@münchen.de")
    assert (await send(client, to="JO@xn--mnchen-3ya.de"))["status"] == "unsubscribed"
    found = (await client.get("/v1/contacts/find", params={"email": "jo@xn--mnchen-3ya.de"})).json()
    assert [contact["externalId"] for contact in found["contacts"]] == ["jo"]


async def test_a_resend_repeats_what_was_explicit(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await put(client, "alice", ALICE)
    asked = await send(client, to=BOB, userId="alice", subject="Just for Bob")
    own = await send(client, userId="alice")
    async with runtime.database.transaction() as conn:
        await conn.execute(update(email_sends).values(status="failed"))
    await put(client, "alice", "alice@elsewhere.example")
    for email_id in (asked["emailSendId"], own["emailSendId"]):
        answer = await client.post(f"/v1/admin/emails/{email_id}/resend")
        assert answer.status_code < 300, answer.text
    again = await rows(
        runtime, "SELECT to_email, subject FROM email_sends WHERE resend_of IS NOT NULL ORDER BY id"
    )
    assert {(row.to_email, row.subject == "Just for Bob") for row in again} == {
        (BOB, True),
        ("alice@elsewhere.example", False),
    }


async def test_a_link_in_an_email_to_another_address_does_not_speak_for_the_contact(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await put(client, "alice", ALICE)
    await send(client, to=BOB, userId="alice")
    await work_jobs(runtime)
    await opt_out(client, runtime, BOB)
    assert (await send(client, userId="alice"))["status"] == "queued"
    assert (await send(client, to=BOB, userId="alice"))["status"] == "unsubscribed"


@pytest.mark.parametrize("to", [None, BOB], ids=["own address", "explicit"])
async def test_a_word_between_decision_and_wire_is_heard(
    client: httpx.AsyncClient, runtime: Runtime, to: str | None
) -> None:
    await put(client, "alice", ALICE)
    asked = await send(client, userId="alice", **({"to": to} if to else {}))
    async with runtime.database.transaction() as conn:
        await suppress(conn, runtime.clock, to or ALICE, "complaint", source="test")
    outcome = await deliver(runtime, UUID(asked["emailSendId"]))
    assert (outcome.state, outcome.reason) == ("failed", "address_complained")
    (row,) = await rows(runtime, "SELECT detail FROM decisions WHERE kind = 'suppressed'")
    assert row.detail["consent"]["scope"] == "complaint"


async def test_the_last_look_waits_for_who_speaks_about_the_address(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    asked = await send(client, to=BOB)
    async with runtime.database.transaction() as conn:
        await lock_subjects(conn, [address_lock(BOB)])
        sending = asyncio.create_task(deliver(runtime, UUID(asked["emailSendId"])))
        waiting = text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        while not (await conn.execute(waiting)).scalar_one():
            await asyncio.sleep(0)
        await suppress(conn, runtime.clock, BOB, "manual")
    assert (await sending).reason == "suppressed_by_operator"
    assert sent_to(runtime, BOB) == 0


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"nonsense", "multipart/form-data"),
        (b"\xff\xfe=%", "application/x-www-form-urlencoded"),
        (b"", "application/json"),
        (b"{", "text/plain; charset=nothing"),
    ],
)
async def test_one_click_counts_whatever_its_body(
    client: httpx.AsyncClient, runtime: Runtime, body: bytes, content_type: str
) -> None:
    await send(client, to=BOB)
    await work_jobs(runtime)
    assert isinstance(runtime.provider, MemoryProvider)
    link = runtime.provider.to(BOB)[-1].headers["List-Unsubscribe"].strip("<>")
    answer = await client.post(link, content=body, headers={"content-type": content_type})
    assert answer.status_code == 200
    assert (await send(client, to=BOB))["status"] == "unsubscribed"


@pytest.mark.parametrize(
    ("type", "data", "status"),
    [
        ("suppression.added", {"email": "Bob@example.com", "origin": "bounce"}, "suppressed"),
        ("suppression.added", {"email": BOB, "origin": "complaint"}, "suppressed"),
        ("email.suppressed", {"to": [BOB], "email_id": "unknown"}, "suppressed"),
        ("contact.updated", {"email": BOB, "unsubscribed": True}, "unsubscribed"),
        ("contact.updated", {"email": BOB, "unsubscribed": "true"}, "unsubscribed"),
        ("contact.updated", {"email": BOB, "unsubscribed": "false"}, "queued"),
        ("contact.updated", {"email": BOB, "unsubscribed": False}, "queued"),
        ("suppression.added", {"email": "no address"}, "queued"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
async def test_what_resend_says_of_an_address_is_heard(
    client: httpx.AsyncClient, runtime: Runtime, type: str, data: dict[str, Any], status: str, known: bool
) -> None:
    if known:
        await put(client, "bob", BOB)
    for _ in range(2):
        await take_resend_event(runtime, "event-1", {"type": type, "data": data})
    assert (await send(client, to=BOB))["status"] == status
    await take_resend_event(runtime, "event-2", {"type": "suppression.removed", "data": {"email": BOB}})
    assert (await send(client, to=BOB))["status"] == (
        "unsubscribed" if status == "unsubscribed" else "queued"
    )


async def test_resend_does_not_lift_what_an_operator_suppressed(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    async with runtime.database.transaction() as conn:
        await suppress(conn, runtime.clock, BOB, "manual")
    await take_resend_event(runtime, "event", {"type": "suppression.removed", "data": {"email": BOB}})
    assert (await send(client, to=BOB))["status"] == "suppressed"


NOON = datetime(2026, 1, 15, 9, tzinfo=UTC)
LATER, LATEST = NOON + timedelta(minutes=5), NOON + timedelta(minutes=10)
ADDED, REMOVED = "suppression.added", "suppression.removed"
OF_BOUNCE, OF_COMPLAINT, OPTED_OUT = {"origin": "bounce"}, {"origin": "complaint"}, {"unsubscribed": True}


@pytest.mark.parametrize(
    ("heard", "status"),
    [
        # In whatever order they arrive, the last one that was said counts; of two at once the refusal.
        ([(ADDED, OF_BOUNCE, NOON), (REMOVED, {}, LATER)], "queued"),
        ([(REMOVED, {}, LATER), (ADDED, OF_BOUNCE, NOON)], "queued"),
        ([(ADDED, OF_BOUNCE, LATER), (REMOVED, {}, NOON)], "suppressed"),
        ([(REMOVED, {}, NOON), (ADDED, OF_BOUNCE, LATER)], "suppressed"),
        ([(ADDED, OF_COMPLAINT, LATER), (REMOVED, {}, NOON)], "suppressed"),
        ([(ADDED, OF_BOUNCE, NOON), (REMOVED, {}, NOON)], "suppressed"),
        ([(REMOVED, {}, NOON), (ADDED, OF_BOUNCE, NOON)], "suppressed"),
        # What was said twice was said the second time, too.
        ([(ADDED, OF_BOUNCE, NOON), (ADDED, OF_BOUNCE, LATEST), (REMOVED, {}, LATER)], "suppressed"),
        ([(ADDED, OF_BOUNCE, LATEST), (ADDED, OF_BOUNCE, NOON), (REMOVED, {}, LATER)], "suppressed"),
        ([(REMOVED, {}, NOON), (REMOVED, {}, LATEST), (ADDED, OF_BOUNCE, LATER)], "queued"),
        # A removal is no opt-in.
        ([("contact.updated", OPTED_OUT, NOON), (REMOVED, {}, LATER)], "unsubscribed"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
async def test_the_last_word_is_the_one_that_was_said_last(
    client: httpx.AsyncClient,
    runtime: Runtime,
    heard: list[tuple[str, dict[str, Any], datetime]],
    status: str,
    known: bool,
) -> None:
    if known:
        await put(client, "bob", BOB)
    for number, (what, data, at) in enumerate(heard):
        body = {"type": what, "created_at": at.isoformat(), "data": {"email": BOB, **data}}
        await take_resend_event(runtime, f"event-{number}", body)
    assert (await send(client, to=BOB))["status"] == status
    if known:
        said = await client.get("/v1/admin/contacts/bob/preferences")
        held = said.json().get("preferences", {})
        assert bool(held.get("suppressed")) is (status == "suppressed")
        assert bool(held.get("unsubscribedAll")) is (status == "unsubscribed")


@pytest.mark.parametrize("list_first", [True, False])
async def test_a_readers_complaint_is_not_lifted_with_the_providers_list(
    client: httpx.AsyncClient, runtime: Runtime, list_first: bool
) -> None:
    sent = await send(client, to=BOB)
    tags = {"email_id": sent["emailSendId"]}
    complained = ("email.complained", NOON, {"to": [BOB], "tags": tags})
    added = (ADDED, NOON + timedelta(seconds=1), {"email": BOB, **OF_COMPLAINT})
    removed = (REMOVED, LATER, {"email": BOB})
    for what, at, data in (*([added, complained] if list_first else [complained, added]), removed):
        await take_resend_event(
            runtime, f"event-{what}", {"type": what, "created_at": at.isoformat(), "data": data}
        )
    assert (await send(client, to=BOB))["status"] == "suppressed"


async def test_an_old_opt_out_of_the_provider_does_not_undo_what_the_reader_said_since(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    await put(client, "bob", BOB)
    preferences = "/v1/admin/contacts/bob/preferences"
    await client.put(preferences, json={"unsubscribedAll": True})
    await client.put(preferences, json={"unsubscribedAll": False})
    body = {"type": "contact.updated", "data": {"email": BOB, **OPTED_OUT}}
    await take_resend_event(runtime, "old", body | {"created_at": NOON.isoformat()})
    assert (await send(client, to=BOB))["status"] == "queued"
    clock.advance(timedelta(minutes=1))
    await take_resend_event(runtime, "new", body | {"created_at": clock.wall().isoformat()})
    assert (await send(client, to=BOB))["status"] == "unsubscribed"


@pytest.mark.parametrize("address", ADDRESSES_THAT_NO_PROVIDER_TAKES)
async def test_addresses_that_no_provider_takes_are_refused_on_every_way_in(
    client: httpx.AsyncClient, runtime: Runtime, address: str
) -> None:
    ways = [
        await client.post("/v1/events", json={"name": "seen", "email": address}),
        await client.put("/v1/contacts", json={"userId": "u", "email": address}),
        await client.post("/v1/emails", json={"template": "welcome", "to": address}),
        await client.post("/v1/admin/contacts", json={"externalId": "u", "email": address}),
    ]
    assert [answer.status_code for answer in ways] == [400] * 4, [answer.text for answer in ways]
    assert all("email address" in answer.text for answer in ways)
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(contacts.c.id))).first() is None


@pytest.mark.parametrize("user_id", [*NOBODYS_IDS, " UNDEFINED "])
async def test_ids_that_a_broken_client_makes_of_nothing_are_refused_on_every_way_in(
    client: httpx.AsyncClient, runtime: Runtime, user_id: str
) -> None:
    ways = [
        await client.post("/v1/events", json={"name": "seen", "userId": user_id}),
        await client.put("/v1/contacts", json={"userId": user_id, "email": BOB}),
        await client.post("/v1/admin/contacts", json={"externalId": user_id}),
    ]
    assert [answer.status_code for answer in ways] == [400] * 3, [answer.text for answer in ways]
    event = {"event": {"event": "seen", "distinct_id": user_id}, "person": {"properties": {"email": BOB}}}
    read = posthog_event(event, NOBODYS)
    assert (read.external_id, read.email) == (None, BOB)
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(contacts.c.id))).first() is None


async def test_the_words_of_many_addresses_are_one_statement(runtime: Runtime) -> None:
    async with runtime.database.transaction() as conn:
        await suppress(conn, runtime.clock, BOB, "manual")
        assert await refused_among(conn, [ALICE, BOB]) == {BOB}
        assert (await words_about(conn, BOB))["manual"].source == "operator"


def test_which_ids_are_refused_is_a_setting(settings: Settings) -> None:
    own = Settings(**{**settings.model_dump(), "refused_user_ids": "nobody, Me"})
    assert own.nobodys_ids == {"nobody", "me"}
    assert Settings(**{**settings.model_dump(), "refused_user_ids": ","}).nobodys_ids == set()
