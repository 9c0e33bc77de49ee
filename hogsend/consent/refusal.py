"""Refusal of a send: whether somebody may be written to at an address, by what was said about it and by its contact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.consent.ledger import Word, refusing, same_category, words_about
from hogsend.consent.people import owner_of, survivor_of
from hogsend.consent.suppression import TRANSACTIONAL, TYPES
from hogsend.decisions.reasons import Reason
from hogsend.tables.contacts import contact_preferences


@dataclass(frozen=True)
class SendRefusal:
    """Why nothing is sent. `word`: the row of the ledger that says so; None where only the contact's own row does."""

    reason: Reason
    word: Word | None = None

    def detail(self) -> dict[str, Any]:
        """What the decision says of it."""
        return {} if self.word is None else {"consent": self.word.to_json()}


async def refusal(
    conn: AsyncConnection, *, contact_id: UUID | None, email: str, category: str | None
) -> SendRefusal | None:
    """Why this person must not get an email of this category at this address; None where nothing forbids it.

    What was said about the address counts, whoever holds it, and what the contact itself refused. Transactional email
    is sent to those who unsubscribed; never to an address that bounced or complained. Reads what is committed:
    whoever needs the answer to hold until a commit has the lock of the address (`address_lock`).
    """
    holder = await survivor_of(conn, contact_id) if contact_id is not None else await owner_of(conn, email)
    if contact_id is not None and holder is None:
        return SendRefusal(Reason.CONTACT_DELETED)
    transactional = category == TRANSACTIONAL
    words = await words_about(conn, email)
    found = refusing(words, category, transactional=transactional)
    if found is not None and found[1].scope in TYPES:
        return SendRefusal(*found)
    own = None if holder is None else await _own_refusal(conn, holder, category, transactional=transactional)
    if own is Reason.SUPPRESSED_BY_OPERATOR or found is None:
        return None if own is None else SendRefusal(own)
    if own is Reason.UNSUBSCRIBED_FROM_ALL and found[0] is not own:
        return SendRefusal(own)
    return SendRefusal(*found)


async def _own_refusal(
    conn: AsyncConnection, contact_id: UUID, category: str | None, *, transactional: bool
) -> Reason | None:
    """What the contact's own preferences forbid."""
    about = select(contact_preferences).where(contact_preferences.c.contact_id == contact_id)
    said = (await conn.execute(about)).one_or_none()
    if said is None:
        return None
    if said.suppressed:
        return Reason.SUPPRESSED_BY_OPERATOR
    if transactional:
        return None
    if said.unsubscribed_all:
        return Reason.UNSUBSCRIBED_FROM_ALL
    if category is not None and any(
        wanted is False and same_category(name, category) for name, wanted in said.categories.items()
    ):
        return Reason.UNSUBSCRIBED_FROM_CATEGORY
    return None
