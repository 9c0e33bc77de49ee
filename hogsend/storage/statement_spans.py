"""A span for each statement, within whatever asked it: a process's own polls are told to nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event

from hogsend.telemetry import traces
from hogsend.telemetry.traces import Span

_BEGUN = "hogsend_span"
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([a-z_]+)", re.IGNORECASE)


def summary(statement: str) -> str:
    """What it does to which table first: `SELECT contacts`. Its text may hold values, so it is not told."""
    operation = statement.split(None, 1)[0].upper() if statement.strip() else "SQL"
    table = _TABLE.search(statement)
    return f"{operation} {table[1]}" if table else operation


class _Told(NamedTuple):
    name: str
    attributes: dict[str, str]


def _told(statement: str) -> _Told:
    name = summary(statement)
    return _Told(name, {"db.system.name": "postgresql", "db.query.summary": name})


@contextmanager
def statement_span(statement: str) -> Iterator[None]:
    """The span of a statement that goes to the driver without SQLAlchemy, around the block."""
    if traces.current() is None:
        yield
        return
    told = _told(statement)
    with traces.span(told.name, kind="client", attributes=told.attributes):
        yield


def watch_statements(engine: Engine) -> None:
    """Span each statement of `engine` that is executed within a span."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin(
        _conn: Connection, _cursor: Any, statement: str, _given: Any, context: Any, _many: bool
    ) -> None:
        if context is not None and traces.current() is not None:
            told = _told(statement)
            context.__dict__[_BEGUN] = traces.begin(told.name, kind="client", attributes=told.attributes)

    @event.listens_for(engine, "after_cursor_execute")
    def end(_conn: Connection, _cursor: Any, _statement: str, _given: Any, context: Any, _many: bool) -> None:
        _end(context, None)

    @event.listens_for(engine, "handle_error")
    def fail(error: Any) -> None:
        _end(error.execution_context, error.original_exception)


def _end(context: Any, error: BaseException | None) -> None:
    begun: Span | None = context.__dict__.pop(_BEGUN, None) if context is not None else None
    if begun is None:
        return
    if error is not None:
        begun.fail(error)
    begun.end()
