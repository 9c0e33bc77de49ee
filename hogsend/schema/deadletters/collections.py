"""Read dead letters, and the jobs that some of them stand for."""

from __future__ import annotations

from hogsend.storage.collections import Collection, Sort
from hogsend.tables.deadletters import dead_letters
from hogsend.tables.engine import jobs

_d = dead_letters.c
_j = jobs.c

DEAD_LETTERS = Collection(
    "dead_letters",
    "deadletter",
    columns=tuple(dead_letters.c),
    key=_d.id,
    sorts={"created_at": Sort(_d.created_at)},
    filters={
        "source": lambda source: _d.source == source,
        "status": lambda status: _d.status == status,
    },
)

JOBS = Collection(
    "jobs",
    "job",
    columns=(_j.id, _j.kind, _j.status, _j.attempts, _j.max_attempts, _j.run_at, _j.error, _j.created_at),
    key=_j.id,
    sorts={"created_at": Sort(_j.created_at)},
)
