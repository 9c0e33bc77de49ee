"""What Resend says about addresses rather than emails: its suppression list, and its contacts who unsubscribed.

Each goes into the consent ledger. Our word is not undone by it: only what a provider may know is lifted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.addresses import BadAddress, checked_address
from hogsend.clock import Clock
from hogsend.consent import suppression
from hogsend.consent.ledger import ALL, MANUAL, record_words, words_about
from hogsend.consent.people import lock_reader

SOURCE = "resend"
_ORIGINS: Mapping[str, suppression.Type] = {"complaint": "complaint", "manual": "manual"}


async def hear_resend(conn: AsyncConnection, clock: Clock, type: str, data: Mapping[str, Any]) -> bool:
    """Take in one webhook that speaks about addresses; false where this one does not, or says nothing new.

    Takes locks of addresses and contacts: call it where no row is held but the webhook's own.
    """
    heard = False
    for address in sorted(_addresses(data)):
        match type:
            case "suppression.added" | "email.suppressed":
                told = await suppression.suppress(conn, clock, address, _origin(data), source=SOURCE)
            case "suppression.removed":
                told = await _lift(conn, clock, address)
            case "contact.updated" | "contact.created" if _is_yes(data.get("unsubscribed")):
                told = await _opt_out(conn, clock, address)
            case _:
                return False
        heard = told or heard
    return heard


def _is_yes(value: object) -> bool:
    """An opt-out, however it is written: better heard once too often than lost."""
    return str(value).strip().lower() in ("true", "1", "yes")


async def _lift(conn: AsyncConnection, clock: Clock, address: str) -> bool:
    """What bounced or was complained about there; what an operator of ours suppressed stays."""
    types: set[suppression.Type] = {"bounce", "complaint"}
    said = (await words_about(conn, address)).get(MANUAL)
    if said is not None and said.source == SOURCE:
        types.add("manual")
    return await suppression.lift(conn, clock, address, source=SOURCE, types=sorted(types))


async def _opt_out(conn: AsyncConnection, clock: Clock, address: str) -> bool:
    contact_id, _ = await lock_reader(conn, None, address)
    if contact_id is not None:
        return await suppression.unsubscribe(conn, clock, contact_id, source=SOURCE)
    return bool(await record_words(conn, clock.now(), address, {ALL: False}, source=SOURCE))


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
