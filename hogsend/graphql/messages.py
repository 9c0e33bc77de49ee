"""Messages of streams about one row each: a link to it, and the cursor behind the message."""

from __future__ import annotations

from typing import Self
from uuid import UUID

import strawberry

from hogsend.graphql.fields import attribute
from hogsend.realtime.streams import ActivityEntry


@strawberry.type
class Message:
    """Base of a message's type, which adds the link: `to_one(…, "ref_id", …)`."""

    ref_id: strawberry.Private[UUID]
    cursor: str = attribute("Position in the stream: `after` resumes exactly behind it.")

    @classmethod
    def of(cls, entry: ActivityEntry) -> Self:
        """Make one from a row of the activity log."""
        return cls(ref_id=entry.ref_id, cursor=entry.cursor.encode())
