"""Email provider of development: messages go to a table, and `/dev/inbox` shows them."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.emails.providers.errors import OutcomeUnknown, ProviderRefused
from hogsend.emails.providers.message import Message
from hogsend.storage.database import Database
from hogsend.storage.metadata import new_id
from hogsend.tables.emails import inbox_messages, provider_events


class InboxProvider:
    """Stands for the outside world: it keeps keys as Resend does, and reports deliveries as Resend would.

    Addresses that begin with `bounce` reject what is sent to them, those that begin with `complain` report it
    as spam, so that both can be watched.
    """

    name = "inbox"

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        """Deliver into the inbox; returns the id of its row. Raises as `EmailProvider.send` says."""
        try:
            async with self._database.transaction() as conn:
                row_id, taken = await self._take(conn, message, idempotency_key)
                if taken:
                    await self._report(conn, message, str(row_id))
        except (DBAPIError, OSError) as error:
            raise OutcomeUnknown(f"The inbox's database was lost ({type(error).__name__})") from error
        return str(row_id)

    async def _take(self, conn: AsyncConnection, message: Message, key: str) -> tuple[UUID, bool]:
        """The row of this key, and whether it is new."""
        fingerprint = message.fingerprint()
        written = await conn.execute(
            insert(inbox_messages)
            .values(
                id=new_id(),
                idempotency_key=key,
                payload_hash=fingerprint,
                to_email=message.to,
                from_email=message.from_email,
                subject=message.subject,
                message=message.to_json(),
                received_at=self._clock.now(),
            )
            .on_conflict_do_nothing(index_elements=["idempotency_key"])
            .returning(inbox_messages.c.id)
        )
        new = written.scalar_one_or_none()
        if new is not None:
            return new, True
        before = (
            await conn.execute(
                select(inbox_messages.c.id, inbox_messages.c.payload_hash).where(
                    inbox_messages.c.idempotency_key == key
                )
            )
        ).one()
        if before.payload_hash != fingerprint:
            raise ProviderRefused("409 invalid_idempotent_request: this key was used for another message")
        return before.id, False

    async def _report(self, conn: AsyncConnection, message: Message, message_id: str) -> None:
        """Leave the delivery events that a real provider would send; they are settled after our own `sent`."""
        at = self._clock.now()
        for fact in _what_becomes_of(message.to):
            detail = "hard: no such mailbox" if fact == "bounced" else None
            await conn.execute(
                insert(provider_events).values(
                    id=f"inbox:{uuid5(NAMESPACE_URL, f'{message_id}/{fact}')}",
                    provider=self.name,
                    type=fact,
                    message_id=message_id,
                    payload={"fact": {"type": fact, "at": at.isoformat(), "detail": detail, "hard": True}},
                    received_at=at,
                )
            )

    async def close(self) -> None:
        """The database is the process's, and is closed with it."""


def _what_becomes_of(address: str) -> tuple[str, ...]:
    if address.startswith("bounce"):
        return ("bounced",)
    if address.startswith("complain"):
        return ("delivered", "complained")
    return ("delivered",)
