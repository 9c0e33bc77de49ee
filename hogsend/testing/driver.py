"""Step driver in memory, at once, on a virtual clock. The contract is that of `execution.live_driver`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.retries import KEY_LIFETIME, pause_after
from hogsend.journeys.conditions.builders import Condition
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.steps.interrupts import RunEnded
from hogsend.journeys.steps.journal import Step
from hogsend.journeys.steps.step_driver import DecisionNote, SendArgs, call_with_timeout, called_value
from hogsend.testing.lookups import answer
from hogsend.testing.world import SentEmail, World

MOST_STEPS = 10_000

if TYPE_CHECKING:
    from hogsend.emails.templates.render import Templates


class MemoryDriver:
    """Drives one run in a `World`. A step that is done already answers from the journal, as on a replay."""

    def __init__(self, world: World, templates: Templates | None) -> None:
        self.world = world
        self.steps: list[Step] = []
        self._templates = templates
        self._cursor = len(world.events)

    async def answer(self, step: Step, ask: str, note: Callable[[Any], DecisionNote | None]) -> Any:
        if step.done:
            return step.result
        self._begin()
        return self._close(step, await answer(ask, self.world, step.args))

    async def call(self, step: Step, function: Callable[[], Awaitable[Any]], timeout: timedelta) -> Any:
        if not step.done:
            self._begin()
            self._close(step, await call_with_timeout(function, timeout))
        return called_value(step.result)

    async def sleep(self, step: Step, until: Callable[[datetime], datetime]) -> None:
        if step.done:
            return
        self._begin()
        step.deadline = until(self.world.now)
        while await self.world.next_happening(step.deadline):
            self._check_alive()
        self._close(step, {}, cursor=len(self.world.events))

    async def wait(
        self, step: Step, event: str, where: Condition | None, timeout: timedelta
    ) -> dict[str, Any]:
        if step.done:
            return dict(step.result)
        self._begin()
        step.deadline = self.world.now + timeout
        more = True
        while more:
            found = self.world.arrived(event, where, self._cursor)
            if found:
                result = {"timed_out": False, "seq": found[0].seq, **found[0].to_json()}
                return dict(self._close(step, result, cursor=found[0].seq))
            more = await self.world.next_happening(step.deadline)
            self._check_alive()
        return dict(self._close(step, {"timed_out": True}, cursor=len(self.world.events)))

    async def digest(
        self, step: Step, event: str, where: Condition | None, window: timedelta
    ) -> list[dict[str, Any]]:
        if step.done:
            return list(step.result)
        self._begin()
        step.deadline = self.world.now + window
        while await self.world.next_happening(step.deadline):
            self._check_alive()
        found = [one.to_json() for one in self.world.arrived(event, where, self._cursor)]
        return list(self._close(step, found, cursor=len(self.world.events)))

    async def send(self, step: Step, outgoing: SendArgs) -> dict[str, Any]:
        if step.done:
            return dict(step.result)
        self._begin()
        email = await self._bring(self._composed(outgoing))
        result = {"status": email.status, "email_id": str(uuid5(NAMESPACE_URL, step.key))}
        return dict(self._close(step, result | ({"reason": email.reason} if email.reason else {})))

    async def _bring(self, email: SentEmail) -> SentEmail:
        """Bring an email to its end, as `emails.sending.deliver` does, call by call."""
        began, attempt = self.world.now, 0
        while True:
            if self.world.now - began > KEY_LIFETIME:
                return self.world.settle(email, "failed", Reason.RETRIES_EXHAUSTED)
            unwanted = self.world.refusal(email.category)
            if unwanted is not None:
                return self.world.settle(email, "suppressed", unwanted)
            if not self.world.is_down:
                break
            attempt += 1
            again = self.world.now + pause_after(attempt)
            while await self.world.next_happening(again):
                if self.world.exited_by is not None:
                    self.world.settle(email, "suppressed", Reason.RUN_ENDED)
                    self._check_alive()
        if self.world.refuses(email.template):
            return self.world.settle(email, "failed", Reason.PROVIDER_REFUSED)
        return self.world.settle(email, "sent")

    async def trigger(self, step: Step, event: str, properties: Mapping[str, Any]) -> None:
        if step.done:
            return
        self._begin()
        happened = await self.world.happen(event, properties)
        self._close(step, {"event_id": happened.id}, cursor=len(self.world.events))

    def _composed(self, outgoing: SendArgs) -> SentEmail:
        now = self.world.now
        category = outgoing.category or self.world.journey.category
        email = SentEmail(
            outgoing.template,
            outgoing.props,
            category,
            now,
            now - self.world.started_at,
            subject=outgoing.subject,
        )
        if self._templates is None:
            return email
        template = self._templates.get(outgoing.template)
        rendered = self._templates.render(
            outgoing.template,
            {
                "contact": self.world.user,
                "props": dict(outgoing.props),
                "unsubscribe_url": "https://example.com/unsubscribe",
                "preferences_url": "https://example.com/preferences",
                "base_url": "https://example.com",
            },
        )
        return SentEmail(
            template=email.template,
            props=email.props,
            category=category or template.category,
            at=email.at,
            after=email.after,
            subject=outgoing.subject or rendered.subject,
            html=rendered.html,
            text=rendered.text,
        )

    def _begin(self) -> None:
        self._check_alive()
        if len(self.steps) >= MOST_STEPS:
            raise JourneyError(f"{MOST_STEPS} steps without an end: does the journey loop for ever?")

    def _check_alive(self) -> None:
        if self.world.exited_by is not None:
            raise RunEnded(self.world.exited_by.name)

    def _close(self, step: Step, result: Any, *, cursor: int = 0) -> Any:
        """Keep a step's result. Where it let time pass, the next wait begins behind event `cursor`."""
        step.status, step.result = "done", result
        self.steps.append(step)
        self._cursor = max(self._cursor, cursor)
        return result
