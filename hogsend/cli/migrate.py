"""`hogsend migrate`, and the same for `hogsend dev`."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hogsend.cli.coroutines import run
from hogsend.cli.problem import Problem
from hogsend.cli.terminal import out

if TYPE_CHECKING:
    from hogsend.settings import Settings


def migrate() -> None:
    """Bring the database at DATABASE_URL to the newest revision. Safe to run at once from several places."""
    from hogsend.settings import load_settings

    out.print(f"The database is at revision {run(bring_up_to_date(load_settings()))}.")


async def bring_up_to_date(settings: Settings) -> str:
    """Migrate, and return the revision. Raises `Problem` where the database does not answer or let us in."""
    import hogsend.storage.migrate as migrations
    from hogsend.storage.database import Database

    await reach(settings.database_url)
    database = Database.open(settings, application="hogsend-migrate")
    try:
        await migrations.migrate(database)
        async with database.read() as conn:
            return (await migrations.schema_status(conn)).applied or "none"
    finally:
        await database.close()


async def reach(database_url: str) -> None:
    """Raises `Problem` that says in a line why the database cannot be used."""
    import asyncpg

    parts = urlsplit(database_url)
    try:
        connection = await asyncpg.connect(parts._replace(scheme="postgresql").geturl(), timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        where = f"{parts.hostname or 'localhost'}{f':{parts.port}' if parts.port else ''}{parts.path}"
        raise Problem(f"Cannot reach the database at {where} (DATABASE_URL): {_reason(error)}.") from None
    await connection.close()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer within 5 seconds"
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error).rstrip(".")
