"""Operators steer: every mutation on journeys, emails and events, through the API."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hogsend.clock import ManualClock
from hogsend.emails.providers import ProviderRefused
from hogsend.emails.templates.render import Templates
from hogsend.runtime import Runtime
from tests.driving import ADA, drive, rows, send_event


async def ask(client: httpx.AsyncClient, document: str, **variables: Any) -> Any:
    response = await client.post("/graphql", json={"query": document, "variables": variables})
    body = response.json()
    assert "errors" not in body, body
    return body["data"]


async def test_disabling_a_journey_keeps_people_out_and_says_why(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    data = await ask(
        client,
        'mutation { journeyDisable(input: {id: "activation-welcome"}) { journey { enabled enabledInCode }'
        " userErrors { code } } }",
    )
    assert data["journeyDisable"]["journey"] == {"enabled": False, "enabledInCode": True}
    await send_event(runtime, "user.signed_up")
    data = await ask(
        client,
        """query ($by: ContactBy!) { journey(id: "activation-welcome") {
             explainEnrollment(contact: $by) {
               recorded enrolled guards { name outcome actual } decision { reason } } } }""",
        by={"email": ADA},
    )
    found = data["journey"]["explainEnrollment"]
    assert found["recorded"] is True
    assert found["enrolled"] is False
    assert found["decision"]["reason"] == "JOURNEY_DISABLED"
    assert [guard["outcome"] for guard in found["guards"]][:3] == ["PASSED", "FAILED", "NOT_REACHED"]
    data = await ask(
        client, 'mutation { journeyEnable(input: {id: "activation-welcome"}) { journey { enabled } } }'
    )
    assert data["journeyEnable"]["journey"]["enabled"] is True


async def test_cancelling_a_run_ends_it_once(client: httpx.AsyncClient, runtime: Runtime) -> None:
    result = await send_event(runtime, "user.signed_up")
    await drive(runtime)
    cancel = """mutation ($id: ID!) { journeyStateCancel(input: {id: $id}) {
        state { status endedReason } cancelledInEngine userErrors { code } } }"""
    state_id = str(result.enrollments[0].state_id)
    first = (await ask(client, cancel, id=state_id))["journeyStateCancel"]
    assert first["state"] == {"status": "EXITED", "endedReason": "OPERATOR_CANCELLED"}
    assert first["cancelledInEngine"] is False
    again = (await ask(client, cancel, id=f"state_{state_id}"))["journeyStateCancel"]
    assert again["userErrors"] == [{"code": "ALREADY_ENDED"}]
    gone = (await ask(client, cancel, id="nobody"))["journeyStateCancel"]
    assert gone["userErrors"] == [{"code": "NOT_FOUND"}]
    audits = await rows(runtime, "SELECT action, outcome FROM audit_logs ORDER BY seq")
    assert [(a.action, a.outcome) for a in audits] == [
        ("cancel", "ok"),
        ("cancel", "refused"),
        ("cancel", "refused"),
    ]


async def test_cancelling_many_is_counted_first_and_then_done(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    for index in range(12):
        await send_event(runtime, "user.signed_up", email=f"p{index}@example.com")
    cancel = """mutation ($dry: Boolean!) {
        journeyStatesCancel(input: {journeyId: "activation-welcome", dryRun: $dry}) {
        matched cancelled sample { status } userErrors { field message } } }"""
    dry = (await ask(client, cancel, dry=True))["journeyStatesCancel"]
    assert (dry["matched"], dry["cancelled"], len(dry["sample"])) == (12, 0, 10)
    done = (await ask(client, cancel, dry=False))["journeyStatesCancel"]
    assert (done["matched"], done["cancelled"]) == (12, 12)
    assert {state["status"] for state in done["sample"]} == {"EXITED"}
    audits = await rows(runtime, "SELECT detail FROM audit_logs ORDER BY seq")
    assert [audit.detail.get("dryRun") for audit in audits] == [True, None]
    nothing = await ask(
        client, "mutation { journeyStatesCancel(input: {}) { matched userErrors { field message } } }"
    )
    assert nothing["journeyStatesCancel"]["userErrors"][0]["field"] == ["journeyId"]


async def test_a_batch_gives_each_person_a_verdict(client: httpx.AsyncClient, runtime: Runtime) -> None:
    enroll = """mutation ($dry: Boolean!, $key: String) { journeyEnrollBatch(input: {
          id: "activation-welcome", dryRun: $dry, idempotencyKey: $key, users: [
            {userId: "1", userEmail: "one@example.com"}, {userId: "2", userEmail: "not an address"},
            {userId: "1", userEmail: "one@example.com"}]}) {
        enrolled skipped results { userId enrolled reason } userErrors { message } } }"""
    dry = (await ask(client, enroll, dry=True))["journeyEnrollBatch"]
    assert [one["enrolled"] for one in dry["results"]] == [True, False, True]
    assert await rows(runtime, "SELECT 1 FROM contacts") == []
    done = (await ask(client, enroll, dry=False, key="k"))["journeyEnrollBatch"]
    assert (done["enrolled"], done["skipped"]) == (1, 2)
    assert [one["reason"] for one in done["results"]] == [
        None,
        "email must be an email address such as ada@example.com",
        "already_in_journey",
    ]
    assert (await ask(client, enroll, dry=False, key="k"))["journeyEnrollBatch"] == done
    assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 2


async def test_a_failed_email_is_sent_again_once(client: httpx.AsyncClient, runtime: Runtime) -> None:
    runtime.provider.faults = [ProviderRefused("no such mailbox")]  # type: ignore[attr-defined]
    result = await send_event(runtime, "user.signed_up")
    await drive(runtime)
    (email,) = await rows(runtime, "SELECT id FROM email_sends")
    resend = """mutation ($id: ID!, $key: String) { emailResend(input: {id: $id, idempotencyKey: $key}) {
        email { id status } refusal userErrors { code message } } }"""
    first = (await ask(client, resend, id=str(email.id), key="again"))["emailResend"]
    assert first["email"]["status"] == "QUEUED"
    assert first["email"]["id"] != f"email_{email.id}"
    assert (await ask(client, resend, id=str(email.id), key="again"))["emailResend"] == first
    other = (await ask(client, resend, id=str(email.id), key="other"))["emailResend"]
    assert other["userErrors"] == [{"code": "NOT_RETRIABLE", "message": "Email is not in a retriable status"}]
    assert result.stored


async def test_sending_answers_with_the_refusal(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await send_event(runtime, "seen")
    await ask(
        client,
        """mutation { contactPreferencesUpdate(input: {by: {email: "ada@example.com"}, unsubscribedAll: true}) {
            userErrors { message } } }""",
    )
    data = await ask(
        client,
        'mutation { emailSend(input: {template: "welcome", to: "ada@example.com"}) { refusal email { status } } }',
    )
    assert data["emailSend"] == {"refusal": "UNSUBSCRIBED_FROM_ALL", "email": {"status": "FAILED"}}
    data = await ask(
        client,
        'mutation { emailSend(input: {template: "welcom", to: "a@example.com"})'
        " { userErrors { field code message } } }",
    )
    (error,) = data["emailSend"]["userErrors"]
    assert error["code"] == "TEMPLATE_NOT_FOUND"
    assert "welcome" in error["message"]


@pytest.mark.parametrize("mutation", ["emailSend", "templateSendTest"])
async def test_a_template_that_cannot_be_rendered_is_a_user_error(
    client: httpx.AsyncClient, runtime: Runtime, tmp_path: Path, mutation: str
) -> None:
    body = "<mjml><mj-body><mj-text>{{ props.plan.name }}</mj-text></mj-body></mjml>"
    (tmp_path / "plan.mjml.j2").write_text(f"---\nsubject: Your plan\n---\n{body}")
    runtime.templates = Templates.load([tmp_path])
    data = await ask(
        client,
        f"""mutation {{ {mutation}(input: {{template: "plan", to: "ada@example.com"}}) {{
            email {{ id }} userErrors {{ field code message }} }} }}""",
    )
    (error,) = data[mutation]["userErrors"]
    assert (error["field"], error["code"]) == (["props"], "RENDERING_FAILED")
    assert "props.plan is not set" in error["message"]


async def test_a_template_test_says_that_it_is_one(client: httpx.AsyncClient, runtime: Runtime) -> None:
    data = await ask(
        client,
        """mutation { templateSendTest(input: {template: "welcome", to: "me@example.com"}) {
            email { subject toEmail status } } }""",
    )
    assert data["templateSendTest"]["email"]["subject"].startswith("[Test] ")


@pytest.mark.parametrize("dry", [True, False])
async def test_replaying_events(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock, dry: bool
) -> None:
    first = await send_event(runtime, "user.signed_up")
    clock.advance(timedelta(minutes=1))
    await send_event(runtime, "user.signed_up", email="bob@example.com")
    replay = """mutation ($ids: [ID!], $filter: EventsReplayFilter, $dry: Boolean!) {
        eventsReplay(input: {eventIds: $ids, filter: $filter, dryRun: $dry}) {
          matched replayed errors { eventId error } sample { name } userErrors { field } } }"""
    unknown = "00000000-0000-4000-8000-000000000000"
    by_id = (await ask(client, replay, ids=[str(first.event_id), unknown], dry=dry))["eventsReplay"]
    assert (by_id["matched"], by_id["replayed"]) == (1, 0 if dry else 1)
    assert by_id["errors"] == [{"eventId": unknown, "error": "Event not found"}]
    by_name = (await ask(client, replay, filter={"event": "user.signed_up"}, dry=dry))["eventsReplay"]
    assert (by_name["matched"], by_name["replayed"]) == (2, 0 if dry else 2)
    assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 2
    both = (await ask(client, replay, ids=[], filter={"event": "x"}, dry=dry))["eventsReplay"]
    assert both["userErrors"] == [{"field": ["eventIds"]}]


async def test_runs_are_counted_by_version_and_the_funnel_fills(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    for index in range(3):
        await send_event(runtime, "user.signed_up", email=f"p{index}@example.com")
    await drive(runtime)
    data = await ask(
        client,
        """{ journey(id: "activation-welcome") { version versions { version liveRuns breakingRuns breakingRun { id } }
             funnel { node kind reached passed } metrics { enrolled active completionRate } } }""",
    )
    journey = data["journey"]
    assert journey["versions"] == [
        {"version": journey["version"], "liveRuns": 3, "breakingRuns": None, "breakingRun": None}
    ]
    assert journey["funnel"] == [
        {"node": "welcome", "kind": "send", "reached": 3, "passed": 3},
        {"node": "2d", "kind": "sleep", "reached": 3, "passed": 0},
    ]
    assert journey["metrics"] == {"enrolled": 3, "active": 3, "completionRate": 0}
