"""`deadLetterAdded`, `auditLogged` and `importProgress` as their readers see them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import insert

from hogsend.access.audit import note_interrupted
from hogsend.access.caller import Scope
from hogsend.contacts import import_files
from hogsend.contacts.imports import _take_piece, give_up
from hogsend.emails.providers import ProviderRefused
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.access import audit_intents
from tests.access.keys import make_key
from tests.serving.socket import Socket, open_socket
from worker.work import WORK

DEAD = "subscription ($after: String) { deadLetterAdded(after: $after) { cursor deadLetter { id status retryCount } } }"
AUDIT = "subscription ($after: String) { auditLogged(after: $after) { cursor entry { action outcome resourceId } } }"
PROGRESS = (
    "subscription ($job: ID!) { importProgress(jobId: $job) { status processedRows failedRows totalRows } }"
)
IMPORT = "mutation ($input: ContactsImportInput!) { contactsImport(input: $input) { job { id } } }"
JOB = "query ($id: ID!) { importJob(id: $id) { status processedRows failedRows totalRows } }"
RETRY = "mutation ($id: ID!) { deadLetterRetry(input: { id: $id }) { deadLetter { status } } }"
KEY = (
    "mutation ($name: String!) { apiKeyCreate(input: { name: $name, scopes: [READ] })"
    " { apiKey { uuid } userErrors { code } } }"
)


async def work_off(runtime: Runtime) -> None:
    while due := await due_jobs(runtime, 50):
        for job_id in due:
            await run_job(runtime, WORK, job_id, "test")


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    response = await client.post("/graphql", json={"query": query, "variables": variables})
    data: dict[str, Any] = response.json()["data"]
    return data


async def fail_to_send(client: httpx.AsyncClient, runtime: Runtime) -> None:
    assert isinstance(runtime.provider, MemoryProvider)
    runtime.provider.faults.append(ProviderRefused("mailbox does not exist"))
    sent = await client.post("/v1/emails", json={"to": "ada@example.com", "template": "welcome"})
    assert sent.status_code == 202, sent.text
    await work_off(runtime)


async def position(client: httpx.AsyncClient) -> str:
    return str((await ask(client, "{ streamPosition }"))["streamPosition"])


async def progress(socket: Socket, job_id: str) -> list[dict[str, Any]]:
    """Every message of `importProgress`, to its completion."""
    await socket.init()
    await socket.subscribe("1", PROGRESS, job=job_id)
    told: list[dict[str, Any]] = []
    while (message := await socket.receive())["type"] == "next":
        told.append(message["payload"]["data"]["importProgress"])
    assert message["type"] == "complete"
    return told


async def start_import(client: httpx.AsyncClient, rows: int) -> str:
    data = (
        "externalId,email\n" + "".join(f"u{n},u{n}@example.com\n" for n in range(rows - 1)) + "bad,nonsense\n"
    )
    made = await ask(client, IMPORT, input={"format": "CSV", "data": data})
    return str(made["contactsImport"]["job"]["id"])


async def test_a_dead_letter_is_told_when_it_is_added_and_when_it_comes_back(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    start = await position(client)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", DEAD, after=start)
        await fail_to_send(client, runtime)
        first = (await socket.next("1"))["deadLetterAdded"]
        assert first["deadLetter"]["status"] == "PENDING"
        assert isinstance(runtime.provider, MemoryProvider)
        runtime.provider.faults.append(ProviderRefused("still does not exist"))
        await ask(client, RETRY, id=first["deadLetter"]["id"])
        await work_off(runtime)
        again = (await socket.next("1"))["deadLetterAdded"]
        assert again["deadLetter"] == first["deadLetter"] | {"retryCount": 1}
        await socket.subscribe("2", DEAD, after=first["cursor"])
        assert (await socket.next("2"))["deadLetterAdded"] == again


async def test_the_audit_log_is_told_with_what_was_refused_and_what_was_interrupted(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    start = await position(client)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", AUDIT, after=start)
        made = await ask(client, KEY, name="ci")
        done = (await socket.next("1"))["auditLogged"]
        assert done["entry"] == {
            "action": "CREATE", "outcome": "OK", "resourceId": made["apiKeyCreate"]["apiKey"]["uuid"],
        }  # fmt: skip
        await ask(client, KEY, name="")
        assert (await socket.next("1"))["auditLogged"]["entry"]["outcome"] == "REFUSED"
        async with runtime.database.transaction() as conn:
            row = {"id": new_id(), "created_at": runtime.clock.now(), "actor": "gone", "action": "retry"}
            await conn.execute(insert(audit_intents).values(row | {"resource": "dlq"}))
        await note_interrupted(runtime)
        entry = (await socket.next("1"))["auditLogged"]["entry"]
        assert entry == {"action": "RETRY", "outcome": "INTERRUPTED", "resourceId": None}
        await socket.subscribe("2", AUDIT, after=done["cursor"])
        assert (await socket.next("2"))["auditLogged"]["entry"]["outcome"] == "REFUSED"


async def test_the_audit_log_is_for_full_admins(live_server: str, runtime: Runtime) -> None:
    _, header = await make_key(runtime, Scope.READ, Scope.JOURNEY_ADMIN)
    async with open_socket(live_server) as socket:
        await socket.init(header.removeprefix("Bearer "))
        await socket.subscribe("1", AUDIT)
        answer = await socket.receive()
        assert answer["payload"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_an_import_is_told_from_where_it_is_to_its_end(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_files, "ROWS_A_PIECE", 4)
    other, job_id = await start_import(client, 2), await start_import(client, 10)
    async with open_socket(live_server) as socket:
        telling = asyncio.create_task(progress(socket, job_id))
        await work_off(runtime)
        told = await telling
    assert told[-1] == {"status": "COMPLETED", "processedRows": 10, "failedRows": 1, "totalRows": 10}
    counts = [one["processedRows"] for one in told]
    assert counts == sorted(counts)
    assert set(counts) <= {0, 4, 8, 10}
    fresh = await ask(client, JOB, id=job_id)
    assert told[-1] == fresh["importJob"]
    async with open_socket(live_server) as socket:
        assert await progress(socket, job_id) == told[-1:]
    async with open_socket(live_server) as socket:
        assert [one["totalRows"] for one in await progress(socket, other)] == [2]


async def test_each_step_of_an_import_is_told_and_its_failure_ends_it(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_files, "ROWS_A_PIECE", 4)
    job_id = await start_import(client, 10)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", PROGRESS, job=job_id)
        assert (await socket.next("1"))["importProgress"]["status"] == "PENDING"
        for processed in (4, 8):
            await _take_piece(runtime, UUID(job_id.removeprefix("import_")))
            assert (await socket.next("1"))["importProgress"]["processedRows"] == processed
        async with runtime.database.transaction() as conn:
            await give_up(conn, runtime.clock, UUID(job_id.removeprefix("import_")))
        assert (await socket.next("1"))["importProgress"]["status"] == "FAILED"
        assert await socket.receive() == {"id": "1", "type": "complete"}


@pytest.mark.parametrize("id", ["import_00000000-0000-4000-8000-000000000000", "nonsense"])
async def test_an_import_that_is_not_there(live_server: str, id: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", PROGRESS, job=id)
        answer = await socket.receive()
        assert answer["payload"][0]["message"] == "Import job not found"
        assert answer["payload"][0]["extensions"]["code"] == "NOT_FOUND"
