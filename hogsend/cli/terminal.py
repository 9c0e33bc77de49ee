"""What commands write to, and how they complain."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def complain(first: str, *more: str) -> None:
    """Say on standard error what is wrong."""
    err.print(Text.assemble(("hogsend: ", "bold red"), first))
    for line in more:
        err.print(Text(line))
