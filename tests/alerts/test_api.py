"""Alert rules and history over HTTP: GraphQL and the rows of the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import insert, select, update

from hogsend.alerts.notice import look_at
from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.metadata import new_id
from hogsend.tables.access import audit_logs
from hogsend.tables.alerts import alert_rules, alerts
from tests.alerts.evaluating import is_signed, minutes, trouble, work
from tests.driving import statements
from tests.standins.http import Answer
from tests.standins.receiver import ReceiverStandIn

RULES = "/v1/admin/alerts/rules"
HISTORY = "/v1/admin/alerts/history"
NOBODY = "00000000-0000-4000-8000-000000000000"
RULE: dict[str, Any] = {
    "name": "Too many bounces",
    "type": "bounce_rate_exceeded",
    "threshold": 0.05,
    "channel": "slack",
    "channelConfig": {"webhookUrl": "https://1.1.1.1/services/T0/B0/secret", "channel": "#ops"},
}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    private = "receiver" in request.fixturenames
    return Settings(
        **{**settings.model_dump(), "alert_private_targets": private, "allow_http_targets": private}
    )


@pytest.fixture
async def receiver() -> AsyncIterator[ReceiverStandIn]:
    async with ReceiverStandIn() as receiver:
        yield receiver


async def make(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    response = await client.post(RULES, json={**RULE, **changes})
    assert response.status_code == 201, response.text
    rule: dict[str, Any] = response.json()["rule"]
    return rule


RATES = ("bounce_rate_exceeded", "delivery_issue", "high_complaint_rate")


@pytest.mark.parametrize("watched", RATES)
async def test_a_rate_above_1_is_refused_in_words(client: httpx.AsyncClient, watched: str) -> None:
    rule = await make(client, type=watched, threshold=1)
    counted = await make(client, type="dlq_growth", threshold=5)
    for answer in (
        await client.post(RULES, json={**RULE, "type": watched, "threshold": 5}),
        await client.patch(f"{RULES}/{rule['id']}", json={"threshold": 5}),
        await client.patch(f"{RULES}/{counted['id']}", json={"type": watched}),
    ):
        assert answer.status_code == 400
        says = f"threshold of {watched} must be a rate from 0 to 1: 0.05 is 5 %, 1 is 100 %"
        assert answer.json()["details"] == [{"path": "threshold", "message": says}]


async def test_a_rule_of_before_with_a_rate_above_1_is_still_renamed_and_disabled(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    rule = await make(client)
    async with runtime.database.transaction() as conn:
        await conn.execute(update(alert_rules).values(threshold=5))
    changed = await client.patch(f"{RULES}/{rule['id']}", json={"name": "Old", "enabled": False})
    assert (
        changed.json()["rule"] | {"name": "Old", "threshold": 5, "enabled": False} == changed.json()["rule"]
    )


async def test_a_threshold_beyond_all_numbers_hears_the_highest(client: httpx.AsyncClient) -> None:
    answer = await client.post(RULES, json={**RULE, "type": "dlq_growth", "threshold": 1e13})
    assert answer.json()["error"] == "threshold must be a number from 0 to 1,000,000,000,000"


async def test_a_rule_from_its_making_to_its_end(client: httpx.AsyncClient, clock: ManualClock) -> None:
    rule = await make(client)
    UUID(rule["id"])
    assert rule == RULE | {
        "id": rule["id"],
        "channelConfig": {"webhookUrl": "https://1.1.1.1/…cret", "channel": "#ops"},
        "cooldownMinutes": 60,
        "enabled": True,
        "lastTriggeredAt": None,
        "createdAt": "2026-01-15T10:30:00.000Z",
        "updatedAt": "2026-01-15T10:30:00.000Z",
    }
    clock.advance(timedelta(minutes=1))
    newer = await make(client, channel="email", channelConfig={"to": "ops@example.com"}, cooldownMinutes=0)
    assert (await client.get(RULES)).json() == {"rules": [newer, rule]}

    changed = await client.patch(f"{RULES}/{rule['id']}", json={"threshold": 1, "enabled": False})
    assert changed.status_code == 200, changed.text
    assert changed.json()["rule"] == rule | {
        "threshold": 1,
        "enabled": False,
        "updatedAt": "2026-01-15T10:31:00.000Z",
    }
    assert (await client.delete(f"{RULES}/{rule['id']}")).json() == {"deleted": True}
    assert (await client.get(RULES)).json() == {"rules": [newer]}
    for again in (
        await client.delete(f"{RULES}/{rule['id']}"),
        await client.patch(f"{RULES}/{rule['id']}", json={"enabled": True}),
        await client.delete(f"{RULES}/{NOBODY}"),
        await client.patch(f"{RULES}/nonsense", json={}),
    ):
        assert (again.status_code, again.json()) == (404, {"error": "Alert rule not found"})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"type": "too_quiet"}, "type"),
        ({"threshold": "high"}, "threshold"),
        ({"threshold": -1}, "threshold"),
        ({"channel": "pigeon"}, "channel"),
        ({"channelConfig": None}, "channelConfig"),
        ({"channelConfig": {"url": "https://1.1.1.1/"}}, "channelConfig.webhookUrl"),
        ({"channelConfig": {"webhookUrl": "https://127.0.0.1/"}}, "channelConfig.webhookUrl"),
        ({"channelConfig": {"webhookUrl": "https://169.254.169.254/x"}}, "channelConfig.webhookUrl"),
        ({"channelConfig": {"webhookUrl": "http://1.1.1.1/"}}, "channelConfig.webhookUrl"),
        ({"channel": "webhook"}, "channelConfig.url"),
        ({"channel": "email", "channelConfig": {"to": "ops"}}, "channelConfig.to"),
        ({"cooldownMinutes": -5}, "cooldownMinutes"),
        ({"cooldownMinutes": 1.5}, "cooldownMinutes"),
        ({"enabled": "yes"}, "enabled"),
    ],
)
async def test_what_a_rule_does_not_take(
    client: httpx.AsyncClient, changes: dict[str, Any], path: str
) -> None:
    rule = await make(client)
    for response in (
        await client.post(RULES, json={**RULE, **changes}),
        await client.patch(f"{RULES}/{rule['id']}", json=changes),
    ):
        assert response.status_code == 400, response.text
        body = response.json()
        assert body["details"][0]["path"] == path
        assert path.split(".")[0] in body["error"]
        assert "secret" not in response.text
    assert (await client.get(RULES)).json()["rules"] == [rule]


async def fire(runtime: Runtime, clock: ManualClock, rule: dict[str, Any], **values: Any) -> str:
    """What evaluation records of an alert that is over."""
    fired = {
        "id": new_id(),
        "rule_id": UUID(rule["id"]),
        "rule_name": rule["name"],
        "type": rule["type"],
        "current_value": 0.08,
        "threshold": rule["threshold"],
        "channel": rule["channel"],
        "delivered": True,
        "triggered_at": clock.now(),
        "resolved_at": clock.now(),
        **values,
    }
    async with runtime.database.transaction() as conn:
        await conn.execute(insert(alerts).values(fired))
    return str(fired["id"])


async def test_history_pages_filters_and_outlives_its_rule(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    rule, other = await make(client), await make(client, name="Other")
    fired = []
    for minute in range(3):
        clock.advance(timedelta(minutes=1))
        fired.append(await fire(runtime, clock, rule if minute else other))
    await client.delete(f"{RULES}/{rule['id']}")
    whole = (await client.get(HISTORY)).json()
    assert [one["id"] for one in whole["alerts"]] == fired[::-1]
    assert (whole["total"], whole["limit"], whole["offset"]) == (3, 50, 0)
    assert whole["alerts"][0] == {
        "id": fired[2],
        "ruleId": rule["id"],
        "ruleName": "Too many bounces",
        "type": "bounce_rate_exceeded",
        "currentValue": 0.08,
        "threshold": 0.05,
        "channel": "slack",
        "delivered": True,
        "triggeredAt": "2026-01-15T10:33:00.000Z",
    }
    page = (await client.get(HISTORY, params={"ruleId": rule["id"], "limit": 1, "offset": 1})).json()
    assert ([one["id"] for one in page["alerts"]], page["total"]) == ([fired[1]], 2)
    assert (await client.get(HISTORY, params={"ruleId": NOBODY})).json()["total"] == 0
    assert (await client.get(HISTORY, params={"ruleId": "nonsense"})).status_code == 400

    document = """
    query ($rule: ID!) {
      alerts(ruleId: $rule) { totalCount nodes { id rule { name deletedAt alerts { totalCount } } } }
      node(id: $rule) { id }
      alertRules { nodes { name currentValue alerts { nodes { currentValue value } } } }
    }
    """
    body = (
        await client.post("/graphql", json={"query": document, "variables": {"rule": f"rule_{rule['id']}"}})
    ).json()
    assert "errors" not in body
    [first, _] = body["data"]["alerts"]["nodes"]
    assert first["rule"]["deletedAt"] == "2026-01-15T10:33:00.000Z"
    assert first["rule"]["alerts"]["totalCount"] == 2
    assert body["data"]["alertRules"]["nodes"] == [
        {"name": "Other", "currentValue": None, "alerts": {"nodes": [{"currentValue": 0.08, "value": 0.08}]}}
    ]


TEST = """
mutation ($input: AlertRuleTestInput!) {
  alertRuleTest(input: $input) { delivered error userErrors { field code } }
}
"""


async def try_out(client: httpx.AsyncClient, rule_id: str, **more: Any) -> Any:
    variables = {"input": {"id": rule_id, **more}}
    body = (await client.post("/graphql", json={"query": TEST, "variables": variables})).json()
    assert "errors" not in body, body
    return body["data"]["alertRuleTest"]


async def test_a_rule_can_be_tried_out(client: httpx.AsyncClient, receiver: ReceiverStandIn) -> None:
    rule = await make(client, channel="webhook", channelConfig={"url": f"{receiver.url}/hook"})
    for _ in range(2):
        tried = await try_out(client, rule["id"], idempotencyKey="t1")
        assert tried == {"delivered": True, "error": None, "userErrors": []}
    [body] = receiver.bodies
    assert (body["ruleId"], body["test"], body["currentValue"]) == (rule["id"], True, None)
    receiver.faults.append(Answer(500))
    failed = await try_out(client, rule["id"])
    assert failed == {"delivered": False, "error": "The receiver answered 500", "userErrors": []}
    assert (await client.get(HISTORY)).json()["total"] == 0, "a test does not fire"
    gone = await try_out(client, NOBODY)
    assert gone == {"delivered": None, "error": None, "userErrors": [{"field": [], "code": "NOT_FOUND"}]}


async def test_each_change_leaves_one_audit_row_without_the_credential(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    rule = await make(client)
    await client.patch(f"{RULES}/{rule['id']}", json={"name": "Renamed"})
    await client.post(RULES, json={**RULE, "channelConfig": {}})
    await client.delete(f"{RULES}/{rule['id']}")
    await client.delete(f"{RULES}/{NOBODY}")
    async with runtime.database.read() as conn:
        rows = (await conn.execute(select(audit_logs).order_by(audit_logs.c.seq))).all()
    assert [(row.action, row.outcome, row.resource_id) for row in rows] == [
        ("create", "ok", rule["id"]),
        ("update", "ok", rule["id"]),
        ("create", "refused", None),
        ("delete", "ok", rule["id"]),
        ("delete", "refused", NOBODY),
    ]
    assert {row.resource for row in rows} == {"alert-rule"}
    assert (rows[1].before["name"], rows[1].after["name"]) == ("Too many bounces", "Renamed")
    assert rows[0].after["channelConfig"] == {"webhookUrl": "https://1.1.1.1/…cret", "channel": "#ops"}
    assert "secret" not in str([row._asdict() for row in rows])


@pytest.mark.parametrize("scope", ["read", "journey-admin", "ingest"])
async def test_who_may_what(client: httpx.AsyncClient, scope: str) -> None:
    rule = await make(client)
    made = await client.post("/v1/admin/api-keys", json={"name": scope, "scopes": [scope]})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    reads = 403 if scope == "ingest" else 200
    for path in (RULES, HISTORY, "/v1/admin/metrics/overview", "/v1/admin/dlq"):
        assert (await client.get(path, headers=headers)).status_code == reads, path
    for refused in (
        await client.post(RULES, json=RULE, headers=headers),
        await client.patch(f"{RULES}/{rule['id']}", json={}, headers=headers),
        await client.delete(f"{RULES}/{rule['id']}", headers=headers),
        await client.post(f"/v1/admin/dlq/{NOBODY}/retry", headers=headers),
        await client.delete(f"/v1/admin/dlq/{NOBODY}", headers=headers),
    ):
        assert (refused.status_code, refused.json()) == (403, {"error": "Insufficient scope"})


MUTE = """
mutation ($input: AlertRuleMuteInput!) {
  alertRuleMute(input: $input) { rule { mutedUntil firing { id } } userErrors { field message code } }
}
"""
ROTATE = """
mutation ($input: AlertRuleSecretRotateInput!) {
  alertRuleSecretRotate(input: $input) { signingSecret rule { signingSecret } userErrors { code } }
}
"""


async def change(client: httpx.AsyncClient, document: str, **input: Any) -> Any:
    body = (await client.post("/graphql", json={"query": document, "variables": {"input": input}})).json()
    assert "errors" not in body, body
    [answer] = body["data"].values()
    return answer


async def test_a_rule_is_muted_until_an_instant_and_let_speak_again(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    rule = await make(client)
    until = "2026-01-15T12:00:00.000Z"
    muted = await change(client, MUTE, id=rule["id"], until=until)
    assert muted == {"rule": {"mutedUntil": until, "firing": None}, "userErrors": []}
    for wrong in ("2026-01-15T10:30:00Z", "2020-01-01T00:00:00Z", "2028-01-01T00:00:00Z"):
        refused = (await change(client, MUTE, id=rule["id"], until=wrong))["userErrors"]
        assert [(one["field"], one["code"]) for one in refused] == [(["until"], "INVALID")]
    assert (await change(client, MUTE, id=NOBODY, until=until))["userErrors"][0]["code"] == "NOT_FOUND"
    spoken = await change(client, MUTE, id=rule["id"], until=None)
    assert spoken["rule"] == {"mutedUntil": None, "firing": None}
    async with runtime.database.read() as conn:
        told = select(audit_logs.c.before, audit_logs.c.after).where(audit_logs.c.outcome == "ok")
        logged = (await conn.execute(told.order_by(audit_logs.c.seq))).all()
    assert [(row.before, row.after) for row in logged[1:]] == [
        ({"mutedUntil": None}, {"mutedUntil": until}),
        ({"mutedUntil": until}, {"mutedUntil": None}),
    ]


async def test_a_webhook_is_signed_with_a_secret_that_is_told_once(
    client: httpx.AsyncClient, runtime: Runtime, receiver: ReceiverStandIn
) -> None:
    rule = await make(client, channel="webhook", channelConfig={"url": receiver.url})
    assert "whsec" not in str(rule), "REST shows rules as its contract has them"
    secrets = [(await change(client, ROTATE, id=rule["id"]))["signingSecret"] for _ in range(2)]
    assert len(set(secrets)) == 2
    await try_out(client, rule["id"])
    [request] = receiver.requests
    assert [is_signed(request, secret) for secret in secrets] == [False, True]
    masked = f"whsec_…{secrets[1][-4:]}"
    shown = (
        await client.post("/graphql", json={"query": "{ alertRules { nodes { signingSecret } } }"})
    ).json()
    assert shown["data"]["alertRules"]["nodes"] == [{"signingSecret": masked}]
    async with runtime.database.read() as conn:
        logged = str((await conn.execute(select(audit_logs))).all())
    assert not any(secret in logged for secret in secrets)


async def test_an_alert_tells_how_it_was_told_and_what_to_look_at(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    await make(client, type="dlq_growth", threshold=0, channel="webhook", channelConfig={"url": receiver.url})
    await trouble(runtime)
    await minutes(runtime, clock)
    receiver.faults.append(Answer(503, b"not now"))
    await work(runtime)
    document = """{ alerts { nodes {
      type value threshold firedAt resolvedAt resolution delivered error lookAt { query variables }
      rule { firing { value } lastTriggeredAt }
      deliveries { nodes { change channel status attempts responseStatus responseBody error deliveredAt } }
    } } }"""
    [alert] = (await client.post("/graphql", json={"query": document})).json()["data"]["alerts"]["nodes"]
    assert alert.pop("lookAt") == look_at("dlq_growth", clock.now())
    assert alert == {
        "type": "DLQ_GROWTH",
        "value": 1,
        "threshold": 0,
        "firedAt": "2026-01-15T10:31:00.000Z",
        "resolvedAt": None,
        "resolution": None,
        "delivered": False,
        "error": "The receiver answered 503",
        "rule": {"firing": {"value": 1}, "lastTriggeredAt": "2026-01-15T10:31:00.000Z"},
        "deliveries": {
            "nodes": [
                {
                    "change": "FIRED",
                    "channel": "WEBHOOK",
                    "status": "PENDING",
                    "attempts": 1,
                    "responseStatus": 503,
                    "responseBody": "not now",
                    "error": "The receiver answered 503",
                    "deliveredAt": None,
                }
            ]
        },
    }
    [told] = (await client.get(HISTORY)).json()["alerts"]
    assert (told["type"], told["currentValue"], told["delivered"]) == ("dlq_growth", 1, False)


async def test_a_page_of_alerts_costs_the_same_however_long_it_is(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    document = """query ($n: Int!) { alerts(first: $n) { nodes {
      rule { name firing { id } currentValue } deliveries { nodes { status } } } } }"""
    for number in range(4):
        await make(client, name=str(number), type="dlq_growth", threshold=0, channelConfig=slack(receiver))
    await trouble(runtime)
    await minutes(runtime, clock)
    counts = []
    for n in (1, 4):
        with statements(runtime.database) as seen:
            answer = await client.post("/graphql", json={"query": document, "variables": {"n": n}})
        assert len(answer.json()["data"]["alerts"]["nodes"]) == n
        counts.append(len(seen))
    assert counts[0] == counts[1]


def slack(receiver: ReceiverStandIn) -> dict[str, str]:
    return {"webhookUrl": receiver.url}
