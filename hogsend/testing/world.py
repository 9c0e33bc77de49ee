"""One person in memory, and their clock: what `execution.live_driver` and `execution.lookups` are with a database."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from hogsend.clock import ManualClock
from hogsend.decisions.reasons import Reason
from hogsend.journeys.conditions.builders import Condition, evaluate, matches_properties
from hogsend.journeys.definition import Journey
from hogsend.testing.script import (
    Engages,
    EventHappens,
    Happening,
    Outage,
    PastEmail,
    PastRun,
    PropertiesChange,
    ProviderRefuses,
    Timed,
    Unsubscribes,
)

TRANSACTIONAL = "transactional"


@dataclass(frozen=True)
class PastEvent:
    """One event that the person had. `seq` is the order of arrival."""

    seq: int
    name: str
    properties: Mapping[str, Any]
    at: datetime

    @property
    def id(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"event:{self.seq}"))

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps the event that ended a wait."""
        return {
            "event_id": self.id,
            "properties": dict(self.properties),
            "occurred_at": self.at.isoformat(),
        }


@dataclass(frozen=True)
class SentEmail:
    """One email that the journey asked for. `status` is sent, suppressed or failed, and `reason` says why not sent.

    `at` is when that was settled, which is later than it was asked for where the provider was down; `after` counts
    from the start. `subject`, `html` and `text` are there where the rehearsal was given templates.
    """

    template: str
    props: Mapping[str, Any]
    category: str | None
    at: datetime
    after: timedelta
    status: str = "sent"
    reason: str | None = None
    subject: str | None = None
    html: str | None = None
    text: str | None = None


@dataclass(order=True)
class _Due:
    at: datetime
    order: int
    what: Timed = field(compare=False)


class World:
    """The person, what they did, what they were sent. It is the `Facts` of conditions too."""

    def __init__(
        self, clock: ManualClock, user: Mapping[str, Any], happens: Iterable[Happening], journey: Journey
    ) -> None:
        self.clock = clock
        self.started_at = clock.now()
        self.journey = journey
        self.user = {**user, "properties": dict(user["properties"])}
        self.event_properties: Mapping[str, Any] = {}
        self.events: list[PastEvent] = []
        self.emails: list[SentEmail] = []
        self.engagement: list[tuple[str, str, datetime]] = []
        self.past_runs: list[PastRun] = []
        self.past_emails: list[PastEmail] = []
        self.unsubscribed: set[str | None] = set()
        self.exited_by: PastEvent | None = None
        self._habits: list[Engages] = []
        self._outages: list[Outage] = []
        self._refusals: dict[str, float] = {}
        self._due: list[_Due] = []
        for order, happening in enumerate(happens):
            match happening:
                case PastRun():
                    self.past_runs.append(happening)
                case PastEmail():
                    self.past_emails.append(happening)
                case Engages():
                    self._habits.append(happening)
                case Outage():
                    self._outages.append(happening)
                case ProviderRefuses():
                    self._refusals[happening.template] = happening.times or math.inf
                case PropertiesChange() | Unsubscribes() if not happening.at:
                    self._apply(happening, self.started_at)
                case _:
                    heapq.heappush(self._due, _Due(self.started_at + happening.at, order, happening))

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def contact_properties(self) -> Mapping[str, Any]:
        return self.user["properties"]  # type: ignore[no-any-return]

    async def count_events(self, name: str, since: datetime | None) -> int:
        return sum(1 for event in self.events if event.name == name and _since(event.at, since))

    async def email_engagement(self, template: str, what: str, since: datetime | None) -> bool:
        return any(
            (found, did) == (template, what) and at <= self.now and _since(at, since)
            for found, did, at in self.engagement
        )

    def remember_the_past(self) -> None:
        """Let everything happen that the script puts before the start."""
        for email in self.past_emails:
            at = self.started_at - email.ago
            did = ("sent", *(() if "bounced" in email.did else ("delivered",)), *email.did)
            self.engagement += [(email.template, what, at) for what in did]
        while self._due and self._due[0].at < self.started_at:
            due = heapq.heappop(self._due)
            self._apply(due.what, due.at)

    async def next_happening(self, until: datetime) -> bool:
        """Let one thing happen, and move the clock to it; or move it to `until`, and answer False."""
        if self._due and self._due[0].at <= until:
            due = heapq.heappop(self._due)
            self._forward(due.at)
            event = self._apply(due.what, due.at)
            if event is not None:
                await self._exit_by(event)
            return True
        self._forward(until)
        return False

    def trigger(self, properties: Mapping[str, Any]) -> PastEvent:
        """The event that starts the journey. There is no run yet that it could end."""
        self.event_properties = dict(properties)
        return self._record(self.journey.trigger.event, properties, self.now)

    async def happen(self, name: str, properties: Mapping[str, Any]) -> PastEvent:
        """An event now; it may end the run (`exited_by`)."""
        event = self._record(name, properties, self.now)
        await self._exit_by(event)
        return event

    def arrived(self, name: str, where: Condition | None, after_seq: int) -> list[PastEvent]:
        """The events of that name behind `after_seq` that the condition holds for, oldest first."""
        return [
            event
            for event in self.events
            if event.seq > after_seq
            and event.name == name
            and (where is None or matches_properties(where, event.properties, self.contact_properties))
        ]

    @property
    def is_down(self) -> bool:
        """Whether the provider takes nothing now."""
        return any(
            self.started_at + outage.at <= self.now < self.started_at + outage.at + outage.lasting
            for outage in self._outages
        )

    def refusal(self, category: str | None) -> Reason | None:
        """Why an email of this category would not be sent now: `consent.refusal.refusal`."""
        suffered = {did for _, did, at in self.engagement if at <= self.now}
        if "complained" in suffered:
            return Reason.ADDRESS_COMPLAINED
        if "bounced" in suffered:
            return Reason.ADDRESS_BOUNCED
        if category == TRANSACTIONAL:
            return None
        if None in self.unsubscribed:
            return Reason.UNSUBSCRIBED_FROM_ALL
        return Reason.UNSUBSCRIBED_FROM_CATEGORY if category in self.unsubscribed else None

    def refuses(self, template: str) -> bool:
        """Whether the provider refuses this email from that template, which is then behind us."""
        left = self._refusals.get(template, 0)
        self._refusals[template] = left - 1
        return left > 0

    def settle(self, email: SentEmail, status: str, reason: Reason | None = None) -> SentEmail:
        """Note what became of an email, now. Habits open, click, return or report later what was sent."""
        settled = replace(
            email,
            status=status,
            reason=reason.value if reason else None,
            at=self.now,
            after=self.now - self.started_at,
        )
        self.emails.append(settled)
        if status == "sent":
            habits = [habit for habit in self._habits if habit.template == email.template]
            self.engagement.append((email.template, "sent", self.now))
            if all(habit.what != "bounced" for habit in habits):
                self.engagement.append((email.template, "delivered", self.now))
            self.engagement += [(email.template, habit.what, self.now + habit.delay) for habit in habits]
        return settled

    def _forward(self, at: datetime) -> None:
        if at > self.now:
            self.clock.set(at)

    def _apply(self, what: Timed, at: datetime) -> PastEvent | None:
        match what:
            case EventHappens():
                return self._record(what.event, what.properties, at)
            case PropertiesChange():
                merged = {**self.user["properties"], **what.properties}
                self.user["properties"] = {key: value for key, value in merged.items() if value is not None}
            case Unsubscribes():
                self.unsubscribed.add(what.category)
        return None

    def _record(self, name: str, properties: Mapping[str, Any], at: datetime) -> PastEvent:
        event = PastEvent(len(self.events) + 1, name, dict(properties), at)
        self.events.append(event)
        return event

    async def _exit_by(self, event: PastEvent) -> None:
        self.event_properties = event.properties
        for trigger in self.journey.exits_on(event.name):
            if trigger.where is None or (await evaluate(trigger.where, self)).held:
                self.exited_by = self.exited_by or event


def _since(at: datetime, since: datetime | None) -> bool:
    return since is None or at >= since
