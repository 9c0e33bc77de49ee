"""Alert rule actions: create, update, delete, mute, a new secret. Each checks its input, and audits itself in one
transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.audit import audit
from hogsend.alerts.channel_config import check_config, check_target, masked_config, unmasked
from hogsend.alerts.channels import new_secret
from hogsend.alerts.history import Resolution, resolve
from hogsend.alerts.measures import SendRate
from hogsend.alerts.rule_types import RULE_WORDS, of_type
from hogsend.alerts.ssrf import Policy
from hogsend.clock import instant_text
from hogsend.errors import InvalidInput, NotFound
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.alerts import CHANNELS, alert_rules
from hogsend.validation import check_text

LONGEST_NAME = 200
HIGHEST_THRESHOLD = 10**12
LONGEST_COOLDOWN = 60 * 24 * 365
LONGEST_MUTE = timedelta(days=365)
DEFAULTS: Mapping[str, Any] = {"cooldown_minutes": 60, "enabled": True}

_rules = alert_rules.c
# What a caller may give, in the words of the table and of the wire.
FIELDS: Mapping[str, str] = {
    "name": "name",
    "type": "type",
    "threshold": "threshold",
    "channel": "channel",
    "channel_config": "channelConfig",
    "cooldown_minutes": "cooldownMinutes",
    "enabled": "enabled",
}


async def create_rule(runtime: Runtime, given: Mapping[str, Any]) -> RowMapping:
    """Keep a new rule and return its row. `given` is by column; what `DEFAULTS` does not have is required.

    Raises `InvalidInput`.
    """
    rule = _checked({**DEFAULTS, **given}, {})
    _check_rate(rule)
    await _check_target(runtime, rule)
    now = runtime.clock.now()
    values = {"id": new_id(), "created_at": now, "updated_at": now, "signing_secret": new_secret(), **rule}
    async with runtime.database.transaction() as conn:
        statement = insert(alert_rules).values(values).returning(alert_rules)
        row: RowMapping = (await conn.execute(statement)).mappings().one()
        await audit(conn, resource_id=row["id"], after=audit_view(row))
    return row


async def update_rule(runtime: Runtime, rule_id: UUID, changes: Mapping[str, Any]) -> RowMapping:
    """Change what is given, by column. The rule that comes of it must be whole: a config that fits its channel.

    A URL that is given as its own mask stays as it is stored. What the rule fired is resolved where it now watches
    something else, or nothing; another threshold is for the next evaluations to judge it by.
    Raises `InvalidInput` and `NotFound`.
    """
    await _check_target(runtime, changes)
    async with runtime.database.transaction() as conn:
        before = await _live(conn, rule_id)
        rule = _checked({**{name: before[name] for name in FIELDS}, **changes}, before["channel_config"])
        if changes.keys() & {"type", "threshold"}:  # one of before may still be renamed and disabled
            _check_rate(rule)
        if (ends := _ends(before, rule)) is not None:
            await resolve(conn, runtime, before, ends)
        row = await _set(conn, runtime, rule_id, **rule, **_begins_anew(before, rule))
        await audit(conn, resource_id=rule_id, before=audit_view(before), after=audit_view(row))
    return row


async def delete_rule(runtime: Runtime, rule_id: UUID) -> None:
    """Take the rule away; what it fired stays, and is resolved. Raises `NotFound`."""
    async with runtime.database.transaction() as conn:
        before = await _live(conn, rule_id)
        await resolve(conn, runtime, before, "rule_deleted")
        await _set(conn, runtime, rule_id, deleted_at=runtime.clock.now())
        await audit(conn, resource_id=rule_id, before=audit_view(before))


async def mute_rule(runtime: Runtime, rule_id: UUID, until: datetime | None) -> RowMapping:
    """Hold the rule's notifications back until an instant of real time; None lets them out again.

    It goes on firing and resolving. Raises `InvalidInput` for an instant that is past or more than a year away, and
    `NotFound`.
    """
    wall = runtime.clock.wall()
    if until is not None and not wall < until <= wall + LONGEST_MUTE:
        raise InvalidInput(
            "until", "until must be an instant to come, at most a year away; null ends the mute"
        )
    async with runtime.database.transaction() as conn:
        before = await _live(conn, rule_id)
        row = await _set(conn, runtime, rule_id, muted_until=until)
        told = {"mutedUntil": _instant(before["muted_until"])}, {"mutedUntil": _instant(until)}
        await audit(conn, resource_id=rule_id, before=told[0], after=told[1])
    return row


async def rotate_secret(runtime: Runtime, rule_id: UUID) -> RowMapping:
    """Sign the rule's webhooks with a new secret from now on. Raises `NotFound`."""
    async with runtime.database.transaction() as conn:
        await _live(conn, rule_id)
        row = await _set(conn, runtime, rule_id, signing_secret=new_secret())
        await audit(conn, resource_id=rule_id, detail={"signingSecret": "rotated"})
    return row


async def _set(conn: AsyncConnection, runtime: Runtime, rule_id: UUID, **values: Any) -> RowMapping:
    """Write these columns of a rule that is locked; returns its row."""
    values |= {"updated_at": runtime.clock.now()}
    statement = update(alert_rules).where(_rules.id == rule_id).values(values).returning(alert_rules)
    row: RowMapping = (await conn.execute(statement)).mappings().one()
    return row


def _ends(before: Record, rule: Mapping[str, Any]) -> Resolution | None:
    """Why what it fired is over with this change, where it is."""
    if rule["type"] != before["type"]:
        return "rule_changed"
    return None if rule["enabled"] else "rule_disabled"


def _begins_anew(before: Record, rule: Mapping[str, Any]) -> dict[str, Any]:
    """What evaluation has to forget: under another threshold what was clear, of another measure all."""
    if rule["type"] != before["type"]:
        return {"clear_evaluations": 0, "cooldown_from": None, "evaluated_at": None}
    return {"clear_evaluations": 0} if rule["threshold"] != before["threshold"] else {}


def _instant(value: datetime | None) -> str | None:
    return None if value is None else instant_text(value)


async def find_rule(conn: AsyncConnection, rule_id: UUID) -> RowMapping:
    """Raises `NotFound`, also where the rule was deleted."""
    return await _found(conn, rule_id, lock=False)


async def _live(conn: AsyncConnection, rule_id: UUID) -> RowMapping:
    return await _found(conn, rule_id, lock=True)


async def _found(conn: AsyncConnection, rule_id: UUID, *, lock: bool) -> RowMapping:
    query = select(alert_rules).where(_rules.id == rule_id, _rules.deleted_at.is_(None))
    row = (await conn.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise NotFound("Alert rule")
    return row


def _checked(rule: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    for name, wire in FIELDS.items():
        if rule.get(name) is None:
            raise InvalidInput(wire, f"{wire} is required")
    check_text("name", rule["name"], LONGEST_NAME)
    _check_one_of("type", rule["type"], RULE_WORDS)
    _check_one_of("channel", rule["channel"], CHANNELS)
    threshold = rule["threshold"]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise InvalidInput("threshold", "threshold must be a number")
    if not 0 <= threshold <= HIGHEST_THRESHOLD:  # nor is NaN
        raise InvalidInput("threshold", f"threshold must be a number from 0 to {HIGHEST_THRESHOLD:,}")
    cooldown = rule["cooldown_minutes"]
    if isinstance(cooldown, bool) or not isinstance(cooldown, int) or not 0 <= cooldown <= LONGEST_COOLDOWN:
        raise InvalidInput("cooldownMinutes", f"cooldownMinutes must be 0 to {LONGEST_COOLDOWN}")
    if not isinstance(rule["enabled"], bool):
        raise InvalidInput("enabled", "enabled must be true or false")
    config = check_config(rule["channel"], unmasked(rule["channel_config"], stored))
    return {**{name: rule[name] for name in FIELDS}, "threshold": float(threshold), "channel_config": config}


def _check_rate(rule: Mapping[str, Any]) -> None:
    """A rate is never above 1: a rule with such a threshold would never fire, or always."""
    if isinstance(of_type(rule["type"]).measure, SendRate) and rule["threshold"] > 1:
        raise InvalidInput(
            "threshold", f"threshold of {rule['type']} must be a rate from 0 to 1: 0.05 is 5 %, 1 is 100 %"
        )


def _check_one_of(field: str, value: object, words: tuple[str, ...]) -> None:
    if value not in words:
        raise InvalidInput(field, f"{field} must be one of {', '.join(words)}")


async def _check_target(runtime: Runtime, rule: Mapping[str, Any]) -> None:
    config = rule.get("channel_config")
    if isinstance(config, Mapping):
        await check_target(config, Policy.of(runtime.settings))


def audit_view(row: Record) -> dict[str, Any]:
    """A rule in the audit log: what an operator gave, with the credential in its URL masked."""
    given = {wire: row[name] for name, wire in FIELDS.items()}
    return {**given, "channelConfig": masked_config(row["channel_config"])}
