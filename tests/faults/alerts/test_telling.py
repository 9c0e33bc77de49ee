"""What fired is told in the end, whatever the channel does; a mute holds it back; streams have it at once."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest

from hogsend.alerts.actions import mute_rule, update_rule
from hogsend.clock import ManualClock
from hogsend.emails.providers.inbox import InboxProvider
from hogsend.runtime import Runtime
from tests.alerts.evaluating import (
    HOUR,
    MINUTE,
    a_rule,
    deliveries,
    history,
    is_signed,
    log_of,
    minutes,
    trouble,
    work,
)
from tests.conftest import ADMIN_KEY
from tests.driving import Crashed, crash_once_at, rows
from tests.serving.socket import Socket, open_socket
from tests.standins.http import Answer, Reset
from tests.standins.receiver import ReceiverStandIn
from tests.standins.resend import webhook


@pytest.mark.parametrize("outage", [Answer(503, b"down"), Reset(accepted=False)])
async def test_the_channel_is_down_for_an_hour(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn, outage: Answer | Reset
) -> None:
    rule = await a_rule(runtime, receiver.url)
    await trouble(runtime)
    receiver.outage = outage
    await minutes(runtime, clock)
    for _ in range(64):
        await work(runtime)
        await minutes(runtime, clock)
    assert await history(runtime) == [(1, "cleared")], "it came and went while nobody could be told"
    assert await deliveries(runtime) == [("fired", "pending"), ("resolved", "pending")]
    receiver.outage = None
    for _ in range(15):
        clock.advance(MINUTE)
        await work(runtime)
    assert [body["event"] for body in receiver.bodies] == ["alert.fired", "alert.resolved"]
    firing = [request for request in receiver.requests if request.json()["event"] == "alert.fired"]
    assert len(firing) > 8
    assert len({request.headers["webhook-id"] for request in firing}) == 1, "one telling, one id"
    assert all(is_signed(request, rule["signing_secret"]) for request in receiver.requests)
    [fired, _] = await rows(runtime, "SELECT * FROM alert_deliveries ORDER BY created_at")
    assert (fired.status, fired.response_status, fired.response_body) == ("delivered", 200, "ok")
    assert fired.attempts == len(firing)
    [alert] = await rows(runtime, "SELECT delivered, error FROM alerts")
    assert (alert.delivered, alert.error) == (True, None)


async def test_an_answer_that_is_lost_is_told_again_under_the_same_id(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    await a_rule(runtime, receiver.url)
    await trouble(runtime)
    receiver.faults.append(Reset(accepted=True))
    await minutes(runtime, clock)
    for _ in range(2):
        await work(runtime)
        clock.advance(MINUTE)
    assert len(receiver.bodies) == 2
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert receiver.bodies[0] == receiver.bodies[1]
    assert await deliveries(runtime) == [("fired", "delivered")]


@pytest.mark.parametrize(("point", "told"), [("before_alert_commit", 1), ("after_alert_told", 2)])
async def test_a_worker_that_dies_on_the_way_fires_and_tells_in_the_end(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn, point: str, told: int
) -> None:
    await a_rule(runtime, receiver.url)
    await trouble(runtime)
    crash_once_at(runtime, point)
    for _ in range(8):
        with suppress(Crashed):
            await minutes(runtime, clock)
            await work(runtime)
    assert (await history(runtime), await log_of(runtime)) == ([(1, "firing")], ["fired"])
    assert await deliveries(runtime) == [("fired", "delivered")]
    assert len(receiver.bodies) == told
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


@pytest.mark.parametrize(
    ("outage", "url", "attempts", "error"),
    [
        (Answer(410, b""), None, 1, "The receiver answered 410"),
        (None, "http://hooks.hogsend.invalid/", 5, "The URL's host was not found"),
    ],
)
async def test_what_can_never_be_told_is_soon_a_dead_letter(
    runtime: Runtime,
    clock: ManualClock,
    receiver: ReceiverStandIn,
    outage: Answer | None,
    url: str | None,
    attempts: int,
    error: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await a_rule(runtime, url or receiver.url)
    await trouble(runtime)
    receiver.outage = outage
    await minutes(runtime, clock)
    while await deliveries(runtime) == [("fired", "pending")]:
        clock.advance(timedelta(minutes=10))
        await work(runtime)
    [delivery] = await rows(runtime, "SELECT * FROM alert_deliveries")
    assert (delivery.status, delivery.attempts, delivery.error) == ("failed", attempts, error)
    [letter] = await rows(runtime, "SELECT * FROM dead_letters WHERE payload ->> 'job' = 'alerts.tell'")
    assert letter.error == f"DeliveryFailed: {error}"
    said = capsys.readouterr().out
    assert said.count("job_failed") == attempts
    assert "Traceback" not in said


async def test_a_deleted_rule_tells_nobody_what_nobody_was_told(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn, client: httpx.AsyncClient
) -> None:
    rule = await a_rule(runtime, receiver.url)
    await trouble(runtime)
    receiver.outage = Answer(500, b"")
    await minutes(runtime, clock)
    await work(runtime)
    assert await deliveries(runtime) == [("fired", "pending")]
    receiver.outage = None
    told = len(receiver.requests)
    assert (await client.delete(f"/v1/admin/alerts/rules/{rule['id']}")).status_code == 200
    for _ in range(3):
        clock.advance(timedelta(minutes=10))
        await work(runtime)
    assert len(receiver.requests) == told
    assert await deliveries(runtime) == [("fired", "failed"), ("resolved", "failed")]
    assert await rows(runtime, "SELECT * FROM dead_letters WHERE payload ->> 'job' = 'alerts.tell'") == []


RETRY = "mutation ($id: ID!) { deadLetterRetry(input: { id: $id }) { userErrors { message } } }"


async def test_a_channel_that_stays_down_is_a_dead_letter_and_can_be_retried(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn, client: httpx.AsyncClient
) -> None:
    await a_rule(runtime, receiver.url)
    await trouble(runtime)
    receiver.outage = Answer(500, b"\x00" + b"x" * 10_000)
    await minutes(runtime, clock)
    while await deliveries(runtime) == [("fired", "pending")]:
        clock.advance(timedelta(minutes=10))
        await work(runtime)
    assert await deliveries(runtime) == [("fired", "failed")]
    [delivery] = await rows(runtime, "SELECT * FROM alert_deliveries")
    assert (delivery.attempts, delivery.error) == (36, "The receiver answered 500")
    assert delivery.response_body == "\N{REPLACEMENT CHARACTER}" + "x" * 499
    [letter] = await rows(runtime, "SELECT * FROM dead_letters WHERE payload ->> 'job' = 'alerts.tell'")
    assert letter.error == "DeliveryFailed: The receiver answered 500"
    answer = (await client.get("/v1/admin/alerts/history")).json()["alerts"]
    assert [alert["delivered"] for alert in answer] == [False]
    await minutes(runtime, clock, 3)
    assert await history(runtime) == [(1, "cleared")], "the dead letter of an alert fires no other"
    receiver.outage = None
    asked = {"query": RETRY, "variables": {"id": str(letter.id)}}
    assert (await client.post("/graphql", json=asked)).json()["data"]["deadLetterRetry"]["userErrors"] == []
    await work(runtime)
    assert await deliveries(runtime) == [("fired", "delivered"), ("resolved", "delivered")]
    answer = (await client.get("/v1/admin/alerts/history")).json()["alerts"]
    assert [alert["delivered"] for alert in answer] == [True]


async def test_a_mute_across_its_end(runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn) -> None:
    rule = await a_rule(runtime, receiver.url)
    await mute_rule(runtime, rule["id"], clock.wall() + timedelta(minutes=10))
    await trouble(runtime)
    await minutes(runtime, clock, 8)
    assert await work(runtime) == 0
    assert (await history(runtime), await log_of(runtime)) == ([(1, "firing")], ["fired"]), (
        "a mute hides nothing, it only tells nobody"
    )
    await minutes(runtime, clock, 2)
    await work(runtime)
    assert [body["event"] for body in receiver.bodies] == ["alert.fired"], (
        "it still fires: told when the mute ends"
    )
    # It clears in a second mute: told when that one is ended by hand.
    await mute_rule(runtime, rule["id"], clock.wall() + timedelta(hours=5))
    clock.advance(HOUR)
    await minutes(runtime, clock, 4)
    assert await history(runtime) == [(1, "cleared")]
    assert await work(runtime) == 0
    await mute_rule(runtime, rule["id"], None)
    await minutes(runtime, clock)
    await work(runtime)
    assert [body["event"] for body in receiver.bodies] == ["alert.fired", "alert.resolved"]


async def test_what_came_and_went_in_a_mute_is_told_to_nobody(runtime: Runtime, clock: ManualClock) -> None:
    rule = await a_rule(runtime)
    await mute_rule(runtime, rule["id"], clock.wall() + timedelta(hours=3))
    await trouble(runtime)
    await minutes(runtime, clock)
    clock.advance(HOUR)
    await minutes(runtime, clock, 3)
    assert (await history(runtime), await log_of(runtime)) == ([(1, "cleared")], ["fired", "resolved"])
    clock.advance(timedelta(hours=3))
    await minutes(runtime, clock)
    assert await deliveries(runtime) == []


async def test_a_rule_that_is_disabled_in_a_mute_tells_the_end_after_it(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    rule = await a_rule(runtime, receiver.url)
    await trouble(runtime)
    await minutes(runtime, clock)
    await mute_rule(runtime, rule["id"], clock.wall() + timedelta(minutes=5))
    await update_rule(runtime, rule["id"], {"enabled": False})
    await minutes(runtime, clock, 4)
    await work(runtime)
    assert [body["event"] for body in receiver.bodies] == ["alert.fired"]
    await minutes(runtime, clock)
    await work(runtime)
    await work(runtime)
    assert [body["event"] for body in receiver.bodies] == ["alert.fired", "alert.resolved"]


STREAM = """
subscription ($rule: ID) {
  alertFired(ruleId: $rule) { cursor change alert { id value threshold delivered rule { name firing { id } } } }
}
"""


async def told(socket: Socket) -> dict[str, Any]:
    data: dict[str, Any] = (await socket.next("live"))["alertFired"]
    return data


async def deliver_some(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, event: str, count: int
) -> None:
    """Send emails over the API, and let the provider report them over its webhook."""
    begun = clock.now()
    for number in range(count):
        asked = {"to": f"{event.split('.')[1]}-{number}@example.com", "template": "welcome"}
        assert (await client.post("/v1/emails", json=asked)).status_code == 202
    await work(runtime)
    sent = await rows(runtime, "SELECT message_id FROM email_sends WHERE created_at >= :begun", begun=begun)
    assert len(sent) == count
    detail: dict[str, Any] = {
        "bounce": {"type": "Permanent", "subType": "General", "message": "No such mailbox"}
    }
    for row in sent:
        more = detail if event == "email.bounced" else {}
        body, headers = webhook(event, message_id=row.message_id, at=clock.wall(), **more)
        answer = await client.post("/v1/webhooks/email/resend", content=body, headers=headers)
        assert answer.status_code == 200


async def make_rules(client: httpx.AsyncClient, slack: str, hook: str) -> str:
    """One rule a channel, over GraphQL. Returns the secret of the webhook."""
    document = """mutation ($input: AlertRuleCreateInput!) {
      alertRuleCreate(input: $input) { signingSecret rule { signingSecret } userErrors { message } } }"""
    secrets = []
    for channel, config in (
        ("SLACK", {"webhookUrl": f"{slack}/services/T0/B0/x", "channel": "#ops"}),
        ("WEBHOOK", {"url": hook}),
        ("EMAIL", {"to": "ops@example.com"}),
    ):
        rule = {"name": f"Bounces to {channel}", "type": "BOUNCE_RATE_EXCEEDED", "threshold": 0.4}
        asked = {"input": {**rule, "channel": channel, "channelConfig": config}}
        body = (await client.post("/graphql", json={"query": document, "variables": asked})).json()
        secrets.append(body["data"]["alertRuleCreate"]["signingSecret"])
        assert body["data"]["alertRuleCreate"]["rule"]["signingSecret"].startswith("whsec_…")
    none, secret, nor_here = secrets
    assert (none, nor_here) == (None, None)
    return str(secret)


async def test_a_bounce_storm_and_its_end(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn, live_server: str
) -> None:
    runtime.provider = InboxProvider(runtime.database, clock)
    async with (
        ReceiverStandIn() as hook,
        httpx.AsyncClient(base_url=live_server, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client,
        open_socket(live_server) as socket,
    ):
        secret = await make_rules(client, receiver.url, hook.url)
        await socket.init()
        await socket.subscribe("live", STREAM)
        await deliver_some(client, runtime, clock, "email.delivered", 4)
        await minutes(runtime, clock)
        await deliver_some(client, runtime, clock, "email.bounced", 6)
        await minutes(runtime, clock)
        await work(runtime)
        seen = [await told(socket) for _ in range(3)]
        assert {(one["change"], one["alert"]["value"]) for one in seen} == {("FIRED", 0.6)}
        assert all(one["alert"]["rule"]["firing"]["id"] == one["alert"]["id"] for one in seen)
        assert {one["alert"]["rule"]["name"] for one in seen} == {
            f"Bounces to {channel}" for channel in ("SLACK", "WEBHOOK", "EMAIL")
        }
        await deliver_some(client, runtime, clock, "email.opened", 10)
        await minutes(runtime, clock, 3)
        await work(runtime)
        seen = [await told(socket) for _ in range(3)]
        assert {one["change"] for one in seen} == {"RESOLVED"}
        assert await history(runtime) == [(0.6, "cleared")] * 3

        headlines = [body["blocks"][0]["text"]["text"] for body in receiver.bodies]
        assert headlines == ["Alert: Bounces to SLACK", "Resolved: Bounces to SLACK"]
        assert [body["event"] for body in hook.bodies] == ["alert.fired", "alert.resolved"]
        assert all(is_signed(request, secret) for request in hook.requests)
        assert not any(is_signed(request, "whsec_" + "A" * 44) for request in hook.requests)
        query = {**hook.bodies[0]["lookAt"]}
        found = (await client.post("/graphql", json=query)).json()["data"]["emails"]
        assert found["totalCount"] == 6, "the query that the alert names shows what bounced"
        inbox = (await client.get("/dev/inbox?format=json&limit=50")).json()["messages"]
        subjects = [message["subject"] for message in inbox if message["to"] == "ops@example.com"]
        assert subjects == ["Resolved: Bounces to EMAIL", "Alert: Bounces to EMAIL"]


async def test_a_stream_of_one_rule_resumes_behind_its_cursor(
    runtime: Runtime, clock: ManualClock, live_server: str
) -> None:
    mine, other = await a_rule(runtime), await a_rule(runtime, name="Other")
    document = STREAM.replace("($rule: ID)", "($rule: ID, $after: String)").replace(
        "ruleId: $rule", "ruleId: $rule, after: $after"
    )
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("live", document, rule=f"rule_{mine['id']}")
        await trouble(runtime)
        await minutes(runtime, clock)
        fired = await told(socket)
        assert (fired["change"], fired["alert"]["rule"]["name"]) == ("FIRED", "Dead letters")
    clock.advance(HOUR)
    await minutes(runtime, clock, 3)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("live", document, rule=str(mine["id"]), after=fired["cursor"])
        resolved = await told(socket)
        assert (resolved["change"], resolved["alert"]["id"]) == ("RESOLVED", fired["alert"]["id"])
        await socket.subscribe("wrong", document, rule="journey_welcome")
        refused = await socket.receive()
        assert (refused["id"], refused["type"]) == ("wrong", "error")
    assert {str(other["id"]), str(mine["id"])} == {
        str(row.rule_id) for row in await rows(runtime, "SELECT rule_id FROM alerts")
    }
