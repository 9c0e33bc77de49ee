"""A template's test send goes to nobody against their last word, and the operator hears why."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hogsend.runtime import Runtime
from tests.driving import rows
from tests.fixtures.journeys import templates_of_tests

SEND = """mutation ($template: String!) { templateSendTest(input: {template: $template, to: " Ada@Example.com"}) {
    refusal email { status category subject refusal } userErrors { message } } }"""
ALL_OUT = """mutation { contactPreferencesUpdate(input: {by: {email: "ada@example.com"}, unsubscribedAll: true}) {
    userErrors { message } } }"""
SUPPRESSED = ALL_OUT.replace("unsubscribedAll: true", "suppressed: true")


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    answer = await client.post("/graphql", json={"query": query, "variables": variables})
    (found,) = answer.json()["data"].values()
    return dict(found)


@pytest.fixture(autouse=True)
async def ada(client: httpx.AsyncClient, runtime: Runtime) -> None:
    runtime.templates = templates_of_tests()
    assert (await client.put("/v1/contacts", json={"email": "ada@example.com"})).status_code == 200


@pytest.mark.parametrize("template", ["welcome", "receipt"])
@pytest.mark.parametrize(
    ("said", "reason"), [(ALL_OUT, "UNSUBSCRIBED_FROM_ALL"), (SUPPRESSED, "SUPPRESSED_BY_OPERATOR")]
)
async def test_it_is_refused_with_its_reason(
    client: httpx.AsyncClient, runtime: Runtime, said: str, reason: str, template: str
) -> None:
    first = await ask(client, SEND, template=template)
    assert (first["refusal"], first["email"]["status"]) == (None, "QUEUED")
    assert (await ask(client, said))["userErrors"] == []
    told = await ask(client, SEND, template=template)
    assert (told["refusal"], told["email"]["status"], told["email"]["refusal"]) == (reason, "FAILED", reason)
    decided = await rows(runtime, "SELECT reason, detail FROM decisions WHERE kind = 'suppressed'")
    assert [row.reason for row in decided] == [reason.lower()]
    assert decided[0].detail["to"] == "ada@example.com"


async def test_one_of_a_transactional_template_is_none_itself(client: httpx.AsyncClient) -> None:
    assert (await ask(client, SEND, template="receipt"))["email"]["category"] == "test"
