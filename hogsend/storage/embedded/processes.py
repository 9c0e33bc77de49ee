"""Starting, recognising and ending the servers' processes, children of ours or not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hogsend.storage.embedded.account import Account


def environment(home: Path) -> dict[str, str]:
    """What the servers see: nothing of the caller's, so that no PGDATA or LC_ALL of theirs changes them."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TZ": "UTC",
        "LC_ALL": "C" if sys.platform == "darwin" else "C.UTF-8",
    }


def spawn(
    argv: Sequence[str | Path], *, home: Path, log: Path, account: Account | None, dies_with_us: bool
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that a Ctrl-C at the terminal is ours to handle, not its.

    `dies_with_us` ends it when the thread that called this does, however it ends (on Linux, where `setpriv` is).
    """
    watched = _death_signal() if dies_with_us else []
    # For its owner alone: Postgres quotes the statements that fail, values and all.
    with os.fdopen(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as output:
        return subprocess.Popen(
            [*watched, *(str(argument) for argument in argv)],
            env=environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def run(argv: Sequence[str | Path], *, home: Path, account: Account | None) -> tuple[int, str]:
    """Run a program to its end; its exit code and what it wrote to standard error."""
    done = subprocess.run(
        [str(argument) for argument in argv],
        env=environment(home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    return done.returncode, done.stderr


def command_of(pid: int) -> str:
    """The command line of a process, words parted by spaces; empty where there is none, or only a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        if Path("/proc/self").exists():
            return ""
    listed = subprocess.run(
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "" if "<defunct>" in listed.stdout else listed.stdout.strip()


def end(pid: int, signals: Sequence[tuple[signal.Signals, float]], mark: str) -> bool:
    """Send signals in turn, each with its seconds, until `pid` runs `mark` no longer; False if it does."""
    for number, seconds in signals:
        if mark not in command_of(pid):
            return True
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        if wait_until(lambda: mark not in command_of(pid), seconds):
            return True
    return False


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Look every 10 ms, for at most `seconds`, whether `holds()`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _death_signal() -> list[str]:
    """What to put before a command. Not a `preexec_fn`: Python must not run in the child of a process with threads."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
