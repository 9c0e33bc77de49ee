"""`hogsend init`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from hogsend.cli.problem import Problem
from hogsend.cli.terminal import out

_SUFFIX = ".tmpl"


def init(
    directory: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
) -> None:
    """Begin a project of your own: a journey, its templates, its tests, and settings."""
    written = scaffold(directory)
    out.print(f"Wrote {len(written)} files to {directory}:")
    for path in written:
        out.print(f"  {path}")
    out.print(f"\nNow:\n  cd {directory}\n  pytest\n  hogsend dev")


def scaffold(directory: Path) -> list[PurePosixPath]:
    """Write the project, and return its files, sorted. Raises `Problem` where the folder cannot take it."""
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-") or "journeys"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise Problem(f"{directory} is not empty. Name a new folder: hogsend init my-journeys")
        written = []
        for path, source in _templates(files("hogsend.cli") / "scaffold", PurePosixPath()):
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8")
            target.write_text(text.replace("{name}", name), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise Problem(f"Cannot write to {directory}: {(error.strerror or str(error)).lower()}.") from None
    return sorted(written)


def _templates(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, path / entry.name)
        elif entry.name.endswith(_SUFFIX):
            # Dots and `.py` would make them part of this package: hidden, linted, collected.
            name = entry.name.removesuffix(_SUFFIX)
            yield path / (name.removeprefix("dot") if name.startswith("dot.") else name), entry
