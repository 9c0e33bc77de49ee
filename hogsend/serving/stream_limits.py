"""How many streams a key and an address may have open in one process, and how many sockets an address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from graphql import GraphQLError

from hogsend.access.caller import Caller
from hogsend.access.client_address import network_of
from hogsend.graphql.errors import Code, problem
from hogsend.runtime import Runtime

RETRY_SECONDS = 30


class StreamLimits:
    """Counts what is open. Limits are each process's own, as its memory and its loop are."""

    def __init__(self, runtime: Runtime) -> None:
        self._settings = runtime.settings
        self._of_key: Counter[str] = Counter()
        self._of_address: Counter[str] = Counter()
        self._sockets: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        """How many are open."""
        return self._of_key.total()

    @property
    def sockets(self) -> int:
        """How many are open, with streams or without."""
        return self._sockets.total()

    @contextmanager
    def stream(self, caller: Caller, address: str | None) -> Iterator[None]:
        """Count one stream for the block. Raises `GraphQLError` (THROTTLED) over either limit."""
        where = network_of(address)
        with (
            _counted(self._of_key, caller.rate_key, self._settings.streams_per_key, "A key has"),
            _counted(self._of_address, where, self._settings.streams_per_address, "An address has"),
        ):
            yield

    @contextmanager
    def socket(self, address: str | None) -> Iterator[None]:
        """Count one socket for the block, before its sender is known. Raises as `stream`."""
        most = self._settings.sockets_per_address
        with _counted(self._sockets, network_of(address), most, "An address has", "sockets"):
            yield

    async def close(self) -> None:
        """Nothing is held open."""


@contextmanager
def _counted(counts: Counter[str], key: str, most: int, whose: str, what: str = "streams") -> Iterator[None]:
    if counts[key] >= most:
        raise too_many(f"{whose} at most {most:,} {what} open in one process")
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


def too_many(message: str) -> GraphQLError:
    return problem(message, Code.THROTTLED, retryAfter=RETRY_SECONDS)
