"""`hogsend import` and `hogsend export`, as they are typed, against a real server."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from hogsend.cli import app as command_line
from hogsend.contacts.imports import run_import
from hogsend.runtime import Runtime
from hogsend.tables.engine import jobs
from tests.conftest import ADMIN_KEY


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package shows the command by the name of its module.
    monkeypatch.setattr(sys.modules["hogsend.cli.import_"], "POLL_SECONDS", 0.02)


async def typed(url: str, *arguments: str, key: str = ADMIN_KEY) -> Result:
    environment = {"ADMIN_API_KEY": key, "NO_COLOR": "1", "COLUMNS": "200"}
    runner = CliRunner()
    return await asyncio.to_thread(runner.invoke, command_line, [*arguments, "--url", url], env=environment)


async def work(runtime: Runtime) -> None:
    """Be the worker: run the next import that is asked for."""
    while True:
        async with runtime.database.read() as conn:
            payload = (await conn.execute(select(jobs.c.payload))).scalar_one_or_none()
        if payload is not None:
            return await run_import(runtime, payload)
        await asyncio.sleep(0.02)


async def test_what_is_imported_can_be_exported(live_server: str, runtime: Runtime, tmp_path: Path) -> None:
    source, target = tmp_path / "people.csv", tmp_path / "out.json"
    source.write_text("externalId,email,plan\nada,ada@example.com,pro\nbob,nope,free\n", encoding="utf-8-sig")
    dry = await typed(live_server, "import", str(source), "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert dry.stdout.splitlines() == [
        "2 rows: 1 new contacts, 0 to update, 1 bad",
        "  row 2: Invalid email format",
    ]
    done, _ = await asyncio.gather(typed(live_server, "import", str(source)), work(runtime))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-2:] == ["1 of 2 rows taken in, 1 bad", "  row 2: Invalid email format"]
    exported = await typed(live_server, "export", str(target), "--search", "ada")
    assert exported.exit_code == 0, exported.output
    assert "1 contacts written" in exported.stderr
    (ada,) = json.loads(target.read_text())
    assert (ada["externalId"], ada["properties"]) == ("ada", {"plan": "pro"})
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    printed = await typed(live_server, "export", "-", "--format", "csv")
    assert printed.stdout.splitlines() == ["externalId,email,plan", "ada,ada@example.com,pro"]


@pytest.mark.parametrize(
    ("content", "key", "told"),
    [
        (b"email\n", ADMIN_KEY, "answered 400: data must have a column externalId in its header"),
        (b"externalId\n", "wrong", "answered 401: Unauthorized"),
        (b"externalId\n\xff", ADMIN_KEY, "is not UTF-8: byte 11 cannot be read"),
        (None, ADMIN_KEY, "cannot be read: No such file or directory"),
    ],
)
async def test_says_in_a_line_what_is_wrong(
    live_server: str, tmp_path: Path, content: bytes | None, key: str, told: str
) -> None:
    source = tmp_path / "people.csv"
    if content is not None:
        source.write_bytes(content)
    done = await typed(live_server, "import", str(source), key=key)
    assert done.exit_code == 1
    assert told in str(done.exception)


async def test_says_that_nobody_answers(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("externalId\n")
    done = await typed("http://127.0.0.1:1", "import", str(tmp_path / "p.csv"))
    assert "Hogsend does not answer at http://127.0.0.1:1" in str(done.exception)
