"""What a journey may ask about a person's past, and about their wishes: `ctx.history` and `ctx.guard`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from hogsend.decisions.reasons import Reason
from hogsend.journeys.conditions.builders import Condition, on
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.steps.pending_step import Unawaited, a_step
from hogsend.journeys.steps.step_driver import DecisionNote


class Asks(Protocol):
    """The context that these questions are steps of."""

    _unawaited: Unawaited

    async def answer(
        self,
        kind: str,
        label: str,
        args: Mapping[str, Any],
        ask: str,
        note: Callable[[Any], DecisionNote | None],
    ) -> Any: ...


class History:
    """What the person did before; each answer is kept as it was when first asked."""

    def __init__(self, context: Asks) -> None:
        self._context = context
        self._unawaited = context._unawaited

    @a_step
    async def has_event(
        self,
        event: str,
        *,
        within: timedelta | None = None,
        where: Condition | Mapping[str, Any] | None = None,
    ) -> bool:
        """True where the person ever did `event`, or did it within the last `within`."""
        condition = where_of("history.has_event", event, where)
        return await self._ask(
            "event", event, within, {"where": None if condition is None else condition.to_json()}
        )

    @a_step
    async def journey(
        self, journey_id: str, *, status: str | None = None, within: timedelta | None = None
    ) -> bool:
        """True where the person was ever in that journey; with `status`, where a run of theirs has it."""
        return await self._ask("journey", journey_id, within, {"status": status})

    @a_step
    async def email(self, template: str, *, what: str = "sent", within: timedelta | None = None) -> bool:
        """True where that template was sent to, or delivered, opened or clicked by the person."""
        if what not in ("sent", "delivered", "opened", "clicked", "bounced"):
            raise JourneyError(
                f"ctx.history.email(what={what!r}): sent, delivered, opened, clicked or bounced"
            )
        return await self._ask("email", template, within, {"what": what})

    async def _ask(self, about: str, name: str, within: timedelta | None, more: Mapping[str, Any]) -> bool:
        args = {"name": name, "within": within.total_seconds() if within else None, **more}

        def note(held: Any) -> DecisionNote:
            reason = Reason.CONDITION_HELD if held else Reason.CONDITION_DID_NOT_HOLD
            return DecisionNote(reason, {"asked": about, **args})

        return bool(await self._context.answer("history", f"{about} {name}", args, f"has_{about}", note))


class Guards:
    """What an author may ask before writing to someone; sends ask it again by themselves."""

    def __init__(self, context: Asks) -> None:
        self._context = context
        self._unawaited = context._unawaited

    @a_step
    async def is_subscribed(self, category: str | None = None) -> bool:
        """True where an email of `category` (or of none) would not be suppressed now."""

        def note(held: Any) -> DecisionNote:
            reason = Reason.CONDITION_HELD if held else Reason.CONDITION_DID_NOT_HOLD
            return DecisionNote(reason, {"asked": "is_subscribed", "category": category})

        args = {"category": category}
        return bool(await self._context.answer("subscribed", category or "any", args, "is_subscribed", note))


def where_of(method: str, event: str, where: Condition | Mapping[str, Any] | None) -> Condition | None:
    """The condition that `where=` of a step means. Raises `JourneyError` where it asks for more than properties."""
    condition = on(event, where).where
    if condition is not None and not condition.only_properties:
        raise JourneyError(
            f"ctx.{method}({event!r}, where=…) looks at properties only: prop() and user_prop()"
        )
    return condition
