"""The metrics page of the contract, over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.emails import email_sends
from tests.driving import drive, drive_to_end

ZEROES = {"deliveryRate": 0, "openRate": 0, "clickRate": 0, "clickToDeliveryRate": 0}


async def get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    response = await client.get(f"/v1/admin/metrics{path}", params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def sign_up(client: httpx.AsyncClient, user: str) -> None:
    event = {"name": "user.signed_up", "userId": user, "email": f"{user}@example.com"}
    assert (await client.post("/v1/events", json=event)).status_code == 202


async def test_before_anything_happened_everything_is_nothing(client: httpx.AsyncClient) -> None:
    overview = await get(client, "/overview")
    assert set(overview.values()) == {0}
    journeys = (await get(client, "/journeys"))["journeys"]
    assert {row["journeyId"] for row in journeys} >= {"activation-welcome", "trial-expiring"}
    assert all(row["enrolled"] == 0 and row["avgDurationSecs"] is None for row in journeys)
    assert await get(client, "/emails") == {"templates": []}
    assert await get(client, "/emails/deliverability") == {"points": []}
    assert await get(client, "/events") == {"events": []}


async def test_what_happened_is_counted(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    for user in ("ada", "bob"):
        await sign_up(client, user)
    await drive(runtime)
    assert await get(client, "/overview") == {
        "totalContacts": 2,
        "activeJourneys": 1,
        "emailsSent24h": 2,
        "emailsSent7d": 2,
        "emailsSent30d": 2,
        "bounceRate30d": 0,
        "unsubscribeRate": 0,
    }
    [email] = (await client.get("/v1/admin/emails", params={"userId": "ada"})).json()["emails"]
    await client.get(f"/v1/t/o/{email['id']}")
    assert await get(client, "/emails") == {
        "templates": [
            {"templateKey": "welcome", "sent": 2, "delivered": 0, "opened": 1, "clicked": 0, "bounced": 0}
            | ZEROES
            | {"openRate": 0.5}
        ]
    }
    reach = await get(client, "/journeys/activation-welcome")
    assert reach == {
        "enrolled": 2,
        "emailSent": 2,
        "emailOpened": 1,
        "emailClicked": 0,
        "completed": 0,
        "failed": 0,
        "exited": 0,
    }
    assert await get(client, "/emails/deliverability") == {
        "points": [
            {
                "date": "2026-01-15",
                "total": 2,
                "delivered": 0,
                "bounced": 0,
                "complained": 0,
                "deliveryRate": 0,
            }
        ]
    }
    counts = [{"event": "user.signed_up", "date": "2026-01-15", "count": 2}]
    assert await get(client, "/events") == {"events": counts}
    hours = await get(client, "/events", granularity="hour")
    assert hours == {"events": [counts[0] | {"date": "2026-01-15T10:00:00.000Z"}]}

    began = clock.now()
    await drive_to_end(runtime, clock)
    [row] = [
        row
        for row in (await get(client, "/journeys"))["journeys"]
        if row["journeyId"] == "activation-welcome"
    ]
    assert (row["enrolled"], row["completed"], row["active"], row["completionRate"]) == (2, 2, 0, 1)
    assert 0 < row["avgDurationSecs"] <= (clock.now() - began).total_seconds()


async def test_windows_and_periods(client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(
            insert(email_sends), [_send(clock, days, template) for days, template in ((0, None), (7, "a"))]
        )
    assert [row["templateKey"] for row in (await get(client, "/emails"))["templates"]] == ["a"]
    both = (await get(client, "/emails", includeUntemplated="true"))["templates"]
    assert [row["templateKey"] for row in both] == ["a", "(none)"]
    recent = await get(client, "/emails", includeUntemplated="true", **{"from": "2026-01-10T00:00:00+02:00"})
    assert [row["templateKey"] for row in recent["templates"]] == ["(none)"]
    early = await get(client, "/emails", to="2026-01-08T10:30:00.000Z")
    assert [row["templateKey"] for row in early["templates"]] == ["a"]
    weeks = (await get(client, "/emails/deliverability", period="week"))["points"]
    assert [(point["date"], point["total"]) for point in weeks] == [("2026-01-05", 1), ("2026-01-12", 1)]
    months = (await get(client, "/emails/deliverability", period="month"))["points"]
    assert [(point["date"], point["total"], point["deliveryRate"]) for point in months] == [
        ("2026-01-01", 2, 1)
    ]


def _send(clock: ManualClock, days: int, template: str | None) -> dict[str, Any]:
    at, email_id = clock.now() - timedelta(days=days), new_id()
    return {
        "id": email_id,
        "send_key": str(email_id),
        "template_key": template,
        "from_email": "a@example.com",
        "to_email": "b@example.com",
        "subject": "Hi",
        "status": "delivered",
        "sent_at": at,
        "delivered_at": at,
        "created_at": at,
        "updated_at": at,
    }


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/emails", {"from": "yesterday"}, "from"),
        ("/emails", {"to": "2026-01-15"}, "to"),
        ("/emails", {"includeUntemplated": "yes"}, "includeUntemplated"),
        ("/emails/deliverability", {"period": "hour"}, "period"),
        ("/events", {"granularity": "month"}, "granularity"),
    ],
)
async def test_what_a_parameter_does_not_take(
    client: httpx.AsyncClient, path: str, params: dict[str, str], field: str
) -> None:
    response = await client.get(f"/v1/admin/metrics{path}", params=params)
    assert response.status_code == 400
    body = response.json()
    assert body["error"].startswith(f"{field} must be")
    assert body["details"] == [{"path": field, "message": body["error"]}]


async def test_a_journey_that_never_was(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/admin/metrics/journeys/no-such-journey")
    assert (response.status_code, response.json()) == (404, {"error": "Journey not found"})


async def test_one_question_answers_it_all(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await sign_up(client, "ada")
    await drive(runtime)
    document = """
    { metrics {
        overview { totalContacts }
        journeys { journeyId journey { name } active }
        journey(id: "journey_activation-welcome") { enrolled }
        gone: journey(id: "gone") { enrolled }
        emails { templateKey sent }
        deliverability(period: WEEK) { date total }
        events(granularity: HOUR, from: "2026-01-15T00:00:00Z") { event count }
    } }
    """
    body = (await client.post("/graphql", json={"query": document})).json()
    assert "errors" not in body
    metrics = body["data"]["metrics"]
    assert metrics["overview"] == {"totalContacts": 1}
    assert metrics["journey"] == {"enrolled": 1}
    assert metrics["gone"] is None
    assert metrics["deliverability"] == [{"date": "2026-01-12", "total": 1}]
    assert {row["journey"]["name"] for row in metrics["journeys"] if row["active"]} == {"Activation: welcome"}
