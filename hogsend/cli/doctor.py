"""`hogsend doctor`: look at everything that Hogsend stands on, and say what to do about each."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import typer

from hogsend.cli.coroutines import run
from hogsend.cli.here import StateDir, settings_here
from hogsend.cli.terminal import out

if TYPE_CHECKING:
    from hogsend.cli.diagnosis import Finding


class Mark(Enum):
    """How each verdict looks."""

    GOOD = ("✓", "green")
    ODD = ("!", "yellow")
    BAD = ("✗", "red")


def doctor(state_dir: StateDir = None) -> None:
    """Check database, migrations, Redis, engine, provider and settings; exit code 1 where one is broken."""
    from hogsend.cli.diagnosis import examine

    findings = run(examine(settings_here(state_dir)))
    for finding in findings:
        _print(finding)
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    from rich.text import Text

    sign, colour = Mark[finding.verdict.upper()].value
    out.print(Text.assemble((f" {sign} ", f"bold {colour}"), (f"{finding.what:<12}", "bold"), finding.says))
    if finding.advice:
        out.print(Text(f"   {'':<12}→ {finding.advice}", style=colour))
