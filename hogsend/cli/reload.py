"""`hogsend dev --reload`: the API and the worker start again when a journey or a template changes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

import hogsend
from hogsend.cli.children import Children, Say
from hogsend.settings import Settings

_SUFFIXES = (".py", ".j2", ".mjml", ".html", ".txt")


class _Sources(DefaultFilter):
    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(_SUFFIXES) and super().__call__(change, path)


async def restart_on_change(children: Children, settings: Settings, say: Say) -> None:
    """Never returns. Changes that come together make one restart."""
    folders = source_folders(settings)
    async for changes in awatch(*folders, watch_filter=_Sources()):
        names = sorted({Path(path).name for _, path in changes})
        for child in ("api", "worker"):
            say(child, f"{', '.join(names)} changed; starting again")
            children.restart(child)


def source_folders(settings: Settings) -> list[Path]:
    """Where the journeys and the templates are, and Hogsend itself where it is being worked on."""
    folders: set[Path] = set()
    for name in settings.journeys:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            folders.update(Path(place) for place in spec.submodule_search_locations)
        elif spec is not None and spec.origin:
            folders.add(Path(spec.origin).parent)
    package = Path(hogsend.__file__).parent
    for path in settings.templates:
        folders.update(folder for folder in (path, package.parent / path) if folder.is_dir())
    if "site-packages" not in package.parts:
        folders.add(package)
    return sorted({folder.resolve() for folder in folders})
