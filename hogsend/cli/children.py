"""The processes that `hogsend dev` runs: their output is shown, they come back when they die, they end with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
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


class _Child:
    """A role, and the process that plays it now."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.process: asyncio.subprocess.Process | None = None
        self.died = asyncio.Event()
        self.again = asyncio.Event()

    def signal(self, signum: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signum)


class Children:
    """The children of one `hogsend dev`. `say(name, line)` shows a line; `home` remembers who to end after a kill."""

    def __init__(self, home: Home, say: Say) -> None:
        self._home = home
        self._say = say
        self._mark = home.secret("supervisor")
        self._children: dict[str, _Child] = {}
        self._keepers: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
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
        child = self._children[role.name] = _Child(role)
        self._keepers.add(asyncio.create_task(self._keep(child), name=role.name))

    def release(self) -> None:
        """Let the children, which have only imported so far, begin; those that start later begin at once."""
        self._released.set()

    def restart(self, name: str) -> None:
        """Let a child finish what it does, then run it again; at once, where it was about to be anyway."""
        child = self._children[name]
        child.again.set()
        child.signal(signal.SIGTERM)

    async def death(self, name: str) -> None:
        """Return when that child's process has ended for the first time."""
        await self._children[name].died.wait()

    async def stop(self) -> None:
        """Return when no child is left: SIGTERM, 15 seconds, SIGKILL."""
        self._stopping.set()
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        if self._keepers:
            _, late = await asyncio.wait(self._keepers, timeout=_GRACE_SECONDS)
            self.kill()
            if late:
                await asyncio.wait(late)

    def kill(self) -> None:
        """SIGKILL to each, now."""
        for child in self._children.values():
            child.signal(signal.SIGKILL)

    async def _keep(self, child: _Child) -> None:
        name, kept = child.role.name, child.role.kept
        pause = 0.0
        while not self._stopping.is_set():
            child.again.clear()
            started = time.monotonic()
            code = await self._run(child)
            child.died.set()
            if self._stopping.is_set() or (code == 0 and not kept):
                return
            if child.again.is_set():
                continue
            how = (
                f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            )
            if not kept:
                self._say(name, how)
                return
            short = pause == 0 or time.monotonic() - started > _HEALTHY_SECONDS
            pause = _SHORTEST_PAUSE if short else min(pause * 2, _LONGEST_PAUSE)
            self._say(name, f"{how}; starting it again in {pause:g} s")
            await _first(self._stopping, child.again, seconds=pause)

    async def _run(self, child: _Child) -> int:
        """One life of a child. Its standard input is a pipe that ends when we do, however we do."""
        role = child.role
        child.process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hogsend.cli", *role.arguments, "--supervised", self._mark),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if role.file is None else (role.file,),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._home.remember(f"{role.name}_pid", process.pid)
        if self._stopping.is_set():
            process.terminate()
        releasing = asyncio.create_task(self._release(process))
        try:
            if process.stdout is not None:
                async for line in _lines(process.stdout):
                    self._say(role.name, line)
            return await process.wait()
        finally:
            releasing.cancel()

    async def _release(self, process: asyncio.subprocess.Process) -> None:
        await self._released.wait()
        if process.stdin is not None:
            process.stdin.write(b"\n")


async def _first(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or after so many seconds."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines of any length; `StreamReader.readline` refuses long ones."""
    rest = b""
    while chunk := await stream.read(65536):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip()
    if rest:
        yield rest.decode(errors="replace").rstrip()
