"""The processes that `hogsend dev` runs: their output is shown, they come back when they die, they end with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from hogsend.storage.embedded.home import Home
from hogsend.storage.embedded.processes import command_of, end

Say = Callable[[str, str], None]

_GRACE_SECONDS = 15.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
# Who lived this long did not die of how it starts: its next pause is short again.
_HEALTHY_SECONDS = 10.0


@dataclass(frozen=True)
class Role:
    """What a child is: its name, the arguments of `hogsend` it runs with, and whether it is kept running."""

    name: str
    arguments: tuple[str, ...]
    kept: bool = True
    file: int | None = None


class Children:
    """The children of one `hogsend dev`. `say(name, line)` shows a line; `home` remembers who to end after a kill."""

    def __init__(self, home: Home, say: Say) -> None:
        self._home = home
        self._say = say
        self._mark = home.secret("supervisor")
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: set[asyncio.Task[None]] = set()
        self._deaths: dict[str, asyncio.Event] = {}
        self._stopping = asyncio.Event()

    def end_left(self, names: tuple[str, ...]) -> list[str]:
        """End what a killed `hogsend dev` left running. Blocks. The names of those it ended."""
        ended = []
        for name in names:
            pid = self._home.remembered(f"{name}_pid")
            if isinstance(pid, int) and self._mark in command_of(pid):
                end(pid, ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)), self._mark)
                ended.append(name)
        return ended

    def start(self, role: Role) -> None:
        """Run a child, and run it again when it dies if it is kept."""
        self._deaths[role.name] = asyncio.Event()
        self._keepers.add(asyncio.create_task(self._keep(role), name=role.name))

    async def death(self, name: str) -> None:
        """Return when that child's process has ended for the first time."""
        await self._deaths[name].wait()

    async def stop(self) -> None:
        """Return when no child is left: SIGTERM, 15 seconds, SIGKILL."""
        self._stopping.set()
        for process in self._living():
            process.terminate()
        if self._keepers:
            _, late = await asyncio.wait(self._keepers, timeout=_GRACE_SECONDS)
            self.kill()
            if late:
                await asyncio.wait(late)

    def kill(self) -> None:
        """SIGKILL to each, now."""
        for process in self._living():
            process.kill()

    def _living(self) -> list[asyncio.subprocess.Process]:
        return [process for process in self._processes.values() if process.returncode is None]

    async def _keep(self, role: Role) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run(role)
            self._deaths[role.name].set()
            if self._stopping.is_set() or (code == 0 and not role.kept):
                return
            how = (
                f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            )
            if not role.kept:
                self._say(role.name, how)
                return
            lived = time.monotonic() - started
            pause = (
                _SHORTEST_PAUSE
                if lived > _HEALTHY_SECONDS
                else min(pause * 2 or _SHORTEST_PAUSE, _LONGEST_PAUSE)
            )
            self._say(role.name, f"{how}; starting it again in {pause:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run(self, role: Role) -> int:
        """One life of a child. Its standard input is a pipe that ends when we do, however we do."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hogsend.cli", *role.arguments, "--supervised", self._mark),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if role.file is None else (role.file,),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._processes[role.name] = process
        self._home.remember(f"{role.name}_pid", process.pid)
        if self._stopping.is_set():
            process.terminate()
        if process.stdout is not None:
            async for line in _lines(process.stdout):
                self._say(role.name, line)
        return await process.wait()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines of any length; `StreamReader.readline` refuses long ones."""
    rest = b""
    while chunk := await stream.read(65536):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip()
    if rest:
        yield rest.decode(errors="replace").rstrip()
