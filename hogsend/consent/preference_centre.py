"""Preference centre: what a reader sees and changes of their own preferences, by the signed link in an email.

A link speaks for the address that the email went to. A refusal holds for whom it was written to as well, whatever
address they have now; an agreement holds for the address alone, and for its contact while that has it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.addresses import delivery_address
from hogsend.consent import suppression
from hogsend.consent.ledger import (
    ALL,
    CATEGORY,
    SUPPRESSIONS,
    Words,
    category_scope,
    last_word,
    of_email,
    one_spelling,
    record_words,
    words_about,
)
from hogsend.consent.people import lock_reader, owner_of
from hogsend.consent.tokens import ReaderToken
from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contact_preferences


@dataclass(frozen=True)
class Choices:
    """What a reader has chosen, also by category. `suppressed`: we stopped, whatever they chose."""

    unsubscribed_all: bool
    suppressed: bool
    categories: Mapping[str, bool]


async def choices(runtime: Runtime, token: ReaderToken) -> Choices:
    """What holds for the reader of an email, in a transaction of its own."""
    async with runtime.database.read() as conn:
        words = await words_about(conn, token.email)
        owner = await owner_of(conn, delivery_address(token.email))
        said = (
            await conn.execute(select(contact_preferences).where(contact_preferences.c.contact_id == owner))
        ).one_or_none()
    refused = {scope for scope, word in words.items() if not word.allowed}
    answers = dict(said.categories) if said is not None else {}
    spoken_of = {scope.removeprefix(CATEGORY) for scope in words if scope.startswith(CATEGORY)}
    names = one_spelling([*runtime.templates.categories(), *sorted({*answers, *spoken_of})])
    names.pop(suppression.TRANSACTIONAL, None)
    return Choices(
        unsubscribed_all=ALL in refused or bool(said and said.unsubscribed_all),
        suppressed=bool(refused & SUPPRESSIONS.keys()) or bool(said and said.suppressed),
        categories={
            name: all(answers.get(each, True) for each in names[name]) and _is_allowed(words, name)
            for name in sorted(names)
        },
    )


def _is_allowed(words: Words, category: str) -> bool:
    word = last_word(words, category_scope(category))
    return word is None or word.allowed


async def unsubscribe(runtime: Runtime, token: ReaderToken, *, category: str | None, source: str) -> None:
    """Write no more to the reader of an email: about `category`, or at all. In a transaction of its own."""
    async with runtime.database.transaction() as conn:
        await _say(
            conn,
            runtime,
            token,
            unsubscribed_all=True if category is None else None,
            categories={} if category is None else {category: False},
            source=source,
        )


async def choose(
    runtime: Runtime, token: ReaderToken, *, known: Iterable[str], wanted: Collection[str], resubscribe: bool
) -> None:
    """Save the preference centre: `known` are the categories that it showed, `wanted` those that were ticked."""
    async with runtime.database.transaction() as conn:
        await _say(
            conn,
            runtime,
            token,
            unsubscribed_all=False if resubscribe else None,
            categories={
                name: all(each in wanted for each in spellings)
                for name, spellings in one_spelling(known).items()
            },
            source="preference-centre",
        )


async def _say(
    conn: AsyncConnection,
    runtime: Runtime,
    token: ReaderToken,
    *,
    unsubscribed_all: bool | None,
    categories: Mapping[str, bool],
    source: str,
) -> None:
    """Keep what a reader said: with the contact whom the link was written to, and about the address in any case."""
    address = delivery_address(token.email)
    contact_id, own = await lock_reader(conn, token.contact_id, address)
    if contact_id is not None:
        others = own != address
        await suppression.change_preferences(
            conn,
            runtime.clock,
            contact_id,
            unsubscribed_all=None if others and not unsubscribed_all else unsubscribed_all,
            categories={name: wanted for name, wanted in categories.items() if not (others and wanted)},
            source=source,
            email_id=token.email_id,
        )
    now = runtime.clock.now()
    said = suppression.spoken(unsubscribed_all, categories)
    evidence = of_email(token.email_id)
    new = await record_words(conn, now, token.email, said, source=source, evidence=evidence)
    for scope, allowed in new.items():
        await record_decision(
            conn,
            now,
            NewDecision(
                kind=DecisionKind.PREFERENCE,
                reason=Reason.RESUBSCRIBED if allowed else Reason.UNSUBSCRIBED,
                contact_id=None,
                email_id=token.email_id,
                detail={"scope": scope.removeprefix(CATEGORY), "source": source, "address": token.email},
            ),
        )
