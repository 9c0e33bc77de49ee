"""Examine what Hogsend stands on: each finding says how it is, and what to do about it."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import httpx
from redis.exceptions import RedisError
from sqlalchemy import exists, select, text
from sqlalchemy.exc import SQLAlchemyError

from hogsend.boot import open_runtime
from hogsend.emails.providers.smtp import SmtpServer
from hogsend.emails.templates.render import Templates
from hogsend.engine.port import NO_WORKER
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.lint.mistakes import check
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError, unsafe_to_serve
from hogsend.storage.anchor import noted_speed
from hogsend.storage.database import Database
from hogsend.storage.migrate import schema_status
from hogsend.tables.access import api_keys

PATIENCE_SECONDS = 5.0
OLDEST_POSTGRES = 140_000

Verdict = Literal["good", "odd", "bad"]


@dataclass(frozen=True)
class Finding:
    """`odd` works, but perhaps not as wished; `bad` does not work."""

    what: str
    verdict: Verdict
    says: str
    advice: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order in which a person would put things right. Never raises for what is broken."""
    journeys, registry = _journeys(settings)
    database = await _database(settings)
    findings = [database]
    if database.verdict == "bad":
        return [*findings, *await _without_database(settings), journeys, *_settings(settings)]
    async with _runtime(settings, registry) as runtime:
        findings += [await _migrations(runtime), await _redis(runtime), await _engine(runtime)]
        findings += [await _provider(settings), journeys, await _keys(runtime)]
    return [*findings, *_settings(settings)]


async def _without_database(settings: Settings) -> list[Finding]:
    async with _runtime(settings, Registry()) as runtime:
        return [await _redis(runtime), await _provider(settings)]


@asynccontextmanager
async def _runtime(settings: Settings, registry: Registry) -> AsyncIterator[Runtime]:
    """On the clock that the others run on, so that looking at them does not anchor it anew."""
    probe = Database.open(settings, application="hogsend-doctor")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(probe.close)
        try:
            speed = await noted_speed(probe)
        except (SQLAlchemyError, OSError):
            speed = settings.speed
        bare = settings.model_copy(update={"templates": [], "speed": speed})
        yield await stack.enter_async_context(
            open_runtime(bare, registry=registry, application="hogsend-doctor")
        )


async def _database(settings: Settings) -> Finding:
    database = Database.open(settings, application="hogsend-doctor")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), database.read() as conn:
            number = int((await conn.execute(text("SHOW server_version_num"))).scalar_one())
            version = (await conn.execute(text("SHOW server_version"))).scalar_one()
            extension = text("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
            timescale = (await conn.execute(extension)).scalar_one_or_none()
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return Finding(
            "Database",
            "bad",
            f"Postgres does not answer: {_in_words(error)}",
            "Check DATABASE_URL, and that Postgres runs and lets this machine in.",
        )
    finally:
        await database.close()
    if number < OLDEST_POSTGRES:
        return Finding("Database", "bad", f"Postgres {version}", "Hogsend needs Postgres 14 or newer.")
    beside = f", TimescaleDB {timescale}" if timescale else ", without TimescaleDB"
    return Finding("Database", "good", f"Postgres {version}{beside}")


async def _migrations(runtime: Runtime) -> Finding:
    async with runtime.database.read() as conn:
        status = await schema_status(conn)
    if status.in_sync:
        return Finding("Migrations", "good", f"at revision {status.applied}")
    if status.applied is not None and not status.pending:
        return Finding(
            "Migrations",
            "bad",
            f"the database is at {status.applied}, which this code does not know",
            "Run the version of Hogsend that made it, or a newer one.",
        )
    count = len(status.pending)
    return Finding(
        "Migrations",
        "bad",
        f"{count} revision{'s' if count > 1 else ''} not applied: {', '.join(status.pending)}",
        "Run `hogsend migrate`.",
    )


async def _redis(runtime: Runtime) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            info = await runtime.redis.info("server")
    except (RedisError, OSError, TimeoutError) as error:
        return Finding(
            "Redis",
            "bad",
            f"does not answer: {_in_words(error)}",
            "Check REDIS_URL. Meanwhile rates are counted in each process, and streams look once a second.",
        )
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version")
    return Finding("Redis", "good", f"{name} {version}")


async def _engine(runtime: Runtime) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            health = await runtime.engine.health()
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return Finding(
            "Engine",
            "bad",
            f"cannot be asked: {_in_words(error)}",
            "Mend the database and its migrations first.",
        )
    if health.up:
        return Finding("Engine", "good", f"{health.name}, a worker is running")
    advice = (
        "Start `hogsend worker`." if health.detail == NO_WORKER else "docs/hatchet.md says what it needs."
    )
    return Finding("Engine", "bad", f"{health.name}: {health.detail}", advice)


async def _provider(settings: Settings) -> Finding:
    match settings.provider:
        case "resend":
            return await _resend(settings)
        case "smtp":
            return await asyncio.to_thread(_smtp, settings)
    return Finding(
        "Provider",
        "odd",
        f"{settings.provider}: nothing leaves this machine",
        "Set RESEND_API_KEY (or HOGSEND_EMAIL_PROVIDER=smtp and SMTP_URL) to really send.",
    )


async def _resend(settings: Settings) -> Finding:
    key = settings.resend_api_key
    assert key is not None, "settings refuse the provider resend without its key"
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            answer = await client.get(f"{settings.resend_api_url.rstrip('/')}/domains", headers=headers)
    except httpx.HTTPError as error:
        advice = "Check that this machine may reach it. Sends wait and are tried again."
        return Finding("Provider", "bad", f"Resend does not answer: {_in_words(error)}", advice)
    # A key that may only send is refused here by name; it is good for what Hogsend does.
    if answer.is_success or "restricted_api_key" in answer.text:
        if settings.resend_webhook_secret is None:
            advice = (
                "Set RESEND_WEBHOOK_SECRET: without it deliveries, bounces and complaints are not heard of."
            )
            return Finding("Provider", "odd", "Resend takes the key", advice)
        return Finding("Provider", "good", "Resend takes the key")
    if answer.status_code in (400, 401, 403):
        return Finding("Provider", "bad", "Resend refuses the key", "Check RESEND_API_KEY.")
    return Finding(
        "Provider", "odd", f"Resend answers {answer.status_code}", "Sends wait and are tried again."
    )


def _smtp(settings: Settings) -> Finding:
    assert settings.smtp_url is not None, "settings refuse the provider smtp without its URL"
    try:
        server = SmtpServer.from_url(settings.smtp_url.get_secret_value())
    except SettingsError as error:
        return Finding("Provider", "bad", "SMTP", str(error))
    kind = smtplib.SMTP_SSL if server.implicit_tls else smtplib.SMTP
    try:
        with kind(server.host, server.port, timeout=PATIENCE_SECONDS) as connection:
            connection.noop()
    except (OSError, smtplib.SMTPException) as error:
        return Finding(
            "Provider", "bad", f"{server.host} does not answer: {_in_words(error)}", "Check SMTP_URL."
        )
    return Finding("Provider", "good", f"SMTP at {server.host}")


def _journeys(settings: Settings) -> tuple[Finding, Registry]:
    try:
        registry = Registry.load(settings.journeys)
        templates = Templates.load(settings.templates)
        check(registry.all(), templates.keys())
    except (JourneyError, SettingsError) as error:
        advice = "Mend what it names. HOGSEND_JOURNEYS and HOGSEND_TEMPLATES say where they are."
        return Finding("Journeys", "bad", str(error), advice), Registry()
    journeys, keys = len(registry.all()), len(templates.keys())
    says = f"{journeys} journeys, {keys} templates"
    advice = (
        "" if journeys else "Write one: `hogsend init` makes a start. HOGSEND_JOURNEYS says where they are."
    )
    return Finding("Journeys", "good" if journeys else "odd", says, advice), registry


async def _keys(runtime: Runtime) -> Finding:
    if runtime.settings.admin_api_key is not None:
        return Finding("Keys", "good", "ADMIN_API_KEY is set")
    live = select(exists().where(api_keys.c.revoked_at.is_(None)))
    try:
        async with runtime.database.read() as conn:
            any_key = (await conn.execute(live)).scalar_one()
    except SQLAlchemyError:
        return Finding("Keys", "bad", "there is no table of keys", "Run `hogsend migrate`.")
    if any_key:
        return Finding("Keys", "good", "there are keys in the database")
    advice = "Set ADMIN_API_KEY, or run `hogsend keys create NAME --scope full-admin`."
    return Finding("Keys", "bad", "nobody can come in: there is no key", advice)


def _settings(settings: Settings) -> list[Finding]:
    findings = [
        Finding("Safety", "bad", problem, "The API and the worker do not start before that.")
        for problem in unsafe_to_serve(settings)
    ]
    if not settings.public_url:
        says = f"links in emails lead to {settings.base_url}"
        findings.append(
            Finding("Links", "odd", says, "Set HOGSEND_PUBLIC_URL to where readers reach the API.")
        )
    return findings


def _in_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_SECONDS:g} seconds"
    root = getattr(error, "orig", None) or error
    return str(root).strip().splitlines()[0].rstrip(".") if str(root).strip() else type(root).__name__
