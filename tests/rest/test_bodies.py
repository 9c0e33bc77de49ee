"""What a body says that it is."""

from __future__ import annotations

import httpx
import pytest

EVENT = '{"name": "seen", "userId": "ada"}'


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 202),
        ("application/json", 202),
        ("Application/JSON; charset=UTF-8", 202),
        ("application/json; charset=utf-16", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("application/jsonp", 415),
    ],
)
async def test_a_body_is_json_in_utf8_or_says_nothing(
    client: httpx.AsyncClient, content_type: str | None, status: int
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await client.post("/v1/events", content=EVENT.encode(), headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert answer.json() == {"error": "Content-Type must be application/json, in UTF-8"}


async def test_a_change_of_the_admin_plane_is_no_form(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/admin/contacts", data={"externalId": "ada"})
    assert answer.status_code == 415
    assert (await client.get("/v1/admin/contacts")).json()["contacts"] == []
