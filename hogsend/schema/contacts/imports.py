"""Imports on the wire: what is given, what would come of it, how far it got, which rows were bad."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar

import strawberry
from sqlalchemy import RowMapping
from strawberry.scalars import JSON

from hogsend.contacts.imports import Preview
from hogsend.graphql import ids
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, query
from hogsend.graphql.node import Columns, Node, bare_uuid
from hogsend.schema.contacts.collections import IMPORT_ERRORS, IMPORT_JOBS
from hogsend.storage.collections import Selection
from hogsend.tables.contacts import import_errors


class ImportFormat(Enum):
    CSV = "csv"
    JSON = "json"


described_enum(
    ImportFormat,
    "ImportFormat",
    "How an imported file is written.",
    {
        ImportFormat.CSV: "A header, then a row a contact: `externalId`, `email`, and a column a property.",
        ImportFormat.JSON: "An array of `{externalId, email?, properties?}`.",
    },
)


class ImportStatus(Enum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


described_enum(
    ImportStatus,
    "ImportStatus",
    "How far an import is.",
    {
        ImportStatus.PENDING: "It waits for a worker.",
        ImportStatus.PROCESSING: "A worker takes its rows in.",
        ImportStatus.COMPLETED: "Every row was looked at; the bad ones are in `errors`.",
        ImportStatus.FAILED: "It was given up; the rows counted as processed were taken in.",
    },
)


@strawberry.type(description="A row of an imported file that was not taken in.")
class ImportRowError(Node):
    prefix: ClassVar[str] = "importerror"
    collection = IMPORT_ERRORS

    row: int = strawberry.field(description="Its number, counted from 1, without the header.")
    error: str = strawberry.field(description="What is wrong with it.")

    @classmethod
    def of(cls, row: RowMapping) -> ImportRowError:
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


@strawberry.type(description="A file of contacts that is taken in by the worker.")
class ImportJob(Node):
    prefix: ClassVar[str] = "import"
    collection = IMPORT_JOBS
    columns: ClassVar[Columns] = {"status": ImportStatus, "format": ImportFormat}

    status: ImportStatus = strawberry.field(description="How far it is.")
    format: ImportFormat = strawberry.field(description="How the file is written.")
    file_name: str | None = strawberry.field(description="What the file was called.")
    total_rows: int = strawberry.field(description="How many rows the file has, without the header.")
    processed_rows: int = strawberry.field(description="How many rows were looked at, bad ones too.")
    failed_rows: int = strawberry.field(description="How many of them were bad.")
    error: str | None = strawberry.field(description="Why the whole import was given up.")
    actor: str | None = strawberry.field(description="The name of the key that asked for it.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    updated_at: datetime = strawberry.field(description="When it last moved.")
    completed_at: datetime | None = strawberry.field(description="When it ended.")

    uuid = bare_uuid()

    @connection("importerror", description="The bad rows and their reasons, in the order of the file.")
    def errors(self) -> Selection:
        return IMPORT_ERRORS.under(import_errors.c.job_id, self.key)


@strawberry.type(description="A row that an import would make a contact of.")
class ImportSample:
    row: int = strawberry.field(description="Its number, counted from 1, without the header.")
    external_id: str = strawberry.field(description="The new contact's externalId.")
    email: str | None = strawberry.field(description="The new contact's email address.")
    properties: JSON = strawberry.field(description="The new contact's properties.")


@strawberry.type(description="A row that an import would refuse.")
class ImportProblem:
    row: int = strawberry.field(description="Its number, counted from 1, without the header.")
    error: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="What an import would do.")
class ImportPreview:
    total_rows: int = strawberry.field(description="How many rows the file has, without the header.")
    new_contacts: int = strawberry.field(description="How many contacts it would make.")
    updated_contacts: int = strawberry.field(description="How many contacts it would find and update.")
    failed_rows: int = strawberry.field(description="How many rows it would refuse.")
    sample: list[ImportSample] = strawberry.field(description="The first ten contacts that it would make.")
    errors: list[ImportProblem] = strawberry.field(description="The first ten rows that it would refuse.")

    @classmethod
    def of(cls, seen: Preview) -> ImportPreview:
        return cls(
            total_rows=seen.total_rows,
            new_contacts=seen.new,
            updated_contacts=seen.updated,
            failed_rows=seen.failed,
            sample=[
                ImportSample(
                    row=person.row,
                    external_id=person.external_id,
                    email=person.email,
                    properties=_json(person.properties),
                )
                for person in seen.sample
            ],
            errors=[ImportProblem(row=row, error=error) for row, error in seen.errors],
        )


def _json(value: Mapping[str, Any]) -> Any:
    return dict(value)


@strawberry.type
class ImportQuery:
    @query(description="One import; null where there is none.")
    async def import_job(
        self, info: Info, id: Annotated[strawberry.ID, described("Its id, or its bare UUID.")]
    ) -> ImportJob | None:
        return await ImportJob.fetch(info.context, id)  # type: ignore[return-value]
