"""A database with rules and alerts from before rules were evaluated comes to the revision of alerts, and back."""

from __future__ import annotations

from sqlalchemy import Connection, text

from hogsend.settings import Settings
from hogsend.storage.database import Database
from hogsend.storage.embedded import EmbeddedStack
from hogsend.storage.migrate import _config, migrate, revisions

ALERTS = "0007"
BEFORE = revisions()[revisions().index(ALERTS) - 1]
RULE = """INSERT INTO alert_rules (id, name, type, threshold, channel, channel_config, created_at, updated_at)
    VALUES (gen_random_uuid(), 'Bounces', 'bounce_rate_exceeded', 0.1, 'webhook', '{}', now(), now())"""
ALERT = """INSERT INTO alerts (id, rule_id, rule_name, type, current_value, threshold, channel, triggered_at)
    SELECT gen_random_uuid(), id, name, type, 0.2, 0.1, channel, now() FROM alert_rules"""


def _down(connection: Connection) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.downgrade(config, BEFORE)


async def test_rules_get_secrets_and_what_was_fired_by_hand_is_over(own_stack: EmbeddedStack) -> None:
    database = Database.open(Settings(database_url=own_stack.database_url))
    await migrate(database, BEFORE)
    async with database.transaction() as conn:
        for statement in (RULE, RULE, ALERT, ALERT):
            await conn.execute(text(statement))
    await migrate(database, ALERTS)
    async with database.transaction() as conn:
        secrets = (await conn.execute(text("SELECT signing_secret FROM alert_rules"))).scalars().all()
        firing = (await conn.execute(text("SELECT 1 FROM alerts WHERE resolved_at IS NULL"))).all()
        await conn.execute(
            text("UPDATE alert_rules SET type = 'engine_lag' WHERE signing_secret = :one"),
            {"one": secrets[0]},
        )
    assert len(set(secrets)) == 2
    assert all(len(secret) == len("whsec_") + 44 for secret in secrets)
    assert firing == []
    async with database.transaction() as conn:
        await conn.run_sync(_down)
        assert (await conn.execute(text("SELECT type FROM alert_rules"))).scalars().all() == [
            "bounce_rate_exceeded"
        ]
    await database.close()
