"""Lists of dead letters, and of the jobs that some of them stand for."""

from __future__ import annotations

from hogsend.storage.collections import Collection, equals
from hogsend.tables.deadletters import dead_letters
from hogsend.tables.engine import jobs

_j = jobs.c

DEAD_LETTERS = Collection.of(
    "dead_letters",
    "deadletter",
    dead_letters,
    sorts=dead_letters.c.created_at,
    filters=equals(dead_letters.c.source, dead_letters.c.status),
)
JOBS = Collection.of(
    "jobs",
    "job",
    jobs,
    leaving_out=(_j.payload, _j.dedupe_key, _j.lease_until, _j.lease_owner, _j.finished_at),
    sorts=_j.created_at,
)
