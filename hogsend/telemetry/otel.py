"""Traces kept with OpenTelemetry, and exported by OTLP over HTTP. Imported only where an endpoint is configured.

The standard variables say the rest, as the SDK reads them: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_SCHEDULE_DELAY` …
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hogsend.telemetry import traces
from hogsend.telemetry.traces import Attributes, SpanKind

EXPORT_SECONDS = 5
CLOSE_SECONDS = 6.0
_KINDS = {kind: trace.SpanKind[kind.upper()] for kind in ("internal", "server", "client", "consumer")}
_W3C = TraceContextTextMapPropagator()


class _Span:
    """A span that may be ended before its block is."""

    def __init__(self, inner: trace.Span) -> None:
        self.inner = inner

    def note(self, attributes: Attributes, *, name: str | None = None) -> None:
        self.inner.set_attributes(dict(attributes))
        if name is not None:
            self.inner.update_name(name)

    def fail(self, error: BaseException) -> None:
        self.inner.set_status(Status(StatusCode.ERROR, type(error).__name__))

    def end(self) -> None:
        if self.inner.is_recording():
            self.inner.end()


class OpenTelemetry:
    """Spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("hogsend", version("hogsend"))

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind,
        parent: str | None,
        links: Sequence[str],
        attributes: Attributes,
        *,
        is_root: bool,
    ) -> Iterator[_Span]:
        begun = _Span(
            self._tracer.start_span(
                name,
                context=_context(parent) if parent is not None else (Context() if is_root else None),
                kind=_KINDS[kind],
                links=[Link(found) for found in map(_span_context, links) if found.is_valid],
                attributes=dict(attributes),
            )
        )
        try:
            with trace.use_span(begun.inner, record_exception=False, set_status_on_exception=False):
                yield begun
        except BaseException as error:
            begun.fail(error)
            raise
        finally:
            begun.end()

    def begin(self, name: str, kind: SpanKind, attributes: Attributes) -> _Span:
        return _Span(self._tracer.start_span(name, kind=_KINDS[kind], attributes=dict(attributes)))

    def current(self) -> str | None:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def ids(self) -> Mapping[str, str]:
        found = trace.get_current_span().get_span_context()
        if not found.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(found.trace_id),
            "span_id": trace.format_span_id(found.span_id),
        }


def _span_context(traceparent: str) -> SpanContext:
    return trace.get_current_span(_W3C.extract({"traceparent": traceparent}, Context())).get_span_context()


def _context(traceparent: str) -> Context:
    """A context in which the span of `traceparent` is current; an empty one where that is no context."""
    found = _span_context(traceparent)
    return trace.set_span_in_context(NonRecordingSpan(found), Context()) if found.is_valid else Context()


@asynccontextmanager
async def exported(endpoint: str, service: str) -> AsyncIterator[None]:
    """Keep this process's spans, and export them to `endpoint` in the background; what is left, at the end."""
    given = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(
        resource=Resource.create({**given, "service.version": version("hogsend")}), shutdown_on_exit=False
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS))
    )
    before = traces.use(OpenTelemetry(provider))
    try:
        yield
    finally:
        traces.use(before)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.to_thread(provider.shutdown)
