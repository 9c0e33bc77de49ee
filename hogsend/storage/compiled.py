"""Statements compiled to SQL text once, and executed on the driver with new values.

Building a statement and compiling it costs more than most reads do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import asyncpg

_DIALECT: Any = asyncpg.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class CompiledStatement:
    """SQL text, and the values of its parameters in order: fixed ones, or the name of what each run gives."""

    sql: str
    given: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, statement: Executable) -> CompiledStatement:
        """Compile it. Values that it holds are fixed; those of its bound parameters may be given by name."""
        compiled: Any = statement.compile(  # type: ignore[attr-defined]
            dialect=_DIALECT, compile_kwargs={"render_postcompile": True}
        )
        processors = compiled._bind_processors
        given = []
        for name in compiled.positiontup or ():
            value = compiled.params[name]
            if name in processors and value is not None:
                value = processors[name](value)
            given.append((name, value))
        return cls(compiled.string, tuple(given))

    def values(self, run: Mapping[str, Any]) -> list[Any]:
        """What the driver is given. `run` holds values as the driver takes them."""
        return [run.get(name, fixed) for name, fixed in self.given]
