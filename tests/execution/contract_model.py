"""What the journal of a run must hold, by the contract alone: given what arrived, when, and when somebody drove it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

Kind = Literal["send", "sleep", "wait", "ask", "digest", "seen", "trigger", "leave", "once", "now"]
Taken = tuple[str, Any]
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Act:
    """One line of a random journey. `ask` is a wait, and then one email or another; `leave` may end the run."""

    kind: Kind
    name: str
    span: timedelta
    n: int
    picky: bool


@dataclass(frozen=True)
class Arrival:
    """One event. `done` is how many steps of the run were done when it arrived."""

    name: str
    n: int
    at: datetime
    done: int

    @property
    def ends_the_run(self) -> bool:
        return self.name == "stop" and self.n > 1


@dataclass(frozen=True)
class Slice:
    """The run was driven at `at`, and had begun `begun` steps when that was over."""

    at: datetime
    begun: int


@dataclass
class Model:
    """Follows a journey through its `slices`. `cut` is the step at which an exit stopped it.

    The window of a wait begins behind the last step that let time pass, and ends with its deadline. An event that
    arrived before a step was done has its place before that step, or in it.
    """

    slices: Sequence[Slice]
    arrivals: Sequence[Arrival]
    cut: int | None = None
    taken: list[Taken] = field(default_factory=list)
    exited: bool = False

    def __post_init__(self) -> None:
        self._behind: Place = (-1, 0, 0)
        self._own: list[tuple[Place, Arrival]] = []
        self._counts: Counter[str] = Counter()

    def follow(self, journey: Sequence[Act]) -> Model:
        for index, act in enumerate(journey):
            for kind, label, act_ in self._steps(act, f"s{index}"):
                self._stop_where_cut()
                if self.exited:
                    return self
                self._take(kind, label, act_)
        self._stop_where_cut()
        return self

    def _steps(self, act: Act, label: str) -> Any:
        match act.kind:
            case "ask":
                yield "wait", label, act
                yield "send", "nudge" if self.taken and self.taken[-1][1] == "timed out" else "congrats", act
            case "send":
                yield "send", "welcome", act
            case "seen":
                yield "history", f"event {act.name}", act
            case "now":
                yield "now", "now", act
            case "leave":
                yield "trigger", label, replace(act, name="stop")
            case _:
                yield act.kind, label, act

    def _stop_where_cut(self) -> None:
        self.exited = self.exited or self.cut == len(self.taken)

    def _take(self, kind: str, label: str, act: Act) -> None:
        base = f"{kind}:{label}"
        self._counts[base] += 1
        self.taken.append((f"{base}#{self._counts[base]}", self._outcome(kind, label, act)))

    def _outcome(self, kind: str, label: str, act: Act) -> Any:
        match kind:
            case "send":
                return "sent"
            case "once":
                return label
            case "now":
                return self._now().isoformat()
            case "history":
                return any(arrival.name == act.name for _, arrival in self._so_far())
            case "sleep":
                return self._pass(self._now() + act.span)
            case "wait":
                return self._wait(act)
            case "digest":
                deadline = self._now() + act.span
                found = [arrival.n for _, arrival in self._window(act, deadline)]
                self._pass(deadline)
                return found
        return self._trigger(act)

    def _wait(self, act: Act) -> Any:
        deadline = self._now() + act.span
        for place, arrival in self._window(act, deadline):
            self._behind = place
            return arrival.n
        self._pass(deadline)
        return "timed out"

    def _trigger(self, act: Act) -> None:
        own = Arrival(act.name, act.n, self._now(), len(self.taken))
        self._own.append(((len(self.taken), 1, 0), own))
        self._behind = max(place for place, _ in self._so_far())
        self.exited = own.ends_the_run

    def _pass(self, deadline: datetime) -> None:
        """Time passes to `deadline`, and so does what arrived until then."""
        arrived = [place for place, arrival in self._so_far() if arrival.at <= deadline]
        self._behind = max([self._behind, *arrived])

    def _window(self, act: Act, deadline: datetime) -> list[tuple[Place, Arrival]]:
        return [
            (place, arrival)
            for place, arrival in self._so_far()
            if place > self._behind
            and arrival.name == act.name
            and arrival.at <= deadline
            and (arrival.n > 1 or not act.picky)
        ]

    def _so_far(self) -> list[tuple[Place, Arrival]]:
        """What arrived before the step that is being taken was done, in order."""
        others = [((arrival.done, 0, order), arrival) for order, arrival in enumerate(self.arrivals)]
        return sorted(item for item in (*others, *self._own) if item[0][0] <= len(self.taken))

    def _now(self) -> datetime:
        """When the step that is being taken was begun: a worker that dies before that leaves it to a later slice."""
        return next((each.at for each in self.slices if each.begun > len(self.taken)), self.slices[-1].at)
