"""A span for each statement, within whatever asked it: a process's own polls are told to nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def watch_statements(engine: Engine) -> None:
    """Span each statement of `engine` that is executed within a span."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin(
        _conn: Connection, _cursor: Any, statement: str, _given: Any, context: Any, _many: bool
    ) -> None:
        if context is not None and traces.current() is not None:
            context.__dict__[_BEGUN] = _begin(statement)

    @event.listens_for(engine, "after_cursor_execute")
    def end(_conn: Connection, _cursor: Any, _statement: str, _given: Any, context: Any, _many: bool) -> None:
        _end(context, None)

    @event.listens_for(engine, "handle_error")
    def fail(error: Any) -> None:
        _end(error.execution_context, error.original_exception)


@contextmanager
def spanned(statement: str) -> Iterator[None]:
    """Span a statement that is executed on the driver in the block, where that is within a span."""
    if traces.current() is None:
        yield
        return
    begun = _begin(statement)
    try:
        yield
    except BaseException as error:
        if begun is not None:
            begun.fail(error)
        raise
    finally:
        if begun is not None:
            begun.end()


def _begin(statement: str) -> Span | None:
    told = summary(statement)
    attributes = {"db.system.name": "postgresql", "db.query.summary": told}
    return traces.begin(told, kind="client", attributes=attributes)


def _end(context: Any, error: BaseException | None) -> None:
    begun: Span | None = context.__dict__.pop(_BEGUN, None) if context is not None else None
    if begun is None:
        return
    if error is not None:
        begun.fail(error)
    begun.end()
