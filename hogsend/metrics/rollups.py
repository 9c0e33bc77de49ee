"""The rollups of `tables/metrics.py`, and how they are read.

Each read is one statement over one snapshot: what is folded, what is fresh, and the facts of hours that a span cuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Select,
    Table,
    cast,
    column,
    false,
    func,
    literal_column,
    select,
    table,
    union_all,
)

from hogsend.metrics.periods import Reach, cover
from hogsend.storage.metadata import instant
from hogsend.tables.metrics import contact_stats, email_stats, event_stats, journey_stats, sent_stats

OF_A_CELL = ("grain", "start", "forgotten")


@dataclass(frozen=True)
class Rollup:
    """One rollup: its table, and the grains that fresh rows are folded into, the finest first."""

    table: Table
    grains: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(
            one.name
            for one in self.table.columns
            if not isinstance(one.type, BigInteger) and one.name not in OF_A_CELL
        )

    @property
    def measures(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.table.columns if isinstance(one.type, BigInteger))

    @property
    def facts(self) -> str:
        """The view that says what each row counts as, and `at` which instant."""
        return f"{self.table.name}_facts"

    @property
    def columns(self) -> str:
        """SQL: the columns of a cell and its sums."""
        return ", ".join((*OF_A_CELL, *self.keys, *self.measures))

    @property
    def add_to_cells(self) -> str:
        """SQL: the end of an INSERT that adds to the cells that are there; it takes none that is fresh."""
        sums = ", ".join(f"{one} = {self.table.name}.{one} + excluded.{one}" for one in self.measures)
        keys = f", (ARRAY[{', '.join(self.keys)}])" if self.keys else ""
        cell = ", ".join(OF_A_CELL) + keys
        return f"ON CONFLICT ({cell}) WHERE grain <> 'fresh' DO UPDATE SET {sums}"

    def within(self, reach: Reach, *, by_day: bool = True) -> FromClause:
        """Rows of `at`, keys and measures that add up to what counts within `reach`.

        Each `at` is in the same hour as what it counts, and with `by_day` (a grain that must be there) in the same day.
        """
        pieces = cover(reach, by_day=by_day)
        parts = [self._rows(edge) for edge in pieces.edges]
        parts += [self._cells("hour", piece) for piece in pieces.hours]
        if pieces.days is not None:
            parts.append(self._cells("day", pieces.days))
        if pieces.whole is not None:
            parts.append(self._cells("fresh", pieces.whole))
        nothing = self._cells("fresh", Reach()).where(false())
        return union_all(*parts or (nothing,)).subquery(self.table.name)

    def ever(self) -> FromClause:
        """Rows of keys and measures that add up to what counts at all. The grain `all` must be there."""
        both = (self._cells("all", Reach()), self._cells("fresh", Reach()))
        return union_all(*both).subquery(self.table.name)

    def _cells(self, grain: str, reach: Reach) -> Select[Any]:
        cells = self.table.c
        listed = (cells[name] for name in (*self.keys, *self.measures))
        # Not a parameter: the index of fresh rows is found by what stands in the statement.
        of_grain = cells.grain == literal_column(f"'{grain}'")
        return select(cells.start.label("at"), *listed).where(of_grain, *reach.holds(cells.start))

    def _rows(self, reach: Reach) -> Select[Any]:
        at: Column[Any] = instant("at")
        facts = table(self.facts, at, *(column(name) for name in (*self.keys, *self.measures)))
        return select(*facts.columns).where(*reach.holds(facts.c.at))


CONTACTS = Rollup(contact_stats, ("hour", "all"))
EVENTS = Rollup(event_stats, ("hour", "day"))
EMAILS = Rollup(email_stats, ("hour", "day", "all"))
SENT = Rollup(sent_stats, ("hour", "day"))
RUNS = Rollup(journey_stats, ("hour", "all"))
ROLLUPS = (CONTACTS, EVENTS, EMAILS, SENT, RUNS)


def total(measure: ColumnElement[Any], *only: ColumnElement[bool]) -> ColumnElement[Any]:
    """The sum of a measure, of the rows where `only` holds; 0 over none."""
    summed = func.sum(measure)
    return cast(func.coalesce(summed.filter(*only) if only else summed, 0), BigInteger)
