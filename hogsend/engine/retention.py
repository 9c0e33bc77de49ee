"""Retention: how long each table's rows are kept, and the job that deletes what is older.

`POLICIES` is the whole list; a table that it does not name fails a test. Rows go a batch at a time, each in a
transaction of its own that waits for no lock: what somebody holds is left for the next run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    Update,
    and_,
    cast,
    delete,
    exists,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy import Text as SqlText
from sqlalchemy.sql.dml import Delete

from hogsend.engine.old_partitions import drop_old_partitions
from hogsend.realtime.order import number_all
from hogsend.runtime import Runtime
from hogsend.tables.access import api_keys, audit_intents, audit_logs, idempotency_keys
from hogsend.tables.alerts import (
    alert_deliveries,
    alert_rules,
    alerts,
    invariant_findings,
    invariant_progress,
)
from hogsend.tables.consent import consent_key, consent_ledger
from hogsend.tables.contacts import (
    contact_aliases,
    contact_preferences,
    contacts,
    import_batches,
    import_errors,
    import_jobs,
)
from hogsend.tables.deadletters import DeadLetterStatus, dead_letters
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import (
    UNDER_WAY,
    email_events,
    email_links,
    email_sends,
    inbox_messages,
    provider_events,
    suppressions,
)
from hogsend.tables.engine import clock, crons, jobs, outbox
from hogsend.tables.events import event_keys, user_events
from hogsend.tables.journeys import (
    ENDED_STATUSES,
    journey_settings,
    journey_states,
    journey_steps,
    journey_versions,
    journey_waits,
)
from hogsend.tables.metrics import (
    contact_stats,
    email_stats,
    event_stats,
    journey_stats,
    metric_checks,
    sent_stats,
)
from hogsend.tables.realtime import activity, activity_horizon, activity_order, activity_rounds

log = structlog.get_logger(__name__)

BATCH = 1000


@dataclass(frozen=True)
class Aged:
    """Rows are forgotten `setting` days after `since`, where `only` holds; `clock` is the one that `since` is of.

    With `clearing`, the row stays and that column is emptied. Where the table is cut into spans of `since`, those
    that are behind go whole.
    """

    table: Table
    since: Column[Any]
    setting: str
    only: ColumnElement[bool] | None = None
    clock: Literal["product", "real"] = "product"
    clearing: Column[Any] | None = None

    def statement(self, before: datetime, batch: int) -> Delete | Update:
        """One batch, without waiting for anybody."""
        keys = tuple(self.table.primary_key.columns)
        conditions = [] if self.only is None else [self.only]
        if self.clearing is not None:
            conditions.append(self.clearing.is_not(None))
        old = (
            select(*keys)
            .where(self.since < before, *conditions)
            .limit(batch)
            .with_for_update(of=self.table, skip_locked=True)
            .cte("old")
        )
        these = and_(*(key == old.c[key.key] for key in keys))
        if self.clearing is None:
            return delete(self.table).where(these)
        return update(self.table).where(these).values({self.clearing: null()})


@dataclass(frozen=True)
class Prefix:
    """The activity log is forgotten from its beginning on, `setting` days after each row's instant.

    What was forgotten last is kept in `activity_horizon`, so that a stream's cursor from before it can be told.
    """

    table: Table
    setting: str


@dataclass(frozen=True)
class With:
    """Rows go with the row of `owner` that they belong to: by its key, or by the statement that deletes it."""

    table: Table
    owner: Table
    keyed: bool = True


@dataclass(frozen=True)
class Forever:
    """Rows stay: they grow with people and with what operators set up, or something else relies on them."""

    table: Table
    why: str


Policy = Aged | Prefix | With | Forever

_runs, _steps, _sends, _jobs = journey_states.c, journey_steps.c, email_sends.c, jobs.c
# What is on its way, or may be: an operator can let it go on.
_SETTLED = and_(_sends.status.not_in(UNDER_WAY), ~_sends.outcome_unknown)
_WAITING_LETTER = exists().where(
    dead_letters.c.status == DeadLetterStatus.PENDING,
    dead_letters.c.payload["jobId"].as_string() == cast(_jobs.id, SqlText),
)

_ROLLUP = (
    "metrics outlive what they count: a row for each hour with anything in it, whatever happened how often"
)

POLICIES: Sequence[Policy] = (
    Prefix(activity, "retention_activity"),
    With(activity_order, activity, keyed=False),
    Forever(activity_rounds, "at most a thousand rows: each round of numbering drops one from long before"),
    Forever(activity_horizon, "one row: how far the activity log was forgotten"),
    Aged(decisions, decisions.c.at, "retention_decisions"),
    Aged(audit_logs, audit_logs.c.created_at, "retention_audit"),
    Aged(user_events, user_events.c.occurred_at, "retention_events"),
    Aged(event_keys, event_keys.c.created_at, "retention_event_keys"),
    Aged(email_sends, _sends.created_at, "retention_emails", _SETTLED),
    Aged(
        email_sends,
        _sends.created_at,
        "retention_email_content",
        and_(_SETTLED, _sends.status != "failed"),
        clearing=_sends.payload,
    ),
    With(email_links, email_sends),
    Aged(email_events, email_events.c.at, "retention_email_events"),
    Aged(provider_events, provider_events.c.received_at, "retention_provider_events"),
    Aged(idempotency_keys, idempotency_keys.c.created_at, "retention_idempotency_keys", clock="real"),
    Aged(journey_states, _runs.ended_at, "retention_runs", _runs.status.in_(ENDED_STATUSES)),
    Aged(
        journey_steps,
        _steps.opened_at,
        "retention_journals",
        # A run that failed may be resumed, and replays its journal then.
        exists().where(_runs.id == _steps.state_id, _runs.status.in_(("completed", "exited"))),
    ),
    With(journey_waits, journey_states),
    Aged(
        import_jobs,
        import_jobs.c.created_at,
        "retention_imports",
        import_jobs.c.status.in_(("completed", "failed")),
    ),
    With(import_batches, import_jobs),
    With(import_errors, import_jobs),
    Aged(alerts, alerts.c.triggered_at, "retention_alerts", alerts.c.resolved_at.is_not(None)),
    With(alert_deliveries, alerts),
    Aged(invariant_findings, invariant_findings.c.found_at, "retention_alerts"),
    Forever(invariant_progress, "one row: how far the books were checked"),
    Aged(
        dead_letters,
        dead_letters.c.created_at,
        "retention_dead_letters",
        dead_letters.c.status != DeadLetterStatus.PENDING,
    ),
    Aged(inbox_messages, inbox_messages.c.received_at, "retention_inbox"),
    Aged(outbox, outbox.c.published_at, "retention_outbox", clock="real"),
    Aged(
        jobs,
        _jobs.finished_at,
        "retention_jobs",
        or_(_jobs.status == "done", and_(_jobs.status == "dead", ~_WAITING_LETTER)),
        clock="real",
    ),
    Forever(contacts, "people; deleted by hand, merged ones lead to who they are now"),
    Forever(contact_aliases, "what people are also known as: keys of contacts"),
    Forever(contact_preferences, "consent: what people chose outlives everything that was sent"),
    Forever(suppressions, "consent: who must not be written to"),
    Forever(
        consent_ledger, "consent: what was said about an address outlives the contact and everything sent"
    ),
    Forever(consent_key, "one row: what addresses in the ledger are hashed with"),
    Forever(audit_intents, "mutations under way: a row goes when its audit row is written"),
    Forever(alert_rules, "what operators set up"),
    Forever(api_keys, "what operators set up; the audit log names them"),
    Forever(journey_settings, "what operators set up"),
    Forever(journey_versions, "one row for each version of the code"),
    Forever(contact_stats, _ROLLUP),
    Forever(event_stats, _ROLLUP),
    Forever(email_stats, _ROLLUP),
    Forever(sent_stats, _ROLLUP),
    Forever(journey_stats, _ROLLUP),
    Forever(metric_checks, "one row: how the last check of the rollups went"),
    Forever(crons, "one row for each cron"),
    Forever(clock, "one row: where time is anchored"),
)


async def forget_old(runtime: Runtime) -> None:
    """Forget what is older than its policy keeps it; a scheduled task. One table's failure keeps no other waiting."""
    failures: list[Exception] = []
    for policy in POLICIES:
        if not isinstance(policy, Aged | Prefix):
            continue
        before = _before(runtime, policy)
        if before is None:
            continue
        try:
            forgotten = await _forget(runtime, policy, before)
        except Exception as error:
            log.exception("not_forgotten", table=policy.table.name)
            failures.append(error)
        else:
            if forgotten:
                log.info("forgotten", table=policy.table.name, setting=policy.setting, rows=forgotten)
    if failures:
        raise failures[0]


def _before(runtime: Runtime, policy: Aged | Prefix) -> datetime | None:
    """What is older than this is forgotten; None where nothing is. Days are real ones, however fast journeys run."""
    days: int = getattr(runtime.settings, policy.setting)
    if not days:
        return None
    kept = timedelta(days=days)
    try:
        if isinstance(policy, Aged) and policy.clock == "real":
            return runtime.clock.wall() - kept
        return runtime.clock.now() - runtime.clock.product(kept)
    except OverflowError:
        return None


async def _forget(runtime: Runtime, policy: Aged | Prefix, before: datetime) -> int:
    forgotten = 0
    if policy.table.dialect_options["postgresql"]["partition_by"] is not None:
        await drop_old_partitions(runtime, policy.table, before)
    if isinstance(policy, Prefix):
        await number_all(runtime.database)
    while True:
        async with runtime.database.transaction() as conn:
            await conn.execute(_KEEP_COUNTED)
            if isinstance(policy, Prefix):
                done = (await conn.execute(_FORGET_ACTIVITY, {"before": before, "batch": BATCH})).scalar()
            else:
                done = (await conn.execute(policy.statement(before, BATCH))).rowcount
        forgotten += done or 0
        if not done or done < BATCH:
            return forgotten


# The triggers of rollups keep what is forgotten in this transaction counted, see docs/metrics.md.
_KEEP_COUNTED = text("SELECT set_config('hogsend.forgetting', 'on', true)")
# From the beginning of the log to the first row that is young.
_FORGET_ACTIVITY = text("""
WITH first AS (
    SELECT activity_order.pos, activity_order.seq, activity.at
    FROM activity_order LEFT JOIN activity ON activity.seq = activity_order.seq
    ORDER BY activity_order.pos LIMIT :batch
), judged AS MATERIALIZED (
    SELECT pos, seq, bool_and(coalesce(at < :before, true)) OVER (ORDER BY pos) AS old FROM first
), gone AS (
    DELETE FROM activity_order USING judged WHERE activity_order.pos = judged.pos AND judged.old
    RETURNING activity_order.pos
), with_it AS (
    DELETE FROM activity USING judged WHERE activity.seq = judged.seq AND judged.old
)
INSERT INTO activity_horizon AS horizon (id, pos)
SELECT 1, pos FROM gone ORDER BY pos DESC LIMIT 1
ON CONFLICT (id) DO UPDATE SET pos = excluded.pos
RETURNING (SELECT count(*) FROM gone)
""")
