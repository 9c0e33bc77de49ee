"""The order of streams: rows of the activity log are numbered as they are seen committed.

A transaction that stays open, in this database or another, keeps its own rows back and nobody else's: they are numbered
when it has committed, behind everything that was numbered before. So nothing can turn up behind a cursor. A round
numbers what its snapshot shows and the round before could not see; both are found by transaction id, so a round costs
what is new, however long the log is and however many transactions are open.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.realtime.cursor import Snapshot
from hogsend.storage.database import Database
from hogsend.tables.realtime import activity_rounds

BATCH = 5_000
KEPT_ROUNDS = 1_000

# Whoever comes second in a round waits at its key for the first, and then has nothing to insert. Positions follow
# `seq`, the order of writing. A batch is cut between transactions, as if the snapshot had been taken when the first
# of the rest had not begun. The orders and limits that change no answer lead the planner to the index, whatever it
# thinks of how many rows a transaction has. A snapshot from the future is of another server, whose dump was restored
# here: then all rows are looked at anew, and those that have a position keep it.
_ROUND = text("""
WITH latest AS MATERIALIZED (
    SELECT round, pos, snapshot FROM activity_rounds ORDER BY round DESC LIMIT 1
), state AS MATERIALIZED (
    SELECT coalesce(max(round), 0) AS round,
        coalesce(max(pos), (SELECT coalesce(max(pos), 0) FROM activity_order)) AS pos,
        coalesce(
            (SELECT snapshot FROM latest WHERE pg_snapshot_xmax(snapshot) <= pg_snapshot_xmax(pg_current_snapshot())),
            '3:3:'
        ) AS before,
        pg_current_snapshot() AS now
    FROM latest
), cut AS MATERIALIZED (
    SELECT (
        SELECT txid FROM activity WHERE txid >= (SELECT pg_snapshot_xmax(before) FROM state)
        ORDER BY txid, seq OFFSET CAST(:batch AS bigint) LIMIT 1
    ) AS txid
), found AS MATERIALIZED (
    SELECT rows.seq, rows.kind
    FROM state CROSS JOIN LATERAL pg_snapshot_xip(state.before) AS ended (txid)
        CROSS JOIN LATERAL (
            SELECT seq, kind FROM activity WHERE activity.txid = ended.txid ORDER BY seq OFFSET 0
        ) AS rows
    WHERE pg_visible_in_snapshot(ended.txid, state.now)
    UNION ALL
    SELECT seq, kind FROM activity
    WHERE txid >= (SELECT pg_snapshot_xmax(before) FROM state)
        AND txid <= (SELECT coalesce(cut.txid, pg_snapshot_xmax(state.now)) FROM state, cut)
), seen AS (
    SELECT CASE WHEN cut.txid IS NULL THEN state.now ELSE (
        SELECT CAST(
            concat(coalesce(min(CAST(CAST(open.txid AS text) AS numeric)), shown.xmax), ':', shown.xmax, ':',
                string_agg(CAST(open.txid AS text), ',' ORDER BY open.txid)) AS pg_snapshot)
        FROM pg_snapshot_xip(state.now) AS open (txid) WHERE open.txid <= cut.txid
    ) END AS snapshot
    FROM state, cut, LATERAL (SELECT CAST(CAST(cut.txid AS text) AS numeric) + 1 AS xmax) AS shown
), claimed AS (
    INSERT INTO activity_rounds (round, pos, snapshot)
    SELECT state.round + 1, state.pos + (SELECT count(*) FROM found), seen.snapshot FROM state, seen
    WHERE EXISTS (SELECT FROM found)
    ON CONFLICT (round) DO NOTHING
    RETURNING round, pos
), numbered AS (
    INSERT INTO activity_order (pos, seq, kind)
    SELECT state.pos + row_number() OVER (ORDER BY found.seq), found.seq, found.kind FROM found, state, claimed
    ON CONFLICT (seq) DO NOTHING
), gone AS (
    DELETE FROM activity_rounds USING claimed WHERE activity_rounds.round = claimed.round - CAST(:kept AS bigint)
)
SELECT claimed.pos FROM claimed
""")

_HEAD = text("""
SELECT coalesce(latest.pos, 0) AS pos, CAST(coalesce(latest.snapshot, '3:3:') AS text) AS numbered,
    CAST(pg_current_snapshot() AS text) AS now,
    coalesce((SELECT pos FROM activity_horizon), 0) AS forgotten
FROM (VALUES (1)) AS one LEFT JOIN (
    SELECT pos, snapshot FROM activity_rounds ORDER BY round DESC LIMIT 1
) AS latest ON true
""")

# Rows that a reader's snapshot showed, and that have no position yet.
_UNNUMBERED = text("""
WITH latest AS MATERIALIZED (
    SELECT coalesce((SELECT snapshot FROM activity_rounds ORDER BY round DESC LIMIT 1), '3:3:') AS numbered,
        CAST(CAST(:shown AS text) AS pg_snapshot) AS shown
)
SELECT EXISTS (
    SELECT FROM latest CROSS JOIN LATERAL pg_snapshot_xip(latest.numbered) AS ended (txid)
        CROSS JOIN LATERAL (SELECT FROM activity WHERE activity.txid = ended.txid ORDER BY seq LIMIT 1) AS row
    WHERE pg_visible_in_snapshot(ended.txid, latest.shown)
) OR (
    SELECT txid FROM activity
    WHERE txid >= (SELECT pg_snapshot_xmax(numbered) FROM latest)
        AND txid < (SELECT pg_snapshot_xmax(shown) FROM latest)
        AND pg_visible_in_snapshot(txid, (SELECT shown FROM latest))
    ORDER BY txid, seq LIMIT 1
) IS NOT NULL
""")


@dataclass(frozen=True)
class Head:
    """How far the log is numbered: the last position, what was seen then, and what this statement sees.

    Positions up to `forgotten` are gone.
    """

    pos: int
    numbered: Snapshot
    now: Snapshot
    forgotten: int


async def number_new(conn: AsyncConnection, *, batch: int = BATCH) -> int | None:
    """Number what is newly seen committed, about `batch` rows at most; the last position, None where nothing is new.

    One statement, to run as a transaction of its own: only what it commits has a position. Any process may call it at
    any time; of two at once, one finds nothing to do.
    """
    position: int | None = (await conn.execute(_ROUND, {"batch": batch, "kept": KEPT_ROUNDS})).scalar()
    return position


async def number_all(database: Database) -> None:
    """Number until nothing is new, also where no API process runs whose tailer would."""
    async with database.each_alone() as conn:
        while await number_new(conn) is not None:
            pass


async def read_head(conn: AsyncConnection) -> Head:
    """How far the log is numbered, in one statement: what is up to `pos` is visible in `now`."""
    row = (await conn.execute(_HEAD)).one()
    return Head(row.pos, Snapshot.parse(row.numbered), Snapshot.parse(row.now), row.forgotten)


def head_of_statement() -> ColumnElement[str]:
    """A column for `StreamCursor.of_head`: how far the log is numbered, and what the statement that reads it sees."""
    latest = select(activity_rounds.c.pos).order_by(activity_rounds.c.round.desc()).limit(1).scalar_subquery()
    return func.concat(func.coalesce(latest, 0), "~", cast(func.pg_current_snapshot(), Text))


async def is_numbered(conn: AsyncConnection, shown: Snapshot) -> bool:
    """Whether every row that `shown` shows has its position, so that a cursor needs the snapshot no longer."""
    return not (await conn.execute(_UNNUMBERED, {"shown": str(shown)})).scalar_one()
