"""What is unsafe does not start, and says so; secrets are written and never read; nothing is told without a key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from hogsend.alerts.actions import create_rule
from hogsend.alerts.channels import tell
from hogsend.alerts.notice import Notice
from hogsend.alerts.posting import DeliveryFailed, Receipt
from hogsend.alerts.ssrf import Forbidden, IPAddress, Policy, verdict
from hogsend.boot import warn_of_unsent_email
from hogsend.clock import ManualClock
from hogsend.errors import InvalidInput
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError, load_serving_settings, load_settings
from hogsend.storage.metadata import new_id
from hogsend.tables.access import audit_logs
from hogsend.tables.alerts import alert_rules

SAFE = {
    "DATABASE_URL": "postgresql://nowhere/none",
    "HOGSEND_SECRET_KEY": "s" * 32,
    "HOGSEND_EMAIL_PROVIDER": "inbox",
}


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    """The variables that a process that serves is told of."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        load_serving_settings()
    except SettingsError as error:
        return [problem.partition(":")[0] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("environment", "wrong"),
    [
        ({}, []),
        ({"HOGSEND_SECRET_KEY": ""}, ["HOGSEND_SECRET_KEY"]),
        ({"HOGSEND_SECRET_KEY": "s" * 31}, ["HOGSEND_SECRET_KEY"]),
        ({"HOGSEND_SECRET_KEY": " " * 32}, ["HOGSEND_SECRET_KEY"]),
        ({"ADMIN_API_KEY": "a"}, ["ADMIN_API_KEY"]),
        ({"ADMIN_API_KEY": "a" * 20}, []),
        ({"HOGSEND_EMAIL_PROVIDER": ""}, ["HOGSEND_EMAIL_PROVIDER"]),
        ({"HOGSEND_EMAIL_PROVIDER": "", "SMTP_URL": "smtp://mail.example"}, ["HOGSEND_EMAIL_PROVIDER"]),
        ({"HOGSEND_EMAIL_PROVIDER": "", "RESEND_API_KEY": "re_x"}, []),
        (
            {"ADMIN_API_KEY": "a", "HOGSEND_SECRET_KEY": "", "HOGSEND_EMAIL_PROVIDER": ""},
            ["HOGSEND_SECRET_KEY", "ADMIN_API_KEY", "HOGSEND_EMAIL_PROVIDER"],
        ),
        ({"HOGSEND_PORT": "x", "ADMIN_API_KEY": "a"}, ["HOGSEND_PORT", "ADMIN_API_KEY"]),
        ({"HOGSEND_DEV": "x", "ADMIN_API_KEY": "a"}, ["HOGSEND_DEV", "ADMIN_API_KEY"]),
        ({"HOGSEND_DEV": "true", "ADMIN_API_KEY": "a", "HOGSEND_SECRET_KEY": ""}, []),
    ],
)
def test_what_is_unsafe_is_listed_whole(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wrong: list[str]
) -> None:
    assert problems(monkeypatch, **{**SAFE, **environment}) == wrong


def test_other_commands_need_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", SAFE["DATABASE_URL"])
    assert load_settings().provider == "inbox"


@pytest.mark.parametrize("module", [("hogsend.cli", "api"), ("hogsend.cli", "worker"), ("worker",)])
def test_a_process_refuses_to_start(module: Sequence[str], database_url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", *module],
        env={**os.environ, "DATABASE_URL": database_url, "ADMIN_API_KEY": "a"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    for sentence in ("same for every process", "at least 20 random", "no provider is chosen"):
        assert sentence in ended.stderr
    assert "nowhere" not in ended.stderr


@pytest.mark.parametrize(
    ("provider", "dev", "told"), [("inbox", False, 1), ("inbox", True, 0), ("resend", False, 0)]
)
def test_that_nothing_is_sent_is_logged_at_start(
    settings: Settings, provider: str, dev: bool, told: int
) -> None:
    changes = {"email_provider": provider, "resend_api_key": "re_x", "dev": dev}
    with capture_logs() as logs:
        warn_of_unsent_email(Settings(**{**settings.model_dump(), **changes}))
    assert [entry["event"] for entry in logs] == ["emails_are_not_sent"] * told


def test_settings_show_no_secret(settings: Settings) -> None:
    given = {"redis_url": "redis://:s3cret@host", "database_url": "postgresql://u:s3cret@host/x"}
    assert "s3cret" not in repr(Settings(**{**settings.model_dump(), **given}))


async def test_a_failed_statement_tells_nothing_of_what_it_was_given(runtime: Runtime) -> None:
    with pytest.raises(DBAPIError) as failed:
        async with runtime.database.read() as conn:
            await conn.execute(text("SELECT CAST(:given AS text) FROM nowhere"), {"given": "s3cret"})
    assert "s3cret" not in str(failed.value)


SECRET_URL = "https://1.1.1.1/services/T0000000/B0000000/s3cretabcd"
MASKED_URL = "https://1.1.1.1/…abcd"
RULE: dict[str, Any] = {
    "name": "Bounces",
    "type": "bounce_rate_exceeded",
    "threshold": 0.05,
    "channel": "slack",
    "channelConfig": {"webhookUrl": SECRET_URL, "channel": "#ops"},
}
RULES = "/v1/admin/alerts/rules"
READ = """
query ($id: ID!) {
  alertRules { nodes { channelConfig } }
  node(id: $id) { ... on AlertRule { channelConfig } }
  auditLog { nodes { before after detail } }
}
"""


async def stored_url(runtime: Runtime, rule_id: str) -> str:
    async with runtime.database.read() as conn:
        query = select(alert_rules.c.channel_config).where(alert_rules.c.id == rule_id)
        config: dict[str, str] = (await conn.execute(query)).scalar_one()
    return config["webhookUrl"]


async def test_a_webhooks_url_is_written_and_never_read(
    client: httpx.AsyncClient, runtime: Runtime, capfd: pytest.CaptureFixture[str]
) -> None:
    made = await client.post(RULES, json=RULE)
    rule = made.json()["rule"]
    assert rule["channelConfig"] == {"webhookUrl": MASKED_URL, "channel": "#ops"}
    answers = [
        made,
        await client.get(RULES),
        await client.patch(f"{RULES}/{rule['id']}", json={"name": "Renamed"}),
        await client.get("/v1/admin/audit-logs"),
        await client.post("/graphql", json={"query": READ, "variables": {"id": f"rule_{rule['id']}"}}),
    ]
    for answer in answers:
        assert answer.is_success and "errors" not in answer.json(), answer.text
        assert "s3cret" not in answer.text
    assert answers[-1].json()["data"]["node"] == {"channelConfig": rule["channelConfig"]}
    assert await stored_url(runtime, rule["id"]) == SECRET_URL
    async with runtime.database.read() as conn:
        kept = (await conn.execute(select(audit_logs))).mappings().all()
    assert MASKED_URL in str(kept)
    assert "s3cret" not in str(kept)
    output = capfd.readouterr()
    assert "s3cret" not in output.out + output.err


async def test_what_was_read_may_be_written_back(client: httpx.AsyncClient, runtime: Runtime) -> None:
    rule = (await client.post(RULES, json=RULE)).json()["rule"]
    path = f"{RULES}/{rule['id']}"
    config = {"webhookUrl": MASKED_URL, "channel": "#other"}
    changed = await client.patch(path, json={"name": "Renamed", "channelConfig": config})
    assert changed.json()["rule"]["channelConfig"] == config
    assert await stored_url(runtime, rule["id"]) == SECRET_URL
    for body in (
        await client.patch(path, json={"channelConfig": {"webhookUrl": "https://1.1.1.1/…wxyz"}}),
        await client.patch(path, json={"channel": "webhook", "channelConfig": {"url": MASKED_URL}}),
        await client.post(RULES, json={**RULE, "channelConfig": {"webhookUrl": MASKED_URL}}),
    ):
        assert body.status_code == 400
        assert "is masked" in body.json()["error"]
    assert await stored_url(runtime, rule["id"]) == SECRET_URL


TARGETS = [
    ("https://hooks.example/x", "1.1.1.1", True),
    ("https://hooks.example:8443/x", "1.1.1.1", True),
    ("http://hooks.example/x", "1.1.1.1", False),
    ("https://hooks.example:25/x", "1.1.1.1", False),
    ("https://hooks.example/x", "192.0.0.192", False),
    ("https://hooks.example/x", "::ffff:192.0.0.192", False),
    ("https://hooks.example/x", "64:ff9b::a00:1", False),
]


@pytest.mark.parametrize(("url", "leads_to", "allowed"), TARGETS)
async def test_a_target_is_judged_the_same_at_save_and_at_use(
    runtime: Runtime,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    leads_to: str,
    allowed: bool,
) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[IPAddress]:
        return [ip_address(leads_to)]

    async def post(*_: object) -> Receipt:
        return Receipt(200, "ok")

    async def judged(target: str, policy: Policy, **_: object) -> object:
        return await verdict(target, policy, resolve=resolve)

    monkeypatch.setattr("hogsend.alerts.channel_config.verdict", judged)
    monkeypatch.setattr("hogsend.alerts.posting._answer", post)
    rule = {"name": "x", "type": "bounce_rate_exceeded", "threshold": 1, "channel": "webhook"}
    notice = Notice(new_id(), new_id(), "x", rule["type"], 1.0, 1.0, clock.now())  # type: ignore[arg-type]
    verdicts = []
    for work in (
        lambda: create_rule(runtime, {**rule, "channel_config": {"url": url}}),
        lambda: tell(runtime, "webhook", {"url": url}, notice, resolve=resolve),
        lambda: verdict(url, Policy.of(runtime.settings), resolve=resolve),
    ):
        try:
            await work()
            verdicts.append(True)
        except (InvalidInput, DeliveryFailed, Forbidden):
            verdicts.append(False)
    assert verdicts == [allowed] * 3


NO_ROUTES = [
    "/v1/admin",
    "/v1/admin/",
    "/v1/admin/anything",
    "/v1/admin/contacts/x/y/z",
    "/v1/admin/api-keys/",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_without_a_key_nobody_learns_what_there_is(client: httpx.AsyncClient, method: str) -> None:
    taken = "/v1/admin/alerts/history"
    for path in (*NO_ROUTES, taken):
        for key in ("", "Bearer nonsense"):
            refused = await client.request(method, path, headers={"Authorization": key})
            assert refused.status_code == 401, path
    for path in NO_ROUTES:
        assert (await client.request(method, path)).status_code == 404, path
    if method not in ("GET", "HEAD"):
        wrong = await client.request(method, taken)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
