"""Preference centre: what a reader sees and changes of their own preferences, by the signed link in an email."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import select

from hogsend.consent import suppression
from hogsend.consent.tokens import ReaderToken
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contact_preferences
from hogsend.tables.emails import suppressions


@dataclass(frozen=True)
class Category:
    """A kind of email, and whether this reader wants it."""

    name: str
    wanted: bool


@dataclass(frozen=True)
class Choices:
    """What a reader has chosen. `suppressed`: we stopped, whatever they chose."""

    unsubscribed_all: bool
    suppressed: bool
    categories: tuple[Category, ...]


async def choices(runtime: Runtime, token: ReaderToken) -> Choices:
    """What holds for the reader of an email, in a transaction of its own."""
    async with runtime.database.read() as conn:
        contact_id = await suppression.reader_of(conn, token.contact_id, token.email)
        said = (
            await conn.execute(
                select(contact_preferences).where(contact_preferences.c.contact_id == contact_id)
            )
        ).one_or_none()
        stopped = await conn.execute(select(suppressions.c.id).where(suppressions.c.email == token.email))
        suppressed = stopped.first() is not None or bool(said and said.suppressed)
    answers = dict(said.categories) if said is not None else {}
    names = sorted({*runtime.templates.categories(), *answers} - {suppression.TRANSACTIONAL})
    return Choices(
        unsubscribed_all=bool(said and said.unsubscribed_all),
        suppressed=suppressed,
        categories=tuple(Category(name, answers.get(name, True)) for name in names),
    )


async def unsubscribe(runtime: Runtime, token: ReaderToken, *, category: str | None, source: str) -> None:
    """Write no more to the reader of an email: about `category`, or at all. In a transaction of its own.

    Where nobody holds the address, the address itself is remembered: an opt-out is never lost.
    """
    async with runtime.database.transaction() as conn:
        contact_id = await suppression.reader_of(conn, token.contact_id, token.email)
        if contact_id is None:
            await suppression.suppress(
                conn, runtime.clock, token.email, "manual", email_id=token.email_id, detail="unsubscribed"
            )
            return
        await suppression.unsubscribe(
            conn, runtime.clock, contact_id, category=category, source=source, email_id=token.email_id
        )


async def choose(
    runtime: Runtime, token: ReaderToken, *, known: Iterable[str], wanted: Collection[str], resubscribe: bool
) -> None:
    """Save the preference centre: `known` are the categories that it showed, `wanted` those that were ticked."""
    async with runtime.database.transaction() as conn:
        contact_id = await suppression.reader_of(conn, token.contact_id, token.email)
        if contact_id is None:
            return
        await suppression.change_preferences(
            conn,
            runtime.clock,
            contact_id,
            unsubscribed_all=False if resubscribe else None,
            categories={name: name in wanted for name in known},
            source="preference-centre",
            email_id=token.email_id,
        )
