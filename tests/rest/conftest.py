"""Ask REST, and make somebody to ask about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from tests.driving import drive

Get = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def get(client: httpx.AsyncClient) -> Get:
    """GET below /v1/admin and return the body; anything but 200 fails the test."""

    async def run(path: str, **params: Any) -> dict[str, Any]:
        response = await client.get(f"/v1/admin{path}", params=params)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    return run


@pytest.fixture
async def ada(client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock) -> str:
    """Ada signed up, was welcomed, and sleeps in `activation-welcome`. Her contact's UUID."""
    response = await client.post(
        "/v1/events",
        json={
            "name": "user.signed_up",
            "userId": "ada",
            "email": "ada@example.com",
            "eventProperties": {"plan": "pro"},
            "contactProperties": {"first_name": "Ada"},
        },
    )
    assert response.status_code == 202, response.text
    await drive(runtime)
    found = await client.get("/v1/admin/contacts/ada")
    uuid: str = found.json()["contact"]["id"]
    return uuid
