"""Traces: spans around what we do, carried from event to send through rows. Nothing is loaded where none are kept.

A trace context is W3C's `traceparent`, as text. Spans say what was done, how long it took and which rows it was about;
never what a statement or a message holds, nor what an exception says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

SpanKind = Literal["internal", "server", "client", "consumer"]
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """What is under way."""

    def note(self, attributes: Attributes, *, name: str | None = None) -> None:
        """Add what became known meanwhile."""
        ...

    def fail(self, error: BaseException) -> None:
        """Mark it as an error, by the type of what went wrong: the text may name people."""
        ...

    def end(self) -> None:
        """End it, before its block does: what follows is told to nobody."""
        ...


class Tracer(Protocol):
    """What keeps spans."""

    def span(
        self,
        name: str,
        kind: SpanKind,
        parent: str | None,
        links: Sequence[str],
        attributes: Attributes,
        *,
        is_root: bool,
    ) -> AbstractContextManager[Span]: ...

    def begin(self, name: str, kind: SpanKind, attributes: Attributes) -> Span: ...
    def current(self) -> str | None: ...
    def ids(self) -> Mapping[str, str]: ...


class _Untraced:
    """The span of a process that keeps none."""

    def note(self, attributes: Attributes, *, name: str | None = None) -> None:
        return

    def fail(self, error: BaseException) -> None:
        return

    def end(self) -> None:
        return


_UNTRACED = _Untraced()
_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> Tracer | None:
    """Keep this process's spans with `tracer`, or nowhere; returns what kept them before."""
    global _tracer
    before, _tracer = _tracer, tracer
    return before


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = "internal",
    parent: str | None = None,
    links: Sequence[str] = (),
    attributes: Attributes | None = None,
    is_root: bool = False,
) -> Iterator[Span]:
    """A span around the block: a child of `parent`, or of the current one; with `is_root`, the first of a trace.

    `links` are contexts that it follows from. What the block raises marks it as an error, by type.
    """
    if _tracer is None:
        yield _UNTRACED
        return
    with _tracer.span(name, kind, parent, links, attributes or {}, is_root=is_root) as begun:
        yield begun


def begin(name: str, *, kind: SpanKind = "internal", attributes: Attributes | None = None) -> Span | None:
    """A span below the current one, to be ended by hand; None where there is none: it is told to nobody then."""
    if _tracer is None or _tracer.current() is None:
        return None
    return _tracer.begin(name, kind, attributes or {})


def current() -> str | None:
    """The context of the current span, to be kept in a row; None where none is."""
    return _tracer.current() if _tracer is not None else None


def ids() -> Mapping[str, str]:
    """`trace_id` and `span_id` of the current span, for logs; empty where none is."""
    return _tracer.ids() if _tracer is not None else {}
