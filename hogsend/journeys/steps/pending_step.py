"""Steps that were asked for and not awaited yet: a forgotten `await` must not pass in silence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar, cast

from hogsend.journeys.errors import JourneyError

P = ParamSpec("P")
T = TypeVar("T")

_AT = {"Context": "ctx", "History": "ctx.history", "Guards": "ctx.guard"}


class Unawaited(list["PendingStep[Any]"]):
    """The steps of one context that were asked for, in order; each leaves the list when it begins."""

    def complaint(self) -> str | None:
        """What to tell the author about the first of them; None where there is none."""
        return self[0].complaint() if self else None


class Asker(Protocol):
    """Whatever has steps as methods."""

    _unawaited: Unawaited


A = TypeVar("A", bound=Asker)


class PendingStep(Coroutine[Any, Any, T]):
    """One call of a step. It begins when it is awaited, and complains where it is used in place of its answer."""

    def __init__(
        self, begin: Callable[[], Coroutine[Any, Any, T]], name: str, place: str, unawaited: Unawaited
    ) -> None:
        self._begin = begin
        self._name = name
        self._place = place
        self._unawaited = unawaited
        self._begun: Coroutine[Any, Any, T] | None = None
        unawaited.append(self)

    def complaint(self) -> str:
        return (
            f"{self._name}(…) was called without await ({self._place}), so nothing happened: write "
            f"`await {self._name}(…)`, one step at a time, without asyncio.gather or tasks"
        )

    def _coroutine(self) -> Coroutine[Any, Any, T]:
        if self._begun is None:
            self._unawaited.remove(self)
            self._begun = self._begin()
        return self._begun

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine().__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine().send(value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        return self._coroutine().throw(typ if val is None else val)

    def close(self) -> None:
        if self._begun is not None:
            self._begun.close()

    def __bool__(self) -> NoReturn:
        raise JourneyError(self.complaint())

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"no {name} yet: {self.complaint()}")


def a_step(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, T]]:
    """Make a method of `Context`, or of what hangs on it, a step that knows on which line it was asked for."""
    owner, _, called = method.__qualname__.rpartition(".")
    name = f"{_AT[owner]}.{called}"

    @wraps(method)
    def ask(self: A, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        frame = sys._getframe(1)
        place = f"in {frame.f_code.co_name}, line {frame.f_lineno}"
        return PendingStep(lambda: method(self, *args, **kwargs), name, place, self._unawaited)

    ask._is_step = True  # type: ignore[attr-defined]
    # What `wraps` answers is typed as an object, and a method has to be a function.
    return cast("Callable[Concatenate[A, P], Coroutine[Any, Any, T]]", ask)


def is_step(method: object) -> bool:
    """Whether an attribute of `Context`, or of what hangs on it, is a step."""
    return getattr(method, "_is_step", False) is True
