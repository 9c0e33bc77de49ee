"""`hogsend keys` and `hogsend doctor`, as they are typed."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from hogsend.access.keys import hash_key
from hogsend.cli import app


@pytest.fixture
def environment(database_url: str, redis_url: str, clean: None) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "COLUMNS": "220",
        "NO_COLOR": "1",
        "HOGSEND_SECRET_KEY": "a-secret-that-is-long-enough-to-be-one",
        "HOGSEND_PUBLIC_URL": "https://mail.example.com",
    }


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environment)


def rows(database_url: str, statement: str) -> list[Any]:
    async def read() -> list[Any]:
        connection = await asyncpg.connect(database_url)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(read())


def test_a_key_is_made_listed_and_revoked(environment: dict[str, str], database_url: str) -> None:
    made = run(
        environment, "keys", "create", "dashboard", "--scope", "read", "--scope", "ingest", "--days", "30"
    )
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    assert re.fullmatch(r"hsk_[A-Za-z0-9_-]{32,}", key)
    (row,) = rows(database_url, "SELECT * FROM api_keys")
    assert (row["name"], row["key_hash"], row["key_prefix"]) == ("dashboard", hash_key(key), key[:8])
    assert row["scopes"] == ["read", "ingest"]
    listed = run(environment, "keys", "list")
    assert listed.stdout.split("\t")[:4] == [str(row["id"]), "dashboard", f"{key[:8]}…", "read, ingest"]
    assert key not in listed.stdout
    revoked = run(environment, "keys", "revoke", str(row["id"]))
    assert revoked.stdout == "Revoked dashboard.\n"
    assert "There are no keys" in run(environment, "keys", "list").stderr
    assert "revoked" in run(environment, "keys", "list", "--revoked").stdout
    audit = rows(database_url, "SELECT actor, action, outcome FROM audit_logs ORDER BY seq")
    assert [tuple(entry) for entry in audit] == [
        ("command line", "create", "ok"),
        ("command line", "revoke", "ok"),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("keys", "create", "x", "--scope", "everything"),
            "Scopes are read, journey-admin, full-admin, ingest",
        ),
        (("keys", "create", " ", "--scope", "read"), "name must be a non-empty string"),
        (("keys", "revoke", "nothing"), "is not the id of a key"),
        (("keys", "revoke", "550e8400-e29b-41d4-a716-446655440000"), "There is no key"),
    ],
)
def test_what_is_wrong_is_one_line(
    environment: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    done = run(environment, *arguments)
    assert done.exit_code == 1
    assert says in str(done.exception)


def test_the_doctor_names_what_is_missing(environment: dict[str, str]) -> None:
    done = run(environment, "doctor")
    assert done.exit_code == 1
    assert re.search(r"✓ Database +Postgres \d+", done.stdout)
    assert re.search(r"✓ Migrations +at revision", done.stdout)
    assert re.search(r"✓ Redis +Valkey", done.stdout)
    assert re.search(r"✗ Engine .*\n.*Start `hogsend worker`", done.stdout)
    assert re.search(r"! Provider +inbox.*\n.*RESEND_API_KEY", done.stdout)
    assert re.search(r"✓ Journeys +3 journeys", done.stdout)
    assert re.search(r"✗ Keys .*\n.*ADMIN_API_KEY", done.stdout)


def test_the_doctor_looks_on_where_the_database_and_redis_are_down(environment: dict[str, str]) -> None:
    down = environment | {
        "DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/shop",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "RESEND_API_KEY": "re_s3cret",
        "RESEND_API_URL": "http://127.0.0.1:1",
    }
    done = run(down, "doctor")
    assert done.exit_code == 1
    assert re.search(r"✗ Database .*\n.*DATABASE_URL", done.stdout)
    assert re.search(r"✗ Redis .*\n.*REDIS_URL", done.stdout)
    assert re.search(r"✗ Provider +Resend does not answer", done.stdout)
    assert "s3cret" not in done.stdout


def test_the_doctor_sees_that_migrations_are_missing(environment: dict[str, str], postgres_url: str) -> None:
    done = run(environment | {"DATABASE_URL": postgres_url}, "doctor")
    assert done.exit_code == 1
    assert re.search(r"✗ Migrations .*0001.*\n.*hogsend migrate", done.stdout)


def test_without_a_database_the_keys_of_no_dev_are_made(environment: dict[str, str], tmp_path: Any) -> None:
    bare = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
    done = CliRunner().invoke(app, ["keys", "list", "--state-dir", str(tmp_path)], env=bare)
    assert done.exit_code == 1
    assert "DATABASE_URL is not set" in str(done.exception)
