"""Rollups of what metrics count: their tables, what a row counts as, the triggers that count it, and what was counted.

Triggers, since no path to a table goes round them: a merge, a deletion, a cascade and an operator's psql count too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


class Source(NamedTuple):
    """A table whose rows count. `counted` selects what `{rows}` count as, by `columns`: no other changes anything."""

    table: str
    counted: str
    columns: tuple[str, ...]

    def of(self, row: str) -> str:
        """SQL: the columns of `NEW` or `OLD`."""
        return ", ".join(f"{row}.{column}" for column in self.columns)


class Rollup(NamedTuple):
    name: str
    keys: tuple[str, ...]
    measures: tuple[str, ...]
    grains: tuple[str, ...]
    comment: str
    sources: tuple[Source, ...]


_HAPPENED = ("delivered", "opened", "clicked", "bounced", "complained")
_LATER = "least({0}delivered_at, {0}opened_at, {0}clicked_at, {0}bounced_at, {0}complained_at)"
_SENT = f"coalesce({{0}}sent_at, {_LATER})"
_INSTANTS = ("sent_at", *(f"{name}_at" for name in _HAPPENED))

ROLLUPS = (
    Rollup(
        "contact_stats",
        (),
        ("contacts", "unsubscribed"),
        ("hour", "all"),
        "Contacts that are not deleted, by the hour in which they were created",
        (
            Source(
                "contacts",
                "SELECT c.created_at AS at, 1 AS contacts, coalesce(p.unsubscribed_all, false)::int AS unsubscribed"
                " FROM {rows} AS c LEFT JOIN contact_preferences AS p ON p.contact_id = c.id"
                " WHERE c.deleted_at IS NULL",
                ("id", "created_at", "deleted_at"),
            ),
            Source(
                "contact_preferences",
                "SELECT c.created_at AS at, 0 AS contacts, p.unsubscribed_all::int AS unsubscribed"
                " FROM {rows} AS p JOIN contacts AS c ON c.id = p.contact_id WHERE c.deleted_at IS NULL",
                ("contact_id", "unsubscribed_all"),
            ),
        ),
    ),
    Rollup(
        "event_stats",
        ("name",),
        ("count",),
        ("hour", "day"),
        "Events, by the hour in which they occurred",
        (
            Source(
                "user_events",
                "SELECT e.occurred_at AS at, e.name, 1 AS count FROM {rows} AS e",
                ("occurred_at", "name"),
            ),
        ),
    ),
    Rollup(
        "email_stats",
        ("journey_id", "template_key"),
        ("requested", "sent", *_HAPPENED),
        ("hour", "day", "all"),
        "Emails and what ever happened to them, by the hour in which they were requested",
        (
            Source(
                "email_sends",
                "SELECT s.created_at AS at, s.journey_id, s.template_key, 1 AS requested,"
                f" ({_SENT.format('s.')} IS NOT NULL)::int AS sent, "
                + ", ".join(f"(s.{name}_at IS NOT NULL)::int AS {name}" for name in _HAPPENED)
                + " FROM {rows} AS s",
                ("created_at", "journey_id", "template_key", *_INSTANTS),
            ),
        ),
    ),
    Rollup(
        "sent_stats",
        (),
        ("sent", "bounced"),
        ("hour", "day"),
        "Emails that were sent, by the hour in which they were",
        (
            # Apart, so that either finds its index.
            Source(
                "email_sends",
                "SELECT s.sent_at AS at, 1 AS sent, (s.bounced_at IS NOT NULL)::int AS bounced"
                " FROM {rows} AS s WHERE s.sent_at IS NOT NULL UNION ALL"
                f" SELECT {_LATER.format('s.')}, 1, (s.bounced_at IS NOT NULL)::int"
                f" FROM {{rows}} AS s WHERE s.sent_at IS NULL AND {_LATER.format('s.')} IS NOT NULL",
                _INSTANTS,
            ),
        ),
    ),
    Rollup(
        "journey_stats",
        ("journey_id", "status"),
        ("runs", "timed", "microseconds"),
        ("hour", "all"),
        "Runs by status, by the hour of entry; `timed` are those completed, `microseconds` what they took together",
        (
            Source(
                "journey_states",
                "SELECT r.created_at AS at, r.journey_id, r.status, 1 AS runs,"
                " (r.status = 'completed' AND r.completed_at IS NOT NULL)::int AS timed,"
                " CASE r.status WHEN 'completed' THEN coalesce("
                "(extract(epoch FROM r.completed_at - r.created_at) * 1000000)::bigint, 0)"
                " ELSE 0 END AS microseconds FROM {rows} AS r",
                ("created_at", "journey_id", "status", "completed_at"),
            ),
        ),
    ),
)

_HOUR = "date_trunc('hour', at, 'UTC')"
_STARTS = {"day": "date_trunc('day', start, 'UTC')", "all": "timestamptz '1970-01-01 00:00+00'"}


def _need_transition_tables() -> None:
    """Older ones refuse each insert into a hypertable that has such a trigger, not the trigger."""
    query = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
    found = op.get_bind().execute(sa.text(query)).scalar()
    if found is not None and tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < (2, 18):
        raise RuntimeError(
            f"TimescaleDB {found} is too old: metrics need 2.18 or newer. Update the extension first"
        )


def upgrade() -> None:
    _need_transition_tables()
    op.create_index(
        "ix_email_sends_sent_late",
        "email_sends",
        [sa.text(_LATER.format(""))],
        postgresql_where=sa.text(f"sent_at IS NULL AND {_LATER.format('')} IS NOT NULL"),
    )
    for rollup in ROLLUPS:
        _make_table(rollup)
        _make_view(rollup)
        for source in rollup.sources:
            _make_triggers(rollup, source)
    # Now, while the triggers' locks keep writers out until this is committed.
    for rollup in ROLLUPS:
        _count_what_is_there(rollup)
    _make_checks()


def _make_table(rollup: Rollup) -> None:
    name = rollup.name
    op.create_table(
        name,
        sa.Column("grain", sa.Text(), nullable=False, comment="fresh: an hour, not folded yet"),
        sa.Column(
            "start",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="of the hour or day in UTC; 1970-01-01 for all time",
        ),
        sa.Column("forgotten", sa.Boolean(), nullable=False, comment="of rows that retention deleted since"),
        *(sa.Column(key, sa.Text()) for key in rollup.keys),
        *(sa.Column(measure, sa.BigInteger(), nullable=False) for measure in rollup.measures),
        sa.CheckConstraint("grain IN ('fresh', 'hour', 'day', 'all')", name=op.f(f"ck_{name}_grain")),
        comment=rollup.comment,
    )
    op.create_index(
        f"uq_{name}_cell",
        name,
        # Nulls are equal within an array, as they are not between columns before Postgres 15.
        [
            "grain",
            "start",
            "forgotten",
            *([sa.text(f"(ARRAY[{', '.join(rollup.keys)}])")] if rollup.keys else []),
        ],
        unique=True,
        postgresql_where=sa.text("grain <> 'fresh'"),
    )
    op.create_index(f"ix_{name}_fresh", name, ["start"], postgresql_where=sa.text("grain = 'fresh'"))
    # Fresh rows come and go with each fact: without this, a big table would hold many dead ones.
    op.execute(
        f"ALTER TABLE {name} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)"
    )


def _make_view(rollup: Rollup) -> None:
    """What the rows that are kept count as: the first source has it all, the others only change it."""
    source = rollup.sources[0]
    op.execute(f"CREATE VIEW {rollup.name}_facts AS {source.counted.format(rows=source.table)}")


def _insert(rollup: Rollup, facts: str) -> str:
    """Adds the sum of each cell; `facts` say the grain, start and `forgotten` of theirs, and 1 or -1 as `sign`."""
    cell = ("grain", "start", "forgotten", *rollup.keys)
    sums = [f"sum({measure} * sign)" for measure in rollup.measures]
    return (
        f"INSERT INTO {rollup.name} ({', '.join((*cell, *rollup.measures))})"
        f" SELECT {', '.join((*cell, *sums))} FROM ({facts}) AS facts GROUP BY {', '.join(cell)}"
        f" HAVING {' OR '.join(f'{one} <> 0' for one in sums)}"
    )


def _make_triggers(rollup: Rollup, source: Source) -> None:
    def fresh(rows: str, *, forgotten: str = "false", sign: str = "1", more: str = "") -> str:
        return (
            f"SELECT 'fresh' AS grain, {_HOUR} AS start, {forgotten} AS forgotten, {sign} AS sign, counted.*"
            f" FROM ({source.counted.format(rows=rows)}) AS counted{more}"
        )

    new, old = source.of("NEW"), source.of("OLD")
    function = f"hogsend_count_{rollup.name}_of_{source.table}"
    updated = f"{fresh(f'(SELECT {new})')} UNION ALL {fresh(f'(SELECT {old})', sign='-1')}"
    # What retention deletes stays counted, apart.
    moved = (
        " CROSS JOIN (VALUES (false, -1), (true, 1)) AS moved(forgotten, sign)"
        " WHERE NOT moved.forgotten OR current_setting('hogsend.forgetting', true) = 'on'"
    )
    removed = fresh("removed", forgotten="moved.forgotten", sign="moved.sign", more=moved)
    op.execute(f"""
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {_insert(rollup, fresh("added"))};
    ELSIF TG_OP = 'UPDATE' THEN
        {_insert(rollup, updated)};
    ELSE
        {_insert(rollup, removed)};
    END IF;
    RETURN NULL;
END $$
""")
    name = f"count_{rollup.name}"
    for operation, rows in (("INSERT", "NEW TABLE AS added"), ("DELETE", "OLD TABLE AS removed")):
        op.execute(
            f"CREATE TRIGGER {name}_{operation.lower()} AFTER {operation} ON {source.table}"
            f" REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )
    op.execute(
        f"CREATE TRIGGER {name}_update AFTER UPDATE ON {source.table}"
        f" FOR EACH ROW WHEN (({new}) IS DISTINCT FROM ({old})) EXECUTE FUNCTION {function}()"
    )


def _count_what_is_there(rollup: Rollup) -> None:
    """A month a statement, so that none takes longer than a connection waits."""
    named = ", ".join((*rollup.keys, *rollup.measures))
    next_month = sa.text(
        f"SELECT date_trunc('month', min(at), 'UTC') FROM {rollup.name}_facts WHERE at >= :since"
    )
    of_a_month = sa.text(
        _insert(
            rollup,
            f"SELECT 'hour' AS grain, {_HOUR} AS start, false AS forgotten, 1 AS sign, {named}"
            f" FROM {rollup.name}_facts"
            " WHERE at >= :month AND at < date_trunc('month', CAST(:month AS timestamptz) + interval '32 days', 'UTC')",
        )
    )
    month: datetime | None = datetime.min.replace(tzinfo=UTC)
    while (month := op.get_bind().execute(next_month, {"since": month}).scalar()) is not None:
        op.get_bind().execute(of_a_month, {"month": month})
        if (month.year, month.month) == (9999, 12):
            break
        month = (month + timedelta(days=32)).replace(day=1)
    for grain in rollup.grains[1:]:
        op.execute(
            _insert(
                rollup,
                f"SELECT '{grain}' AS grain, {_STARTS[grain]} AS start, forgotten, 1 AS sign, {named}"
                f" FROM {rollup.name} WHERE grain = 'hour'",
            )
        )


def _make_checks() -> None:
    op.create_table(
        "metric_checks",
        sa.Column(
            "id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="1: there is one row, or none",
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="of the last check"),
        sa.Column("hours", sa.Integer(), nullable=False, comment="how many it compared with the rows"),
        sa.Column("mended", sa.Integer(), nullable=False, comment="how many cells it found wrong"),
        sa.Column("mended_ever", sa.BigInteger(), nullable=False),
        sa.Column("mended_at", sa.DateTime(timezone=True), comment="of the last check that found any"),
        sa.Column(
            "walked_to",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="how far back older hours are compared in this round",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metric_checks")),
        comment="How rollups compared with the rows that they count",
    )


def _tables() -> Sequence[tuple[Rollup, Source]]:
    return [(rollup, source) for rollup in ROLLUPS for source in rollup.sources]


def downgrade() -> None:
    for rollup, source in _tables():
        for operation in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER count_{rollup.name}_{operation} ON {source.table}")
        op.execute(f"DROP FUNCTION hogsend_count_{rollup.name}_of_{source.table}()")
    for rollup in ROLLUPS:
        op.execute(f"DROP VIEW {rollup.name}_facts")
        op.drop_table(rollup.name)
    op.drop_table("metric_checks")
    op.drop_index("ix_email_sends_sent_late", table_name="email_sends")
