"""Failed authentications, limited by the address that they come from, before a key is looked up."""

from __future__ import annotations

import math

from hogsend.access.client_address import network_of
from hogsend.access.errors import RateLimited
from hogsend.access.rate_limits import WINDOW, LocalWindows
from hogsend.runtime import Runtime
from hogsend.telemetry.counters import RATE_LIMITED


class FailedAttempts:
    """A sliding minute of each address' failures (in IPv6, each /64's), in this process, whatever Redis does.

    Keys that were good lately are let in from an address that is over the limit: others behind one proxy are not to
    suffer for whoever guesses there.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._windows = LocalWindows()

    def check(self, address: str | None) -> None:
        """Raise `RateLimited` where the address has failed too often within the last minute."""
        limit = self._runtime.settings.failed_auth_limit
        now = self._runtime.clock.wall().timestamp()
        used, oldest = self._windows.look(network_of(address), now)
        if used >= limit:
            RATE_LIMITED.labels("authentication").inc()
            raise RateLimited(limit, max(1, math.ceil(oldest + WINDOW - now)))

    def note(self, address: str | None) -> None:
        """Count a failure."""
        now = self._runtime.clock.wall().timestamp()
        self._windows.count(network_of(address), now, self._runtime.settings.failed_auth_limit)

    async def close(self) -> None:
        """Nothing is held open."""
