"""The private servers: who they run as, what survives, what is adopted, and what is refused in one line."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from hogsend.storage.embedded import EmbeddedError, EmbeddedStack, default_state_dir

SUPERVISOR = """
import os, pathlib, signal, sys
from hogsend.storage.embedded import EmbeddedStack
stack = EmbeddedStack(pathlib.Path(sys.argv[1]), throwaway=sys.argv[2] == "throwaway")
stack.start()
print(stack.postgres.pid, stack.valkey.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user the servers run as that user")


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """Not `tmp_path`: the directories above it are closed to `nobody`."""
    with tempfile.TemporaryDirectory(prefix="hogsend-tests-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    """For tests that only look."""
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-tests-") as directory,
        EmbeddedStack(Path(directory), throwaway=True) as running,
    ):
        yield running


def query(url: str, statement: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def killed_supervisor(state_dir: Path, mode: str) -> list[int]:
    """Start a stack in a process that is then killed; the pids of its servers."""
    done = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, str(state_dir), mode], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return [int(pid) for pid in done.stdout.split()]


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def until(holds: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if holds():
            return
        signal.sigtimedwait([], 0.01)
    pytest.fail("it did not come to hold in a minute")


def test_what_was_written_is_there_at_the_next_start_on_the_same_ports(state_dir: Path) -> None:
    with EmbeddedStack(state_dir) as first:
        query(first.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        with redis.Redis.from_url(first.redis_url) as client:
            client.set("kept", "42")
        urls = (first.database_url, first.redis_url)
        pids = [first.postgres.pid, first.valkey.pid]
    assert not any(runs(pid) for pid in pids if pid)
    with EmbeddedStack(state_dir) as second:
        assert (second.database_url, second.redis_url) == urls
        assert second.adopted == []
        assert query(second.database_url, "SELECT answer FROM kept") == 42
        with redis.Redis.from_url(second.redis_url) as client:
            assert client.get("kept") == b"42"


def test_only_loopback_and_only_with_the_password(stack: EmbeddedStack) -> None:
    for pid in (stack.postgres.pid, stack.valkey.pid):
        process = psutil.Process(pid)
        listening = {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        assert stack.home.secret("password") not in " ".join(process.cmdline())
    password = stack.home.secret("password")
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(stack.database_url.replace(password, "guess"), "SELECT 1")
    with (
        redis.Redis.from_url(stack.redis_url.replace(password, "guess")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_secrets_are_for_their_owner_alone(stack: EmbeddedStack) -> None:
    secret = stack.home.secret("password")
    files = [path for path in stack.home.path.rglob("*") if path.is_file() and path.stat().st_size < 10_000]
    holding = [path for path in files if secret.encode() in path.read_bytes()]
    assert {path.name for path in holding} == {"state.json", "valkey.conf"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_postgres_thinks_in_utc_and_utf8(stack: EmbeddedStack) -> None:
    url = stack.database_url
    assert query(url, "SHOW timezone") == "UTC"
    assert query(url, "SHOW server_encoding") == "UTF8"
    assert query(url, "SELECT upper('é')") == "É"


@root_only
def test_root_runs_them_as_nobody(stack: EmbeddedStack) -> None:
    for pid in (stack.postgres.pid, stack.valkey.pid):
        assert psutil.Process(pid).username() == "nobody"
        assert psutil.Process(pid).gids().real == psutil.Process(pid).gids().effective != 0


def test_servers_of_a_killed_supervisor_are_adopted_and_then_stopped(state_dir: Path) -> None:
    left = killed_supervisor(state_dir, "durable")
    assert all(runs(pid) for pid in left)
    with EmbeddedStack(state_dir) as stack:
        assert sorted(stack.adopted) == ["postgres", "valkey"]
        assert [stack.postgres.pid, stack.valkey.pid] == left
        assert query(stack.database_url, "SELECT 1") == 1
    assert not any(runs(pid) for pid in left)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_throwaway_servers_die_with_whoever_started_them(state_dir: Path) -> None:
    left = killed_supervisor(state_dir, "throwaway")
    until(lambda: not any(runs(pid) for pid in left))


def test_a_server_that_died_is_revived_on_its_port(own_stack: EmbeddedStack) -> None:
    url = own_stack.database_url
    pid = own_stack.postgres.pid
    assert pid is not None
    assert own_stack.revive() == []
    os.kill(pid, signal.SIGKILL)
    until(lambda: not runs(pid))
    assert own_stack.revive() == ["postgres"]
    assert own_stack.database_url == url
    assert query(url, "SELECT 1") == 1


def test_a_pid_file_whose_number_is_another_programs_now(own_stack: EmbeddedStack) -> None:
    own_stack.stop()
    own_stack.postgres.pid_file.write_text(f"{os.getpid()}\n")
    own_stack.valkey.pid_file.write_text(f"{os.getpid()}\n")
    own_stack.start()
    assert own_stack.adopted == []
    assert query(own_stack.database_url, "SELECT 1") == 1


def test_a_remembered_port_that_someone_took_is_replaced(own_stack: EmbeddedStack) -> None:
    own_stack.stop()
    taken = [own_stack.postgres.port, own_stack.valkey.port]
    with socket.create_server(("127.0.0.1", taken[0])), socket.create_server(("127.0.0.1", taken[1])):
        own_stack.start()
        assert own_stack.postgres.port not in taken
        assert own_stack.valkey.port not in taken
        assert query(own_stack.database_url, "SELECT 1") == 1


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(state_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = EmbeddedStack(state_dir, throwaway=True, postgres=False, valkey_port=port)
        with pytest.raises(EmbeddedError, match="Address already in use"):
            stack.start()
    assert stack.valkey.pid is None


def test_one_supervisor_at_a_time(stack: EmbeddedStack) -> None:
    with pytest.raises(EmbeddedError, match=rf"Another Hogsend \(process {os.getpid()}\) is using"):
        EmbeddedStack(stack.home.path).start()
    assert query(stack.database_url, "SELECT 1") == 1


def test_a_directory_that_cannot_be_made(state_dir: Path) -> None:
    (state_dir / "file").touch()
    with pytest.raises(EmbeddedError, match=r"Cannot write to the state directory .*: not a directory"):
        EmbeddedStack(state_dir / "file" / "below").start()


@root_only
def test_root_is_told_which_directory_nobody_cannot_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=f"cannot enter {closed}"):
        EmbeddedStack(closed / "state").start()
    assert list(closed.iterdir()) == []


@root_only
def test_root_may_have_a_strict_umask(state_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        with EmbeddedStack(state_dir / "new" / "state", throwaway=True, postgres=False) as stack:
            assert stack.valkey.pid is not None
    finally:
        os.umask(before)


def test_data_of_another_major_version_is_refused(own_stack: EmbeddedStack) -> None:
    own_stack.stop()
    (own_stack.postgres.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedError, match="made by Postgres 12"):
        own_stack.start()
    assert own_stack.valkey.pid is None


def test_the_state_directory_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOGSEND_STATE_DIR", "/somewhere")
    assert default_state_dir() == Path("/somewhere")
    monkeypatch.delenv("HOGSEND_STATE_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert default_state_dir() == Path("/xdg/hogsend")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_state_dir() == Path.home() / "Library" / "Application Support" / "hogsend"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state_dir() == Path("/var/lib/hogsend")
