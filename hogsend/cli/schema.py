"""`hogsend schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hogsend.cli.problem import Problem


def schema(
    check: Annotated[
        Path | None, typer.Option(help="Compare with this file instead; exit code 1 where they differ.")
    ] = None,
) -> None:
    """Print the GraphQL schema in SDL."""
    from hogsend.schema.root import sdl

    text = sdl()
    if check is None:
        print(text, end="")
    elif not check.is_file() or check.read_text() != text:
        raise Problem(f"{check} is not what the code says. Run `hogsend schema > {check}`.")
