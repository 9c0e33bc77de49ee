"""What a journey's function is handed: the person, and everything it may do to them.

Each method is one step: journaled once, replayed verbatim. The context knows keys and arguments; a `Driver` makes
steps happen, in the database (`hogsend.execution.live_driver`) or in memory (`hogsend.testing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from hogsend.decisions.reasons import Reason
from hogsend.journeys.conditions.builders import Condition, on
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.history import Guards, History, where_of
from hogsend.journeys.schedule import Moment
from hogsend.journeys.steps.interrupts import Interrupt, RunFailed, Transient
from hogsend.journeys.steps.journal import Journal, Step, plain
from hogsend.journeys.steps.pending_step import Unawaited, a_step
from hogsend.journeys.steps.step_driver import DecisionNote, Driver, SendArgs, StepFailed
from hogsend.journeys.steps.step_results import CollectedEvent, SendResult, TriggerEvent, User, WaitResult

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=366)
LONGEST_CALL = timedelta(minutes=2)
"""Of a function given to `ctx.once`: a slice of a run is short, and an engine cuts one that is not."""


class Context:
    """The steps that a journey can take. Await one at a time."""

    def __init__(self, driver: Driver, journal: Journal, user: User, event: TriggerEvent) -> None:
        self.user = user
        self.event = event
        self._unawaited = Unawaited()
        self.history = History(self)
        self.guard = Guards(self)
        self.interrupt: Interrupt | None = None
        self._driver = driver
        self._journal = journal
        self._inside: str | None = None

    @a_step
    async def send(
        self,
        template: str,
        *,
        props: Mapping[str, Any] | None = None,
        subject: str | None = None,
        category: str | None = None,
        label: str | None = None,
    ) -> SendResult:
        """Send `template` to the person, once. Answers when the provider took it, or why it was not sent."""
        outgoing = SendArgs(template, _json(f"ctx.send({template!r}, props=…)", props), subject, category)
        args = {
            "template": template,
            "props": outgoing.props,
            "subject": subject,
            "category": category,
        }
        result = await self.step("send", label or template, args, lambda s: self._driver.send(s, outgoing))
        return SendResult(result["status"], result["email_id"], result.get("reason"))

    @a_step
    async def sleep(self, duration: timedelta, *, label: str | None = None) -> None:
        """Do nothing for `duration`, counted from now."""
        _check_span("sleep", duration)
        seconds = duration.total_seconds()
        args = {"seconds": seconds}
        await self.step(
            "sleep",
            label or _span(duration),
            args,
            lambda s: self._driver.sleep(s, lambda now: now + duration),
        )

    @a_step
    async def sleep_until(self, moment: datetime | Moment, *, label: str | None = None) -> None:
        """Do nothing until an aware instant, or until a moment such as `when.next("monday", at="09:00")`.

        A moment is meant in the person's time zone. One that is past does not wait.
        """
        if isinstance(moment, datetime):
            if moment.tzinfo is None:
                raise JourneyError(
                    "ctx.sleep_until(…): give an aware datetime, e.g. datetime(2026, 3, 1, tzinfo=UTC)"
                )
            instant = moment
            args: dict[str, Any] = {"at": instant.isoformat()}
            await self.step(
                "sleep", label or args["at"], args, lambda s: self._driver.sleep(s, lambda _now: instant)
            )
            return
        spec, zone = moment, self.user.timezone
        args = {"moment": spec.to_json(), "timezone": str(zone)}
        await self.step(
            "sleep",
            label or spec.describe(),
            args,
            lambda s: self._driver.sleep(s, lambda now: spec.resolve(now, zone)),
        )

    @a_step
    async def wait_for_event(
        self,
        event: str,
        *,
        timeout: timedelta,
        where: Condition | Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> WaitResult:
        """Wait until the person does `event`, for at most `timeout`.

        What counts is what arrives after the previous step ended, so nothing falls between two steps.
        """
        _check_span("wait_for_event", timeout)
        condition = where_of("wait_for_event", event, where)
        args = {
            "event": event,
            "seconds": timeout.total_seconds(),
            "where": None if condition is None else condition.to_json(),
        }
        found = await self.step(
            "wait", label or event, args, lambda s: self._driver.wait(s, event, condition, timeout)
        )
        if found["timed_out"]:
            return WaitResult(timed_out=True)
        at = datetime.fromisoformat(found["occurred_at"])
        return WaitResult(False, MappingProxyType(found["properties"]), found["event_id"], at)

    @a_step
    async def digest(
        self,
        event: str,
        *,
        window: timedelta,
        where: Condition | Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> list[CollectedEvent]:
        """Collect what arrives of `event` for `window`, then go on with all of it, oldest first."""
        _check_span("digest", window)
        condition = where_of("digest", event, where)
        args = {
            "event": event,
            "seconds": window.total_seconds(),
            "where": None if condition is None else condition.to_json(),
        }
        found = await self.step(
            "digest", label or event, args, lambda s: self._driver.digest(s, event, condition, window)
        )
        return [
            CollectedEvent(
                item["event_id"],
                MappingProxyType(item["properties"]),
                datetime.fromisoformat(item["occurred_at"]),
            )
            for item in found
        ]

    @a_step
    async def checkpoint(self, label: str) -> None:
        """Name the place that the run has reached: operators see it, funnels count it."""
        note = DecisionNote(Reason.CHECKPOINT_REACHED, {"checkpoint": label})
        await self.answer("checkpoint", label, {}, "nothing", lambda _answer: note)

    @a_step
    async def trigger(
        self, event: str, properties: Mapping[str, Any] | None = None, *, label: str | None = None
    ) -> None:
        """Let an event happen to this person, once; it goes through ingestion like any other."""
        event = on(event).event
        values = _json(f"ctx.trigger({event!r}, …)", properties)
        args = {"event": event, "properties": values}
        await self.step("trigger", label or event, args, lambda s: self._driver.trigger(s, event, values))

    @a_step
    async def once(
        self,
        label: str,
        function: Callable[[], Awaitable[T]],
        *,
        timeout: timedelta = timedelta(seconds=30),
    ) -> T:
        """Call `function` and keep what it returns (JSON), for everything that is not a step of its own.

        It runs at least once: a crash between its effect and the journal runs it again. What it raises is kept
        too and comes out as `StepFailed`, so that a replay takes the same branch; so does one that is not done
        within `timeout` (real time, at most two minutes), and it is cancelled.
        """
        if not isinstance(timeout, timedelta) or not timedelta(0) < timeout <= LONGEST_CALL:
            raise JourneyError(
                f"ctx.once({label!r}, …): timeout is above zero and at most {LONGEST_CALL.total_seconds():g} seconds; "
                "start what takes longer elsewhere, and wait for its event"
            )
        call = partial(self._call, label, function)
        answer: T = await self.step("once", label, {}, lambda s: self._driver.call(s, call, timeout))
        return answer

    @a_step
    async def variant(self, name: str, arms: Sequence[str], *, weights: Sequence[float] | None = None) -> str:
        """One of `arms`, the same for this person and `name` every time, spread evenly or by `weights`."""
        if not arms or (weights is not None and (len(weights) != len(arms) or sum(weights) <= 0)):
            raise JourneyError(
                f"ctx.variant({name!r}, …): give at least one arm, and as many weights as arms"
            )
        chosen = _arm(f"{name}:{self.user.id}", list(arms), list(weights or [1.0] * len(arms)))
        args = {"arms": list(arms), "weights": list(weights) if weights else None, "arm": chosen}
        note = DecisionNote(Reason.VARIANT_CHOSEN, {"variant": name, "arm": chosen})
        await self.answer("variant", name, args, "nothing", lambda _answer: note)
        return chosen

    @a_step
    async def throttle(self, *, limit: int, per: timedelta, label: str | None = None) -> bool:
        """True where the person got fewer than `limit` emails of any kind within the last `per`."""
        _check_span("throttle", per)
        args = {"limit": limit, "seconds": per.total_seconds()}

        def note(allowed: Any) -> DecisionNote:
            reason = Reason.CONDITION_HELD if allowed else Reason.THROTTLED
            return DecisionNote(reason, {"limit": limit, "per_seconds": per.total_seconds()})

        return bool(
            await self.answer("throttle", label or f"{limit} per {_span(per)}", args, "throttle", note)
        )

    @a_step
    async def now(self) -> datetime:
        """The time, in UTC, as it was when this line first ran."""
        return datetime.fromisoformat(await self.answer("now", "now", {}, "now", lambda _answer: None))

    @a_step
    async def current_user(self) -> User:
        """The person as they are when this line first runs."""
        return User.from_json(await self.answer("user", "current", {}, "user", lambda _answer: None))

    async def answer(
        self,
        kind: str,
        label: str,
        args: Mapping[str, Any],
        ask: str,
        note: Callable[[Any], DecisionNote | None],
    ) -> Any:
        """One step that answers a question at once; authors use the named methods above."""
        return await self.step(kind, label, args, lambda s: self._driver.answer(s, ask, note))

    async def step(
        self, kind: str, label: str, args: Mapping[str, Any], run: Callable[[Step], Awaitable[Any]]
    ) -> Any:
        """Take the next step of the journal. Raises the `Interrupt` that stopped an earlier one."""
        if self.interrupt is not None:
            raise self.interrupt
        if self._inside is not None:
            self._fail(
                f"the step {kind}:{label} was begun while {self._inside} was under way: await one step at a time, "
                "without asyncio.gather or tasks, and none inside the function of ctx.once"
            )
        self.check_awaited()
        self._inside = f"{kind}:{label}"
        try:
            return await run(self._journal.next(kind, label, args))
        except Interrupt as interrupt:
            self.interrupt = interrupt
            raise
        except StepFailed:
            raise
        except Exception as error:
            self.interrupt = Transient(f"{kind}:{label}")
            raise self.interrupt from error
        finally:
            self._inside = None

    def check_awaited(self) -> None:
        """Raise `RunFailed` where a step was asked for and is not awaited, or is under way in a task of its own."""
        complaint = self._unawaited.complaint()
        if complaint is None and self._inside is not None:
            complaint = (
                f"the function went on while the step {self._inside} was under way: await it, without tasks"
            )
        if complaint is not None:
            self._fail(complaint)

    def _fail(self, mistake: str) -> NoReturn:
        """End the slice by the author's mistake, so that no `except` of theirs can swallow it."""
        self.interrupt = RunFailed(Reason.JOURNEY_RAISED, f"JourneyError: {mistake}")
        raise self.interrupt from JourneyError(mistake)

    async def _call(self, label: str, function: Callable[[], Awaitable[T]]) -> T:
        """What the function of a `once` returns. Its author's mistakes are none of the failures that are kept."""
        if not callable(function):
            self._fail(f"ctx.once({label!r}, …): give the function itself, without calling it")
        called = function()
        if not isinstance(called, Awaitable):
            self._fail(f"ctx.once({label!r}, …): the function must be async; write `async def`")
        returned = await called
        try:
            plain(returned)
        except TypeError as error:
            self._fail(
                f"ctx.once({label!r}, …) returned what the journal, which is JSON, cannot hold: {error}"
            )
        return returned


def _json(where: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """`values` as the journal gives them back. Raises `JourneyError` for what JSON cannot hold."""
    kept: dict[str, Any] = {}
    for name, value in (values or {}).items():
        try:
            kept |= plain({name: value})
        except TypeError as error:
            raise JourneyError(
                f"{where}: {name!r} is {value!r}, which JSON cannot hold ({error}); give it as a text or a number"
            ) from None
    return kept


def _check_span(method: str, span: timedelta) -> None:
    if not isinstance(span, timedelta) or span <= timedelta(0):
        raise JourneyError(f"ctx.{method}(…): give a length of time above zero, e.g. days(3)")
    if span > LONGEST_WAIT:
        raise JourneyError(
            f"ctx.{method}(…): at most {LONGEST_WAIT.days} days; split a longer one into steps"
        )


def _span(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{duration.total_seconds():g}s"


def _arm(key: str, arms: list[str], weights: list[float]) -> str:
    point = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64 * sum(weights)
    for arm, weight in zip(arms, weights, strict=True):
        point -= weight
        if point < 0:
            return arm
    return arms[-1]
