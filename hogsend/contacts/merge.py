"""Merge of two contacts that turn out to be one person: everything of the loser becomes the survivor's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Table, case, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

from hogsend.clock import Clock
from hogsend.consent.inheritance import address_changed, merge_preferences
from hogsend.contacts.identity_keys import KINDS, Contact
from hogsend.contacts.rows import keep_as_alias
from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.engine.outbox import RUN_WAKE, publish_later
from hogsend.realtime.activity import record
from hogsend.runs.ending import exit_each
from hogsend.tables.contacts import contact_aliases, contacts
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import DRIVEN_STATUSES, LIVE_STATUSES, journey_states, journey_waits
from hogsend.tables.realtime import ActivityKind, activity

_c = contacts.c
_states = journey_states.c

# What a contact has, beside its runs, preferences, aliases and activity, which take more than a new owner. In this
# order: whoever sends locks the run before the email.
MOVED: tuple[Table, ...] = (journey_waits, user_events, email_sends, decisions)


async def merge(conn: AsyncConnection, clock: Clock, *, survivor_id: UUID, loser_id: UUID) -> Contact:
    """Merge two live contacts and return the survivor as it now is.

    Expects the locks of both, and that both were read as live under them. Nothing of the loser is left but its
    row, deleted, which points at the survivor; its keys become the survivor's or resolve to it as aliases.
    """
    await _end_doubled_runs(conn, clock, survivor_id, loser_id)
    await _move_runs(conn, clock, survivor_id, loser_id)
    for table in MOVED:
        moved = update(table).where(table.c.contact_id == loser_id)
        await conn.execute(moved.values(contact_id=survivor_id))
    await _wake_waiting(conn, clock, survivor_id)
    await merge_preferences(conn, clock, survivor_id, loser_id)
    survivor = await _merge_rows(conn, clock, survivor_id, loser_id)
    merged = await record_decision(
        conn,
        clock.now(),
        NewDecision(
            kind=DecisionKind.MERGED,
            reason=Reason.KEYS_BELONG_TOGETHER,
            contact_id=survivor_id,
            detail={"mergedContactId": str(loser_id)},
        ),
    )
    await _move_activity(conn, survivor_id, loser_id, merged)
    # To whoever follows the loser: it is gone, and into whom.
    await record(
        conn,
        at=clock.now(),
        kind=ActivityKind.CONTACT,
        type="merged",
        ref_id=survivor_id,
        contact_id=loser_id,
    )
    return survivor


async def _move_activity(conn: AsyncConnection, survivor_id: UUID, loser_id: UUID, merged_by: UUID) -> None:
    """Streams have told those rows as the loser's, so they say which decision made them the survivor's.

    What this transaction has written itself was told to nobody yet: it comes to the survivor's followers in its turn.
    """
    told = activity.c.txid != func.pg_current_xact_id()
    decision = literal(merged_by, activity.c.merged_by.type)
    moved = update(activity).where(activity.c.contact_id == loser_id)
    await conn.execute(moved.values(contact_id=survivor_id, merged_by=case((told, decision))))


async def _end_doubled_runs(conn: AsyncConnection, clock: Clock, survivor_id: UUID, loser_id: UUID) -> None:
    """One person is in a journey once: of two live runs of the same one, the survivor's goes on.

    Locks all runs that the merge may touch first, by id, as everywhere.
    """
    both = select(_states.id).where(
        (_states.contact_id == loser_id)
        | ((_states.contact_id == survivor_id) & _states.status.in_(LIVE_STATUSES))
    )
    await conn.execute(both.order_by(_states.id).with_for_update())
    mine = select(_states.journey_id).where(
        _states.contact_id == survivor_id, _states.status.in_(LIVE_STATUSES)
    )
    doubled = await conn.execute(
        select(_states.id)
        .where(
            _states.contact_id == loser_id,
            _states.status.in_(LIVE_STATUSES),
            _states.journey_id.in_(mine),
        )
        .order_by(_states.id)
    )
    await exit_each(
        conn,
        clock,
        doubled.scalars().all(),
        Reason.MERGED_INTO_ANOTHER,
        {"survivorId": str(survivor_id)},
    )


async def _move_runs(conn: AsyncConnection, clock: Clock, survivor_id: UUID, loser_id: UUID) -> None:
    """Hand the loser's runs over. The epoch fences whoever drives one now: it still believes in the loser."""
    now = clock.now()
    other = journey_states.alias()
    renamed = func.replace(_states.entry_key, str(loser_id), str(survivor_id), type_=Text)
    taken = select(other.c.id).where(other.c.entry_key == renamed).exists()
    driven = _states.lease_owner.is_not(None) & _states.status.in_(DRIVEN_STATUSES)
    moved = await conn.execute(
        update(journey_states)
        .where(_states.contact_id == loser_id)
        .values(
            contact_id=survivor_id,
            entry_key=case((taken, _states.entry_key), else_=renamed),
            epoch=_states.epoch + 1,
            wake_at=case((driven, now), else_=_states.wake_at),
            lease_owner=None,
            lease_until=None,
            updated_at=now,
        )
        .returning(_states.id, _states.generation, _states.wake_at, _states.status)
    )
    for run in moved.all():
        if run.status in DRIVEN_STATUSES and run.wake_at == now:
            await _wake(conn, clock, run.id, run.generation)


async def _wake_waiting(conn: AsyncConnection, clock: Clock, survivor_id: UUID) -> None:
    """What a run waits for may have happened to the other half of the person: let each look again.

    The epoch fences a driver that has armed the wait and is about to park the run until its deadline.
    """
    waiting = select(journey_waits.c.state_id).where(journey_waits.c.contact_id == survivor_id)
    woken = await conn.execute(
        update(journey_states)
        .where(_states.id.in_(waiting), _states.status.in_(DRIVEN_STATUSES))
        .values(wake_at=clock.now(), epoch=_states.epoch + 1, lease_owner=None, lease_until=None)
        .returning(_states.id, _states.generation)
    )
    for run in woken.all():
        await _wake(conn, clock, run.id, run.generation)


async def _wake(conn: AsyncConnection, clock: Clock, run_id: UUID, generation: int) -> None:
    payload = {"run_id": str(run_id), "generation": generation, "reason": "contacts merged"}
    await publish_later(conn, clock, RUN_WAKE, payload)


async def _merge_rows(conn: AsyncConnection, clock: Clock, survivor_id: UUID, loser_id: UUID) -> Contact:
    """Mark the loser's row deleted first: its keys are free for the survivor only then."""
    now = clock.now()
    loser = (
        (
            await conn.execute(
                update(contacts)
                .where(_c.id == loser_id, _c.deleted_at.is_(None))
                .values(deleted_at=now, merged_into=survivor_id, updated_at=now)
                .returning(contacts)
            )
        )
        .mappings()
        .one()
    )
    await conn.execute(update(contacts).where(_c.merged_into == loser_id).values(merged_into=survivor_id))
    await conn.execute(
        update(contact_aliases).where(contact_aliases.c.contact_id == loser_id).values(contact_id=survivor_id)
    )
    before = (await conn.execute(select(contacts).where(_c.id == survivor_id))).mappings().one()
    survivor = await _absorb(conn, clock, survivor_id, loser)
    for kind in KINDS:
        if loser[kind] is not None and loser[kind] != survivor[kind]:
            await keep_as_alias(conn, clock, survivor_id, kind, loser[kind])
    if before["email"] is None and survivor["email"] is not None:
        await address_changed(conn, clock, survivor_id, survivor["email"])
    return survivor


async def _absorb(conn: AsyncConnection, clock: Clock, survivor_id: UUID, loser: Contact) -> Contact:
    """The survivor's own values win; what it lacks comes from the loser; the times span both lives."""
    values: dict[str, Any] = {kind: func.coalesce(_c[kind], loser[kind]) for kind in KINDS}
    theirs = contacts.alias()
    lost = select(theirs.c.properties).where(theirs.c.id == loser["id"]).scalar_subquery()
    values["properties"] = lost.op("||")(_c.properties)
    values["first_seen_at"] = func.least(_c.first_seen_at, loser["first_seen_at"])
    values["last_seen_at"] = func.greatest(_c.last_seen_at, loser["last_seen_at"])
    values["updated_at"] = clock.now()
    statement = update(contacts).where(_c.id == survivor_id).values(values).returning(contacts)
    survivor: Contact = (await conn.execute(statement)).one()._asdict()
    return survivor
