"""What a route does not know is refused by its name, in our own words."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hogsend.rest import admin
from hogsend.rest.data_plane import routes as data_plane
from hogsend.rest.openapi import document
from hogsend.rest.table import BASE

ADMIN = "/v1/admin"
NOBODY = "00000000-0000-4000-8000-000000000000"
RULE = {"name": "x", "type": "dlq_growth", "threshold": 1, "channel": "email"}
LONG = "n" * 5_000

MISSPELT: list[tuple[str, str, Any, str, str]] = [
    ("POST", "/v1/events", {"name": "a", "userId": "u", "properties": {}}, "properties", "eventProperties"),
    ("POST", "/v1/events", {"name": "a", "userid": "u"}, "userid", "did you mean userId?"),
    ("PUT", "/v1/contacts", {"userId": "u", "propertys": {}}, "propertys", "did you mean properties?"),
    ("DELETE", "/v1/contacts", {"userId": "u", "id": "x"}, "id", "email, userId"),
    ("POST", "/v1/emails", {"template": "welcome", "to": "a@example.com", "form": "x"}, "form", "from"),
    ("POST", f"{ADMIN}/contacts", {"externalId": "u", "emial": "a@example.com"}, "emial", "email"),
    ("POST", f"{ADMIN}/alerts/rules", {**RULE, "treshold": 2}, "treshold", "did you mean threshold?"),
    ("PATCH", f"{ADMIN}/alerts/rules/{NOBODY}", {"treshold": 2}, "treshold", "did you mean threshold?"),
    ("POST", f"{ADMIN}/events/replay", {"filter": {"form": "x"}}, "filter.form", "from"),
    (
        "POST",
        f"{ADMIN}/journeys/welcome/enroll/batch",
        {"users": [{"userId": "u", "userEmail": "a@example.com", "usrId": "u"}]},
        "users.0.usrId",
        "users.0 takes userId, userEmail, properties; did you mean userId?",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "field", "says"), MISSPELT)
async def test_a_field_that_nobody_knows_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: Any, field: str, says: str
) -> None:
    answer = await client.request(method, path, json=body)
    assert answer.status_code == 400
    (wrong,) = [one for one in answer.json()["details"] if one["path"] == field]
    assert wrong["message"].startswith(f"{field} is not known: ")
    assert says in wrong["message"]
    assert (await client.get(f"{ADMIN}/events")).json()["total"] == 0


def paths() -> list[tuple[str, str]]:
    known = [(route.method, BASE + route.path) for route in admin.ROUTES]
    known += [(route.method, route.path) for route in data_plane.ROUTES]
    return [*known, ("GET", f"{ADMIN}/contacts/export")]


@pytest.mark.parametrize(("method", "path"), paths())
async def test_every_route_refuses_a_parameter_that_it_does_not_take(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    for name in ("id", "stateId", "jobId"):
        path = path.replace(f"{{{name}}}", NOBODY)
    answer = await client.request(method, f"{path}?ofset=3")
    assert (answer.status_code, answer.json()["details"][0]["path"]) == (400, "ofset"), answer.text


async def test_a_query_hears_what_is_taken_and_that_once_is_enough(client: httpx.AsyncClient) -> None:
    answer = (await client.get(f"{ADMIN}/contacts?ofset=3")).json()
    assert (
        answer["error"] == "ofset is not known: the query takes search, limit, offset; did you mean offset?"
    )
    twice = (await client.get(f"{ADMIN}/contacts?limit=1&limit=2")).json()
    assert twice["error"] == "limit must be given once"
    assert (await client.get(f"{ADMIN}/alerts/rules?a=1")).json()[
        "error"
    ] == "a is not known: the query takes none"


async def test_a_thousand_wrong_names_are_told_in_twenty_short_sentences(client: httpx.AsyncClient) -> None:
    body = {f"{LONG}{number}": 1 for number in range(100)}
    for answer in (
        await client.post("/v1/events", json=body),
        await client.get(f"{ADMIN}/contacts", params={f"x{number}": "1" for number in range(100)}),
    ):
        assert answer.status_code == 400
        assert len(answer.json()["details"]) == 20
        assert len(answer.content) < 10_000


def test_openapi_says_so() -> None:
    made = document()
    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        for path in made["paths"].values()
        for operation in path.values()
        if "requestBody" in operation
    }
    assert len(bodies) > 10
    assert all(made["components"]["schemas"][name]["additionalProperties"] is False for name in bodies)


PERSON = {"userId": "u", "userEmail": "a@example.com"}
BATCH = f"{ADMIN}/journeys/welcome/enroll/batch"


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        (
            "POST",
            "/v1/events",
            b'"\xff"',
            "The body must be valid JSON in UTF-8; it is not at line 1, column 1",
        ),
        (
            "POST",
            "/v1/events",
            b'{"name": ',
            "The body must be valid JSON in UTF-8; it is not at line 1, column 10",
        ),
        ("POST", "/v1/events", b'{"name": "a", "name\\ud800": 1}', "The body must be valid JSON in UTF-8"),
        ("POST", BATCH, {"users": [PERSON] * 501}, "users must have at most 500 entries"),
        ("POST", BATCH, {"users": []}, "users must not be empty"),
        ("POST", BATCH, {"users": [5]}, "users.0 must be an object"),
        ("POST", BATCH, {"users": {}}, "users must be an array"),
        ("POST", "/v1/events", {"name": "", "userId": "u"}, "name must not be empty"),
        ("POST", "/v1/events", {"name": "n" * 201, "userId": "u"}, "name must have at most 200 characters"),
        ("POST", "/v1/events", {"name": "a", "userId": 5}, "userId must be a string"),
        ("POST", "/v1/events", {"name": "a", "timestamp": "x"}, "timestamp must be an ISO 8601 instant"),
        ("POST", f"{ADMIN}/events/replay", {"limit": 0}, "limit must be 1 or more"),
        ("POST", f"{ADMIN}/events/replay", {"limit": 1001}, "limit must be 1000 or less"),
        ("POST", f"{ADMIN}/events/replay", {"limit": 1.5}, "limit must be an integer"),
        ("PATCH", f"{ADMIN}/journeys/welcome", {"enabled": "yes"}, "enabled must be true or false"),
        (
            "POST",
            f"{ADMIN}/alerts/rules",
            {**RULE, "cooldownMinutes": 1e9},
            "cooldownMinutes must be an integer",
        ),
    ],
)
async def test_the_words_are_ours(
    client: httpx.AsyncClient, method: str, path: str, body: Any, says: str
) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = await client.request(method, path, **content)
    assert answer.status_code == 400
    assert any(one["message"].startswith(says) for one in answer.json()["details"]), answer.text
