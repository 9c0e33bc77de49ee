"""`hogsend keys`: make, list and revoke keys, on the database itself, so that the first one can be made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from hogsend.cli.coroutines import run
from hogsend.cli.here import StateDir, runtime_here, settings_here
from hogsend.cli.problem import Problem
from hogsend.cli.terminal import err, out

if TYPE_CHECKING:
    from rich.table import Table
    from sqlalchemy import RowMapping

    from hogsend.access.audit import Origin
    from hogsend.settings import Settings

COLUMNS = ("name", "key", "scopes", "created", "last used", "expires")

keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it; the audit log names it as the actor.")],
    scope: Annotated[
        list[str], typer.Option(help="read, journey-admin, full-admin or ingest; more than once for several.")
    ],
    days: Annotated[int | None, typer.Option(help="Expires after so many days.", min=1, max=3650)] = None,
    state_dir: StateDir = None,
) -> None:
    """Make a key and print it. It is not shown again."""
    made, key = run(_create(settings_here(state_dir), name, scope, days))
    err.print(f"Key {made['id']} ({', '.join(made['scopes'])}), expires {_day(made['expires_at'])}:")
    print(key)


@keys.command("list")
def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Show revoked keys too.")] = False,
    state_dir: StateDir = None,
) -> None:
    """List keys, newest first; tab-separated where it is not a terminal that reads them."""
    rows = run(_list(settings_here(state_dir), revoked))
    if not rows:
        err.print("There are no keys. Make one with `hogsend keys create NAME --scope read`.")
        return
    lines = [_line(row) for row in rows]
    if out.is_terminal:
        out.print(_table(lines))
    else:
        for line in lines:
            print("\t".join(line))


@keys.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as `hogsend keys list` shows it.")],
    state_dir: StateDir = None,
) -> None:
    """Revoke a key: it is refused everywhere at once."""
    try:
        key_id = UUID(id.removeprefix("apikey_"))
    except ValueError:
        raise Problem(f"{id} is not the id of a key. `hogsend keys list` shows them.") from None
    name = run(_revoke(settings_here(state_dir), key_id))
    out.print(f"Revoked {name}.")


async def _create(
    settings: Settings, name: str, given: list[str], days: int | None
) -> tuple[RowMapping, str]:
    from hogsend.access.actions import create_key
    from hogsend.access.audit import Action, AuditAction, Resource, audited
    from hogsend.access.caller import Scope
    from hogsend.errors import InvalidInput

    try:
        scopes = {Scope(scope) for scope in given}
    except ValueError as error:
        raise Problem(f"{error}. Scopes are {', '.join(Scope)}.") from None
    audit_action = AuditAction(Action.CREATE, Resource.API_KEY)
    async with runtime_here(settings) as runtime:
        expires_at = runtime.clock.wall() + timedelta(days=days) if days is not None else None
        try:
            async with (
                audited(runtime, _origin(), audit_action, "hogsend keys create"),
                runtime.database.transaction() as conn,
            ):
                made = await create_key(conn, runtime.clock, name=name, scopes=scopes, expires_at=expires_at)
        except InvalidInput as error:
            raise Problem(f"{error.message}.") from None
    return made.row, made.key


async def _list(settings: Settings, revoked: bool) -> list[RowMapping]:
    from hogsend.schema.access.collections import KEYS
    from hogsend.storage.collections import PageRange, page_statement

    selection = KEYS.all().filtered(revoked_too=revoked)
    async with runtime_here(settings) as runtime, runtime.database.read() as conn:
        found = await conn.execute(page_statement(selection, PageRange(size=1000), ()))
        return list(found.mappings().all())


async def _revoke(settings: Settings, key_id: UUID) -> str:
    from hogsend.access.actions import revoke_key
    from hogsend.access.audit import Action, AuditAction, Resource, audited
    from hogsend.errors import NotFound

    audit_action = AuditAction(Action.REVOKE, Resource.API_KEY)
    async with runtime_here(settings) as runtime:
        try:
            async with audited(
                runtime, _origin(), audit_action, "hogsend keys revoke", resource_id=str(key_id)
            ):
                return str((await revoke_key(runtime, key_id))["name"])
        except NotFound:
            raise Problem(f"There is no key {key_id}. `hogsend keys list` shows them.") from None


def _origin() -> Origin:
    """Whoever has the database may do anything: the audit log says that it was done at the command line."""
    from hogsend.access.audit import Origin
    from hogsend.access.caller import Caller, Scope

    return Origin(Caller("command line", frozenset({Scope.FULL_ADMIN})))


def _line(row: RowMapping) -> tuple[str, ...]:
    return (
        str(row["id"]),
        row["name"],
        f"{row['key_prefix']}…",
        ", ".join(row["scopes"]),
        _day(row["created_at"]),
        _day(row["last_used_at"]),
        f"revoked {_day(row['revoked_at'])}" if row["revoked_at"] else _day(row["expires_at"]),
    )


def _table(lines: list[tuple[str, ...]]) -> Table:
    from rich.table import Column, Table

    table = Table(Column("id", no_wrap=True), *COLUMNS, box=None)
    for line in lines:
        table.add_row(*line)
    return table


def _day(at: datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M}"
