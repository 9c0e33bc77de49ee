"""What a context asks of whoever makes its steps happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.journeys.conditions.builders import Condition
from hogsend.journeys.steps.journal import Step, plain


class StepFailed(Exception):
    """The function that `ctx.once` called raised, or took too long. It is journaled: a replay raises it again."""


async def call_with_timeout(function: Callable[[], Awaitable[Any]], timeout: timedelta) -> dict[str, Any]:
    """What the journal keeps of an author's function: its `value` (JSON), or the `error` that it ended with."""
    import asyncio  # A third of what `import hogsend` would take, and no definition needs it.

    try:
        async with asyncio.timeout(timeout.total_seconds()) as limit:
            return {"value": plain(await function())}
    except Exception as error:
        if limit.expired():
            return {"error": f"it was not done within {timeout.total_seconds():g} seconds"}
        return {"error": f"{type(error).__name__}: {error}"}


def called_value(result: Mapping[str, Any]) -> Any:
    """The value that `call_with_timeout` kept. Raises `StepFailed` where it kept an error."""
    if "error" in result:
        raise StepFailed(result["error"])
    return result["value"]


@dataclass(frozen=True)
class SendArgs:
    """A send as the author asked for it."""

    template: str
    props: Mapping[str, Any]
    subject: str | None
    category: str | None


@dataclass(frozen=True)
class DecisionNote:
    """What the ledger keeps of a step that only decides something."""

    reason: Reason
    detail: Mapping[str, Any]
    kind: DecisionKind = DecisionKind.BRANCHED


class Driver(Protocol):
    """Makes steps happen. Each method answers a recorded step from the journal, or raises an `Interrupt`."""

    async def answer(self, step: Step, ask: str, note: Callable[[Any], DecisionNote | None]) -> Any:
        """Answer a question about now (`ask` names it, `step.args` holds its arguments) and keep the answer."""
        ...

    async def call(self, step: Step, function: Callable[[], Awaitable[Any]], timeout: timedelta) -> Any: ...
    async def sleep(self, step: Step, until: Callable[[datetime], datetime]) -> None: ...
    async def wait(
        self, step: Step, event: str, where: Condition | None, timeout: timedelta
    ) -> dict[str, Any]: ...
    async def digest(
        self, step: Step, event: str, where: Condition | None, window: timedelta
    ) -> list[Any]: ...
    async def send(self, step: Step, outgoing: SendArgs) -> dict[str, Any]: ...
    async def trigger(self, step: Step, event: str, properties: Mapping[str, Any]) -> None: ...
