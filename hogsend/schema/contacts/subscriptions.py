"""Live timelines of contacts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping

from hogsend.access.caller import Scope
from hogsend.decisions.reasons import Kind
from hogsend.errors import InvalidInput, NotFound
from hogsend.graphql import ids
from hogsend.graphql.context import LONGEST_PAGE, Context, Info
from hogsend.graphql.errors import Code, problem
from hogsend.graphql.fields import described, subscription
from hogsend.graphql.live import After, entries
from hogsend.graphql.node import by_key
from hogsend.realtime.streams import ActivityFilter
from hogsend.schema.contacts.collections import TIMELINE
from hogsend.schema.contacts.timeline import TimelineEntry, TimelineKind
from hogsend.schema.contacts.types import ContactBy, find_contact
from hogsend.schema.decisions.types import Decision
from hogsend.storage.collections import PageRange, page_statement
from hogsend.storage.cursors import Cursor
from hogsend.tables.realtime import TIMELINE_KINDS, ActivityKind, activity


@strawberry.type
class ContactSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live timeline of one contact: the entries behind `after`, oldest first, then each new one. "
        "Reconnect with the last entry's `cursor`: nothing is missed and nothing comes twice.",
    )
    async def contact_timeline(
        self,
        info: Info,
        by: Annotated[ContactBy, described("The contact.")],
        after: After = None,
        types: Annotated[list[TimelineKind] | None, described("Only entries of these kinds.")] = None,
    ) -> AsyncIterator[TimelineEntry]:
        contact = await find_contact(info.context, by)
        if contact is None:
            raise NotFound("Contact")
        kinds = TIMELINE_KINDS if types is None else tuple(kind.value for kind in types)
        # Decisions are always read: what a merge has brought comes with its own.
        wanted = ActivityFilter(kinds={*kinds, ActivityKind.DECISION}, contact_id=contact["id"])
        begin, told = _split(after)
        async for entry in entries(info.context, wanted, begin):
            if entry.merged_from is not None:
                continue
            if (entry.kind, entry.type) == (ActivityKind.DECISION, Kind.MERGED):
                async for brought in _brought(info.context, contact["id"], entry.ref_id, kinds, told):
                    yield brought
                told = None
            if entry.kind in kinds:
                yield TimelineEntry.live(entry)


def _split(after: str | None) -> tuple[str | None, int | None]:
    """The cursor, and how far into what the next merge has brought: `<cursor>.<seq>`. Raises `InvalidInput`."""
    if after is None:
        return None, None
    cursor, amid, seq = after.partition(".")
    if amid and not (seq.isascii() and seq.isdecimal() and len(seq) < 19):
        raise InvalidInput("after", "after must be a cursor that this stream gave out", code="INVALID_CURSOR")
    return cursor, int(seq) if amid else None


async def _brought(
    context: Context, contact_id: UUID, merge_id: UUID, kinds: Sequence[str], told: int | None
) -> AsyncIterator[TimelineEntry]:
    """What the contact of a merge has brought with it, oldest first, behind the one that was `told` last.

    Their cursors are the one from before the merge and how many were told. Raises NOT_FOUND where the contact that is
    followed was itself merged into another.
    """
    merge = await by_key(context, Decision, merge_id)
    if merge is None:
        return
    if merge.contact_id != contact_id:
        into = None if merge.contact_id is None else ids.encode("contact", merge.contact_id)
        raise problem(
            "Contact was merged into another: read the timeline of that one, and follow it",
            Code.NOT_FOUND,
            mergedInto=into,
        )
    before, behind = context.taken, context.position
    given = before
    async for row in _moved(context, contact_id, UUID(merge.detail["mergedContactId"]), kinds, told):
        entry = TimelineEntry.of(row)
        entry.cursor = f"{before}.{row['seq']}"
        context.taken, context.position = given, entry.cursor
        given = entry.cursor
        yield entry
    context.taken, context.position = given, behind


async def _moved(
    context: Context, contact_id: UUID, merged: UUID, kinds: Sequence[str], told: int | None
) -> AsyncIterator[RowMapping]:
    """Rows of the timeline that were another contact's before, in the order of their writing, a page at a time."""
    rows = TIMELINE.under(activity.c.contact_id, contact_id).filtered(kinds=kinds, merged_from=merged)
    rows = rows.sorted("recorded", descending=False)
    while True:
        after = None if told is None else Cursor(rows.order, told, told)
        page = await context.rows(page_statement(rows, PageRange(LONGEST_PAGE, after=after), [contact_id]))
        for row in page[:LONGEST_PAGE]:
            told = row["seq"]
            yield row
        if len(page) <= LONGEST_PAGE:
            return
