"""Admission, the same for every transport: authentication, rate limit, scope."""

from __future__ import annotations

from dataclasses import dataclass

from hogsend.access.authenticate import authenticate
from hogsend.access.caller import Caller, Scope
from hogsend.access.errors import InsufficientScope
from hogsend.access.rate_limits import Plane, Rate, RateLimiter
from hogsend.runtime import Runtime


@dataclass
class Admitted:
    """A caller whose request was counted. `rate.headers` belong on every response from here on."""

    caller: Caller
    rate: Rate

    async def count_more(self, runtime: Runtime, plane: Plane, more: int) -> None:
        """Count what the request is worth besides itself: all of it or nothing. Raises `RateLimited`."""
        if more > 0:
            self.rate = await runtime.part(RateLimiter).count(self.caller, plane, more)

    def require(self, scope: Scope | None) -> None:
        """Raise `InsufficientScope` unless the key opens `scope`; None is open to any key."""
        if scope is not None and not self.caller.may(scope):
            error = InsufficientScope()
            error.headers.update(self.rate.headers)
            raise error


async def admit(
    runtime: Runtime, authorization: str | None, address: str | None, plane: Plane = Plane.ADMIN
) -> Admitted:
    """Authenticate and count one request. Raises `AccessError`: 401, 429 or 503."""
    caller = await authenticate(runtime, authorization, address)
    return Admitted(caller, await runtime.part(RateLimiter).count(caller, plane))
