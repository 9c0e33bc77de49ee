"""How a process that `hogsend dev` started ends with it, even when `hogsend dev` is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Annotated

import typer

# The value marks the process on its command line; the next `hogsend dev` ends by it what a killed one left.
Supervised = Annotated[str, typer.Option(hidden=True, help="Given by `hogsend dev`: end with it.")]

_DRAIN_SECONDS = 15.0


def begin_and_end_with_supervisor() -> None:
    """Wait for the supervisor's word on standard input, and from then on for its end; then stop this process.

    Call it after the imports: they are done while the supervisor migrates.
    """
    if not os.read(sys.stdin.fileno(), 1):
        raise SystemExit(0)
    threading.Thread(target=_watch, args=(sys.stdin.fileno(),), name="supervisor-watch", daemon=True).start()


def _watch(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_DRAIN_SECONDS)
    os._exit(1)
