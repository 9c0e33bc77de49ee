"""What a person meets at the command line: every command, and one line for each thing they can put right."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hogsend.cli import COMMANDS, main
from hogsend.cli.problem import Problem
from hogsend.cli.schema import schema

Run = Callable[..., subprocess.CompletedProcess[str]]

SAFE = {"HOGSEND_SECRET_KEY": "a-secret-that-is-long-enough-to-be-one", "RESEND_API_KEY": "re_x"}


def hogsend(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hogsend.cli", *arguments],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def typed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, for commands that end by themselves and leave nothing: a process takes a second."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(os, "environ", os.environ | environment)
        patch.setattr(sys, "argv", ["hogsend", *arguments])
        patch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as ended:
            main()
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def refused(*arguments: str, run: Run = typed, **environment: str) -> str:
    """What it complains of: on standard error alone, with exit code 1 and no traceback."""
    done = run(*arguments, **environment)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_help_lists_every_command() -> None:
    done = hogsend("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"│ {command.__name__.removesuffix('_')} ", done.stdout), command


def test_every_setting_that_is_wrong_is_told_at_once() -> None:
    told = refused("migrate", run=hogsend, DATABASE_URL="mysql://x", REDIS_URL="http://x")
    assert told.splitlines() == [
        "hogsend: These settings cannot be used:",
        "  DATABASE_URL: must start with postgresql://",
        "  REDIS_URL: must start with redis://, rediss:// or unix://",
    ]


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:1", "connection refused"), ("nowhere.invalid", "(name or service|nodename|temporary)")],
)
def test_an_unreachable_database_is_one_line_without_the_password(address: str, reason: str) -> None:
    told = refused("migrate", DATABASE_URL=f"postgresql://user:s3cret@{address}/shop")
    assert re.fullmatch(
        rf"hogsend: Cannot reach the database at {address}/shop \(DATABASE_URL\): {reason}.*\n", told
    )
    assert "s3cret" not in told


def test_a_wrong_password_is_one_line(database_url: str) -> None:
    wrong = re.sub(r":[^:@]+@", ":wr0ng@", database_url)
    told = refused("migrate", DATABASE_URL=wrong)
    assert "password authentication failed" in told
    assert "wr0ng" not in told
    assert len(told.splitlines()) == 1


def test_migrating_what_is_migrated_says_the_revision(database_url: str) -> None:
    done = typed("migrate", DATABASE_URL=database_url)
    assert re.fullmatch(r"The database is at revision \w+\.\n", done.stdout)


def test_dev_on_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(
            "dev", "--port", str(port), "--state-dir", str(tmp_path), DATABASE_URL="x", REDIS_URL="x"
        )
    assert told == f"hogsend: Port {port} is taken. Choose another with --port.\n"


def test_dev_in_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = refused("dev", "--state-dir", str(tmp_path / "file" / "state"), DATABASE_URL="x", REDIS_URL="x")
    assert told.startswith("hogsend: Cannot write to the state directory ")
    assert len(told.splitlines()) == 1


def test_dev_without_its_database(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = str(probe.getsockname()[1])
    told = refused(
        *("dev", "--port", free, "--state-dir", str(tmp_path)),
        DATABASE_URL="postgresql://user:s3cret@127.0.0.1:1/shop",
        REDIS_URL="redis://127.0.0.1:1",
    )
    assert "Cannot reach the database at 127.0.0.1:1/shop" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("command", ["api", "worker"])
def test_journeys_that_cannot_be_found(command: str, database_url: str) -> None:
    told = refused(
        command, run=hogsend, **SAFE, DATABASE_URL=database_url, HOGSEND_JOURNEYS="nowhere_to_be_found"
    )
    assert told.startswith("hogsend: HOGSEND_JOURNEYS names 'nowhere_to_be_found'")
    assert len(told.splitlines()) == 1


def test_the_demo_without_a_key() -> None:
    assert refused("demo") == "hogsend: The demo needs a key: set ADMIN_API_KEY or give --key.\n"


def test_the_schema_is_printed_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema(check=None)
    printed = capsys.readouterr().out
    assert "type Query" in printed
    file = tmp_path / "schema.graphql"
    file.write_text(printed)
    schema(check=file)
    file.write_text(printed + "\n")
    with pytest.raises(Problem, match="is not what the code says"):
        schema(check=file)
