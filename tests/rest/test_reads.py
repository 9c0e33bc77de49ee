"""Every read of the contract that this table serves: its shape, its filters, its refusals."""

from __future__ import annotations

import re
from uuid import UUID

import httpx
import pytest

from hogsend.rest.admin import ROUTES, AdminPlane
from hogsend.runtime import Runtime
from tests.contract.oracle import CONTACT_FIELDS
from tests.rest.conftest import Get

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NOBODY = "00000000-0000-4000-8000-000000000000"


async def test_a_contact_reads_as_the_contract_says(get: Get, ada: str) -> None:
    listed = await get("/contacts")
    one = await get(f"/contacts/{ada}")
    assert listed == {"contacts": [one["contact"]], "total": 1, "limit": 50, "offset": 0}
    contact = one["contact"]
    assert tuple(contact) == CONTACT_FIELDS
    assert contact["properties"] == {"first_name": "Ada"}
    assert INSTANT.fullmatch(contact["createdAt"])
    assert one["preferences"] is None
    assert await get("/contacts/ada") == one


async def test_search_takes_percent_and_underscore_as_they_are(get: Get, client: httpx.AsyncClient) -> None:
    for user in ("a_b", "axb", "50%off", "ANNA"):
        await client.post("/v1/events", json={"name": "seen", "userId": user})

    async def found(part: str) -> set[str]:
        return {one["externalId"] for one in (await get("/contacts", search=part))["contacts"]}

    assert await found("a_b") == {"a_b"}
    assert await found("%") == {"50%off"}
    assert await found("nn") == {"ANNA"}
    assert await found("\\") == set()
    assert await found("") == {"a_b", "axb", "50%off", "ANNA"}


async def test_the_timeline_tells_each_thing_once(get: Get, ada: str) -> None:
    whole = await get("/contacts/ada/timeline")
    assert whole["total"] == 3
    by_type = {entry["type"]: entry for entry in whole["timeline"]}
    assert set(by_type) == {"event", "journey", "email"}
    assert by_type["event"]["data"] == {
        "id": by_type["event"]["data"]["id"],
        "event": "user.signed_up",
        "properties": {"plan": "pro"},
    }
    assert set(by_type["journey"]["data"]) == {
        "id",
        "journeyId",
        "status",
        "currentNodeId",
        "completedAt",
        "exitedAt",
    }
    assert by_type["journey"]["data"]["status"] == "waiting"
    email = by_type["email"]["data"]
    assert (email["templateKey"], email["status"], email["toEmail"]) == ("welcome", "sent", "ada@example.com")
    assert "createdAt" not in email
    for kind, entry in by_type.items():
        only = await get("/contacts/ada/timeline", type=kind)
        assert only == {"timeline": [entry], "total": 1, "limit": 50, "offset": 0}


async def test_a_journey_and_its_runs(get: Get, ada: str) -> None:
    listed = await get("/journeys")
    assert listed["total"] == 3
    welcome = listed["journeys"][0]
    assert welcome["id"] == "activation-welcome"
    assert welcome["trigger"] == {"event": "user.signed_up"}
    assert welcome["counts"] == {"active": 0, "waiting": 1, "completed": 0, "failed": 0, "exited": 0}
    assert welcome["entryLimit"] == "once"
    detail = (await get("/journeys/activation-welcome"))["journey"]
    assert set(detail) == set(welcome) | {"entryPeriod", "exitOn", "suppress", "recentStates"}
    states = await get("/journeys/activation-welcome/states")
    assert states["states"] == detail["recentStates"]
    state = states["states"][0]
    assert (state["userId"], state["userEmail"], state["status"]) == ("ada", "ada@example.com", "waiting")
    assert state["context"] == {"plan": "pro"}
    assert (await get("/journeys/activation-welcome/states", status="completed"))["total"] == 0
    assert (await get("/journeys/activation-welcome/states", userId=ada))["total"] == 1
    logged = await get(f"/journeys/activation-welcome/states/{state['id']}")
    assert logged["state"] == state
    assert [log["action"] for log in logged["logs"]][:2] == ["entered", "send"]
    assert logged["logs"][1]["toNodeId"] == "welcome"
    assert await get(f"/journey-logs/{state['id']}") == logged
    assert (await get("/journeys", enabled="false"))["total"] == 0


async def test_emails_are_filtered_sorted_and_told_in_full(
    get: Get, client: httpx.AsyncClient, ada: str
) -> None:
    listed = await get("/emails")
    email = listed["emails"][0]
    assert listed["total"] == 1
    assert email["resendId"] == email["messageId"]
    assert (email["userId"], email["journeyId"], email["status"]) == ("ada", "activation-welcome", "sent")
    assert UUID(email["journeyStateId"])
    matching = {
        "toEmail": "ADA@example.com",
        "templateKey": "welcome",
        "status": "sent",
        "journeyId": "activation-welcome",
        "userId": "ada",
        "from": email["createdAt"],
        "to": "2026-01-15T12:30:00+02:00",
        "sort": "openedAt",
        "order": "asc",
    }
    assert (await get("/emails", **matching))["emails"] == [email]
    for wrong in ({"status": "opened"}, {"engagement": "opened"}, {"from": "2027-01-01T00:00:00Z"}):
        assert (await get("/emails", **matching | wrong))["total"] == 0
    await client.get(f"/v1/t/o/{email['id']}")
    told = await get(f"/emails/{email['id']}")
    assert set(told) == {"email", "events", "trackedLinks", "journeyContext"}
    assert [one["type"] for one in told["events"]] == ["queued", "sent", "opened"]
    assert told["email"]["status"] == "opened"
    assert told["journeyContext"]["journeyId"] == "activation-welcome"
    link = told["trackedLinks"][0]
    assert (await client.get(f"/v1/t/c/{link['id']}")).headers["location"] == link["originalUrl"]
    clicked = (await get(f"/emails/{email['id']}"))["trackedLinks"][0]
    assert clicked["clickCount"] == 1
    assert set(clicked["clicks"][0]) == {"id", "clickedAt", "ipAddress", "userAgent"}


async def test_events_are_found_by_person_name_and_time(get: Get, ada: str) -> None:
    listed = await get("/events", userId="ada", event="user.signed_up", to="2026-01-15T10:30:00Z")
    event = listed["events"][0]
    assert event == {
        "id": event["id"],
        "userId": "ada",
        "event": "user.signed_up",
        "properties": {"plan": "pro"},
        "occurredAt": "2026-01-15T10:30:00.000Z",
    }
    assert await get(f"/events/{event['id']}") == {"event": event}
    assert (await get("/events", userId="bob"))["total"] == 0
    assert (await get("/events", **{"from": "2026-01-15T10:30:00.001Z"}))["total"] == 0


MISSING = [
    (f"/contacts/{NOBODY}", "Contact not found"),
    ("/contacts/nobody", "Contact not found"),
    ("/contacts/a%00b", "Contact not found"),
    ("/contacts/nobody/timeline", "Contact not found"),
    ("/contacts/ada/preferences", "Contact not found"),
    ("/journeys/no-such", "Journey not found"),
    ("/journeys/no-such/states", "Journey not found"),
    (f"/journeys/activation-welcome/states/{NOBODY}", "Journey state not found"),
    ("/journeys/activation-welcome/states/not-a-uuid", "Journey state not found"),
    (f"/journey-logs/{NOBODY}", "Journey state not found"),
    (f"/emails/{NOBODY}", "Email not found"),
    ("/emails/not-a-uuid", "Email not found"),
    (f"/events/{NOBODY}", "Event not found"),
    ("/events/1", "Event not found"),
    ("/no-such-thing", "Not Found"),
]


async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, ada: str) -> None:
    for path, text in MISSING:
        response = await client.get(f"/v1/admin{path}")
        assert (path, response.status_code, response.json()) == (path, 404, {"error": text})


async def test_a_run_is_not_found_under_another_journey(
    get: Get, client: httpx.AsyncClient, ada: str
) -> None:
    state = (await get("/journeys/activation-welcome/states"))["states"][0]
    response = await client.get(f"/v1/admin/journeys/trial-expiring/states/{state['id']}")
    assert (response.status_code, response.json()) == (404, {"error": "Journey state not found"})


WRONG = [
    ("/contacts", "limit=0", "limit"),
    ("/contacts", "limit=101", "limit"),
    ("/contacts", "limit=ten", "limit"),
    ("/contacts", "limit=99999999999999999999999", "limit"),
    ("/contacts", "offset=-1", "offset"),
    ("/contacts", "offset=2147483648", "offset"),
    ("/contacts", "search=a%00b", "search"),
    ("/contacts/ada/timeline", "type=decision", "type"),
    ("/journeys", "enabled=yes", "enabled"),
    ("/journeys/activation-welcome/states", "status=blocked", "status"),
    ("/emails", "sort=subject", "sort"),
    ("/emails", "order=up", "order"),
    ("/emails", "engagement=sent", "engagement"),
    ("/emails", "from=yesterday", "from"),
    ("/events", "to=2026-01-15", "to"),
    ("/events", "from=2026-13-45T00:00:00Z", "from"),
]


async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient) -> None:
    for path, query, named in WRONG:
        response = await client.get(f"/v1/admin{path}?{query}")
        body = response.json()
        assert response.status_code == 400, query
        assert body["error"].startswith(f"{named} must be ")
        assert [detail["path"] for detail in body["details"]] == [named]


async def test_every_wrong_parameter_is_told(client: httpx.AsyncClient) -> None:
    body = (await client.get("/v1/admin/emails?limit=0&offset=x&sort=y")).json()
    assert [detail["path"] for detail in body["details"]] == ["sort", "limit", "offset"]


async def test_pages_end_where_the_list_ends(get: Get, client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.post("/v1/events", json={"name": "seen", "userId": f"user-{number}"})
    first = await get("/events", limit=3)
    second = await get("/events", limit=3, offset=3)
    assert [len(first["events"]), len(second["events"])] == [3, 2]
    assert first["total"] == second["total"] == 5
    assert len({event["id"] for page in (first, second) for event in page["events"]}) == 5
    assert await get("/events", limit=1, offset=5) == {"events": [], "total": 5, "limit": 1, "offset": 5}


async def test_a_wrong_method_says_which_are_right(client: httpx.AsyncClient) -> None:
    response = await client.put("/v1/admin/emails")
    assert (response.status_code, response.json()) == (405, {"error": "Method Not Allowed"})
    assert response.headers["allow"] == "GET, HEAD"


async def test_without_a_key_nothing_opens(client: httpx.AsyncClient) -> None:
    for authorization in ("", "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz"):
        response = await client.get("/v1/admin/contacts", headers={"Authorization": authorization})
        assert (response.status_code, response.json()) == (401, {"error": "Unauthorized"})


async def test_responses_carry_their_id_and_the_rate(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/admin/contacts", headers={"X-Request-Id": "my-request-1"})
    assert response.headers["x-request-id"] == "my-request-1"
    assert int(response.headers["x-ratelimit-remaining"]) < int(response.headers["x-ratelimit-limit"])
    other = await client.get("/v1/admin/nothing", headers={"X-Request-Id": "bad id\t"})
    assert re.fullmatch(r"[0-9a-f]{32}", other.headers["x-request-id"])


async def test_what_breaks_is_answered_without_a_word_about_it(
    client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("postgresql://user:secret@host")

    monkeypatch.setattr(runtime.registry, "all", broken)
    response = await client.get("/v1/admin/journeys")
    assert response.status_code == 500
    assert response.json() == {
        "error": "Internal server error",
        "requestId": response.headers["x-request-id"],
    }


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    async def endless():  # type: ignore[no-untyped-def]
        for _ in range(40):
            yield b"x" * 50_000

    for content in (b"x" * (2**20 + 1), endless()):
        response = await client.post("/v1/events", content=content)
        assert (response.status_code, response.json()) == (413, {"error": "Request body too large"})


async def test_health_needs_no_key(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/health", headers={"Authorization": ""})
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"status", "uptime", "timestamp", "version", "components", "schema"}
    assert body["components"]["database"]["status"] == body["components"]["redis"]["status"] == "up"
    assert body["schema"]["engine"] == {
        "required": body["schema"]["engine"]["required"],
        "applied": body["schema"]["engine"]["required"],
        "inSync": True,
        "pending": [],
    }


def test_every_document_fits_the_schema(runtime: Runtime) -> None:
    """They are prepared when they are first asked for, so a process would not say at its start."""
    plane = runtime.part(AdminPlane)
    assert [plane.prepare(route).route for route in ROUTES] == list(ROUTES)
