"""Rollups: how many there were, by hour, of everything that metrics count.

Triggers (revision 0006) append rows of the grain `fresh` in the transaction of the fact, one for each statement and
cell, so that no writer waits for another; a fold moves them into the coarser grains. What was counted is the sum of
both, in one statement. What one row of a fact table counts as is said once, by the view `<table>_facts`.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, text

from hogsend.storage.metadata import instant, metadata, one_of

GRAINS = ("fresh", "hour", "day", "all")


def _rollup(name: str, keys: tuple[str, ...], measures: tuple[str, ...], comment: str) -> Table:
    """The table of one rollup: a cell for each grain, start and `keys`, with a sum for each of `measures`."""
    # Nulls are equal within an array, as they are not between columns before Postgres 15.
    of_keys = [text(f"(ARRAY[{', '.join(keys)}])")] if keys else []
    return Table(
        name,
        metadata,
        Column("grain", Text, nullable=False, comment="fresh: an hour, not folded yet"),
        instant("start", nullable=False, comment="of the hour or day in UTC; 1970-01-01 for all time"),
        Column("forgotten", Boolean, nullable=False, comment="of rows that retention deleted since"),
        *(Column(key, Text) for key in keys),
        *(Column(measure, BigInteger, nullable=False) for measure in measures),
        one_of("grain", GRAINS),
        Index(
            f"uq_{name}_cell",
            "grain",
            "start",
            "forgotten",
            *of_keys,
            unique=True,
            postgresql_where=text("grain <> 'fresh'"),
        ),
        Index(f"ix_{name}_fresh", "start", postgresql_where=text("grain = 'fresh'")),
        comment=comment,
    )


contact_stats = _rollup(
    "contact_stats",
    (),
    ("contacts", "unsubscribed"),
    "Contacts that are not deleted, by the hour in which they were created",
)
event_stats = _rollup("event_stats", ("name",), ("count",), "Events, by the hour in which they occurred")
email_stats = _rollup(
    "email_stats",
    ("journey_id", "template_key"),
    ("requested", "sent", "delivered", "opened", "clicked", "bounced", "complained"),
    "Emails and what ever happened to them, by the hour in which they were requested",
)
sent_stats = _rollup(
    "sent_stats", (), ("sent", "bounced"), "Emails that were sent, by the hour in which they were"
)
journey_stats = _rollup(
    "journey_stats",
    ("journey_id", "status"),
    ("runs", "timed", "microseconds"),
    "Runs by status, by the hour of entry; `timed` are those completed, `microseconds` what they took together",
)

metric_checks = Table(
    "metric_checks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one row, or none"),
    instant("at", nullable=False, comment="of the last check"),
    Column("hours", Integer, nullable=False, comment="how many it compared with the rows"),
    Column("mended", Integer, nullable=False, comment="how many cells it found wrong"),
    Column("mended_ever", BigInteger, nullable=False),
    instant("mended_at", comment="of the last check that found any"),
    instant("walked_to", nullable=False, comment="how far back older hours are compared in this round"),
    comment="How rollups compared with the rows that they count",
)
