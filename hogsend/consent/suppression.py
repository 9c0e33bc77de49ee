"""Suppression and preferences: how what forbids an email comes to stand, and goes. An opt-out is never lost.

Each word is kept twice: in the ledger, by the address that it is about, and with the contact that has the address.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.addresses import delivery_address
from hogsend.clock import Clock
from hogsend.consent import ledger
from hogsend.consent.ledger import of_email, record_words, words_about
from hogsend.consent.people import address_of, lock_reader, owner_of
from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_preferences
from hogsend.tables.emails import suppressions

TRANSACTIONAL = "transactional"

Type = Literal["bounce", "complaint", "manual"]
TYPES: tuple[Type, ...] = ("bounce", "complaint", "manual")

_SAID = {
    "complaint": Reason.COMPLAINED,
    "bounce": Reason.BOUNCED,
    "manual": Reason.SUPPRESSED_BY_OPERATOR,
}

_p = contact_preferences.c


async def suppress(
    conn: AsyncConnection,
    clock: Clock,
    email: str,
    type: Type,
    *,
    email_id: UUID | None = None,
    detail: str | None = None,
    source: str = "operator",
    said_at: datetime | None = None,
) -> bool:
    """Write to this address no more. False where it was suppressed for this before, or was let go after `said_at`.

    Takes the lock of the address and of whoever has it; call it before locking any row.
    """
    email = delivery_address(email)
    owner, _ = await lock_reader(conn, None, email)
    return await suppress_at(
        conn,
        said_at or clock.now(),
        email,
        type,
        contact_id=owner,
        email_id=email_id,
        detail=detail,
        source=source,
        reported=said_at is not None,
    )


async def suppress_at(
    conn: AsyncConnection,
    at: datetime,
    email: str,
    type: Type,
    *,
    contact_id: UUID | None,
    email_id: UUID | None = None,
    detail: str | None = None,
    source: str = "provider",
    reported: bool = True,
) -> bool:
    """`suppress` for who has the locks of the address and of `contact_id` already, and knows when it happened.

    False as well where a later word than `at` lets the address be written to; not so where it is said just now, and
    not `reported`.

    The contact's own flag is set only where the address is still theirs: a new address is not to blame. The ledger's
    evidence names the email, not what the provider said of it: that may hold the address.
    """
    new = await record_words(
        conn,
        at,
        email,
        {type: False},
        source=source,
        evidence=of_email(email_id),
        reported=reported,
        repeats=True,
    )
    if (await words_about(conn, email))[type].allowed:
        return False
    written = await conn.execute(
        insert(suppressions)
        .values(id=new_id(), email=email, type=type, detail=detail, email_id=email_id, created_at=at)
        .on_conflict_do_nothing(index_elements=["email", "type"])
        .returning(suppressions.c.id)
    )
    if written.scalar_one_or_none() is None and not new:
        return False
    if contact_id is not None and contact_id == await owner_of(conn, email):
        await _write(conn, at, contact_id, email, {"suppressed": True, "suppressed_at": at})
    await record_decision(
        conn,
        at,
        NewDecision(
            kind=DecisionKind.PREFERENCE,
            reason=_SAID[type],
            contact_id=contact_id,
            email_id=email_id,
            detail={"address": email, "detail": detail} if detail else {"address": email},
        ),
    )
    return True


async def lift(
    conn: AsyncConnection,
    clock: Clock,
    email: str,
    *,
    source: str = "operator",
    types: Collection[Type] = TYPES,
    said_at: datetime | None = None,
) -> bool:
    """Let an address be written to again, whatever of `types` forbade it. False where nothing did before `said_at`.

    Takes the lock of the address and of who has it.
    """
    email = delivery_address(email)
    owner, _ = await lock_reader(conn, None, email)
    now = clock.now()
    reported = said_at is not None
    said = await record_words(
        conn,
        said_at or now,
        email,
        dict.fromkeys(types, True),
        source=source,
        reported=reported,
        repeats=reported,
    )
    words = await words_about(conn, email)
    free = [scope for scope in types if scope not in words or words[scope].allowed]
    removed = await conn.execute(
        delete(suppressions)
        .where(suppressions.c.email == email, suppressions.c.type.in_(free))
        .returning(suppressions.c.type)
    )
    lifted = sorted({*removed.scalars(), *said})
    cleared = owner is not None and await _clear_flag(conn, now, owner, email)
    if not lifted and not cleared:
        return False
    await record_decision(
        conn,
        now,
        NewDecision(
            kind=DecisionKind.PREFERENCE,
            reason=Reason.RESUBSCRIBED,
            contact_id=owner,
            detail={"address": email, "lifted": lifted, "source": source},
        ),
    )
    return True


async def _clear_flag(conn: AsyncConnection, at: datetime, owner: UUID, email: str) -> bool:
    """Take the contact's own mark away where nothing suppresses its address any more."""
    if not (await _preferences(conn, owner))["suppressed"]:
        return False
    if ledger.refusing(await words_about(conn, email), None, transactional=True) is not None:
        return False
    await _write(conn, at, owner, email, {"suppressed": False, "suppressed_at": None})
    return True


async def unsubscribe(
    conn: AsyncConnection,
    clock: Clock,
    contact_id: UUID,
    *,
    category: str | None = None,
    source: str,
    email_id: UUID | None = None,
    said_at: datetime | None = None,
) -> bool:
    """No more email of `category`, or none at all. False where that was so. Takes the contact's locks.

    `said_at` is when somebody else heard it; whoever knows a later word about the address does not call this.
    """
    change: dict[str, Any] = (
        {"unsubscribed_all": True} if category is None else {"categories": {category: False}}
    )
    return await change_preferences(
        conn, clock, contact_id, **change, source=source, email_id=email_id, said_at=said_at
    )


async def resubscribe(
    conn: AsyncConnection, clock: Clock, contact_id: UUID, *, category: str | None = None, source: str
) -> bool:
    """Undo `unsubscribe`, because the person said so. False where nothing changed. Takes the contact's locks."""
    change: dict[str, Any] = (
        {"unsubscribed_all": False} if category is None else {"categories": {category: True}}
    )
    return await change_preferences(conn, clock, contact_id, **change, source=source)


async def change_preferences(
    conn: AsyncConnection,
    clock: Clock,
    contact_id: UUID,
    *,
    unsubscribed_all: bool | None = None,
    categories: Mapping[str, bool] | None = None,
    source: str,
    email_id: UUID | None = None,
    said_at: datetime | None = None,
) -> bool:
    """Write what a person agreed to, with a decision for each answer that changed. False where none did.

    Takes the lock of the contact's address and the contact's. `source` says who asked: one-click, form,
    preference-centre, operator …
    """
    holder, own = await lock_reader(conn, contact_id)
    contact_id = holder or contact_id
    before = await _preferences(conn, contact_id)
    now = clock.now()
    named = _named(before, categories or {})
    values, verdicts = _changes(before, unsubscribed_all, named)
    address = own or before["email"]
    said = spoken(unsubscribed_all, named)
    new = (
        await record_words(
            conn,
            said_at or now,
            address,
            said,
            source=source,
            evidence=of_email(email_id),
            reported=said_at is not None,
        )
        if address
        else {}
    )
    verdicts += [
        (Reason.RESUBSCRIBED if allowed else Reason.UNSUBSCRIBED, scope.removeprefix(ledger.CATEGORY))
        for scope, allowed in new.items()
        if scope.removeprefix(ledger.CATEGORY) not in {named for _, named in verdicts}
    ]
    if values:
        await _write(conn, now, contact_id, before["email"], values)
    for reason, scope in verdicts:
        await record_decision(
            conn,
            now,
            NewDecision(
                kind=DecisionKind.PREFERENCE,
                reason=reason,
                contact_id=contact_id,
                email_id=email_id,
                detail={"scope": scope, "source": source},
            ),
        )
    return bool(values or new)


def _named(before: Mapping[str, Any], categories: Mapping[str, bool]) -> dict[str, bool]:
    """Each category in the spelling in which the contact spoke of it first; of two answers a refusal counts."""
    known = ledger.one_spelling([*before["categories"], *categories])
    return {
        name: all(categories[each] for each in spellings if each in categories)
        for name, spellings in known.items()
        if any(each in categories for each in spellings)
    }


def spoken(unsubscribed_all: bool | None, categories: Mapping[str, bool]) -> dict[str, bool]:
    """Answers of preferences as words of the ledger."""
    said = {ledger.category_scope(name): wanted for name, wanted in categories.items()}
    return said if unsubscribed_all is None else {ledger.ALL: not unsubscribed_all, **said}


def _changes(
    before: Mapping[str, Any], unsubscribed_all: bool | None, categories: Mapping[str, bool]
) -> tuple[dict[str, Any], list[tuple[Reason, str]]]:
    """What to write, and the verdict on each answer that differs; a category never spoken of was wanted."""
    values: dict[str, Any] = {}
    verdicts: list[tuple[Reason, str]] = []
    if unsubscribed_all is not None and unsubscribed_all != before["unsubscribed_all"]:
        values["unsubscribed_all"] = unsubscribed_all
        verdicts.append((Reason.UNSUBSCRIBED if unsubscribed_all else Reason.RESUBSCRIBED, "all"))
    held: dict[str, bool] = dict(before["categories"])
    for name, wanted in categories.items():
        if held.get(name, True) != wanted:
            verdicts.append((Reason.RESUBSCRIBED if wanted else Reason.UNSUBSCRIBED, name))
        if held.get(name) != wanted:
            values["categories"] = held = {**held, name: wanted}
    return values, verdicts


async def count_bounce(conn: AsyncConnection, at: datetime, contact_id: UUID, email: str) -> None:
    """Note one bounce at this contact's address; that of another address is not theirs. Under the locks of both."""
    if contact_id != await owner_of(conn, email):
        return
    counted = {"bounce_count": _p.bounce_count + 1, "last_bounce_at": at}
    await _write(conn, at, contact_id, email, counted, first={"bounce_count": 1, "last_bounce_at": at})


async def _write(
    conn: AsyncConnection,
    at: datetime,
    contact_id: UUID,
    email: str,
    values: Mapping[str, Any],
    first: Mapping[str, Any] | None = None,
) -> None:
    """Update the row of preferences, or make it with `first`."""
    made = {"id": new_id(), "contact_id": contact_id, "email": email, "created_at": at, "updated_at": at}
    await conn.execute(
        insert(contact_preferences)
        .values(made | dict(first or values))
        .on_conflict_do_update(index_elements=["contact_id"], set_={**values, "updated_at": at})
    )


async def _preferences(conn: AsyncConnection, contact_id: UUID) -> Mapping[str, Any]:
    """What the contact said, or what silence means."""
    said = await conn.execute(select(contact_preferences).where(_p.contact_id == contact_id))
    row = said.mappings().one_or_none()
    if row is not None:
        return dict(row)
    return {
        "email": await address_of(conn, contact_id) or "",
        "unsubscribed_all": False,
        "suppressed": False,
        "categories": {},
    }
