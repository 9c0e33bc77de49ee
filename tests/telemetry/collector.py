"""An OpenTelemetry collector: it takes OTLP over HTTP, and keeps every span."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.standins.http import Answer, Request, StandIn


@dataclass(frozen=True)
class Kept:
    """One span; ids are in hex, `links` are (trace, span)."""

    name: str
    trace: str
    span: str
    parent: str
    kind: int
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, Any]
    is_error: bool
    service: str


class Collector(StandIn):
    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Kept] = []

    def named(self, name: str) -> list[Kept]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Kept:
        (span,) = self.named(name)
        return span

    async def answer(self, request: Request) -> Answer:
        assert request.path == "/v1/traces"
        is_zipped = request.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(request.body) if is_zipped else request.body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _plain(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_kept(span, about["service.name"]) for span in scope.spans]
        told = ExportTraceServiceResponse().SerializeToString()
        return Answer(200, told, {"Content-Type": "application/x-protobuf"})


def _kept(span: Any, service: str) -> Kept:
    return Kept(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        _plain(span.attributes),
        span.status.code == 2,
        service,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
