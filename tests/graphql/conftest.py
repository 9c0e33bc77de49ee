"""Ask GraphQL questions, and make the people that they are about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest

Ask = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    """Run a document and return its data; errors fail the test."""

    async def run(document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        response = await client.post("/graphql", json={"query": document, "variables": dict(variables or {})})
        body = response.json()
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    return run


@pytest.fixture
def happen(ask: Ask) -> Ask:
    """Let an event happen through the API."""

    async def run(name: str, user_id: str, **more: Any) -> dict[str, Any]:
        given = {"name": name, "userId": user_id, "email": f"{user_id}@example.com", **more}
        answer = await ask(
            "mutation ($input: EventIngestInput!) { eventIngest(input: $input)"
            " { stored event { uuid } userErrors { message } } }",
            {"input": given},
        )
        assert answer["eventIngest"]["userErrors"] == []
        found: dict[str, Any] = answer["eventIngest"]
        return found

    return run
