"""What an operator does to contacts, through GraphQL, and what a person would see afterwards."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from hogsend.consent.suppression import suppress
from hogsend.contacts.imports import run_import
from hogsend.runtime import Runtime
from hogsend.tables.access import audit_logs
from hogsend.tables.decisions import decisions
from hogsend.tables.engine import jobs
from hogsend.tables.journeys import journey_states
from tests.fixtures.graphql import Ask

ERRORS = "userErrors { field message code }"
CONTACT = "contact { uuid externalId email properties preferences { unsubscribedAll } }"
CREATE = f"mutation ($input: ContactCreateInput!) {{ contactCreate(input: $input) {{ {CONTACT} {ERRORS} }} }}"
UPDATE = f"mutation ($input: ContactUpdateInput!) {{ contactUpdate(input: $input) {{ {CONTACT} {ERRORS} }} }}"
UPSERT = (
    "mutation ($input: ContactUpsertInput!) { contactUpsert(input: $input)"
    f" {{ {CONTACT} created linked mergedContactIds {ERRORS} }} }}"
)
DELETE = f"mutation ($input: ContactDeleteInput!) {{ contactDelete(input: $input) {{ deletedContactId {ERRORS} }} }}"
PREFERENCES = (
    "mutation ($input: ContactPreferencesUpdateInput!) { contactPreferencesUpdate(input: $input)"
    f" {{ preferences {{ userId email unsubscribedAll suppressed categories suppressedAt }} {ERRORS} }} }}"
)
IMPORT = (
    "mutation ($input: ContactsImportInput!) { contactsImport(input: $input) { job { id uuid status totalRows }"
    f" preview {{ totalRows newContacts updatedContacts failedRows sample {{ row externalId }}"
    f" errors {{ row error }} }} {ERRORS} }} }}"
)
JOB = (
    "query ($id: ID!) { importJob(id: $id) { status format fileName totalRows processedRows failedRows actor"
    " errors { totalCount nodes { id row error } } } }"
)


async def change(ask: Ask, document: str, **input: Any) -> dict[str, Any]:
    """The mutation's payload."""
    (payload,) = (await ask(document, {"input": input})).values()
    found: dict[str, Any] = payload
    return found


async def made(ask: Ask, **input: Any) -> dict[str, Any]:
    payload = await change(ask, CREATE, **input)
    assert payload["userErrors"] == []
    contact: dict[str, Any] = payload["contact"]
    return contact


async def rows(runtime: Runtime, table: Any) -> list[Any]:
    async with runtime.database.read() as conn:
        return list((await conn.execute(select(table))).all())


def error(field: str, message: str, code: str) -> list[dict[str, Any]]:
    return [{"field": [field] if field else [], "message": message, "code": code}]


async def test_makes_a_contact_once(ask: Ask, runtime: Runtime) -> None:
    contact = await made(
        ask, externalId="ada", email=" Ada@Example.com", properties={"plan": "pro", "x": None}
    )
    assert contact["email"] == "ada@example.com"
    assert contact["properties"] == {"plan": "pro"}
    again = await change(ask, CREATE, externalId="ada")
    assert again["contact"] is None
    assert again["userErrors"] == error(
        "", "Contact with this externalId already exists", "EXTERNAL_ID_TAKEN"
    )
    taken = await change(ask, CREATE, externalId="eve", email="ADA@example.com")
    assert taken["userErrors"] == error("", "Contact with this email already exists", "EMAIL_TAKEN")
    entries = await rows(runtime, audit_logs)
    assert [(e.action, e.outcome, e.resource_id) for e in entries] == [
        ("create", "ok", contact["uuid"]),
        ("create", "refused", "ada"),
        ("create", "refused", "eve"),
    ]
    assert entries[0].after["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("input", "field"),
    [
        ({}, "externalId"),
        ({"externalId": ""}, "externalId"),
        ({"externalId": "a", "email": "nope"}, "email"),
        ({"externalId": "a", "properties": []}, "properties"),
        ({"externalId": "a", "properties": "x"}, "properties"),
        ({"externalId": "a", "properties": {"n": 2**63}}, "properties"),
    ],
)
async def test_says_which_field_is_wrong(ask: Ask, input: dict[str, Any], field: str) -> None:
    (wrong,) = (await change(ask, CREATE, **input))["userErrors"]
    assert wrong["code"] == "INVALID"
    assert wrong["field"][0] == field


async def test_updates_by_any_key(ask: Ask, runtime: Runtime) -> None:
    ada = await made(ask, externalId="ada", email="ada@example.com", properties={"a": {"x": 1}, "b": 2})
    await made(ask, externalId="bob", email="bob@example.com")
    changed = await change(
        ask, UPDATE, by={"id": f"contact_{ada['uuid']}"}, properties={"a": {"y": 1}, "b": None, "c": 3}
    )
    assert changed["contact"]["properties"] == {"a": {"y": 1}, "c": 3}
    moved = await change(ask, UPDATE, by={"email": "ada@example.com"}, email="New@example.com")
    assert moved["contact"]["email"] == "new@example.com"
    gone = await change(ask, UPDATE, by={"email": "ada@example.com"}, properties={})
    assert gone["userErrors"] == error("", "Contact not found", "NOT_FOUND")
    taken = await change(ask, UPDATE, by={"externalId": "ada"}, email="bob@example.com")
    assert taken["userErrors"] == error("", "Contact with this email already exists", "EMAIL_TAKEN")
    cleared = await change(ask, UPDATE, by={"ref": "ada"}, email=None)
    assert cleared["contact"]["email"] is None
    last = (await rows(runtime, audit_logs))[-1]
    assert (last.action, last.before["email"], last.after["email"]) == ("update", "new@example.com", None)
    lead = await change(ask, UPSERT, email="lead@example.com")
    bare = await change(ask, UPDATE, by={"id": lead["contact"]["uuid"]}, email=None)
    assert bare["userErrors"][0]["field"] == ["email"]


async def test_upsert_merges_what_belongs_together(ask: Ask) -> None:
    first = await change(ask, UPSERT, externalId="ada", properties={"plan": "pro"})
    assert (first["created"], first["linked"]) == (True, False)
    second = await change(ask, UPSERT, email="ada@example.com")
    both = await change(ask, UPSERT, externalId="ada", email="ada@example.com")
    assert (both["created"], both["linked"]) == (False, True)
    assert both["mergedContactIds"] == [second["contact"]["uuid"]]
    found = await ask(
        "query ($by: ContactBy!) { contact(by: $by) { uuid } }", {"by": {"id": second["contact"]["uuid"]}}
    )
    assert found["contact"]["uuid"] == first["contact"]["uuid"]


async def test_a_deleted_contact_leaves_its_journeys(ask: Ask, happen: Ask, runtime: Runtime) -> None:
    await happen("user.signed_up", "ada")
    (run,) = await rows(runtime, journey_states)
    gone = await change(ask, DELETE, by={"externalId": "ada"})
    assert gone == {"deletedContactId": f"contact_{run.contact_id}", "userErrors": []}
    (run,) = await rows(runtime, journey_states)
    assert (run.status, run.ended_reason, run.epoch) == ("exited", "contact_deleted", 1)
    verdicts = [(row.kind, row.reason) for row in await rows(runtime, decisions)]
    assert verdicts[-1] == ("exited", "contact_deleted")
    again = await change(ask, DELETE, by={"externalId": "ada"})
    assert again["userErrors"] == error("", "Contact not found", "NOT_FOUND")
    assert (await ask("{ contacts { totalCount } }"))["contacts"]["totalCount"] == 0
    await happen("user.signed_up", "ada")
    assert len(await rows(runtime, journey_states)) == 2


async def test_an_opt_out_survives_deletion(ask: Ask, happen: Ask) -> None:
    await made(ask, externalId="ada", email="ada@example.com")
    said = await change(ask, PREFERENCES, by={"externalId": "ada"}, unsubscribedAll=True)
    assert said["preferences"]["unsubscribedAll"]
    await change(ask, DELETE, by={"externalId": "ada"})
    await happen("back", "ada")
    query = '{ contact(by: {externalId: "ada"}) { preferences { unsubscribedAll email } } }'
    preferences = (await ask(query))["contact"]["preferences"]
    assert preferences == {"unsubscribedAll": True, "email": "ada@example.com"}


async def test_preferences_merge_and_every_change_is_decided(ask: Ask, runtime: Runtime) -> None:
    await made(ask, externalId="ada", email="ada@example.com")
    first = await change(ask, PREFERENCES, by={"ref": "ada"}, categories={"news": False, "tips": True})
    assert first["preferences"]["categories"] == {"news": False, "tips": True}
    second = await change(ask, PREFERENCES, by={"ref": "ada"}, categories={"tips": False}, suppressed=True)
    assert second["preferences"]["categories"] == {"news": False, "tips": False}
    assert second["preferences"]["suppressed"]
    assert second["preferences"]["suppressedAt"] == "2026-01-15T10:30:00.000Z"
    async with runtime.database.transaction() as conn:
        await suppress(conn, runtime.clock, "ada@example.com", "complaint")
    third = await change(ask, PREFERENCES, by={"ref": "ada"}, suppressed=False, unsubscribedAll=False)
    assert third["preferences"] == {
        "userId": "ada",
        "email": "ada@example.com",
        "unsubscribedAll": False,
        "suppressed": False,
        "categories": {"news": False, "tips": False},
        "suppressedAt": None,
    }
    reasons = [row.reason for row in await rows(runtime, decisions)]
    assert reasons == ["unsubscribed", "unsubscribed", "suppressed_by_operator", "complained", "resubscribed"]
    nothing = await change(ask, PREFERENCES, by={"ref": "ada"})
    assert nothing["preferences"] == third["preferences"]


async def test_preferences_need_an_address_and_truth(ask: Ask) -> None:
    await made(ask, externalId="ada")
    missing = await change(ask, PREFERENCES, by={"ref": "ada"}, unsubscribedAll=True)
    assert missing["userErrors"] == error("email", "Contact has no email address", "NO_EMAIL_ADDRESS")
    nobody = await change(ask, PREFERENCES, by={"ref": "eve"})
    assert nobody["userErrors"][0]["code"] == "NOT_FOUND"
    for categories in ({"news": "no"}, {"": True}, [1], {"transactional": False}, {" Transactional": False}):
        wrong = await change(ask, PREFERENCES, by={"ref": "ada"}, categories=categories)
        assert wrong["userErrors"][0]["field"][0] == "categories"


async def test_imports_in_the_background(ask: Ask, runtime: Runtime) -> None:
    data = "externalId,email\nada,ada@example.com\nbob,nope\n"
    dry = await change(ask, IMPORT, format="CSV", data=data, dryRun=True)
    assert dry["job"] is None
    assert dry["preview"] == {
        "totalRows": 2,
        "newContacts": 1,
        "updatedContacts": 0,
        "failedRows": 1,
        "sample": [{"row": 1, "externalId": "ada"}],
        "errors": [{"row": 2, "error": "Invalid email format"}],
    }
    assert await rows(runtime, jobs) == []
    begun = await change(ask, IMPORT, format="CSV", data=data, fileName="p.csv", idempotencyKey="k")
    assert begun["job"]["status"] == "PENDING"
    again = await change(ask, IMPORT, format="CSV", data=data, fileName="p.csv", idempotencyKey="k")
    assert again["job"]["uuid"] == begun["job"]["uuid"]
    other = await change(ask, IMPORT, format="CSV", data=data + "c,\n", fileName="p.csv", idempotencyKey="k")
    assert other["userErrors"][0]["code"] == "IDEMPOTENCY_KEY_REUSED"
    (job,) = await rows(runtime, jobs)
    await run_import(runtime, job.payload)
    state = (await ask(JOB, {"id": begun["job"]["id"]}))["importJob"]
    (bad,) = state.pop("errors")["nodes"]
    assert state == {
        "status": "COMPLETED",
        "format": "CSV",
        "fileName": "p.csv",
        "totalRows": 2,
        "processedRows": 2,
        "failedRows": 1,
        "actor": "legacy",
    }
    assert (bad["row"], bad["error"]) == (2, "Invalid email format")
    node = await ask(
        "query ($id: ID!) { node(id: $id) { ... on ImportRowError { row } } }", {"id": bad["id"]}
    )
    assert node["node"] == {"row": 2}
    assert (await ask(JOB, {"id": str(UUID(int=1))}))["importJob"] is None
    entries = [(e.action, e.outcome, e.resource_id) for e in await rows(runtime, audit_logs)]
    assert ("import", "ok", begun["job"]["uuid"]) in entries


async def test_an_unusable_file_is_a_user_error(ask: Ask, runtime: Runtime) -> None:
    wrong = await change(ask, IMPORT, format="JSON", data="{")
    assert wrong["userErrors"] == error("data", "data must be a JSON array of contacts", "INVALID")
    assert await rows(runtime, jobs) == []
