"""REST: what changes journeys, emails and events."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from hogsend.emails.providers import ProviderRefused
from hogsend.runtime import Runtime
from tests.driving import drive, rows, send_event

ADMIN = "/v1/admin"
ADA = {"userId": "ada", "userEmail": "ada@example.com"}


async def test_a_journey_is_switched(client: httpx.AsyncClient) -> None:
    path = f"{ADMIN}/journeys/activation-welcome"
    off = await client.patch(path, json={"enabled": False})
    assert off.status_code == 200
    journey = off.json()["journey"]
    assert set(journey) == {"id", "name", "enabled", "updatedAt"}
    assert (journey["id"], journey["enabled"]) == ("activation-welcome", False)
    assert (await client.get(path)).json()["journey"]["enabled"] is False
    assert [j["id"] for j in (await client.get(f"{ADMIN}/journeys?enabled=false")).json()["journeys"]] == [
        "activation-welcome"
    ]
    assert (await client.patch(path, json={"enabled": True})).json()["journey"]["enabled"] is True
    wrong = await client.patch(path, json={"enabled": "yes"})
    assert wrong.status_code == 400
    assert wrong.json()["details"][0]["path"] == "enabled"
    gone = await client.patch(f"{ADMIN}/journeys/nope", json={"enabled": True})
    assert (gone.status_code, gone.json()) == (404, {"error": "Journey not found"})


async def test_somebody_is_enrolled_and_taken_out_again(client: httpx.AsyncClient) -> None:
    journey = f"{ADMIN}/journeys/activation-welcome"
    enrolled = await client.post(f"{journey}/enroll", json=ADA)
    assert (enrolled.status_code, enrolled.json()) == (
        202,
        {"enrolled": True, "event": "user.signed_up", "userId": "ada"},
    )
    (state,) = (await client.get(f"{journey}/states?userId=ada")).json()["states"]
    path = f"{journey}/states/{state['id']}"
    other = await client.delete(f"{ADMIN}/journeys/trial-expiring/states/{state['id']}")
    assert (other.status_code, other.json()) == (404, {"error": "Journey state not found"})
    gone = (await client.delete(path)).json()
    assert gone["hatchetCancelled"] is False
    assert gone["state"]["status"] == "exited"
    assert gone["state"]["exitedAt"].endswith("Z")
    again = await client.delete(path)
    assert (again.status_code, again.json()) == (
        409,
        {"error": "Journey state is already in a terminal status"},
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"userId": "ada"}, "userEmail"),
        ({"userId": 3, "userEmail": "ada@example.com"}, "userId"),
        ({"userId": "ada", "userEmail": "ada@example.com", "properties": []}, "properties"),
    ],
)
async def test_a_wrong_enrollment_names_its_field(
    client: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    response = await client.post(f"{ADMIN}/journeys/activation-welcome/enroll", json=body)
    assert response.status_code == 400
    assert response.json()["details"][0]["path"] == field


async def test_a_batch_answers_for_each(client: httpx.AsyncClient) -> None:
    path = f"{ADMIN}/journeys/activation-welcome/enroll/batch"
    done = await client.post(path, json={"users": [ADA, ADA]})
    assert (done.status_code, done.json()) == (
        200,
        {
            "enrolled": 1,
            "skipped": 1,
            "results": [
                {"userId": "ada", "enrolled": True},
                {"userId": "ada", "enrolled": False, "reason": "already_in_journey"},
            ],
        },
    )
    assert (await client.post(path, json={"users": [ADA] * 501})).status_code == 400
    assert (await client.post(path, json={"users": []})).status_code == 400
    missing = await client.post(f"{ADMIN}/journeys/nope/enroll/batch", json={"users": [ADA]})
    assert missing.status_code == 404


async def test_an_email_is_sent_again(client: httpx.AsyncClient, runtime: Runtime) -> None:
    runtime.provider.faults = [ProviderRefused("no such mailbox")]  # type: ignore[attr-defined]
    await send_event(runtime, "user.signed_up")
    await drive(runtime)
    (email,) = await rows(runtime, "SELECT id FROM email_sends")
    sent = await client.post(f"{ADMIN}/emails/{email.id}/resend")
    assert sent.status_code == 202
    assert sent.json()["status"] == "queued"
    again = await client.post(f"{ADMIN}/emails/{email.id}/resend")
    assert (again.status_code, again.json()) == (409, {"error": "Email is not in a retriable status"})
    for unknown in (uuid4(), "nonsense"):
        gone = await client.post(f"{ADMIN}/emails/{unknown}/resend")
        assert (gone.status_code, gone.json()) == (404, {"error": "Email not found"})


async def test_events_are_replayed(client: httpx.AsyncClient, runtime: Runtime) -> None:
    event = (await send_event(runtime, "user.signed_up")).event_id
    unknown = str(uuid4())
    done = await client.post(f"{ADMIN}/events/replay", json={"eventIds": [str(event), unknown]})
    assert (done.status_code, done.json()) == (
        200,
        {"replayed": 1, "errors": [{"eventId": unknown, "error": "Event not found"}]},
    )
    by_name = await client.post(
        f"{ADMIN}/events/replay",
        json={"filter": {"event": "user.signed_up", "from": "2020-01-01T00:00:00+02:00"}},
    )
    assert by_name.json() == {"replayed": 1, "errors": []}
    for wrong in ({}, {"eventIds": [str(event)], "filter": {"event": "x"}}, {"eventIds": [], "limit": 0}):
        assert (await client.post(f"{ADMIN}/events/replay", json=wrong)).status_code == 400
