"""`Node`: everything that has an id, and how it is fetched by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, TypeAlias, TypeVar, cast
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.context import Context
from hogsend.graphql.fields import field
from hogsend.graphql.links import row_by_key
from hogsend.storage.collections import Collection

N = TypeVar("N", bound="Node")
T = TypeVar("T")

TYPES: dict[str, type[Node]] = {}


@dataclass(frozen=True)
class Column:
    """Where a field of a type comes from: the row's column `name`, and what makes its value of one that is not null."""

    name: str
    convert: Callable[[Any], Any] | None = None


Columns: TypeAlias = Mapping[str, str | Callable[[Any], Any] | Column]
"""By field: another column's name, a conversion of the column of the same name, or both."""


@strawberry.interface(description="Everything that has an id.")
class Node:
    """Base of every type with an id.

    A subclass names its `prefix` and the `collection` its rows come from. Its fields are the columns of the same names,
    but for those that `columns` says otherwise of. One that is not a row of the database (a journey, a template)
    overrides `fetch`. `scope` is what `node(id:)` asks for.
    """

    key: strawberry.Private[UUID | str | int]
    prefix: ClassVar[str] = ""
    collection: ClassVar[Collection | None] = None
    columns: ClassVar[Columns] = {}
    scope: ClassVar[Scope] = Scope.READ

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "prefix" in cls.__dict__:
            TYPES[cls.prefix] = cls

    @field("Opaque and greppable: the type's word and its key.")
    def id(self) -> strawberry.ID:
        return strawberry.ID(ids.encode(self.prefix, self.key))

    @property
    def shown(self) -> bool:
        """False for what links must not lead to, such as a contact that was deleted."""
        return True

    @classmethod
    def of(cls: type[N], row: RowMapping) -> N:
        """Make one from a row of its collection."""
        return from_row(cls, row)

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        """The one with this id, prefixed or bare; None where there is none."""
        key = ids.uuid_of(id, cls.prefix)
        if key is None or cls.collection is None:
            return None
        found = await by_key(context, cls, key)
        return found if found is not None and found.shown else None


def from_row(kind: type[T], row: Mapping[Any, Any]) -> T:
    """Make an object of a row: its fields from the columns of their names, as `columns` of the class has it."""
    values = {
        one: row[name] if convert is None or row[name] is None else convert(row[name])
        for one, name, convert in column_plan(cast(Any, kind))
    }
    return kind(**values)


@cache
def column_plan(kind: Any) -> tuple[tuple[str, str, Callable[[Any], Any] | None], ...]:
    """(field, column, conversion) for each field of a type that is made of a row."""
    declared: Columns = getattr(kind, "columns", {})
    plan: list[tuple[str, str, Callable[[Any], Any] | None]] = []
    for name in [one.name for one in fields(kind) if one.init]:
        match declared.get(name, "id" if name == "key" else name):
            case str() as column:
                plan.append((name, column, None))
            case Column() as column:
                plan.append((name, column.name, column.convert))
            case convert:
                plan.append((name, name, convert))
    return tuple(plan)


def bare_uuid() -> Any:
    """The field `uuid` of a type whose key is one."""

    def uuid(self: Any) -> UUID:
        key: UUID = self.key
        return key

    return strawberry.field(resolver=uuid, description="The bare UUID.")


async def link(context: Context, prefix: str, key: UUID | None) -> Any:
    """Follow a link to one thing of the type with this prefix; None where there is none, or it does not show."""
    found = await by_key(context, TYPES[prefix], key)
    return found if found is not None and found.shown else None


async def by_key(context: Context, kind: type[N], key: UUID | None) -> N | None:
    """Follow a link to one thing. What siblings ask for is read in one statement."""
    if key is None or kind.collection is None:
        return None
    row = await row_by_key(context, kind.collection, key)
    return None if row is None else kind.of(row)
