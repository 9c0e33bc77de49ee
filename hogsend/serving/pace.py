"""Keep many small pieces of work that become ready together from holding the loop together."""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

from hogsend.runtime import Runtime

TURNS_A_PASS = 3


class PacedSockets:
    """ASGI middleware: sockets begin at the pace of the process. Outermost, since all below it is work for each."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            runtime: Runtime = scope["app"].state.runtime
            await runtime.part(Pace).turn()
        await self.app(scope, receive, send)


class Pace:
    """Lets a few go on in each pass of the loop, in the order in which they came; whoever else is ready goes between.

    Hundreds of sockets that open in one moment move in step: each of their steps is ready for all of them at once.
    """

    def __init__(self, _runtime: Runtime) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def turn(self) -> None:
        """Wait for a turn; in a quiet process, for the next pass of the loop."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._let, loop)
        await mine

    async def close(self) -> None:
        """Nothing is held open."""

    def _let(self, loop: asyncio.AbstractEventLoop) -> None:
        turns = TURNS_A_PASS
        while self._waiting and turns:
            mine = self._waiting.popleft()
            if not mine.done():
                mine.set_result(None)
                turns -= 1
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            loop.call_soon(self._let, loop)
