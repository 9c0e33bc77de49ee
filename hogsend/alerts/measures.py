"""Measures of alert rules: rates over the sends of the last 30 days, counts over the decisions of the last hour.

All the measures that are asked for together are one statement, which reads either table once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Row, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import DecisionKind
from hogsend.metrics.queries import rate, sent_since
from hogsend.tables.decisions import decisions

RATES_OVER = timedelta(days=30)
COUNTS_OVER = timedelta(hours=1)


class Measure(Protocol):
    """One number over a table: `column` counts, `value` makes the number of it and of the number of sends."""

    over: str

    def column(self) -> ColumnElement[int]: ...

    def value(self, counted: int, sent: int) -> float | None: ...

    def shown(self, value: float) -> str:
        """A value as people read it."""
        ...


class SendRate:
    """The share of the emails sent that have the instant of `column`; `of_nothing` where none was sent."""

    over = "sends"

    def __init__(self, column: ColumnElement[Any], *, of_nothing: float | None = 0.0) -> None:
        self._column = column
        self._of_nothing = of_nothing

    def column(self) -> ColumnElement[int]:
        return func.count(self._column)

    def value(self, counted: int, sent: int) -> float | None:
        return rate(counted, sent) if sent else self._of_nothing

    def shown(self, value: float) -> str:
        return f"{value:.2%}"


class DecisionCount:
    """How many decisions of these kinds there were."""

    over = "decisions"

    def __init__(self, *kinds: DecisionKind) -> None:
        self._kinds = [kind.value for kind in kinds]

    def column(self) -> ColumnElement[int]:
        return func.count().filter(decisions.c.kind.in_(self._kinds))

    def value(self, counted: int, sent: int) -> float | None:
        return float(counted)

    def shown(self, value: float) -> str:
        return f"{value:g}"


async def measure_all(
    conn: AsyncConnection, now: datetime, measures: Sequence[Measure]
) -> list[float | None]:
    """The value of each measure at `now` (product time), in one statement."""
    named = {f"m{index}": measure for index, measure in enumerate(measures)}

    def columns(over: str) -> list[ColumnElement[int]]:
        return [measure.column().label(name) for name, measure in named.items() if measure.over == over]

    sends = select(func.count().label("sent"), *columns("sends")).where(sent_since(now - RATES_OVER))
    counts = select(func.count().label("decisions"), *columns("decisions")).where(
        decisions.c.at >= now - COUNTS_OVER
    )
    of_sends, of_decisions = sends.subquery("sends"), counts.subquery("counts")
    both = select(of_sends, of_decisions).select_from(of_sends.join(of_decisions, true()))
    row: Row[Any] = (await conn.execute(both)).one()
    return [measure.value(getattr(row, name), row.sent) for name, measure in named.items()]
