"""`hogsend demo`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from hogsend.cli.coroutines import run
from hogsend.cli.problem import Problem
from hogsend.cli.supervised import Supervised, begin_and_end_with_supervisor

# A day of the story in seconds of real time: as long as a day of the journeys, but never too long to watch.
_SHORTEST_DAY, _LONGEST_DAY = 2.0, 60.0


def demo(
    url: Annotated[str | None, typer.Option(help="Where Hogsend is; default: HOGSEND_PORT here.")] = None,
    key: Annotated[
        str | None, typer.Option(help="A key with the scope ingest.", envvar="ADMIN_API_KEY")
    ] = None,
    people: Annotated[int, typer.Option(help="How many people come.", min=1, max=100_000)] = 60,
    speed: Annotated[float, typer.Option(help="How fast journeys run there.", envvar="HOGSEND_SPEED")] = 1.0,
    supervised: Supervised = "",
) -> None:
    """Let people come to a running Hogsend: events, opens and clicks, over a few minutes."""
    from hogsend.cli.demo_people import play

    if supervised:
        begin_and_end_with_supervisor()
    if not key:
        raise Problem("The demo needs a key: set ADMIN_API_KEY or give --key.")
    base = url or f"http://localhost:{os.environ.get('HOGSEND_PORT') or 3002}"
    day = min(max(86_400 / speed, _SHORTEST_DAY), _LONGEST_DAY)
    run(play(base, key, people, day))
