"""Consent of many addresses at once, as imports ask for it: one statement, answered from the index.

Postgres is told to avoid what the index saves, so that a small table's plan is a large one's.
"""

from __future__ import annotations

from sqlalchemy import text

from hogsend.consent.ledger import refused_among
from hogsend.runtime import Runtime
from tests.driving import statements

WORDS = 20_000
SCANS = text("SELECT pg_stat_get_xact_numscans(CAST(:relation AS regclass))")


async def test_a_batch_is_one_statement_and_reads_the_index(runtime: Runtime) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(
            text(
                "INSERT INTO consent_ledger (address_hash, scope, allowed, source, at)"
                " SELECT consent_hash('p' || n || '@example.com'), 'all', n % 2 = 0, 'test', now()"
                " FROM generate_series(1, :words) AS n"
            ),
            {"words": WORDS},
        )
        await conn.execute(text("ANALYZE consent_ledger"))
    asked = [f"P{n}@Example.com" for n in range(1, WORDS * 2, 80)]
    async with runtime.database.transaction() as conn:
        for other_way in ("seqscan", "hashjoin", "mergejoin"):
            await conn.execute(text(f"SET LOCAL enable_{other_way} = off"))
        with statements(runtime.database) as made:
            refused = await refused_among(conn, asked)
        assert len(made) == 1
        whole_table = (await conn.execute(SCANS, {"relation": "consent_ledger"})).scalar_one()
        index = (await conn.execute(SCANS, {"relation": "ix_consent_ledger_address"})).scalar_one()
    assert refused == {one.lower() for one in asked if int(one[1:].partition("@")[0]) <= WORDS}
    assert (whole_table, index) == (0, len(asked))
