"""The real worker with something wrong, as the environment says: `python -m tests.engine.odd_worker`.

ODD_DIES_AT        points of `Runtime.fault_point`, with commas between: one process for each, all at once, and each
                   kills itself without warning when it first reaches its point. Ends when all of them are dead.
ODD_CLOCK_OFF      seconds by which its clocks are ahead
ODD_LONGEST_WAIT   seconds in the place of the seven days after which a wait is cut on Hatchet
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hogsend.boot import open_runtime
from hogsend.clock import Clock
from hogsend.logs import configure_logs
from hogsend.runtime import Runtime
from hogsend.settings import load_serving_settings
from worker import main


@dataclass(frozen=True)
class OffClock:
    """A clock that is wrong by so much."""

    right: Clock
    by: timedelta

    def now(self) -> datetime:
        return self.right.now() + self.by

    def wall(self) -> datetime:
        return self.right.wall() + self.by

    def product(self, real: timedelta) -> timedelta:
        return self.right.product(real)

    def real(self, product: timedelta) -> timedelta:
        return self.right.real(product)


def die_now(point: str) -> None:
    os.write(2, f"dies at {point}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


@asynccontextmanager
async def open_odd_runtime(*args: Any, **more: Any) -> AsyncIterator[Runtime]:
    point = os.environ.get("ODD_DIES_AT")

    def die(reached: str) -> None:
        if reached == point:
            die_now(point)
        elif point == "sometime":
            threading.Timer(random.random() / 2, die_now, [point]).start()

    async with open_runtime(*args, **more) as runtime:
        runtime.fault_point = die
        off = timedelta(seconds=float(os.environ.get("ODD_CLOCK_OFF", "0")))
        runtime.clock = OffClock(runtime.clock, off)
        yield runtime


def one_for_each(points: list[str]) -> str | None:
    """The point of this process; None in the one that only waits for the others."""
    processes = []
    for point in points:
        process = os.fork()
        if process == 0:
            return point
        processes.append(process)
    for process in processes:
        os.waitpid(process, 0)
    return None


def run() -> None:
    settings = load_serving_settings()
    configure_logs(settings)
    main.open_runtime = open_odd_runtime  # type: ignore[attr-defined]
    if settings.engine == "hatchet":
        from hogsend.engine.hatchet import limits
        from worker import hatchet

        hatchet.open_runtime = open_odd_runtime  # type: ignore[attr-defined]
        if "ODD_LONGEST_WAIT" in os.environ:
            limits.LONGEST_WAIT = timedelta(seconds=float(os.environ["ODD_LONGEST_WAIT"]))
    if "ODD_DIES_AT" in os.environ:
        point = one_for_each(os.environ["ODD_DIES_AT"].split(","))
        if point is None:
            return
        os.environ["ODD_DIES_AT"] = point
    main.run(settings)


if __name__ == "__main__":
    run()
