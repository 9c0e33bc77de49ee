"""Composition root: one process put together; the only place that knows every part."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TypeAlias

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hogsend.clock import Clock
from hogsend.emails.providers import EmailProvider, make_provider
from hogsend.emails.templates.render import Templates
from hogsend.engine.embedded import EmbeddedEngine
from hogsend.engine.port import Engine
from hogsend.journeys.lint.determinism import nondeterministic_calls
from hogsend.journeys.lint.mistakes import check
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.anchor import anchored_clock
from hogsend.storage.database import Database
from hogsend.storage.statement_spans import watch_statements

log = structlog.get_logger(__name__)

Project: TypeAlias = tuple[Templates, Registry]
"""What an author wrote."""
YOUNG_OBJECTS = 10_000
"""Objects made before the collector looks at the young ones: an answer of a thousand entries makes as many."""


def warn_of_unsent_email(settings: Settings) -> None:
    """Log where a process that others rely on sends nothing: such an email counts as sent all the same."""
    if settings.provider in ("inbox", "memory") and not settings.dev:
        log.warning("emails_are_not_sent", provider=settings.provider)


def load_project(
    settings: Settings, registry: Registry | None = None, templates: Templates | None = None
) -> Project:
    """The author's templates and journeys, checked against each other; a `registry` that is given is not.

    Raises `SettingsError` or `JourneyError` for templates and journeys that cannot be used.
    """
    templates = templates or Templates.load(settings.templates)
    if registry is None:
        registry = Registry.load(settings.journeys)
        check(registry.all(), templates.keys())
    return templates, registry


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    clock: Clock | None = None,
    registry: Registry | None = None,
    provider: EmailProvider | None = None,
    templates: Templates | None = None,
    application: str = "hogsend",
) -> AsyncIterator[Runtime]:
    """Make every part, and close them at the end of the block. Neither Postgres nor Redis need answer yet.

    What the journeys ask of the machine, so that a replay may go another way, is logged.
    Raises `SettingsError` or `JourneyError` for templates and journeys that cannot be used.
    """
    templates, loaded = load_project(settings, registry, templates)
    for doubt in nondeterministic_calls(loaded.all()):
        log.warning("journey_asks_the_machine", **asdict(doubt))
    database = Database.open(settings, application=application)
    redis = Redis.from_url(
        settings.redis_url,
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=15,
    )
    the_clock = clock or await anchored_clock(database, settings.speed)
    the_provider = provider or make_provider(settings, database, the_clock)
    runtime = Runtime(
        settings=settings,
        clock=the_clock,
        database=database,
        redis=redis,
        registry=loaded,
        templates=templates,
        provider=the_provider,
    )
    try:
        runtime.engine = _make_engine(runtime)
        async with _traced(runtime, application):
            yield runtime
    finally:
        await runtime.close_parts()
        await the_provider.close()
        await redis.aclose()
        await database.close()


@asynccontextmanager
async def _traced(runtime: Runtime, service: str) -> AsyncIterator[None]:
    """OpenTelemetry's SDK is heavy: only who keeps traces imports it."""
    endpoint = runtime.settings.traces_endpoint
    if endpoint is None:
        yield
        return
    from hogsend.telemetry.otel import exported

    for engine in runtime.database.engines:
        watch_statements(engine.sync_engine)
    async with exported(endpoint, service):
        yield


def _make_engine(runtime: Runtime) -> Engine:
    """Hatchet's SDK is heavy: only who uses it imports it."""
    if runtime.settings.engine == "embedded":
        return EmbeddedEngine(runtime)
    from hogsend.engine.hatchet.client import HatchetEngine
    from hogsend.execution.external_engine import epoch_of

    return runtime.part(lambda runtime: HatchetEngine(runtime, epoch_of))


def keep_what_started() -> None:
    """Leave modules, schema and documents out of every later collection of garbage; call it once all are there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
