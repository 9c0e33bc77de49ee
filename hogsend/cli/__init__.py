"""The command `hogsend`. One module a command; `COMMANDS` is the whole list.

A command's module is light to import: what it runs is imported when it runs, so that `hogsend --help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from hogsend.cli.api import api
from hogsend.cli.demo import demo
from hogsend.cli.dev import dev
from hogsend.cli.doctor import doctor
from hogsend.cli.export import export
from hogsend.cli.import_ import import_
from hogsend.cli.init import init
from hogsend.cli.keys import keys
from hogsend.cli.migrate import migrate
from hogsend.cli.problem import told_of
from hogsend.cli.schema import schema
from hogsend.cli.terminal import complain
from hogsend.cli.worker import worker

COMMANDS: tuple[Callable[..., None], ...] = (
    dev,
    api,
    worker,
    migrate,
    schema,
    demo,
    init,
    doctor,
    import_,
    export,
)

app = typer.Typer(
    help="The operations plane for lifecycle email.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(keys, name="keys")


def main() -> None:
    """Run the command line. What a person can put right is told in a line or two, with exit code 1.

    Settings may stand in a file `.env` in the current folder; what the environment says wins.
    """
    here = Path.cwd()
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))
    _load_environment(here / ".env")
    try:
        app()
    except BrokenPipeError:
        # Whoever read our output has gone (`hogsend schema | head`); keep the interpreter from saying so again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        lines = told_of(error)
        if not lines:
            raise
        complain(*lines)
        raise SystemExit(1) from None


def _load_environment(file: Path) -> None:
    if file.is_file():
        from dotenv import load_dotenv

        load_dotenv(file)
