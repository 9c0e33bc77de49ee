"""What the stand-in for Hatchet remembers: runs, the logs of durable ones, who has which idempotency key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from hatchet_sdk.contracts.v1.shared.condition_pb2 import DurableEventListenerConditions
from hatchet_sdk.contracts.v1.workflows_pb2 import CreateWorkflowVersionRequest

ALIVE = ("queued", "running", "evicted")


@dataclass
class Node:
    """One entry of a durable run's log: a child, or a wait."""

    mark: str
    child: str | None = None
    conditions: DurableEventListenerConditions | None = None
    payload: Any = None
    failure: str | None = None
    done: bool = False


@dataclass
class Run:
    workflow: str
    input: dict[str, Any]
    parent: tuple[Run, int] | None = None
    key: str | None = None
    id: str = field(default_factory=lambda: str(uuid4()))
    status: str = "queued"
    worker: str | None = None
    retry: int = 0
    invocation: int = 0
    cursor: int = 0
    log: dict[int, Node] = field(default_factory=dict)
    output: Any = None
    evictions: int = 0
    restores: int = 0
    deliveries: int = 0

    @property
    def alive(self) -> bool:
        return self.status in ALIVE

    @property
    def waits(self) -> bool:
        """Whether its driver stands at a wait, and not at a child."""
        node = self.log.get(self.cursor)
        return self.alive and node is not None and node.conditions is not None and not node.done


@dataclass(frozen=True)
class Pushed:
    key: str
    scope: str
    payload: dict[str, Any]
    at: float


class Memory:
    """Everything that outlives a restart of the stand-in's server."""

    def __init__(self) -> None:
        self.workflows: dict[str, CreateWorkflowVersionRequest] = {}
        self.runs: dict[str, Run] = {}
        self.events: list[Pushed] = []

    def of(self, workflow: str) -> list[Run]:
        return [run for run in self.runs.values() if run.workflow == workflow]

    def key_of(self, workflow: str, given: dict[str, Any]) -> str | None:
        """The idempotency key, from the expression that the workflow was registered with."""
        request = self.workflows[workflow]
        if not request.HasField("idempotency"):
            return None
        return "".join(_term(term.strip(), given) for term in request.idempotency.expression.split(" + "))

    def holder(self, key: str | None) -> Run | None:
        if key is None:
            return None
        return next((run for run in self.runs.values() if run.key == key and run.alive), None)

    def waiting_for(self, event: Pushed) -> Iterator[tuple[Run, int]]:
        for run in self.runs.values():
            for number, node in run.log.items():
                if run.alive and not node.done and matches(node, event):
                    yield run, number


def _term(term: str, given: dict[str, Any]) -> str:
    if term.startswith("'"):
        return term.strip("'")
    name = re.fullmatch(r"(?:string\()?input\.(\w+)\)?", term)
    assert name is not None, f"the stand-in cannot read {term!r}"
    return str(given[name[1]])


def matches(node: Node, event: Pushed) -> bool:
    """Whether the event ends the wait; `input.<name> >= <number>` is all the CEL that is understood."""
    for condition in node.conditions.user_event_conditions if node.conditions is not None else ():
        if (condition.user_event_key, condition.event_scope) != (event.key, event.scope):
            continue
        rule = re.fullmatch(r"input\.(\w+) >= ([\d.]+)", condition.base.expression)
        assert rule is not None, f"the stand-in cannot read {condition.base.expression!r}"
        if event.payload[rule[1]] >= float(rule[2]):
            return True
    return False


def seconds(expression: str) -> int:
    """`90s`, `2m`, `168h`."""
    return int(expression[:-1]) * {"s": 1, "m": 60, "h": 3600}[expression[-1]]


def decoded(text: str) -> Any:
    return json.loads(text) if text else {}
