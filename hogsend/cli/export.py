"""`hogsend export [FILE]`: write the contacts of a running Hogsend to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from hogsend.cli.problem import Problem
from hogsend.cli.remote import Key, Url, accepted, connected
from hogsend.cli.terminal import err

if TYPE_CHECKING:
    import httpx

MOST = 10_000


def export(
    file: Annotated[Path, typer.Argument(help="Where to; `-` for standard output.")] = Path("contacts.csv"),
    format: Annotated[
        Literal["csv", "json"] | None, typer.Option(help="How to write it; default: what its name ends in.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="Only with this in the email or externalId.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, last seen first.", min=1, max=MOST)] = MOST,
    url: Url = None,
    key: Key = None,
) -> None:
    """Export contacts to FILE, as of one moment."""
    written = format or ("json" if file.suffix.lower() == ".json" else "csv")
    query = {"format": written, "limit": str(limit)} | ({"search": search} if search else {})
    with connected(url, key) as client:
        total = _total(client, search)
        with client.stream("GET", "/v1/admin/contacts/export", params=query) as answer:
            accepted(answer)
            with _opened(file) as target:
                _copy(answer, target, str(file))
    err.print(f"{min(total, limit)} contacts written to {file}", markup=False)
    if total > limit:
        err.print(f"{total - limit} more were seen longer ago; narrow with --search")


def _total(client: httpx.Client, search: str | None) -> int:
    query = {"limit": "1"} | ({"search": search} if search else {})
    return int(accepted(client.get("/v1/admin/contacts", params=query)).json()["total"])


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """The file appears when it is whole: an export that breaks off leaves what was there before."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    partial = file.with_name(f"{file.name}.partial")
    try:
        with partial.open("wb") as target:
            yield target
        partial.replace(file)
    except OSError as error:
        raise Problem(f"{file} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _copy(answer: httpx.Response, target: BinaryIO, name: str) -> None:
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(f"Exporting to {name}", total=None)
        for piece in answer.iter_bytes():
            target.write(piece)
            progress.advance(task, len(piece))
