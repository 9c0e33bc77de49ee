"""Read a condition back from the JSON that `to_json` made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast, get_args

from hogsend.journeys.comparison import Operator
from hogsend.journeys.condition_tree import (
    AllOf,
    AnyOf,
    Condition,
    EmailTest,
    Engagement,
    EventTest,
    Not,
    PropertyTest,
    Source,
)
from hogsend.journeys.errors import JourneyError


def from_json(value: object) -> Condition:
    """The condition that `to_json` made `value` from. Raises `JourneyError` where it made no such thing."""
    match value:
        case {"all": list(parts)}:
            return AllOf(tuple(from_json(part) for part in parts))
        case {"any": list(parts)}:
            return AnyOf(tuple(from_json(part) for part in parts))
        case {"not": part}:
            return Not(from_json(part))
        case {"property": str(path), "of": source, "operator": operator} if source in get_args(Source):
            return PropertyTest(source, path, _operator(operator), _value(value))
        case {"event": str(name), "atLeast": int(count)}:
            return EventTest(name, count, _within(value))
        case {"email": str(template), "was": what} if what in get_args(Engagement):
            return EmailTest(template, cast(Engagement, what), _within(value))
    raise JourneyError(f"{value!r} is no stored condition")


def _operator(value: object) -> Operator:
    try:
        return Operator(cast(str, value))
    except ValueError:
        raise JourneyError(f"{value!r} is no operator; there are {', '.join(Operator)}") from None


def _value(node: Mapping[str, Any]) -> object:
    value = node.get("value")
    return tuple(value) if isinstance(value, list) else value


def _within(node: Mapping[str, Any]) -> timedelta | None:
    seconds = node.get("withinSeconds")
    return None if seconds is None else timedelta(seconds=seconds)
