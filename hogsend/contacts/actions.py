"""Contact actions: create, update, upsert, delete, preferences. Each audits itself in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.audit import audit
from hogsend.clock import Clock
from hogsend.consent.inheritance import address_changed, preferences_of
from hogsend.consent.ledger import same_category
from hogsend.consent.suppression import TRANSACTIONAL, change_preferences, lift, suppress
from hogsend.contacts.identity_keys import Contact, KeyKind, Keys, normal_email
from hogsend.contacts.lookup import find_by, lock_person, owners
from hogsend.contacts.resolve import Resolved, resolve
from hogsend.contacts.rows import drop_aliases, write
from hogsend.decisions.reasons import Reason
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.runs.ending import exit_each
from hogsend.storage.database import Record, lock_subjects
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_aliases, contact_preferences, contacts
from hogsend.tables.journeys import LIVE_STATUSES, journey_states
from hogsend.validation import check_properties, check_text

MAX_CATEGORIES = 200
_p = contact_preferences.c


class Untouched(Enum):
    """The type of `UNTOUCHED`: a field that the caller did not speak of."""

    UNTOUCHED = "untouched"


UNTOUCHED: Final = Untouched.UNTOUCHED


@dataclass(frozen=True)
class PreferencesUpdate:
    """What preferences are to become; None leaves a part as it is, `categories` are merged into those known."""

    unsubscribed_all: bool | None = None
    suppressed: bool | None = None
    categories: Mapping[str, bool] | None = None


async def create(
    conn: AsyncConnection,
    clock: Clock,
    *,
    external_id: str | None,
    email: str | None = None,
    properties: Mapping[str, Any] | None = None,
    refused: Collection[str],
) -> Contact:
    """Make a contact. Raises `Conflict` where somebody has one of the keys, `InvalidInput` for a malformed one."""
    keys = Keys.of(external_id, email, refused=refused)
    check_properties("properties", {} if properties is None else properties)
    await lock_subjects(conn, keys.subjects())
    taken = await owners(conn, keys)
    if "external_id" in taken:
        raise Conflict("Contact with this externalId already exists", "EXTERNAL_ID_TAKEN")
    if "email" in taken:
        raise Conflict("Contact with this email already exists", "EMAIL_TAKEN")
    made = await resolve(conn, clock, keys, properties, seen=False)
    await audit(conn, resource_id=made.contact["id"], after=audit_view(made.contact))
    return made.contact


async def update_contact(
    conn: AsyncConnection,
    clock: Clock,
    contact_id: UUID,
    *,
    email: str | Untouched | None = UNTOUCHED,
    properties: Mapping[str, Any] | None = None,
) -> Contact:
    """Change the address, or properties: merged at the top level, null removes one.

    The former address is not theirs any more: it resolves to nobody. Raises `NotFound`, `Conflict` where another
    contact has the address, `InvalidInput`.
    """
    check_properties("properties", {} if properties is None else properties)
    address = normal_email(email) if isinstance(email, str) else None
    before = await lock_person(conn, contact_id, and_email=address)
    if before is None:
        raise NotFound("Contact")
    keys: dict[KeyKind, str | None] = {}
    if email is None:
        if before["external_id"] is None and before["anonymous_id"] is None:
            raise InvalidInput("email", "email cannot be removed: nothing else is known of this contact")
        keys = {"email": None}
    elif address is not None and address != before["email"]:
        await _free_address(conn, before["id"], address)
        keys = {"email": address}
    after = await write(conn, clock, before["id"], keys, properties, seen=False)
    if after is None:
        raise RuntimeError(f"contact {before['id']} died under its own lock")
    if keys and address is not None:
        await address_changed(conn, clock, before["id"], address)
    await audit(conn, resource_id=before["id"], before=audit_view(before), after=audit_view(after))
    return after


async def _free_address(conn: AsyncConnection, contact_id: UUID, email: str) -> None:
    """See that nobody else has the address; where it is the contact's own former one, take it back."""
    holder = await find_by(conn, email=email)
    if holder is not None and holder["id"] != contact_id:
        raise Conflict("Contact with this email already exists", "EMAIL_TAKEN")
    alias = contact_aliases.c
    await conn.execute(delete(contact_aliases).where(alias.kind == "email", alias.value == email))


async def upsert(
    conn: AsyncConnection,
    clock: Clock,
    *,
    external_id: str | None = None,
    email: str | None = None,
    properties: Mapping[str, Any] | None = None,
    refused: Collection[str],
) -> Resolved:
    """Find by either key, fill in the missing one, merge where each has its own contact, or make one."""
    check_properties("properties", {} if properties is None else properties)
    keys = Keys.of(external_id, email, refused=refused)
    resolved = await resolve(conn, clock, keys, properties, seen=False)
    await audit(
        conn,
        resource_id=resolved.contact["id"],
        after=audit_view(resolved.contact),
        detail={"created": resolved.created, "merged": [str(merged) for merged in resolved.merged]},
    )
    return resolved


async def delete_contact(conn: AsyncConnection, clock: Clock, contact_id: UUID) -> Contact:
    """Delete softly: runs end, sends that are under way are refused at their last look, keys become free.

    What the contact refused is kept, and holds again for whoever comes with its address. Raises `NotFound`.
    """
    before = await lock_person(conn, contact_id)
    if before is None:
        raise NotFound("Contact")
    states = journey_states.c
    live = await conn.execute(
        select(states.id)
        .where(states.contact_id == before["id"], states.status.in_(LIVE_STATUSES))
        .order_by(states.id)
    )
    await exit_each(conn, clock, live.scalars().all(), Reason.CONTACT_DELETED)
    now = clock.now()
    await conn.execute(
        update(contacts).where(contacts.c.id == before["id"]).values(deleted_at=now, updated_at=now)
    )
    await drop_aliases(conn, before["id"])
    await audit(conn, resource_id=before["id"], before=audit_view(before))
    return before


async def update_preferences(
    conn: AsyncConnection, clock: Clock, contact_id: UUID, change: PreferencesUpdate
) -> Record:
    """Write down what an operator says that a contact agreed to; each change has its decision.

    Raises `NotFound`, and `InvalidInput` where the contact has no address that this could be about.
    """
    _check_categories(change.categories)
    contact = await lock_person(conn, contact_id)
    if contact is None:
        raise NotFound("Contact")
    if contact["email"] is None:
        raise InvalidInput("email", "Contact has no email address", "NO_EMAIL_ADDRESS")
    before = await preferences_of(conn, contact["id"])
    await change_preferences(
        conn,
        clock,
        contact["id"],
        unsubscribed_all=change.unsubscribed_all,
        categories=change.categories,
        source="operator",
    )
    if change.suppressed:
        await suppress(conn, clock, contact["email"], "manual")
    elif change.suppressed is False:
        await lift(conn, clock, contact["email"])
    after = await _kept_preferences(conn, clock, contact, change)
    await audit(
        conn,
        resource_id=contact["id"],
        before=None if before is None else preferences_audit_view(before),
        after=preferences_audit_view(after),
    )
    return after


def _check_categories(categories: Mapping[str, bool] | None) -> None:
    if categories is None:
        return
    if not isinstance(categories, Mapping) or len(categories) > MAX_CATEGORIES:
        raise InvalidInput("categories", f"categories must be an object of at most {MAX_CATEGORIES} names")
    for name, subscribed in categories.items():
        check_text("categories", name, 100)
        if not isinstance(subscribed, bool):
            raise InvalidInput(f"categories.{name}", f"categories.{name} must be true or false")
        if not subscribed and same_category(name, TRANSACTIONAL):
            raise InvalidInput(
                f"categories.{name}",
                f"categories.{name} cannot be refused: transactional email goes to whoever asked for it. "
                "To stop all email to an address, set suppressed",
            )


async def _kept_preferences(
    conn: AsyncConnection, clock: Clock, contact: Contact, change: PreferencesUpdate
) -> Record:
    """The row of preferences, made where nothing was said before; it shows what the operator asked for.

    An address may be suppressed already when its contact is not marked so: the mark is set all the same.
    """
    now = clock.now()
    made = {"id": new_id(), "contact_id": contact["id"], "email": contact["email"]}
    mark = {"suppressed": True, "suppressed_at": func.coalesce(_p.suppressed_at, now), "updated_at": now}
    kept = insert(contact_preferences).values(
        **made, suppressed=bool(change.suppressed), created_at=now, updated_at=now
    )
    await conn.execute(
        kept.on_conflict_do_update(index_elements=["contact_id"], set_=mark)
        if change.suppressed
        else kept.on_conflict_do_nothing(index_elements=["contact_id"])
    )
    row = await preferences_of(conn, contact["id"])
    assert row is not None
    return row


def audit_view(contact: Contact) -> dict[str, Any]:
    """A contact as the audit log keeps it."""
    return {
        "externalId": contact["external_id"],
        "email": contact["email"],
        "anonymousId": contact["anonymous_id"],
        "properties": contact["properties"],
    }


def preferences_audit_view(preferences: Record) -> dict[str, Any]:
    """Preferences as the audit log keeps them."""
    return {
        "email": preferences["email"],
        "unsubscribedAll": preferences["unsubscribed_all"],
        "suppressed": preferences["suppressed"],
        "categories": preferences["categories"],
    }
