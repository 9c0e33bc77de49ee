"""The journal: each step of a run once, in order, with what it answered.

A run is replayed from its first line on every slice. Steps that are recorded answer from here, verbatim; the first
one that is not recorded really happens. So a journey may be killed between any two steps and go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from hogsend.journeys.steps.interrupts import CodeChanged


@dataclass
class Step:
    """One step. `status` is `new` until it is first written, then `open` or `done`."""

    key: str
    seq: int
    kind: str
    label: str
    fingerprint: str
    args: Mapping[str, Any] = field(default_factory=dict)
    status: str = "new"
    result: Any = None
    deadline: datetime | None = None
    since_seq: int | None = None

    @property
    def done(self) -> bool:
        return self.status == "done"


class Journal:
    """The steps recorded so far, and how far this replay has come."""

    def __init__(self, recorded: Iterable[Step] = ()) -> None:
        self._recorded = sorted(recorded, key=lambda step: step.seq)
        self._position = 0
        self._counts: dict[str, int] = {}

    def next(self, kind: str, label: str, args: Mapping[str, Any]) -> Step:
        """The step that the code asks for now: as recorded, or new. Raises `CodeChanged` where they differ."""
        base = f"{kind}:{label}"
        self._counts[base] = self._counts.get(base, 0) + 1
        key = f"{base}#{self._counts[base]}"
        mark = fingerprint(kind, args)
        position = self._position
        self._position += 1
        if position >= len(self._recorded):
            return Step(key, position, kind, label, mark, plain(args))
        step = self._recorded[position]
        if step.key != key:
            raise CodeChanged(
                f"step {position + 1} was {step.key}, and the code now asks for {key}", position
            )
        if step.fingerprint != mark:
            raise CodeChanged(f"{key} was recorded with other arguments than the code now gives", position)
        return step

    def check_finished(self) -> None:
        """Raise `CodeChanged` where the function returned before a step that is recorded."""
        if self._position < len(self._recorded):
            left = self._recorded[self._position].key
            raise CodeChanged(f"the code now ends before {left}, which is recorded", self._position)


def fingerprint(kind: str, args: Mapping[str, Any]) -> str:
    """Of a step's arguments: 16 hex digits."""
    text = orjson.dumps([kind, plain(args)], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16]


def plain(value: Any) -> Any:
    """`value` as the journal gives it back. Raises `TypeError` for what JSON cannot hold."""
    return orjson.loads(orjson.dumps(value, default=_mapping, option=orjson.OPT_NON_STR_KEYS))


def _mapping(value: object) -> dict[Any, Any]:
    """Properties as authors are given them cannot be changed, and are no dicts."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
