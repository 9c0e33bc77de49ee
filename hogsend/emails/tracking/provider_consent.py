"""What Resend says about addresses rather than emails: its suppression list, and its contacts who unsubscribed.

Each goes into the consent ledger, as of when Resend heard it: webhooks come late, and in any order. Our word is not
undone by it, nor a reader's: only what a provider may know is lifted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.addresses import BadAddress, checked_address
from hogsend.clock import Clock
from hogsend.consent import suppression
from hogsend.consent.ledger import ALL, last_word, record_words, refusers_of, words_about
from hogsend.consent.people import lock_reader

SOURCE = "resend"
_ORIGINS: Mapping[str, suppression.Type] = {"complaint": "complaint", "manual": "manual"}


async def hear_resend(
    conn: AsyncConnection, clock: Clock, type: str, data: Mapping[str, Any], said_at: datetime | None
) -> bool:
    """Take in one webhook that speaks about addresses; false where this one does not, or says nothing new.

    `said_at` is a product time, not later than now; None where the webhook does not say, which is taken for now.
    Takes locks of addresses and contacts: call it where no row is held but the webhook's own.
    """
    heard = False
    for address in sorted(_addresses(data)):
        match type:
            case "suppression.added" | "email.suppressed":
                told = await suppression.suppress(
                    conn, clock, address, _origin(data), source=SOURCE, said_at=said_at
                )
            case "suppression.removed":
                told = await _lift(conn, clock, address, said_at)
            case "contact.updated" | "contact.created" if _is_yes(data.get("unsubscribed")):
                told = await _opt_out(conn, clock, address, said_at)
            case _:
                return False
        heard = told or heard
    return heard


def _is_yes(value: object) -> bool:
    """An opt-out, however it is written: better heard once too often than lost."""
    return str(value).strip().lower() in ("true", "1", "yes")


async def _lift(conn: AsyncConnection, clock: Clock, address: str, said_at: datetime | None) -> bool:
    """What bounced there, and what Resend's list alone says. A reader's complaint, and an operator's word, stay."""
    await lock_reader(conn, None, address)
    refusers = await refusers_of(conn, address)
    own = [scope for scope in suppression.TYPES if refusers.get(scope) == {SOURCE}]
    types: set[suppression.Type] = {"bounce", *own}
    return await suppression.lift(conn, clock, address, source=SOURCE, types=sorted(types), said_at=said_at)


async def _opt_out(conn: AsyncConnection, clock: Clock, address: str, said_at: datetime | None) -> bool:
    contact_id, _ = await lock_reader(conn, None, address)
    word = last_word(await words_about(conn, address), ALL)
    if said_at is not None and word is not None and word.allowed and word.at > said_at:
        return False
    if contact_id is not None:
        return await suppression.unsubscribe(conn, clock, contact_id, source=SOURCE, said_at=said_at)
    at, reported = said_at or clock.now(), said_at is not None
    return bool(await record_words(conn, at, address, {ALL: False}, source=SOURCE, reported=reported))


def _origin(data: Mapping[str, Any]) -> suppression.Type:
    """Why it is on the list. Resend puts an address there by itself after a hard bounce, unless it says otherwise."""
    about = data.get("suppressed")
    words = [data.get("origin"), data.get("reason")]
    words += [about.get("type"), about.get("message")] if isinstance(about, Mapping) else []
    said = " ".join(str(word).lower() for word in words if word)
    return next((_ORIGINS[word] for word in _ORIGINS if word in said), "bounce")


def _addresses(data: Mapping[str, Any]) -> set[str]:
    """The addresses that a webhook is about: `email`, or those of `to`. What is none is nobody's."""
    given = data.get("email") or data.get("to")
    found = set()
    for each in given if isinstance(given, list) else [given]:
        try:
            found.add(checked_address(each) if isinstance(each, str) else "")
        except BadAddress:
            continue
    return found - {""}
