"""Contact import, the job: a file becomes rows of `import_batches`, taken in piece by piece, none of them twice."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.contacts.import_batches import Upsert, judge, owners_of, sort_out, take_in
from hogsend.contacts.import_files import Format, Piece, cut
from hogsend.engine.jobs import RunAgain
from hogsend.engine.outbox import enqueue_job
from hogsend.errors import InvalidInput, NotFound
from hogsend.json_bounds import TooManyValues, check_values
from hogsend.realtime import activity
from hogsend.runtime import Runtime
from hogsend.storage.database import Database
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import import_batches, import_errors, import_jobs
from hogsend.tables.realtime import ActivityKind
from hogsend.validation import NOBODYS

log = structlog.get_logger(__name__)

IMPORT = "contacts.import"
PIECES_A_SLICE = 40
SAMPLE = 10
MOST_VALUES = 10_000_000
"""JSON values of a file, a contact's name for each of its values counted too."""
MOST_ERRORS = 10_000
"""Rejected rows that are kept with their reasons; those behind are counted."""
MAX_FILE_NAME = 255

_jobs = import_jobs.c
_batches = import_batches.c


@dataclass(frozen=True)
class ImportFile:
    """A file that could be read: its rows are judged when their turn comes."""

    format: Format
    name: str | None
    total_rows: int
    pieces: Sequence[Piece]


@dataclass
class Preview:
    """What an import would do. `errors` and `sample` (of the new) hold the first ten."""

    total_rows: int = 0
    new: int = 0
    updated: int = 0
    failed: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)
    sample: list[Upsert] = field(default_factory=list)


async def read_file(format: Format, data: str, name: str | None = None) -> ImportFile:
    """Raises `InvalidInput` for an unusable header, unusable JSON, too much of it, or a name that cannot be kept."""
    if format not in ("csv", "json"):
        raise InvalidInput("format", "format must be csv or json")
    if name is not None and (len(name) > MAX_FILE_NAME or "\x00" in name):
        raise InvalidInput("fileName", f"fileName must be at most {MAX_FILE_NAME} characters, without NUL")
    if format == "json":
        await _check_values(data)
    total, pieces = await asyncio.to_thread(cut, format, data)
    return ImportFile(format, name, total, pieces)


async def _check_values(data: str) -> None:
    try:
        await check_values(data.encode("utf-8", "surrogatepass"), MOST_VALUES)
    except TooManyValues as error:
        raise InvalidInput("data", f"data is too much: {error}; import it in parts") from None


async def start_import(
    conn: AsyncConnection, clock: Clock, file: ImportFile, *, actor: str | None = None
) -> Row[Any]:
    """Keep the file and queue the job, in the caller's transaction. Returns the row of `import_jobs`."""
    job_id = new_id()
    now = clock.now()
    values = {
        "id": job_id,
        "status": "pending",
        "format": file.format,
        "file_name": file.name,
        "total_rows": file.total_rows,
        "actor": actor,
        "created_at": now,
        "updated_at": now,
    }
    job: Row[Any] = (await conn.execute(insert(import_jobs).values(values).returning(import_jobs))).one()
    for piece in file.pieces:
        await conn.execute(
            insert(import_batches).values(job_id=job_id, first_row=piece.first_row, rows=piece.rows)
        )
    await activity.record(conn, at=now, kind=ActivityKind.IMPORT, type="pending", ref_id=job_id)
    await enqueue_job(conn, clock, IMPORT, {"job_id": str(job_id)}, dedupe_key=f"import:{job_id}")
    return job


async def run_import(runtime: Runtime, payload: Mapping[str, Any]) -> None:
    """The worker's handler. Takes pieces in until none is left; what was committed before a crash stays.

    Raises `RunAgain` after a few seconds' work, so that a worker that stops need not wait for a long file.
    """
    job_id = UUID(str(payload["job_id"]))
    for _ in range(PIECES_A_SLICE):
        if not await _take_piece(runtime, job_id):
            return
        runtime.fault_point("after_import_piece")
    raise RunAgain(timedelta(0))


async def _take_piece(runtime: Runtime, job_id: UUID) -> bool:
    """Take one piece in and delete it, in one transaction, under the job's row. False where the job has ended."""
    clock = runtime.clock
    async with runtime.database.transaction() as conn:
        job = (
            await conn.execute(select(import_jobs).where(_jobs.id == job_id).with_for_update())
        ).one_or_none()
        if job is None or job.status not in ("pending", "processing"):
            return False
        first = (
            select(_batches.first_row).where(_batches.job_id == job_id).order_by(_batches.first_row).limit(1)
        )
        taken = await conn.execute(
            delete(import_batches)
            .where(_batches.job_id == job_id, _batches.first_row == first.scalar_subquery())
            .returning(_batches.first_row, _batches.rows)
        )
        piece = taken.one_or_none()
        if piece is None:
            await _finish(conn, clock, job_id, "completed", _left_out(job.failed_rows))
            return False
        rows = orjson.loads(piece.rows)
        errors = await take_in(conn, clock, piece.first_row, rows, runtime.settings.nobodys_ids)
        if kept := errors[: max(0, MOST_ERRORS - job.failed_rows)]:
            found = [{"job_id": job_id, "row": row, "error": error} for row, error in kept]
            await conn.execute(insert(import_errors), found)
        await _count(conn, clock, job_id, len(rows), len(errors))
        runtime.fault_point("before_import_commit")
    return True


def _left_out(failed_rows: int) -> str | None:
    if failed_rows <= MOST_ERRORS:
        return None
    return f"{failed_rows:,} rows were rejected; the first {MOST_ERRORS:,} are listed"


async def _count(conn: AsyncConnection, clock: Clock, job_id: UUID, rows: int, failed: int) -> None:
    values = {
        "status": "processing",
        "processed_rows": _jobs.processed_rows + rows,
        "failed_rows": _jobs.failed_rows + failed,
        "updated_at": clock.now(),
    }
    await conn.execute(update(import_jobs).where(_jobs.id == job_id).values(values))
    await activity.record(conn, at=clock.now(), kind=ActivityKind.IMPORT, type="processing", ref_id=job_id)


async def _finish(
    conn: AsyncConnection, clock: Clock, job_id: UUID, status: str, error: str | None = None
) -> None:
    now = clock.now()
    values = {"status": status, "error": error, "updated_at": now, "completed_at": now}
    await conn.execute(update(import_jobs).where(_jobs.id == job_id).values(values))
    await conn.execute(delete(import_batches).where(_batches.job_id == job_id))
    await activity.record(conn, at=now, kind=ActivityKind.IMPORT, type=status, ref_id=job_id)
    log.info("import_ended", job_id=str(job_id), status=status)


async def give_up(conn: AsyncConnection, clock: Clock, job_id: UUID) -> None:
    """The job failed every time that it was tried: say so. The rows that were taken in stay."""
    job = (await conn.execute(select(import_jobs).where(_jobs.id == job_id).with_for_update())).one_or_none()
    if job is not None and job.status in ("pending", "processing"):
        reason = "The import could not be finished; the rows counted as processed were taken in"
        await _finish(conn, clock, job_id, "failed", reason)


async def find_job(conn: AsyncConnection, job_id: UUID) -> Row[Any]:
    """Raises `NotFound`."""
    job = (await conn.execute(select(import_jobs).where(_jobs.id == job_id))).one_or_none()
    if job is None:
        raise NotFound("Import job")
    return job


async def errors_of(conn: AsyncConnection, job_id: UUID) -> list[tuple[int, str]]:
    """The bad rows so far with their reasons, in the order of the file; at most `MOST_ERRORS`."""
    e = import_errors.c
    rows = await conn.execute(select(e.row, e.error).where(e.job_id == job_id).order_by(e.row))
    return [(row.row, row.error) for row in rows]


async def preview(database: Database, file: ImportFile, refused: Collection[str] = NOBODYS) -> Preview:
    """What `start_import` of this file would come to, if nothing changed meanwhile. Writes nothing."""
    result = Preview(total_rows=file.total_rows)
    claimed: set[str] = set()
    async with database.read() as conn:
        for piece in file.pieces:
            people, errors = judge(piece.first_row, orjson.loads(piece.rows), refused)
            todo = sort_out(people, await owners_of(conn, people), claimed)
            errors += todo.refused
            result.new += len(todo.new)
            result.updated += len(todo.same) + len(todo.moved)
            result.failed += len(errors)
            result.errors = (result.errors + sorted(errors))[:SAMPLE]
            result.sample += todo.new[: SAMPLE - len(result.sample)]
    return result
