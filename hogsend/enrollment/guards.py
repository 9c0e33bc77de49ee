"""Entry guards: one list, asked in one order by ingestion and by `explainEnrollment`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from hogsend.decisions.reasons import Reason
from hogsend.journeys.conditions.builders import Facts, evaluate
from hogsend.journeys.definition import Journey

if TYPE_CHECKING:
    from hogsend.storage.database import Record

GuardOutcome = Literal["passed", "failed", "not_reached"]


@dataclass(frozen=True)
class Guard:
    """One guard's verdict. `expected` and `actual` are sentences for the person who asks why."""

    name: str
    reason: Reason
    outcome: GuardOutcome
    expected: str
    actual: str

    def to_json(self) -> dict[str, str]:
        return {
            "name": self.name,
            "reason": self.reason.value,
            "outcome": self.outcome,
            "expected": self.expected,
            "actual": self.actual,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> Guard:
        outcome: GuardOutcome = value["outcome"]  # type: ignore[assignment]
        return cls(value["name"], Reason(value["reason"]), outcome, value["expected"], value["actual"])


@dataclass(frozen=True)
class EntryHistory:
    """How one contact stands to one journey: what the guards look at, beside conditions."""

    override: bool | None = None
    live_state_id: UUID | None = None
    live_status: str | None = None
    entries: int = 0
    last_entered_at: datetime | None = None
    last_emailed_at: datetime | None = None


async def check_entry(journey: Journey, contact: Record, history: EntryHistory, facts: Facts) -> list[Guard]:
    """Ask every guard in order; those behind the first that failed are `not_reached`."""
    verdicts: list[Guard] = []
    failed = False
    for ask in _GUARDS:
        guard = await ask(journey, contact, history, facts, failed)
        failed = failed or guard.outcome == "failed"
        verdicts.append(guard)
    return verdicts


def refusal(guards: Iterable[Guard]) -> Guard | None:
    """The guard that kept the person out, or None."""
    return next((guard for guard in guards if guard.outcome == "failed"), None)


def _verdict(name: str, reason: Reason, skip: bool, held: bool, expected: str, actual: str) -> Guard:
    if skip:
        return Guard(name, reason, "not_reached", expected, "not looked at")
    return Guard(name, reason, "passed" if held else "failed", expected, actual)


async def _alive(_j: Journey, contact: Record, _s: EntryHistory, _f: Facts, skip: bool) -> Guard:
    held = contact["deleted_at"] is None
    return _verdict(
        "contact exists",
        Reason.CONTACT_DELETED,
        skip,
        held,
        "the contact is not deleted",
        "not deleted" if held else f"deleted at {contact['deleted_at'].isoformat()}",
    )


async def _enabled(journey: Journey, _c: Record, history: EntryHistory, _f: Facts, skip: bool) -> Guard:
    held = journey.enabled if history.override is None else history.override
    where = "in the code" if history.override is None else "by an operator"
    return _verdict(
        "journey enabled",
        Reason.JOURNEY_DISABLED,
        skip,
        held,
        "the journey is enabled",
        f"{'enabled' if held else 'disabled'} {where}",
    )


async def _trigger(journey: Journey, _c: Record, _s: EntryHistory, facts: Facts, skip: bool) -> Guard:
    where = journey.trigger.where
    expected = f"event {journey.trigger.event}" + (f" where {where.describe()}" if where is not None else "")
    if skip or where is None:
        return _verdict(
            "trigger conditions", Reason.TRIGGER_NOT_MATCHED, skip, True, expected, "no conditions"
        )
    verdict = await evaluate(where, facts)
    return _verdict(
        "trigger conditions", Reason.TRIGGER_NOT_MATCHED, skip, verdict.held, expected, verdict.actual
    )


async def _address(_j: Journey, contact: Record, _s: EntryHistory, _f: Facts, skip: bool) -> Guard:
    held = bool(contact["email"])
    return _verdict(
        "email address",
        Reason.NO_EMAIL_ADDRESS,
        skip,
        held,
        "the contact has an email address",
        contact["email"] or "none",
    )


async def _not_inside(_j: Journey, _c: Record, history: EntryHistory, _f: Facts, skip: bool) -> Guard:
    held = history.live_state_id is None
    return _verdict(
        "not in the journey",
        Reason.ALREADY_IN_JOURNEY,
        skip,
        held,
        "no live run of this journey",
        "none" if held else f"run {history.live_state_id} is {history.live_status}",
    )


async def _entry_limit(
    journey: Journey, _c: Record, history: EntryHistory, facts: Facts, skip: bool
) -> Guard:
    last = history.last_entered_at.isoformat() if history.last_entered_at else "never"
    actual = f"entered {history.entries} times, last {last}"
    if journey.entry.limit == "once":
        return _verdict(
            "entry limit",
            Reason.ALREADY_ENTERED,
            skip,
            history.entries == 0,
            "at most one entry ever",
            actual,
        )
    period = journey.entry.period
    if period is None:
        return _verdict("entry limit", Reason.ENTERED_RECENTLY, skip, True, "no limit", actual)
    held = history.last_entered_at is None or facts.now - history.last_entered_at >= period
    return _verdict(
        "entry limit", Reason.ENTERED_RECENTLY, skip, held, f"at most one entry in {period}", actual
    )


async def _suppress(journey: Journey, _c: Record, history: EntryHistory, facts: Facts, skip: bool) -> Guard:
    last = history.last_emailed_at
    if journey.suppress is None:
        return _verdict("recent email", Reason.EMAILED_RECENTLY, skip, True, "no limit", "not looked at")
    held = last is None or facts.now - last >= journey.suppress
    return _verdict(
        "recent email",
        Reason.EMAILED_RECENTLY,
        skip,
        held,
        f"no email of this journey in the last {journey.suppress}",
        f"last one at {last.isoformat()}" if last else "none",
    )


_GUARDS = (_alive, _enabled, _trigger, _address, _not_inside, _entry_limit, _suppress)
