"""Imports of contacts in the schema: their progress, their rejected rows, and previews."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from hogsend.contacts.imports import Preview
from hogsend.graphql import ids
from hogsend.graphql.context import Context
from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.mapping import from_object
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import by_id, rows
from hogsend.schema.contacts.collections import IMPORT_ERRORS, IMPORT_JOBS
from hogsend.storage.database import Record
from hogsend.tables.contacts import import_errors


@wire_enum("Format of an imported file.")
class ImportFormat(WireEnum):
    CSV = "csv", "CSV: a header, then a row a contact: `externalId`, `email`, and a column for each property."
    JSON = "json", "JSON: an array of `{externalId, email?, properties?}`."


@wire_enum("Status of an import.")
class ImportStatus(WireEnum):
    PENDING = "pending", "Waiting for a worker."
    PROCESSING = "processing", "A worker is taking its rows in."
    COMPLETED = "completed", "Every row was processed; rejected ones are in `errors`."
    FAILED = "failed", "Given up; the rows counted as processed were taken in."


ENDED = (ImportStatus.COMPLETED, ImportStatus.FAILED)


@wire_type("A rejected row of an import.")
class ImportRowError(Node, collection=IMPORT_ERRORS):
    row: int = attribute("Row number, from 1, without the header.")
    error: str = attribute("Why it was rejected.")

    @classmethod
    def of(cls, row: Record) -> ImportRowError:
        return cls(key=f"{row['job_id']}.{row['row']}", row=row["row"], error=row["error"])

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        job, _, number = ids.split(id)[1].partition(".")
        job_id = ids.uuid_of(job, cls.prefix)
        if job_id is None or not (number.isascii() and number.isdecimal() and len(number) < 10):
            return None
        at = (import_errors.c.job_id == job_id) & (import_errors.c.row == int(number))
        rows = await context.rows(import_errors.select().where(at))
        return cls.of(rows[0]) if rows else None


@wire_type("An import: a file of contacts that a worker takes in.")
class ImportJob(Node, collection=IMPORT_JOBS):
    status: ImportStatus = attribute("Its status.")
    format: ImportFormat = attribute("Format of the file.")
    file_name: str | None = attribute("Name of the file.")
    total_rows: int = attribute("Number of rows in the file, without the header.")
    processed_rows: int = attribute("Number of rows processed, rejected ones included.")
    failed_rows: int = attribute("Number of rows rejected.")
    error: str | None = attribute(
        "Why the whole import failed; of a completed one, that more rows were rejected than `errors` lists."
    )
    actor: str | None = attribute("Name of the API key that requested it.")
    created_at: datetime = attribute("When it was requested.")
    updated_at: datetime = attribute("When it last progressed.")
    completed_at: datetime | None = attribute("When it completed or failed.")

    uuid = bare_uuid()
    errors = rows(
        IMPORT_ERRORS,
        import_errors.c.job_id,
        description="Rejected rows, in the order of the file; the first 10,000 are kept.",
    )


@wire_type("A contact that an import would create.")
class ImportSample:
    row: int = attribute("Row number, from 1, without the header.")
    external_id: str = attribute("externalId of the new contact.")
    email: str | None = attribute("Email address of the new contact.")
    properties: JSON = attribute("Properties of the new contact.")


@wire_type("A row that an import would reject.")
class ImportProblem:
    row: int = attribute("Row number, from 1, without the header.")
    error: str = attribute("Why it would be rejected.")


@wire_type(
    "Preview of an import: what it would do.",
    columns={
        "new_contacts": "new",
        "updated_contacts": "updated",
        "failed_rows": "failed",
        "errors": lambda errors: [ImportProblem(row=row, error=error) for row, error in errors],
    },
)
class ImportPreview:
    total_rows: int = attribute("Number of rows in the file, without the header.")
    new_contacts: int = attribute("Number of contacts that it would create.")
    updated_contacts: int = attribute("Number of existing contacts that it would update.")
    failed_rows: int = attribute("Number of rows that it would reject.")
    sample: list[ImportSample] = attribute("First ten contacts that it would create.")
    errors: list[ImportProblem] = attribute("First ten rows that it would reject.")

    @classmethod
    def of(cls, found: Preview) -> ImportPreview:
        return from_object(cls, found)


@strawberry.type
class ImportQuery:
    import_job = by_id(ImportJob, "An import by id; null where there is none.")
