"""PostHog, as far as Hogsend uses it: events come in batches, people and flags are asked for."""

from __future__ import annotations

from typing import Any

from tests.standins.http import Answer, Request, StandIn


class PostHogStandIn(StandIn):
    """Keeps each captured event. `people` holds the properties of a distinct id."""

    def __init__(self) -> None:
        super().__init__()
        self.captured: list[dict[str, Any]] = []
        self.people: dict[str, dict[str, Any]] = {}

    async def answer(self, request: Request) -> Answer:
        match request.path.rstrip("/"):
            case "/batch":
                self.captured += request.json()["batch"]
                return Answer(200, {"status": 1})
            case "/capture" | "/i/v0/e" | "/e":
                self.captured.append(request.json())
                return Answer(200, {"status": 1})
            case "/decide" | "/flags":
                return Answer(200, {"featureFlags": {}, "featureFlagPayloads": {}, "flags": {}})
            case path if path.startswith("/api/projects/") and path.endswith("/persons"):
                return Answer(200, {"results": self._found(request)})
        return Answer(404, {"type": "invalid_request", "code": "not_found"})

    def _found(self, request: Request) -> list[dict[str, Any]]:
        wanted = request.query.get("distinct_id", [])
        return [
            {"distinct_ids": [each], "properties": self.people[each]}
            for each in wanted
            if each in self.people
        ]
