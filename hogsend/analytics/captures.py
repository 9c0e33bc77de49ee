"""PostHog captures, delivered aside from everything else: while PostHog is slow or down, nothing waits for it.

Ingestion writes one outbox row for each event. They are claimed in batches, handed to PostHog's SDK in a thread, and
marked once it took them: at least once, and once as PostHog counts, because an event keeps its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, exists, select, update

from hogsend.analytics.person import distinct_id, event_properties
from hogsend.backoff import backoff
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contacts
from hogsend.tables.engine import CAPTURED_ASIDE, outbox
from hogsend.tables.events import user_events

if TYPE_CHECKING:
    from posthog import Posthog

log = structlog.get_logger(__name__)

BATCH = 100
LEASE = timedelta(seconds=60)
TIMEOUT_SECONDS = 5.0
LONGEST_BACKOFF = timedelta(minutes=5)
KEPT = timedelta(days=3)

_rows = outbox.c
_events = user_events.c
_contacts = contacts.c

# A key that is wrong, or too many requests, say nothing about the events that were in the request.
_NOT_ABOUT_EVENTS = frozenset({401, 403, 404, 408, 429})


class CapturesRefused(Exception):
    """PostHog will not take what was in this request, however often it is tried."""


class PostHogUnavailable(Exception):
    """PostHog did not answer, or not now."""


class Captures:
    """This process's way to PostHog: one batch at a time, in the background."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._client: Posthog | None = None
        self._errors: list[Exception] = []
        self._failures = 0
        self._again_at: datetime | None = None
        self._draining: asyncio.Task[None] | None = None

    def kick(self) -> None:
        """Begin to deliver what waits, unless that is under way; returns at once."""
        wall = self._runtime.clock.wall()
        if self._again_at is not None and wall < self._again_at:
            return
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())

    async def deliver_batch(self) -> int:
        """Claim one batch and hand it over. How many rows it had; raises `PostHogUnavailable` while PostHog is.

        A row that PostHog refused goes alone the next time, and is given up when it is refused then.
        """
        rows = await self._claim()
        if not rows:
            return 0
        events = await self._events(rows)
        try:
            if events:
                await asyncio.to_thread(self._hand_over, events)
        except CapturesRefused as error:
            await self._refused(rows, str(error))
        except PostHogUnavailable as error:
            self._failures += 1
            pause = backoff(self._failures + 1, longest=LONGEST_BACKOFF)
            self._again_at = self._runtime.clock.wall() + pause
            await self._mark(rows, available_at=self._runtime.clock.wall(), error=str(error))
            raise
        else:
            self._failures, self._again_at = 0, None
            await self._mark(rows, published_at=self._runtime.clock.wall(), error=None)
        return len(rows)

    async def close(self) -> None:
        """Stop; what is under way is claimed again by whoever comes next."""
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)
        if self._client is not None:
            await asyncio.to_thread(self._client.shutdown)

    async def _drain(self) -> None:
        try:
            while await self.deliver_batch():
                pass
        except PostHogUnavailable as error:
            log.warning("posthog_unavailable", error=str(error), failures=self._failures)
        except Exception:
            log.exception("captures_failed")

    async def _claim(self) -> Sequence[RowMapping]:
        """The next rows, out of everybody's reach for a minute: no lock is held while PostHog is asked."""
        wall = self._runtime.clock.wall()
        async with self._runtime.database.transaction() as conn:
            query = (
                select(_rows.id, _rows.payload, _rows.attempts)
                .where(CAPTURED_ASIDE, _rows.available_at <= wall)
                .order_by(_rows.available_at, _rows.id)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
            found = (await conn.execute(query)).mappings().all()
            alone = bool(found) and found[0]["attempts"] > 0
            rows = found[:1] if alone else [row for row in found if row["attempts"] == 0]
            ids = [row["id"] for row in rows]
            await conn.execute(update(outbox).where(_rows.id.in_(ids)).values(available_at=wall + LEASE))
        return rows

    async def _events(self, rows: Sequence[RowMapping]) -> list[dict[str, Any]]:
        """What the SDK's `capture` takes, for each row whose event is still there."""
        query = (
            select(user_events, _contacts.external_id, _contacts.anonymous_id, _contacts.email)
            .join(contacts, _contacts.id == _events.contact_id)
            .where(_events.id.in_([UUID(row["payload"]["event_id"]) for row in rows]))
            .order_by(_events.seq)
        )
        async with self._runtime.database.read() as conn:
            return [_captured(row) for row in (await conn.execute(query)).mappings()]

    def _hand_over(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Runs in a thread. Returns once PostHog took all of them."""
        if self._client is None:
            self._client = self._open()
        self._errors.clear()
        for event in events:
            self._client.capture(event["event"], **{key: event[key] for key in event if key != "event"})
        self._client.flush(timeout_seconds=None)
        for error in self._errors:
            status = getattr(error, "status", None)
            if isinstance(status, int) and 400 <= status < 500 and status not in _NOT_ABOUT_EVENTS:
                raise CapturesRefused(f"PostHog answered {status}")
            raise PostHogUnavailable(f"PostHog answered {status}" if status else type(error).__name__)

    def _open(self) -> Posthog:
        from posthog import Posthog

        key = self._runtime.settings.posthog_api_key
        assert key is not None, "captures are delivered where POSTHOG_API_KEY is set"
        return Posthog(
            key.get_secret_value(),
            host=self._runtime.settings.posthog_host,
            on_error=lambda error, _batch: self._errors.append(error),
            flush_at=BATCH,
            max_retries=0,
            timeout=TIMEOUT_SECONDS,
        )

    async def _refused(self, rows: Sequence[RowMapping], error: str) -> None:
        wall = self._runtime.clock.wall()
        if len(rows) > 1:
            await self._mark(rows, available_at=wall, attempts=1, error=error)
            return
        log.warning("capture_given_up", event_id=rows[0]["payload"]["event_id"], error=error)
        await self._mark(rows, published_at=wall, error=error)

    async def _mark(self, rows: Sequence[RowMapping], **values: Any) -> None:
        async with self._runtime.database.transaction() as conn:
            ids = [row["id"] for row in rows]
            await conn.execute(update(outbox).where(_rows.id.in_(ids)).values(**values))


def _captured(row: RowMapping) -> dict[str, Any]:
    return {
        "event": row["name"],
        "distinct_id": distinct_id(row),
        "properties": event_properties(row),
        "timestamp": row["occurred_at"],
        "uuid": str(row["id"]),
    }


async def captures_wait(runtime: Runtime) -> bool:
    """Whether a row waits for PostHog now, or waited too long; one read."""
    waits = exists().where(CAPTURED_ASIDE, _rows.available_at <= runtime.clock.wall())
    async with runtime.database.each_alone() as conn:
        return bool((await conn.execute(select(waits))).scalar_one())


async def capture_waiting(runtime: Runtime) -> None:
    """A cron: see that what waits for PostHog is on its way, and give up what waited for three days."""
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        dropped = await conn.execute(
            update(outbox)
            .where(CAPTURED_ASIDE, _rows.created_at < wall - KEPT)
            .values(published_at=wall, error="PostHog could not be told within three days")
        )
    if dropped.rowcount:
        log.warning("captures_given_up", rows=dropped.rowcount)
    if runtime.settings.posthog_api_key is not None:
        runtime.part(Captures).kick()
