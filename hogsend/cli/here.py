"""Which Hogsend a command speaks of: the environment's, or the `hogsend dev` of this machine."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hogsend.cli.problem import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hogsend.runtime import Runtime
    from hogsend.settings import Settings

StateDir = Annotated[
    Path | None,
    typer.Option(help="Where `hogsend dev` keeps its data; asked only where DATABASE_URL is not set."),
]


def settings_here(state_dir: Path | None) -> Settings:
    """The environment's settings; without DATABASE_URL, the servers of the `hogsend dev` in `state_dir`."""
    from hogsend.settings import load_settings

    if os.environ.get("DATABASE_URL"):
        return load_settings()
    urls = _of_dev(state_dir)
    if not urls:
        raise Problem("DATABASE_URL is not set, and no `hogsend dev` has run here. Set it, or --state-dir.")
    return load_settings(**urls)


@asynccontextmanager
async def runtime_here(settings: Settings) -> AsyncIterator[Runtime]:
    """A runtime without journeys and templates, on the clock that the others run on. Raises `Problem`."""
    from sqlalchemy.exc import ProgrammingError

    from hogsend.boot import open_runtime
    from hogsend.cli.migrate import reach
    from hogsend.journeys.registry import Registry
    from hogsend.storage.anchor import noted_speed
    from hogsend.storage.database import Database

    await reach(settings.database_url)
    database = Database.open(settings, application="hogsend-cli")
    try:
        speed = await noted_speed(database)
    except ProgrammingError:
        raise Problem("The database has no tables yet. Run `hogsend migrate`.") from None
    finally:
        await database.close()
    bare = settings.model_copy(update={"journeys": [], "templates": [], "speed": speed})
    async with open_runtime(bare, registry=Registry(), application="hogsend-cli") as runtime:
        yield runtime


def _of_dev(state_dir: Path | None) -> dict[str, str]:
    from hogsend.storage.embedded import EmbeddedError, EmbeddedStack

    stack = EmbeddedStack(state_dir)
    try:
        ports = [stack.home.remembered(f"{server.name}_port") for server in (stack.postgres, stack.valkey)]
    except EmbeddedError as error:
        raise Problem(str(error)) from None
    if not all(isinstance(port, int) for port in ports):
        return {}
    stack.postgres.port, stack.valkey.port = (int(str(port)) for port in ports)
    found = {"database_url": stack.database_url, "redis_url": stack.redis_url, "dev": "true"}
    for setting, kept in (("secret_key", "hogsend_secret_key"), ("admin_api_key", "admin_api_key")):
        secret = stack.home.remembered(kept)
        if isinstance(secret, str):
            found[setting] = secret
    return found
