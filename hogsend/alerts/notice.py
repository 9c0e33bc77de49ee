"""Notices of alerts: what a channel is told of a firing or a resolution, in words, as JSON, and where to look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import orjson

from hogsend.alerts.rule_types import of_type
from hogsend.clock import instant_text

Change = Literal["fired", "resolved"]

# Why an alert is over where it did not clear by itself.
ENDED = {
    "rule_changed": "The rule watches something else now.",
    "rule_disabled": "The rule was disabled.",
    "rule_deleted": "The rule was deleted.",
}


@dataclass(frozen=True)
class Notice:
    """What is told. `current_value` is None where there was nothing to measure; `at` and `since` are product time.

    `id` names this telling: it is a webhook's `webhook-id`, and an email provider takes the same one once. `since` is
    where the measured window began. `resolution` says why it is over, where the change is `resolved`.
    """

    id: UUID
    rule_id: UUID
    rule_name: str
    type: str
    current_value: float | None
    threshold: float
    at: datetime
    test: bool = False
    change: Change = "fired"
    alert_id: UUID | None = None
    since: datetime | None = None
    resolution: str | None = None

    @property
    def headline(self) -> str:
        word = "Test of" if self.test else "Alert" if self.change == "fired" else "Resolved"
        return " ".join(f"{word}: {self.rule_name}".split())

    @property
    def sentence(self) -> str:
        if self.resolution in ENDED:
            return ENDED[self.resolution]
        if self.current_value is None:
            return "There is nothing to measure any more." if self.change == "resolved" else _NOTHING
        return of_type(self.type).sentence(self.current_value, self.threshold)

    @property
    def query(self) -> dict[str, Any]:
        """What to look at: a GraphQL query as it is posted, its variables filled in."""
        return look_at(self.type, self.since or self.at)

    def link(self, base_url: str) -> str:
        """GraphiQL with that query in it. Behind the `#`, so that no server on the way keeps it."""
        query = self.query
        variables = orjson.dumps(query["variables"]).decode()
        return f"{base_url}/graphql#{urlencode({'query': query['query'], 'variables': variables})}"

    def to_json(self, base_url: str) -> dict[str, Any]:
        """The body of a webhook."""
        return {
            "id": str(self.id),
            "event": "alert.test" if self.test else f"alert.{self.change}",
            "alertId": None if self.alert_id is None else str(self.alert_id),
            "ruleId": str(self.rule_id),
            "ruleName": self.rule_name,
            "type": self.type,
            "currentValue": self.current_value,
            "threshold": self.threshold,
            "at": instant_text(self.at),
            "resolution": self.resolution,
            "test": self.test,
            "message": self.sentence,
            "lookAt": self.query,
            "link": self.link(base_url),
        }


_NOTHING = "There is nothing to measure yet."


def look_at(word: str, since: datetime) -> dict[str, Any]:
    """The query for an alert of this type whose window began at `since`: `{query, variables}`."""
    document = of_type(word).document
    variables = {"from": instant_text(since)} if "$from" in document else {}
    return {"query": document, "variables": variables}
