"""`hogsend dev`: the whole product on this machine, from one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hogsend.cli.coroutines import run

DEMO_SPEED = 3600.0


def dev(
    port: Annotated[
        int, typer.Option(help="Where the API listens.", envvar="HOGSEND_PORT", min=1, max=65535)
    ] = 3002,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Where the data is kept; default: this platform's place for a user's state."),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Let demo people come and go.")] = True,
    speed: Annotated[
        float | None,
        typer.Option(
            help="How much faster journey time runs; default: 3600, an hour a second, with the demo, else 1.",
            envvar="HOGSEND_SPEED",
            min=0.001,
            max=1_000_000,
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a journey or a template changes.")
    ] = False,
) -> None:
    """Run everything here: Postgres, Valkey, API, worker and demo. DATABASE_URL and REDIS_URL win where set."""
    from hogsend.cli.supervisor import Options, Supervisor

    chosen = speed if speed is not None else (DEMO_SPEED if demo else 1.0)
    options = Options(port=port, state_dir=state_dir, demo=demo, speed=chosen, reload=reload)
    run(Supervisor(options).run())
