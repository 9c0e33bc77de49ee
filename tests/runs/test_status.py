"""The state machine of a run: every pair of statuses, in the table and on Postgres; no UPDATE goes around it."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import select, update

from hogsend.runs.status import ENTERED, TRANSITIONS, may, transition
from hogsend.runtime import Runtime
from hogsend.tables.journeys import STATUSES, journey_states
from tests.driving import send_event

ROOT = Path(__file__).parents[2]

ALLOWED = {
    ("pending", "active"),
    ("active", "active"),
    ("waiting", "active"),
    ("active", "waiting"),
    ("active", "completed"),
    ("active", "failed"),
    ("active", "blocked"),
    ("pending", "exited"),
    ("active", "exited"),
    ("waiting", "exited"),
    ("blocked", "exited"),
    ("blocked", "waiting"),
    ("failed", "waiting"),
}


@pytest.mark.parametrize(("source", "target"), list(product(STATUSES, STATUSES)))
def test_every_pair(source: str, target: str) -> None:
    assert may(source, target) is ((source, target) in ALLOWED)


def test_nothing_leaves_what_is_completed_or_exited_and_nothing_is_pending_twice() -> None:
    sources = {source for edge in TRANSITIONS.values() for source in edge.sources}
    assert sources.isdisjoint({"completed", "exited"})
    assert ENTERED not in {edge.target for edge in TRANSITIONS.values()}


@pytest.mark.parametrize("name", TRANSITIONS)
async def test_its_update_moves_a_run_from_its_sources_only(runtime: Runtime, name: str) -> None:
    await send_event(runtime, "user.signed_up")
    async with runtime.database.transaction() as conn:
        run = (await conn.execute(select(journey_states))).mappings().one()
        for status in STATUSES:
            await conn.execute(update(journey_states).values(status=status, epoch=7))
            moved = await conn.execute(transition(name).where(journey_states.c.id == run["id"]))
            after = (await conn.execute(select(journey_states.c.status, journey_states.c.epoch))).one()
            edge = TRANSITIONS[name]
            assert (moved.rowcount == 1) is (status in edge.sources)
            if moved.rowcount:
                assert after == (edge.target, 8 if edge.raises_epoch else 7)
            else:
                assert after == (status, 7)


def test_no_other_update_writes_the_status_of_a_run() -> None:
    writers = {
        str(path.relative_to(ROOT))
        for base in ("hogsend", "worker")
        for path in sorted((ROOT / base).rglob("*.py"))
        if "update(journey_states)" in (source := path.read_text()) or "transition(" in source
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "values"
        and ("journey_states" in ast.unparse(node.func) or "transition(" in ast.unparse(node.func))
        and any(keyword.arg == "status" for keyword in node.keywords)
    }
    assert writers <= {"hogsend/runs/status.py"}
