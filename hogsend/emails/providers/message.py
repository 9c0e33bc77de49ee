"""The message for the wire: one email, rendered and frozen, the same bytes each time it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson


@dataclass(frozen=True)
class Message:
    """One email to one address. `tags` come back in the provider's webhooks; `headers` are extra ones."""

    to: str
    from_email: str
    subject: str
    html: str
    text: str
    reply_to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The frozen form. Keys are in one order, whatever order a database gave them back in."""
        return {
            "to": self.to,
            "from_email": self.from_email,
            "subject": self.subject,
            "html": self.html,
            "text": self.text,
            "reply_to": self.reply_to,
            "headers": dict(sorted(self.headers.items())),
            "tags": dict(sorted(self.tags.items())),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Message:
        """The message that `to_json` froze."""
        return cls(
            to=value["to"],
            from_email=value["from_email"],
            subject=value["subject"],
            html=value["html"],
            text=value["text"],
            reply_to=value["reply_to"],
            headers=dict(sorted(value["headers"].items())),
            tags=dict(sorted(value["tags"].items())),
        )

    def fingerprint(self) -> str:
        """A hash that differs where anything in the message does."""
        return sha256(orjson.dumps(self.to_json(), option=orjson.OPT_SORT_KEYS)).hexdigest()
