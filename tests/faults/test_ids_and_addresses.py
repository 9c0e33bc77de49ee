"""Ids of nobody and addresses that no provider takes: refused in words on every way in, and nothing is kept."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from hogsend.contacts import imports as importing
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.validation import NOBODYS_IDS
from tests.driving import rows

JOURNEY = "activation-welcome"
OURS = "guest"
"""An id that only this installation refuses: `HOGSEND_REFUSED_USER_IDS` counts on every way in."""

INGEST = """mutation ($id: String) { eventIngest(input: {name: "e", userId: $id}) { userErrors { field message } } }"""
ANONYMOUS = INGEST.replace("userId: $id", "anonymousId: $id")
CREATE = (
    """mutation ($id: String!) { contactCreate(input: {externalId: $id}) { userErrors { field message } } }"""
)
UPSERT = (
    """mutation ($id: String) { contactUpsert(input: {externalId: $id}) { userErrors { field message } } }"""
)
ENROLL = """mutation ($id: String!) { journeyEnroll(input: {
    id: "activation-welcome", userId: $id, userEmail: "a@example.com"}) { userErrors { field message } } }"""
BATCH = """mutation ($id: String!) { journeyEnrollBatch(input: {
    id: "activation-welcome", users: [{userId: $id, userEmail: "a@example.com"}]}) { enrolled results { reason } } }"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    refused = ",".join((*NOBODYS_IDS, OURS))
    return Settings(
        **{**settings.model_dump(), "refused_user_ids": refused, "posthog_webhook_secret": "s3cret"}
    )


async def nothing_is_kept(runtime: Runtime) -> bool:
    return not await rows(runtime, "SELECT 1 FROM contacts") and not await rows(
        runtime, "SELECT 1 FROM user_events"
    )


@pytest.mark.parametrize("user_id", [*NOBODYS_IDS, " UNDEFINED ", OURS])
@pytest.mark.parametrize("document", [INGEST, ANONYMOUS, CREATE, UPSERT, ENROLL])
async def test_graphql_takes_no_id_of_nobody(
    client: httpx.AsyncClient, runtime: Runtime, document: str, user_id: str
) -> None:
    answer = await client.post("/graphql", json={"query": document, "variables": {"id": user_id}})
    (payload,) = answer.json()["data"].values()
    (error,) = payload["userErrors"]
    assert error["field"][-1] in ("userId", "externalId", "anonymousId")
    assert "is what a client sends without one" in error["message"]
    assert await nothing_is_kept(runtime)


@pytest.mark.parametrize("user_id", [*NOBODYS_IDS, OURS])
async def test_a_batch_says_so_of_each(client: httpx.AsyncClient, runtime: Runtime, user_id: str) -> None:
    answer = await client.post("/graphql", json={"query": BATCH, "variables": {"id": user_id}})
    done = answer.json()["data"]["journeyEnrollBatch"]
    assert done["enrolled"] == 0
    assert "is what a client sends without one" in done["results"][0]["reason"]
    assert await nothing_is_kept(runtime)


@pytest.mark.parametrize("user_id", [*NOBODYS_IDS, OURS])
async def test_rest_takes_no_id_of_nobody(client: httpx.AsyncClient, runtime: Runtime, user_id: str) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/events", {"name": "e", "userId": user_id}),
        ("PUT", "/v1/contacts", {"userId": user_id}),
        ("POST", "/v1/admin/contacts", {"externalId": user_id}),
        ("POST", f"/v1/admin/journeys/{JOURNEY}/enroll", {"userId": user_id, "userEmail": "a@example.com"}),
    ]
    for method, path, body in asked:
        answer = await client.request(method, path, json=body)
        assert answer.status_code == 400, (path, answer.text)
        assert "is what a client sends without one" in answer.json()["error"], path
    assert await nothing_is_kept(runtime)


@pytest.mark.parametrize("user_id", [*NOBODYS_IDS, OURS])
async def test_posthogs_webhook_takes_no_id_of_nobody_and_leaves_it_out_beside_an_address(
    client: httpx.AsyncClient, runtime: Runtime, user_id: str
) -> None:
    headers = {"X-PostHog-Webhook-Secret": "s3cret"}
    event = {"event": {"event": "$pageview", "distinct_id": user_id, "properties": {}}}
    answer = await client.post("/v1/webhooks/posthog", json=event, headers=headers)
    assert answer.status_code == 400
    assert await nothing_is_kept(runtime)
    known = event | {"person": {"properties": {"email": "ada@example.com"}}}
    assert (await client.post("/v1/webhooks/posthog", json=known, headers=headers)).status_code == 200
    kept = await rows(runtime, "SELECT external_id, anonymous_id, email FROM contacts")
    assert [tuple(row) for row in kept] == [(None, None, "ada@example.com")]


BAD_ADDRESSES = [
    "x@example.com.",
    "a,b@example.com",
    "a..b@example.com",
    f"{'a' * 65}@example.com",
    "mailto:a@example.com",
    "a@b@example.com",
    "a@-example.com",
    "a b@example.com",
    "a@example",
    "a@[127.0.0.1]",
    "Ada <a@example.com>",
    "a@exam_ple.com",
    "a@example.com\r\nBcc: b@example.com",
]


@pytest.mark.parametrize("format", ["csv", "json"])
async def test_an_import_takes_neither_and_says_which_row(runtime: Runtime, format: importing.Format) -> None:
    people = [{"externalId": "ok", "email": "OK@xn--mnchen-3ya.de"}]
    people += [
        {"externalId": one, "email": f"u{n}@example.com"} for n, one in enumerate([*NOBODYS_IDS, OURS])
    ]
    people += [{"externalId": f"bad{n}", "email": one} for n, one in enumerate(BAD_ADDRESSES)]
    if format == "json":
        data = json.dumps(people)
    else:
        quoted = ['"{externalId}","{email}"'.format(**one) for one in people]
        data = "\n".join(["externalId,email", *quoted])
    refused = runtime.settings.nobodys_ids
    seen = await importing.preview(runtime.database, await importing.read_file(format, data), refused)
    assert (seen.new, seen.failed) == (1, len(people) - 1)
    told = dict(seen.errors)
    async with runtime.database.transaction() as conn:
        rows_of_file = [(one["externalId"], one["email"], {}) for one in people]
        errors = dict(await importing.take_in(conn, runtime.clock, 1, rows_of_file, refused))
    ids = len(NOBODYS_IDS) + 1
    assert sorted(errors) == list(range(2, len(people) + 1))
    assert all("is what a client sends without one" in errors[row] for row in range(2, 2 + ids))
    assert {errors[row] for row in range(2 + ids, len(people) + 1)} == {"Invalid email format"}
    assert told.items() <= errors.items()
    kept = await rows(runtime, "SELECT external_id, email FROM contacts")
    assert [tuple(row) for row in kept] == [("ok", "ok@münchen.de")]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
async def test_no_other_way_in_takes_a_bad_address(
    client: httpx.AsyncClient, runtime: Runtime, address: str
) -> None:
    for path, body in (
        ("/v1/events", {"name": "e", "email": address}),
        ("/v1/emails", {"template": "welcome", "to": address}),
        ("/v1/emails", {"template": "welcome", "to": "ada@example.com", "replyTo": address}),
    ):
        answer = await client.post(path, json=body)
        assert answer.status_code == 400, answer.text
        assert "must be an email address" in answer.json()["error"]
    created = """mutation ($email: String!) { contactCreate(input: {externalId: "u", email: $email}) {
        userErrors { field message } } }"""
    answer = await client.post("/graphql", json={"query": created, "variables": {"email": address}})
    (error,) = answer.json()["data"]["contactCreate"]["userErrors"]
    assert error["field"] == ["email"]
    assert await nothing_is_kept(runtime)


@pytest.mark.parametrize("sender", ["Acme", "Acme <a..b@example.com>", "a@example.com, b@example.com"])
async def test_a_sender_that_is_no_mailbox_is_refused(client: httpx.AsyncClient, sender: str) -> None:
    body = {"template": "welcome", "to": "ada@example.com", "from": sender}
    answer = await client.post("/v1/emails", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(
        "from must be an email address, alone or as in Ada Lovelace <ada@"
    )
    good = await client.post("/v1/emails", json=body | {"from": "Acme, Inc. <hello@acme.com>"})
    assert good.status_code == 202
