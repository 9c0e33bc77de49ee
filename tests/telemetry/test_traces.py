"""Traces from event to send, as a collector gets them over HTTP; and that nothing is loaded where none are kept."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog

from hogsend import Context, User, days, journey
from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers.errors import TryLater
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.jobs import Work, run_job
from hogsend.engine.outbox import enqueue_job
from hogsend.journeys.registry import Registry
from hogsend.logs import configure_logs
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError, load_settings
from hogsend.storage.statement_spans import summary
from hogsend.telemetry import traces
from tests.conftest import ADMIN_KEY
from tests.driving import drive, rows
from tests.telemetry.collector import Collector

ROOT = Path(__file__).parents[2]
ADA = "ada@example.com"
Tell = Callable[[str], Awaitable[None]]


@journey(id="long", trigger="signed.up")
async def long(user: User, ctx: Context) -> None:
    """A send at once, one after a sleep, one after an event."""
    await ctx.send("welcome")
    await ctx.sleep(days(1))
    await ctx.send("congrats", props={"note": ""})
    await ctx.wait_for_event("paid", timeout=days(9))
    await ctx.send("bye")


@asynccontextmanager
async def traced(
    settings: Settings, collector: Collector, clock: ManualClock, provider: MemoryProvider
) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    """A process that exports what it does to the collector when it ends."""
    chosen = Settings.model_validate(
        {
            **settings.model_dump(),
            "otlp_endpoint": collector.url,
            "templates": [ROOT / "tests" / "templates"],
        }
    )
    async with open_runtime(
        chosen, clock=clock, registry=Registry([long]), provider=provider, application="hogsend-test"
    ) as runtime:
        transport = httpx.ASGITransport(create_app(chosen, runtime))
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://hogsend.test", headers=headers
        ) as http:
            yield runtime, http


async def post(http: httpx.AsyncClient, name: str, **headers: str) -> None:
    event = {"name": name, "userId": "ada", "email": ADA, "eventProperties": {}}
    assert (await http.post("/v1/events", json=event, headers=headers)).status_code == 202


async def test_one_trace_from_event_to_send_linked_across_the_sleep(
    settings: Settings, clock: ManualClock, clean: None
) -> None:
    provider = MemoryProvider()
    async with Collector() as collector, traced(settings, collector, clock, provider) as (runtime, http):
        await post(http, "signed.up")
        await drive(runtime)
        clock.advance(days(1))
        await drive(runtime)
        await post(http, "paid")
        await drive(runtime)
    assert len(provider.to(ADA)) == 3
    requests, slices = collector.named("POST /v1/events"), collector.named("journey long")
    sends = collector.named("send email")
    assert (len(requests), len(slices), len(sends)) == (2, 3, 3)
    assert {span.service for span in collector.spans} == {"hogsend-test"}
    signed_up, paid = requests
    first, second, third = slices

    # Without a pause the send is in the trace of the request that brought the event.
    assert (first.trace, first.parent) == (signed_up.trace, signed_up.span)
    assert (sends[0].trace, sends[0].parent) == (first.trace, first.span)
    assert signed_up.parent == "" and signed_up.attributes["http.response.status_code"] == 202
    # Time begins a trace, linked to the slice that went to sleep.
    assert (second.parent, second.links) == ("", ((first.trace, first.span),))
    assert second.trace not in {first.trace, paid.trace}
    assert sends[1].parent == second.span
    # An event goes on in its own trace, linked to the slice that waited for it.
    assert (third.trace, third.parent) == (paid.trace, paid.span)
    assert third.links == ((second.trace, second.span),)
    assert sends[2].parent == third.span

    (run,) = await _ids(settings, "SELECT id FROM journey_states")
    assert {span.attributes["hogsend.run_id"] for span in slices} == {str(run)}
    assert {span.attributes["hogsend.answer"] for span in sends} == {"sent"}


async def _ids(settings: Settings, query: str) -> list[Any]:
    async with open_runtime(settings, registry=Registry([long])) as runtime:
        return [row.id for row in await rows(runtime, query)]


async def test_statements_are_spans_of_what_asked_them_and_hold_no_values(
    settings: Settings, clock: ManualClock, clean: None
) -> None:
    async with (
        Collector() as collector,
        traced(settings, collector, clock, MemoryProvider()) as (runtime, http),
    ):
        await rows(runtime, "SELECT 1")  # In no span: a poll of the process's own is told to nobody.
        await post(http, "signed.up")
    request = collector.one("POST /v1/events")
    statements = [span for span in collector.spans if span.attributes.get("db.system.name") == "postgresql"]
    assert {span.trace for span in statements} == {request.trace}
    assert "INSERT user_events" in {span.name for span in statements}
    assert ADA not in repr(collector.spans)


async def test_planned_reads_are_spans_too(settings: Settings, clock: ManualClock, clean: None) -> None:
    async with (
        Collector() as collector,
        traced(settings, collector, clock, MemoryProvider()) as (_, http),
    ):
        answer = await http.post("/graphql", json={"query": "{ contacts(first: 1) { nodes { email } } }"})
        assert answer.status_code == 200, answer.text
    operation = collector.one("query other")
    assert collector.one("SELECT contacts").parent == operation.span


async def test_a_failed_provider_call_and_a_statement_that_fails_are_told_by_type(
    settings: Settings, clock: ManualClock, clean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = MemoryProvider()

    async def refuse(*_: object, **__: object) -> str:
        raise TryLater("busy with ada@example.com")

    monkeypatch.setattr(provider, "send", refuse)
    async with Collector() as collector, traced(settings, collector, clock, provider) as (runtime, http):
        await post(http, "signed.up")
        await drive(runtime)
        with traces.span("outer"), pytest.raises(Exception, match="nowhere"):
            await rows(runtime, "SELECT 'secret' FROM nowhere")
    assert collector.one("send email").attributes["hogsend.answer"] == "later"
    assert [span.is_error for span in collector.named("SELECT nowhere")] == [True]
    assert ADA not in repr(collector.spans) and "secret" not in repr(collector.spans)


async def test_a_callers_own_trace_is_linked_and_decides_nothing(
    settings: Settings, clock: ManualClock, clean: None
) -> None:
    theirs = f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"
    async with Collector() as collector, traced(settings, collector, clock, MemoryProvider()) as (_, http):
        await post(http, "signed.up", traceparent=theirs)
        await post(http, "signed.up", traceparent="00-not-a-context")
    first, second = collector.named("POST /v1/events")
    assert first.parent == "" and first.trace not in theirs
    assert [f"00-{trace}-{span}-01" for trace, span in first.links] == [theirs]
    assert second.links == ()


async def test_a_job_goes_on_where_it_was_queued_and_later_attempts_are_linked(
    settings: Settings, clock: ManualClock, clean: None
) -> None:
    async def fail(_runtime: Runtime, _payload: object) -> None:
        raise ZeroDivisionError

    async def bury(*_: object) -> None:
        return

    work = Work({"a-kind": fail}, bury)
    async with Collector() as collector, traced(settings, collector, clock, MemoryProvider()) as (runtime, _):
        with traces.span("asked"):
            async with runtime.database.transaction() as conn:
                job_id = await enqueue_job(conn, clock, "a-kind", {})
        assert job_id is not None
        for _attempt in range(2):
            assert await run_job(runtime, work, job_id, "test")
            clock.advance(days(1))
    asked = collector.one("asked")
    first, second = collector.named("job a-kind")
    assert (first.trace, first.parent) == (asked.trace, asked.span)
    assert (second.parent, second.links) == ("", ((asked.trace, asked.span),))


async def test_log_lines_name_request_run_and_trace(
    settings: Settings, clock: ManualClock, clean: None, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    provider = MemoryProvider()

    @journey(id="breaks", trigger="signed.up")
    async def breaks(user: User, ctx: Context) -> None:
        await ctx.checkpoint("here")
        raise KeyError("plan")

    try:
        configure_logs(settings)
        async with Collector() as collector, traced(settings, collector, clock, provider) as (runtime, http):
            runtime.registry = Registry([breaks])
            await post(http, "signed.up")
            await drive(runtime)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        structlog.reset_defaults()
    (line,) = [line for line in lines if line["event"] == "run_failed"]
    slice_of = collector.one("journey breaks")
    assert (line["trace_id"], line["span_id"]) == (slice_of.trace, slice_of.span)
    assert line["run_id"] == slice_of.attributes["hogsend.run_id"]


async def test_a_collector_that_is_away_is_in_nobodys_way(
    settings: Settings, clock: ManualClock, clean: None
) -> None:
    async with Collector() as gone:
        address = gone.url
    provider = MemoryProvider()
    chosen = Settings.model_validate({**settings.model_dump(), "otlp_endpoint": address})
    async with open_runtime(chosen, clock=clock, registry=Registry([long]), provider=provider) as runtime:
        transport = httpx.ASGITransport(create_app(chosen, runtime))
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://hogsend.test", headers=headers
        ) as http:
            await post(http, "signed.up")
    assert traces.current() is None


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT id FROM contacts WHERE email = 'a@b.c'", "SELECT contacts"),
        ("INSERT INTO outbox (topic) VALUES ($1)", "INSERT outbox"),
        ("UPDATE journey_states SET epoch = 1", "UPDATE journey_states"),
        ("\nWITH a AS (SELECT 1) SELECT", "WITH"),
        ("", "SQL"),
    ],
)
def test_what_a_statement_is_called(statement: str, told: str) -> None:
    assert summary(statement) == told


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x",
            },
            "http://t/x",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_where_traces_go(
    monkeypatch: pytest.MonkeyPatch, database_url: str, given: dict[str, str], endpoint: str | None
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert load_settings().traces_endpoint == endpoint


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL: input should be 'http/protobuf'",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317", "OTEL_EXPORTER_OTLP_ENDPOINT: must start with http://"),
    ],
)
def test_what_cannot_be_exported_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, database_url: str, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=told):
        load_settings()


def test_traces_are_loaded_only_where_they_are_kept() -> None:
    """But for what redis-py imports of the SDK, its metrics, wherever it is installed."""
    code = (
        "import sys, hogsend.app, worker.main\n"
        "ours = ('hogsend.telemetry.otel', 'opentelemetry.sdk.trace', 'opentelemetry.exporter', 'requests')\n"
        "print([name for name in ours if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert shown.stdout.strip() == "[]", shown.stderr


def test_a_span_of_a_process_that_keeps_none_takes_everything() -> None:
    with traces.span("anything", links=["x"], parent="y") as span:
        span.note({"a": 1}, name="other")
        span.fail(ValueError())
        span.end()
    assert (traces.current(), traces.ids(), traces.begin("x")) == (None, {}, None)
