"""A headless Chromium, spoken to by the DevTools protocol: open a page, see its text, hear its console."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
# It is to ask nobody but the server under test, and to leave nothing behind.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=1280,900",
)
PATIENCE = 60.0
"""Seconds: on a loaded machine a browser takes its time. A page that is ready ends the wait at once."""


class NotOnThePage(Exception):
    """An expression raised, or the page that it was asked of has gone."""


class Page:
    """One tab. `errors` is what its console says of errors: those of scripts, and of what could not be loaded."""

    def __init__(self, socket: ClientConnection) -> None:
        self.errors: list[str] = []
        self._socket = socket
        self._ids = count(1)

    async def open(self, url: str) -> None:
        """Go there. The page may not have rendered yet: see `until`."""
        for domain in ("Runtime", "Log", "Page"):
            await self._do(f"{domain}.enable")
        await self._do("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to, where it is JSON; a promise is awaited."""
        done = await self._do(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise NotOnThePage(done["exceptionDetails"]["exception"]["description"])
        return done["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true; while a page comes or goes, it may also raise."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    with suppress(NotOnThePage):
                        if await self.value(expression):
                            return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            seen = await self.value("document.body?.innerText")
            raise AssertionError(f"never: {expression}\n{self.errors}\n{seen}") from None

    async def picture(self) -> bytes:
        """What is to be seen, as PNG."""
        return base64.b64decode((await self._do("Page.captureScreenshot"))["data"])

    async def _do(self, method: str, **given: Any) -> dict[str, Any]:
        """One command, and its answer; what happens meanwhile is noted."""
        number = next(self._ids)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": given}))
        async with asyncio.timeout(PATIENCE):
            while True:
                message: dict[str, Any] = json.loads(await self._socket.recv())
                if message.get("id") == number:
                    if "error" in message:
                        raise NotOnThePage(message["error"]["message"])
                    answer: dict[str, Any] = message["result"]
                    return answer
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                thrown = details.get("exception", {}).get("description", details["text"])
                self.errors.append(str(thrown))
            case {"method": "Runtime.consoleAPICalled", "params": {"type": "error" | "assert", "args": args}}:
                self.errors.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in args))
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error"} as entry}}:
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")
            case _:
                pass


class Browser:
    """A running Chromium."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A new, empty tab."""
        async with httpx.AsyncClient(base_url=self._url, timeout=PATIENCE) as http:
            tab = (await http.put("/json/new?about:blank")).json()
            async with connect(tab["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                yield Page(socket)
            await http.get(f"/json/close/{tab['id']}")


@asynccontextmanager
async def open_browser(directory: Path) -> AsyncIterator[Browser]:
    """A browser whose profile is in `directory`; it is gone at the end of the block, with all of its processes."""
    assert CHROMIUM is not None
    told = directory / "DevToolsActivePort"
    with subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={directory}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            async with asyncio.timeout(PATIENCE):
                while not told.exists() or not told.read_text().strip():
                    assert process.poll() is None, f"{CHROMIUM} ended with {process.returncode}"
                    await asyncio.sleep(0.02)
            yield Browser(f"http://127.0.0.1:{told.read_text().split()[0]}")
        finally:
            process.terminate()
            process.wait()
