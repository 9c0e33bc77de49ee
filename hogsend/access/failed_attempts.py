"""Failed authentications, limited by the address that they come from, before a key is looked up."""

from __future__ import annotations

from hogsend.access.client_address import network_of
from hogsend.access.errors import RateLimited
from hogsend.access.rate_limits import LocalWindows, SharedWindows, seconds_left
from hogsend.runtime import Runtime
from hogsend.telemetry.counters import RATE_LIMITED


class FailedAttempts:
    """A sliding minute of each address' failures (in IPv6, each /64's), shared by all processes; in this one's memory
    while Redis does not answer.

    Keys that were good lately are let in from an address that is over the limit: others behind one proxy are not to
    suffer for whoever guesses there.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._local = LocalWindows()

    async def check(self, address: str | None) -> None:
        """Raise `RateLimited` where the address has failed too often within the last minute, anywhere.

        Who has done so here is told without asking Redis.
        """
        limit = self._runtime.settings.failed_auth_limit
        now = self._runtime.clock.wall()
        window = self._local.look(network_of(address), now.timestamp(), limit)
        if window[0]:
            window = await self._runtime.part(SharedWindows).look(_key(address), now, limit) or window
        allowed, _, oldest = window
        if not allowed:
            RATE_LIMITED.labels("authentication").inc()
            raise RateLimited(limit, seconds_left(oldest, now))

    async def note(self, address: str | None) -> None:
        """Count a failure."""
        limit = self._runtime.settings.failed_auth_limit
        now = self._runtime.clock.wall()
        self._local.count(network_of(address), now.timestamp(), limit)
        await self._runtime.part(SharedWindows).count(_key(address), now, limit)

    async def close(self) -> None:
        """Nothing is held open."""


def _key(address: str | None) -> str:
    return f"failed:{network_of(address)}"
