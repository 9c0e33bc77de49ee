"""How fields map to columns and to filters, as data: by name, but for what a type declares otherwise.

`field_plan` of a type and `filter_plan` of a filter input are computed once a class; whatever generates SQL and
renderers from the schema reads the same two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar, cast

from strawberry.types.base import (
    StrawberryList,
    StrawberryOptional,
    get_object_definition,
    has_object_definition,
)
from strawberry.types.enum import StrawberryEnumDefinition

from hogsend.storage.collections import Selection

T = TypeVar("T")

COLUMNS = "columns"

Convert: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Mapped:
    """Another name (of a column or a filter), and the conversion of a value that is not null."""

    name: str
    convert: Convert | None = None


FieldMap: TypeAlias = Mapping[str, str | Convert | Mapped]
"""By field: another column's (or filter's) name, a conversion of the one of the same name, or both."""


class FieldStep(NamedTuple):
    """One field, the column or filter that it maps to, and the conversion of a value that is not null."""

    field: str
    name: str
    convert: Convert | None


def from_row(kind: type[T], row: Mapping[Any, Any]) -> T:
    """Make an object of a row, by the type's `field_plan`."""
    values = {
        field: row[name] if convert is None or row[name] is None else convert(row[name])
        for field, name, convert in field_plan(cast(Any, kind))
    }
    return kind(**values)


def from_object(kind: type[T], source: object, **given: Any) -> T:
    """Make an object of another object's attributes, by the type's `field_plan`, but for the fields given."""
    values = given
    for field, name, convert in field_plan(cast(Any, kind)):
        if field not in given:
            value = getattr(source, name)
            values[field] = value if convert is None or value is None else convert(value)
    return kind(**values)


@cache
def field_plan(kind: Any) -> tuple[FieldStep, ...]:
    """A step for each field that a type is made with. Enums and nested types convert by their annotation."""
    columns: FieldMap = getattr(kind, COLUMNS, {})
    types = {field.python_name: field for field in get_object_definition(kind, strict=True).fields}
    steps = []
    for name in [one.name for one in fields(kind) if one.init]:
        step = _step(name, columns.get(name, "id" if name == "key" else name))
        if step.convert is None and name in types:
            step = step._replace(convert=_conversion_to(types[name].type))
        steps.append(step)
    return tuple(steps)


def _step(field: str, declared: str | Convert | Mapped) -> FieldStep:
    if isinstance(declared, Mapped):
        return FieldStep(field, declared.name, declared.convert)
    return (
        FieldStep(field, declared, None) if isinstance(declared, str) else FieldStep(field, field, declared)
    )


def _conversion_to(kind: object) -> Convert | None:
    """What makes a value of this GraphQL type: an enum's member of its value, an object of its attributes."""
    if isinstance(kind, StrawberryOptional):
        return _conversion_to(kind.of_type)
    if isinstance(kind, StrawberryList):
        inner = _conversion_to(kind.of_type)
        return None if inner is None else lambda values: [inner(value) for value in values]
    if isinstance(kind, StrawberryEnumDefinition):
        return kind.wrapped_cls
    if has_object_definition(kind):
        made: type = kind
        return lambda value: from_object(made, value)
    return None


class Filter:
    """Base of filter inputs: each field narrows by the collection's filter of its name.

    `filters` declares what differs, as `columns` does of a type.
    """

    filters: ClassVar[FieldMap] = {}

    def __init_subclass__(cls, *, filters: FieldMap | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if filters is not None:
            cls.filters = filters

    def narrow(self, selection: Selection) -> Selection:
        """The rows of the selection that fit every field that was given."""
        return narrow(selection, filter_plan(cast(Any, type(self))), vars(self))


@cache
def filter_plan(kind: Any) -> tuple[FieldStep, ...]:
    """A step for each field of a filter input."""
    return plan_filters([field.name for field in fields(kind)], kind.filters)


def plan_filters(names: list[str], filters: FieldMap) -> tuple[FieldStep, ...]:
    return tuple(_step(name, filters.get(name, name)) for name in names)


def narrow(selection: Selection, plan: tuple[FieldStep, ...], given: Mapping[str, Any]) -> Selection:
    """Narrow by what was given; what is None does not restrict."""
    values = {
        name: plain(given[field]) if convert is None else convert(given[field])
        for field, name, convert in plan
        if given[field] is not None
    }
    return selection.filtered(**values)


def plain(value: Any) -> Any:
    """What the database holds of a value of the wire: enums by their value, also in lists."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.value if isinstance(value, Enum) else value
