"""The recipes of `docs/clients.md`, run: every event once, whatever becomes of sockets and processes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from hogsend.settings import Settings
from tests.conftest import ADMIN_KEY
from tests.engine.worker_process import SECRET, ApiProcess
from tests.standins.proxy import Fault, Proxy

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "clients.md"
CLIENTS = ("graphql_ws.mjs", "apollo.mjs", "urql.mjs", "graphql_sse.mjs", "gql_websockets.py")
NODE = 20
NO_REGISTRY = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT")
PATIENCE = 60.0
LAST = "last"


def test_the_page_quotes_each_recipe_to_the_letter() -> None:
    quoted = re.findall(r"```(?:js|python)\n(.*?)```", PAGE.read_text(), re.S)
    recipes = [path.read_text() for path in (HERE / "hogsend.mjs", *(HERE / name for name in CLIENTS))]
    assert sorted(quoted) == sorted(recipes)


def test_the_lock_names_no_registry() -> None:
    lock = (HERE / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "http" not in lock


@pytest.fixture(scope="session")
def recipes(pytestconfig: pytest.Config) -> Path:
    """The folder with the recipes and what they import. Skips where there is no node, no npm, or no registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node, or no npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE:
        pytest.skip(f"node is {version}, the recipes are for {NODE} or newer")
    declared = [HERE / "package.json", HERE / "package-lock.json"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in declared)).hexdigest()
    assert pytestconfig.cache is not None
    folder = Path(pytestconfig.cache.mkdir(f"clients-{digest[:12]}"))
    for path in [*declared, *HERE.glob("*.mjs")]:
        shutil.copy(path, folder)
    if not (folder / ".installed").exists():
        done = subprocess.run([npm, "ci", "--ignore-scripts"], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0 and any(reason in done.stderr for reason in NO_REGISTRY):
            pytest.skip("npm's registry does not answer")
        assert done.returncode == 0, done.stderr
        (folder / ".installed").touch()
    return folder


class Reader:
    """One client: what it has told, line by line, and what it complained of."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.told: list[str] = []
        self.complaints = b""
        self._process = process
        self._reading = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._hear())]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.told.append(line.decode().strip())

    async def _hear(self) -> None:
        assert self._process.stderr is not None
        self.complaints = await self._process.stderr.read()

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(*self._reading)


def command(name: str, folder: Path) -> list[str]:
    return [sys.executable, str(HERE / name)] if name.endswith(".py") else ["node", str(folder / name)]


@asynccontextmanager
async def reading(folder: Path, url: str) -> AsyncIterator[Mapping[str, Reader]]:
    """All clients at once."""
    environment = os.environ | {"HOGSEND_URL": f"{url}/graphql", "HOGSEND_KEY": ADMIN_KEY}
    readers = {}
    for name in CLIENTS:
        process = await asyncio.create_subprocess_exec(
            *command(name, folder), env=environment, stdout=PIPE, stderr=PIPE
        )
        readers[name] = Reader(name, process)
    try:
        yield readers
    finally:
        for reader in readers.values():
            await reader.stop()


async def until(readers: Mapping[str, Reader], name: str) -> None:
    """Every client has told of that event."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not all(name in reader.told for reader in readers.values()):
                await asyncio.sleep(0.05)
    except TimeoutError:
        for reader in readers.values():
            await reader.stop()
        told = {name: (reader.told, reader.complaints.decode()) for name, reader in readers.items()}
        raise AssertionError(told) from None


class Writer:
    """Ingests events past the proxy, and knows their names."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.names: list[str] = []

    async def write(self, name: str) -> None:
        sent = await self._http.post("/v1/events", json={"name": name, "userId": "ada"})
        assert sent.status_code == 202, sent.text
        self.names.append(name)

    async def write_some(self, what: str, count: int = 10) -> None:
        for number in range(count):
            await self.write(f"{what}-{number}")
            await asyncio.sleep(0.02)


@pytest.fixture
async def api(settings: Settings, clean: None) -> AsyncIterator[ApiProcess]:
    environment = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "ADMIN_API_KEY": ADMIN_KEY,
        "HOGSEND_EMAIL_PROVIDER": "inbox",
        "HOGSEND_SECRET_KEY": SECRET,
    }
    api = ApiProcess(environment)
    try:
        await begin(api)
        yield api
    finally:
        api.close()


async def begin(api: ApiProcess) -> None:
    api.start()
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient(base_url=api.url) as http:
        while True:
            try:
                await http.get("/v1/health")
                return
            except httpx.TransportError:
                assert api.lives, api.output
                await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.xdist_group("clients")
async def test_every_event_once_through_drops_dead_sockets_and_a_restart(
    recipes: Path, api: ApiProcess
) -> None:
    pytest.importorskip("gql")
    header = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with (
        Proxy(api.url) as proxy,
        httpx.AsyncClient(base_url=api.url, headers=header, timeout=20) as http,
        reading(recipes, proxy.url) as readers,
    ):
        writer = Writer(http)
        while not all("begin" in reader.told for reader in readers.values()):
            await writer.write("begin")
            await asyncio.sleep(0.2)
        for drop in range(3):
            await proxy.make(Fault.RESET)
            await writer.write_some(f"unheard-{drop}", 5)
            await proxy.make(None)
            await writer.write_some(f"dropped-{drop}", 5)
        await until(readers, writer.names[-1])
        # Dead sockets: nobody is told. Those who ping find out; SSE and others when their network says so.
        await proxy.make(Fault.HALF_OPEN)
        await writer.write_some("dead")
        await until({name: readers[name] for name in CLIENTS if name != "graphql_sse.mjs"}, writer.names[-1])
        await proxy.make(None)
        await until(readers, writer.names[-1])
        await writer.write("before-restart")
        await api.stop()
        await begin(api)
        await writer.write_some("restarted")
        await writer.write(LAST)
        await until(readers, LAST)
        await asyncio.sleep(1.0)
    for reader in readers.values():
        # What gql itself logs of a socket that is dead is no complaint of the recipe's.
        assert reader.complaints == b"" or reader.name.endswith(".py"), reader.complaints
        events = [name for name in reader.told if name != "begin"]
        assert events == [name for name in writer.names if name != "begin"], reader.name
