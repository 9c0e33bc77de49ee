"""Mutations of imports: begin one, or say what it would do."""

from __future__ import annotations

from uuid import UUID

import strawberry

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.contacts.imports import ImportFile, preview, read_file, start_import
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import Answer, idempotency_key, mutation, part, payload
from hogsend.graphql.node import by_key
from hogsend.schema.contacts.imports import ImportFormat, ImportJob, ImportPreview


@strawberry.input(description="A file of contacts.")
class ContactsImportInput:
    format: ImportFormat = attribute("How it is written.")
    data: str = attribute("The file itself.")
    file_name: str | None = optional("What it is called, to show.")
    dry_run: bool = strawberry.field(default=False, description="Only say what it would do.")
    idempotency_key: str | None = idempotency_key("import")


@payload("What `contactsImport` began, or would do.", errors="INVALID", keyed=True)
class ContactsImportPayload:
    job: ImportJob | None = part("The import, which a worker takes up.")
    preview: ImportPreview | None = part("What it would do, where `dryRun` asked for that.")

    @classmethod
    async def of(cls, context: Context, answer: Answer) -> ContactsImportPayload:
        if "preview" in answer:
            return cls(preview=ImportPreview.of(answer["preview"]))
        return cls(job=await by_key(context, ImportJob, UUID(answer["job"])))


async def _file(input: ContactsImportInput) -> ImportFile:
    return await read_file(input.format.value, input.data, input.file_name)


async def _would_import(info: Info, input: ContactsImportInput) -> Answer:
    runtime = info.context.runtime
    return {"preview": await preview(runtime.database, await _file(input), runtime.settings.nobodys_ids)}


@strawberry.type
class ImportMutation:
    @mutation(
        ContactsImportPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.IMPORT, Resource.CONTACT, None),
        description="Take a file of contacts in, in the background: upsert by externalId, properties merged at the "
        "top level. A bad row is skipped and reported; no event is fired and no journey starts.",
        cost=100,
        preview=_would_import,
    )
    async def contacts_import(self, info: Info, input: ContactsImportInput, claim: Claim) -> Answer:
        runtime = info.context.runtime
        file = await _file(input)
        async with runtime.database.transaction() as conn:
            job = await start_import(conn, runtime.clock, file, actor=info.context.caller.name)
            detail = {"fileName": file.name, "format": file.format, "rows": file.total_rows}
            await audit(conn, resource_id=job.id, detail=detail)
            answer = {"job": str(job.id)}
            await claim.answer(conn, answer)
        return answer
