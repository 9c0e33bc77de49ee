"""Rate limit of recorded opens and clicks: by address and minute, counted in this process alone."""

from __future__ import annotations

from collections import OrderedDict

from hogsend.access.client_address import network_of
from hogsend.runtime import Runtime

WINDOW_SECONDS = 60
MOST_ADDRESSES = 10_000


class VisitLimit:
    """Fixed windows of a minute, for the addresses that came last; bounded."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._windows: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def allows(self, address: str | None) -> bool:
        """Count one visit of this address, and say whether it is within the limit."""
        window = int(self._runtime.clock.wall().timestamp()) // WINDOW_SECONDS
        network = network_of(address)
        began, count = self._windows.pop(network, (window, 0))
        count = count + 1 if began == window else 1
        self._windows[network] = (window, count)
        if len(self._windows) > MOST_ADDRESSES:
            self._windows.popitem(last=False)
        return count <= self._runtime.settings.visit_rate_limit

    async def close(self) -> None:
        """Nothing is held open."""
