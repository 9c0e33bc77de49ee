"""Fill a database with people and what happened to them.

    DATABASE_URL=… python -m benchmarks.seed [--contacts 200000] [--events 2000000]

For looking at plans and pages, not at behaviour: rows hang together, and nothing ran. Contact 0 is a whale, with a
tenth of all events. The database is migrated first and must hold no contacts.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime

from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.settings import load_settings
from hogsend.storage.database import Database
from hogsend.storage.migrate import migrate

# Each takes :contacts, :now, and the numbers from :first to :last. Ids are made from numbers, so that statements can
# point at each other.
_CONTACTS = "CAST(:contacts AS int)"
_NUMBERS = "generate_series(CAST(:first AS int), CAST(:last AS int)) g"
_NOW = "CAST(:now AS timestamptz)"
_AGO = f"{_NOW} - g * interval '7 seconds'"
_CONTACT = "md5('contact' || g)::uuid"
_EVENT_CONTACT = (
    "CASE WHEN g % 10 = 0 THEN md5('contact0')::uuid"
    f" ELSE md5('contact' || (g::bigint * 7919 % {_CONTACTS}))::uuid END"
)

AT_ONCE = 50_000
PER_EVENT = ("events", "activity of events")
STATEMENTS: dict[str, str] = {
    "contacts": f"""
        INSERT INTO contacts (id, external_id, email, properties, first_seen_at, last_seen_at, created_at, updated_at)
        SELECT md5('contact' || g)::uuid, 'user' || g, 'user' || g || '@' || substr(md5('' || g), 1, 6) || '.example',
               jsonb_build_object('plan', (ARRAY['free', 'pro', 'team'])[1 + g % 3], 'seats', g % 40),
               {_AGO}, {_AGO}, {_AGO}, {_AGO}
        FROM {_NUMBERS}""",
    "events": f"""
        INSERT INTO user_events (id, occurred_at, contact_id, name, properties, received_at)
        SELECT md5('event' || g)::uuid, {_AGO}, {_EVENT_CONTACT},
               (ARRAY['user.signed_up', 'project.created', 'file.opened', 'payment.failed', 'invited'])[1 + g % 5],
               jsonb_build_object('n', g), {_AGO}
        FROM {_NUMBERS}""",
    "runs": f"""
        INSERT INTO journey_states (id, journey_id, contact_id, email, status, version, trigger_event_id,
                                    completed_at, created_at, updated_at)
        SELECT md5('state' || g)::uuid, (ARRAY['activation-welcome', 'trial-expiring'])[1 + g % 2], {_CONTACT},
               'user' || g || '@example.com', (ARRAY['completed', 'waiting', 'exited', 'failed'])[1 + g % 4], 'v1',
               md5('event' || g)::uuid, {_AGO}, {_AGO}, {_AGO}
        FROM {_NUMBERS}""",
    "emails": f"""
        INSERT INTO email_sends (id, send_key, contact_id, state_id, journey_id, event_id, template_key, category,
                                 from_email, to_email, subject, status, message_id, sent_at, delivered_at, opened_at,
                                 clicked_at, bounced_at, created_at, updated_at)
        SELECT md5('email' || g)::uuid, 'seed:' || g, {_CONTACT}, md5('state' || g)::uuid,
               (ARRAY['activation-welcome', 'trial-expiring'])[1 + g % 2], md5('event' || g)::uuid,
               (ARRAY['welcome', 'trial-ending'])[1 + g % 2], 'lifecycle', 'hello@example.com',
               CASE WHEN g % 4 = 0 THEN 'often@example.com' ELSE 'user' || g || '@example.com' END, 'Hello ' || g,
               (ARRAY['delivered', 'opened', 'clicked', 'bounced'])[1 + g % 4], 'm' || g, {_AGO},
               CASE WHEN g % 4 < 3 THEN {_AGO} END, CASE WHEN g % 4 IN (1, 2) THEN {_AGO} END,
               CASE WHEN g % 4 = 2 THEN {_AGO} END, CASE WHEN g % 4 = 3 THEN {_AGO} END, {_AGO}, {_AGO}
        FROM {_NUMBERS}""",
    "decisions": f"""
        INSERT INTO decisions (id, at, kind, reason, contact_id, journey_id, state_id, event_id)
        SELECT md5('decision' || g)::uuid, {_AGO}, 'enrolled', 'trigger_matched', {_CONTACT}, 'activation-welcome',
               md5('state' || g)::uuid, md5('event' || g)::uuid
        FROM {_NUMBERS}""",
    "activity of events": f"""
        INSERT INTO activity (at, kind, type, ref_id, contact_id)
        SELECT {_AGO}, 'event', 'received', md5('event' || g)::uuid, {_EVENT_CONTACT}
        FROM {_NUMBERS}""",
    "activity of runs": f"""
        INSERT INTO activity (at, kind, type, ref_id, contact_id, journey_id)
        SELECT {_AGO}, kind, CASE kind WHEN 'state' THEN 'entered' WHEN 'email' THEN 'queued' ELSE 'enrolled' END,
               md5(kind || g)::uuid, {_CONTACT}, 'activation-welcome'
        FROM {_NUMBERS}, unnest(ARRAY['state', 'email', 'decision']) kind""",
    "audit log": f"""
        INSERT INTO audit_logs (id, created_at, actor, action, resource, resource_id)
        SELECT md5('audit' || g)::uuid, {_AGO}, 'legacy', (ARRAY['create', 'update'])[1 + g % 2], 'contact', 'user' || g
        FROM {_NUMBERS}""",
    "dead letters": f"""
        INSERT INTO dead_letters (id, source, source_id, payload, error, status, created_at, updated_at)
        SELECT md5('letter' || g)::uuid, (ARRAY['email', 'journey'])[1 + g % 2], 'seed:' || g, '{{}}', 'it broke',
               (ARRAY['pending', 'discarded'])[1 + g / 2 % 2], {_AGO}, {_AGO}
        FROM {_NUMBERS}""",
    "alert rules": f"""
        INSERT INTO alert_rules (id, name, type, threshold, channel, channel_config, signing_secret, created_at,
                                 updated_at)
        VALUES (md5('rule')::uuid, 'Bounces', 'bounce_rate_exceeded', 0.1, 'webhook', '{{}}', '', {_NOW}, {_NOW})
        ON CONFLICT DO NOTHING""",
    "alerts": f"""
        INSERT INTO alerts (id, rule_id, rule_name, type, current_value, threshold, channel, triggered_at,
                            resolved_at)
        SELECT md5('alert' || g)::uuid, md5('rule')::uuid, 'Bounces', 'bounce_rate_exceeded', 0.2, 0.1, 'webhook',
               {_AGO}, {_AGO}
        FROM {_NUMBERS}""",
}


async def seed(conn: AsyncConnection, *, contacts: int, events: int, now: datetime) -> dict[str, float]:
    """Fill every large table, then let Postgres count. In the caller's transaction; seconds by what was filled."""
    took: dict[str, float] = {}
    for what, statement in STATEMENTS.items():
        began = time.perf_counter()
        count = events if what in PER_EVENT else contacts
        for first in range(0, count, AT_ONCE):
            last = min(first + AT_ONCE, count) - 1
            given = {"contacts": contacts, "now": now, "first": first, "last": last}
            await conn.execute(text(statement), given)
        took[what] = time.perf_counter() - began
    await conn.execute(text("ANALYZE"))
    return took


async def run(contacts: int, events: int) -> None:
    console = Console()
    database = Database.open(load_settings())
    try:
        await migrate(database)
        async with database.transaction() as conn:
            await conn.execute(text("SET LOCAL synchronous_commit = off"))
            took = await seed(conn, contacts=contacts, events=events, now=datetime.now(UTC))
    finally:
        await database.close()
    for what, seconds in took.items():
        console.print(f"{what:20} {seconds:6.1f} s")


def sizes(description: str | None) -> argparse.Namespace:
    """`--contacts` and `--events` of a command line, for whatever seeds a database."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contacts", type=int, default=200_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    return parser.parse_args()


def main() -> None:
    given = sizes(__doc__)
    asyncio.run(run(given.contacts, given.events))


if __name__ == "__main__":
    main()
