"""How one property's value is tested. Values are JSON: nothing here raises, whatever a product sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum

MISSING = object()
"""What `look_up` answers where there is no such property. A JSON null counts as missing too."""

_SHOWN = 80


class Operator(StrEnum):
    """The tests a property can be put to. Values of different types are never equal and never ordered."""

    EQ = "eq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    CONTAINS = "contains"
    EXISTS = "exists"


_WORDS = {
    Operator.EQ: ("is", "is not"),
    Operator.GT: ("is more than", "is not more than"),
    Operator.GTE: ("is at least", "is not at least"),
    Operator.LT: ("is less than", "is not less than"),
    Operator.LTE: ("is at most", "is not at most"),
    Operator.IN: ("is one of", "is none of"),
    Operator.CONTAINS: ("contains", "does not contain"),
    Operator.EXISTS: ("is present", "is missing"),
}


def look_up(properties: Mapping[str, object], path: str) -> object:
    """The value at `path`, or `MISSING`.

    A key that is spelled like the whole path wins; else `address.city` is the `city` in the object `address`.
    """
    value: object = properties.get(path, MISSING)
    if value is not MISSING or "." not in path:
        return MISSING if value is None else value
    value = properties
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return MISSING
        value = value[key]
    return MISSING if value is None else value


def passes(operator: Operator, actual: object, expected: object) -> bool:
    """Whether `actual` (or `MISSING`) stands the test."""
    if actual is MISSING:
        return False
    match operator:
        case Operator.EXISTS:
            return True
        case Operator.EQ:
            return _equal(actual, expected)
        case Operator.IN:
            return isinstance(expected, tuple | list) and any(_equal(actual, one) for one in expected)
        case Operator.CONTAINS:
            if isinstance(actual, str):
                return isinstance(expected, str) and expected in actual
            return isinstance(actual, list | tuple) and any(_equal(one, expected) for one in actual)
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            return _ordered(operator, actual, expected)


def describe(operator: Operator, expected: object, *, negated: bool) -> str:
    """The test in words: `is at least 10`."""
    words = _WORDS[operator][negated]
    if operator is Operator.EXISTS:
        return words
    if operator is Operator.IN and isinstance(expected, tuple | list):
        return f"{words} {', '.join(show(one) for one in expected)}"
    return f"{words} {show(expected)}"


def show(value: object) -> str:
    """A value for people, as JSON, cut where it is long."""
    if value is MISSING:
        return "missing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _equal(one: object, other: object) -> bool:
    # JSON's true is not 1, although Python's True is.
    return _type(one) == _type(other) and one == other


def _ordered(operator: Operator, actual: object, expected: object) -> bool:
    if isinstance(actual, str) and isinstance(expected, str):
        return _holds(operator, (actual > expected) - (actual < expected))
    if _type(actual) == _type(expected) == "number":
        assert isinstance(actual, int | float)
        assert isinstance(expected, int | float)
        return _holds(operator, (actual > expected) - (actual < expected))
    return False


def _holds(operator: Operator, sign: int) -> bool:
    match operator:
        case Operator.GT:
            return sign > 0
        case Operator.GTE:
            return sign >= 0
        case Operator.LT:
            return sign < 0
        case _:
            return sign <= 0


def _type(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__
