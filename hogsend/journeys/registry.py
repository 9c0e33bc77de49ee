"""Every journey this process knows. The API and the worker load the same one."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from hogsend.journeys.definition import Journey
from hogsend.journeys.errors import JourneyError

# What stands between an author's mistake and us: the import system and Hogsend itself.
_NOT_THEIRS = (str(Path(importlib.__file__).parent), str(Path(__file__).parents[1]))


class Registry:
    """Journeys by id and by the event that each listens for."""

    def __init__(self, journeys: Iterable[Journey] = ()) -> None:
        self._by_id: dict[str, Journey] = {}
        self._by_event: dict[str, list[Journey]] = {}
        for journey in journeys:
            self._add(journey)

    @classmethod
    def load(cls, modules: Iterable[str]) -> Registry:
        """Import each module, and each module below it where it is a package.

        Raises `JourneyError` for a module that cannot be found or imported, and for two journeys with one id. The
        current directory is searched too, so that a project of one's own needs no installing.
        """
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)
        found: dict[int, Journey] = {}
        for name in modules:
            for module in _modules(name):
                for value in vars(module).values():
                    if isinstance(value, Journey):
                        found[id(value)] = value
        return cls(found.values())

    def _add(self, journey: Journey) -> None:
        if journey.id in self._by_id:
            other = self._by_id[journey.id].run
            raise JourneyError(
                f"two journeys have the id {journey.id!r}: {other.__module__}.{other.__qualname__} and "
                f"{journey.run.__module__}.{journey.run.__qualname__}; give one of them another id"
            )
        self._by_id[journey.id] = journey
        self._by_event.setdefault(journey.trigger.event, []).append(journey)

    def get(self, journey_id: str) -> Journey | None:
        return self._by_id.get(journey_id)

    def all(self) -> list[Journey]:
        return list(self._by_id.values())

    def listening_to(self, event: str) -> list[Journey]:
        """The journeys that `event` may start, in the order in which they were loaded."""
        return self._by_event.get(event, [])


def _not_imported(name: str, error: Exception) -> JourneyError:
    """What is wrong in the author's own words: the error, and the last line of theirs on the way to it."""
    if isinstance(error, SyntaxError):
        file, line = error.filename, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [
            f for f in frames if not f.filename.startswith("<") and not f.filename.startswith(_NOT_THEIRS)
        ]
        file, line = (theirs[-1].filename, theirs[-1].lineno) if theirs else (None, None)
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    place = f"{file}, line {line}: " if file else ""
    kind = "" if isinstance(error, JourneyError) else f"{type(error).__name__}: "
    return JourneyError(f"{name} cannot be imported: {place}{kind}{what}")


def _modules(name: str) -> Iterator[ModuleType]:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise JourneyError(
                f"HOGSEND_JOURNEYS names {name!r}, and there is no such module; run from the folder that holds it"
            ) from None
        raise _not_imported(name, error) from error
    except Exception as error:
        raise _not_imported(name, error) from error
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", []), prefix=f"{name}."):
        yield from _modules(info.name)
