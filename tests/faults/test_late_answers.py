"""A provider's answer that comes when a later attempt has begun: it changes nothing, but for an acceptance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from hogsend.clock import ManualClock
from hogsend.emails.providers import ProviderRefused, TryLater
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.sending.protocol import deliver
from tests.driving import rows, send_email
from tests.fixtures.journeys import RunningWith

Answer = Callable[[], Awaitable[str]]


class Slow(MemoryProvider):
    """While the first attempt is on the wire, its lease ends and the second one is made and answered."""

    def __init__(self, first: Exception | str, second: Exception | str) -> None:
        super().__init__()
        self.answers = [first, second]
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None

    async def send(self, message: Any, *, idempotency_key: str) -> str:
        answer = self.answers.pop(0)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("first", "second", "message_id"),
    [
        (TryLater("late"), "m2", "m2"),
        (ProviderRefused("late"), "m2", "m2"),
        (ProviderRefused("late"), TryLater("again"), None),
        ("m1", TryLater("again"), "m1"),
        ("m1", ProviderRefused("no"), "m1"),
        ("m1", "m1", "m1"),
    ],
)
async def test_a_late_answer_changes_nothing_and_an_acceptance_is_never_lost(
    running: RunningWith,
    clock: ManualClock,
    first: Exception | str,
    second: Exception | str,
    message_id: str | None,
) -> None:
    provider = Slow(first, second)
    async with running(provider=provider) as runtime:
        email_id = (await send_email(runtime)).email_id

        async def second_attempt() -> None:
            clock.advance(timedelta(minutes=2))
            await deliver(runtime, email_id)

        provider.meanwhile = second_attempt
        await deliver(runtime, email_id)
        row = (await rows(runtime, "SELECT status, attempts, message_id, error FROM email_sends"))[0]
        assert (row.attempts, row.message_id) == (2, message_id)
        if message_id is None:
            assert (row.status, row.error) == ("queued", "again")
        sent = await rows(runtime, "SELECT kind FROM decisions WHERE kind = 'sent'")
        assert len(sent) == (1 if message_id else 0)
