"""`hogsend import FILE`: give a file of contacts to a running Hogsend, and watch it being taken in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hogsend.cli.problem import Problem
from hogsend.cli.remote import Key, Url, accepted, connected
from hogsend.cli.terminal import err, out

if TYPE_CHECKING:
    import httpx

SHOWN = 20
# Slower than the rate limit of a key.
POLL_SECONDS = 1.0
IMPORTS = "/v1/admin/contacts/import"
_PREVIEW = """
mutation ($input: ContactsImportInput!) {
  contactsImport(input: $input) {
    preview { totalRows newContacts updatedContacts failedRows errors { row error } }
    userErrors { message }
  }
}
"""


def import_(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header, or a JSON array of contacts.")],
    format: Annotated[
        Literal["csv", "json"] | None, typer.Option(help="How it is written; default: what its name ends in.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what it would do.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Import contacts from FILE: upsert by externalId; bad rows are skipped and told."""
    data = _read(file)
    written = format or ("json" if file.suffix.lower() == ".json" else "csv")
    with connected(url, key) as client:
        if dry_run:
            _tell_preview(_preview(client, written, data))
            return
        given = {"format": written, "data": data, "fileName": file.name}
        job_id = accepted(client.post(IMPORTS, json=given)).json()["jobId"]
        job = _watch(client, job_id, file.name)
    _tell(job)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(f"{file} is not UTF-8: byte {error.start} cannot be read. Save it as UTF-8.") from None
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}") from None


def _watch(client: httpx.Client, job_id: str, name: str) -> dict[str, Any]:
    """Follow the import to its end. Returns it as the API then shows it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(f"Importing {name}", total=None)
        while True:
            job: dict[str, Any] = accepted(_patiently(client, f"{IMPORTS}/{job_id}")).json()
            progress.update(task, total=job["totalRows"], completed=job["processedRows"])
            if job["status"] in ("completed", "failed"):
                return job
            time.sleep(POLL_SECONDS)


def _patiently(client: httpx.Client, path: str) -> httpx.Response:
    """The answer, once the key's rate allows it: the import goes on meanwhile."""
    while (answer := client.get(path)).status_code == 429:
        time.sleep(float(answer.headers.get("retry-after", 1)))
    return answer


def _preview(client: httpx.Client, written: str, data: str) -> dict[str, Any]:
    given = {"format": written.upper(), "data": data, "dryRun": True}
    body = {"query": _PREVIEW, "variables": {"input": given}}
    answer = accepted(client.post("/graphql", json=body)).json()
    if answer.get("errors"):
        raise Problem(str(answer["errors"][0]["message"]))
    payload = answer["data"]["contactsImport"]
    if payload["userErrors"]:
        raise Problem(str(payload["userErrors"][0]["message"]))
    seen: dict[str, Any] = payload["preview"]
    return seen


def _tell_preview(seen: dict[str, Any]) -> None:
    out.print(
        f"{seen['totalRows']} rows: {seen['newContacts']} new contacts, {seen['updatedContacts']} to update,"
        f" {seen['failedRows']} bad"
    )
    _tell_bad_rows(seen["errors"], seen["failedRows"])


def _tell(job: dict[str, Any]) -> None:
    good = job["processedRows"] - job["failedRows"]
    out.print(f"{good} of {job['totalRows']} rows taken in, {job['failedRows']} bad")
    _tell_bad_rows(job["errors"], job["failedRows"])
    if job["status"] == "failed":
        raise Problem("The import was given up; what the worker's log says is why. The rows above are in.")


def _tell_bad_rows(errors: list[dict[str, Any]], total: int) -> None:
    for bad in errors[:SHOWN]:
        out.print(f"  row {bad['row']}: {bad['error']}", markup=False)
    if total > SHOWN:
        out.print(f"  … and {total - SHOWN} more")
