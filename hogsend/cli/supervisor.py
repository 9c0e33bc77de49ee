"""What `hogsend dev` does: servers, migrations, children, until a signal; then all of it backwards."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
from rich.text import Text

from hogsend.cli.children import Children, Role
from hogsend.cli.migrate import bring_up_to_date
from hogsend.cli.problem import Problem
from hogsend.cli.terminal import out
from hogsend.settings import Settings, load_settings
from hogsend.storage.embedded import EmbeddedError, EmbeddedStack

T = TypeVar("T")

_READY_SECONDS = 60.0
_COLOURS = {"api": "cyan", "worker": "green", "demo": "magenta"}


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    port: int
    state_dir: Path | None
    demo: bool
    speed: float
    reload: bool


class Supervisor:
    """One `hogsend dev`, from its start to its end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._began = time.monotonic()
        self._stack = EmbeddedStack(
            options.state_dir,
            postgres=not os.environ.get("DATABASE_URL"),
            valkey=not os.environ.get("REDIS_URL"),
        )
        self._children: Children | None = None
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP. Raises `Problem` when it cannot start or go on."""
        self._running = asyncio.create_task(self._run())
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._stop)
        try:
            await self._running
        except asyncio.CancelledError:
            return
        except EmbeddedError as error:
            raise Problem(str(error)) from None

    def _stop(self) -> None:
        """The first signal stops; the next ones are an impatient person's, and children are killed at once."""
        if self._running is None or self._running.done():
            return
        if not self._running.cancelling():
            out.print(Text("Stopping …", style="dim"))
            self._running.cancel()
        elif self._children is not None:
            self._children.kill()

    async def _run(self) -> None:
        self._stack.home.open()
        try:
            self._children = children = Children(self._stack.home, say)
            for name in await _finish(lambda: children.end_left(tuple(_COLOURS))):
                say(name, "was left by a killed `hogsend dev`; ended")
            with _listen(self._options.port) as listener:
                await _finish(self._stack.start)
                for name in self._stack.adopted:
                    say(name, "was left by a killed `hogsend dev`; adopted")
                try:
                    await self._serve(children, listener)
                finally:
                    await children.stop()
        finally:
            await _finish(self._stack.stop)

    async def _serve(self, children: Children, listener: socket.socket) -> None:
        settings = self._settings()
        descriptor = listener.fileno()
        children.start(Role("api", ("api", "--fd", str(descriptor)), file=descriptor))
        children.start(Role("worker", ("worker",)))
        await bring_up_to_date(settings)
        children.release()
        await _until_ready(children, self._options.port)
        self._show_where(settings)
        if self._options.demo:
            children.start(Role("demo", ("demo",), kept=False))
        forever = [self._watch_servers()]
        if self._options.reload:
            try:
                from hogsend.cli.reload import restart_on_change
            except ImportError:
                raise Problem("--reload needs watchfiles: install hogsend[dev].") from None
            forever.append(restart_on_change(children, settings, say))
        await asyncio.gather(*forever)

    async def _watch_servers(self) -> None:
        while True:
            await asyncio.sleep(1)
            for name in await _finish(self._stack.revive):
                say(name, "had died; started again")

    def _settings(self) -> Settings:
        """Put into the environment, which children inherit, what was chosen here; then read it as they will."""
        stack, home = self._stack, self._stack.home
        if not os.environ.get("DATABASE_URL"):
            os.environ["DATABASE_URL"] = stack.database_url
        if not os.environ.get("REDIS_URL"):
            os.environ["REDIS_URL"] = stack.redis_url
        for name in ("ADMIN_API_KEY", "HOGSEND_SECRET_KEY"):
            if not os.environ.get(name):
                os.environ[name] = home.secret(name.lower())
        os.environ["HOGSEND_PORT"] = str(self._options.port)
        os.environ["HOGSEND_SPEED"] = str(self._options.speed)
        os.environ["HOGSEND_DEV"] = "true"
        os.environ.setdefault("HOGSEND_LOG_FORMAT", "console")
        return load_settings()

    def _show_where(self, settings: Settings) -> None:
        key = settings.admin_api_key
        base = f"http://localhost:{self._options.port}"
        speed = self._options.speed
        rows = [
            ("GraphiQL", f"{base}/graphql"),
            ("Inbox", f"{base}/dev/inbox"),
            ("Admin key", key.get_secret_value() if key else ""),
            ("Data", str(self._stack.home.path)),
            ("Clock", "real time" if speed == 1 else f"{speed:g} times as fast as real time"),
        ]
        out.print()
        out.print(
            Text(f"Hogsend runs, after {time.monotonic() - self._began:.1f} s. Ctrl-C stops it.", "bold")
        )
        for name, value in rows:
            out.print(Text.assemble("  ", (f"{name:<11}", "dim"), value))
        out.print()


def say(name: str, line: str) -> None:
    """Show a line of a child, or about it."""
    text = Text.assemble((f"{name:>8} │ ", _COLOURS.get(name, "yellow")))
    out.print(text.append_text(Text.from_ansi(line)))


def _listen(port: int) -> socket.socket:
    """The API's socket, held here so that no call is refused while the API is started again."""
    host = os.environ.get("HOGSEND_HOST") or "127.0.0.1"
    try:
        return socket.create_server((host, port), backlog=1024)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise Problem(f"Port {port} is taken. Choose another with --port.") from None
        raise Problem(f"Cannot listen on {host}:{port}: {error}.") from None


async def _until_ready(children: Children, port: int) -> None:
    """Return when the API answers. Raises `Problem` where its process ends before it does."""
    answering = asyncio.create_task(_answers(f"http://127.0.0.1:{port}/v1/health"))
    dying = asyncio.create_task(children.death("api"))
    try:
        await asyncio.wait({answering, dying}, timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise Problem("The API did not start. What it said stands above.")
    finally:
        answering.cancel()
        dying.cancel()


async def _answers(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=_READY_SECONDS) as client:
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def _finish(work: Callable[[], T]) -> T:
    """Run blocking work in a thread, to its end even when we are cancelled: half a server cannot be stopped."""
    working = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise
