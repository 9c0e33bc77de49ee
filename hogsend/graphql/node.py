"""`Node`: everything that has an id, and how it is fetched by it."""

from __future__ import annotations

from typing import Any, ClassVar, Self, TypeVar
from uuid import UUID

import strawberry
from sqlalchemy import Column

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.context import Context
from hogsend.graphql.links import row_by_key
from hogsend.graphql.mapping import FieldMap, from_row
from hogsend.storage.collections import Collection
from hogsend.storage.database import Record

N = TypeVar("N", bound="Node")

TYPES: dict[str, type[Node]] = {}

KEY = "key"
"""In a field's metadata: it is the object's key, converted by what this makes of the type."""


@strawberry.interface(description="Anything with a global id: fetch it again with `node(id:)`.")
class Node:
    """Base of every type with an id.

    A type of rows names the `collection` that they come from; its fields are the columns of the same names, but for
    those that `columns` says otherwise of. A type that the code of a deployment defines (a journey, a template) names
    its `prefix` and is found by `named`. `scope` is what `node(id:)` asks for.
    """

    key: strawberry.Private[UUID | str | int]
    prefix: ClassVar[str] = ""
    collection: ClassVar[Collection | None] = None
    columns: ClassVar[FieldMap] = {}
    scope: ClassVar[Scope] = Scope.READ
    hidden_by: ClassVar[str | None] = None
    told_by: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls,
        *,
        collection: Collection | None = None,
        prefix: str | None = None,
        columns: FieldMap | None = None,
        scope: Scope = Scope.READ,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if collection is not None:
            cls.collection, prefix = collection, collection.node
        if prefix is not None:
            cls.prefix, cls.scope = prefix, scope
            TYPES[prefix] = cls
        if columns is not None:
            cls.columns = columns

    @strawberry.field(  # type: ignore[untyped-decorator]
        description="Global id, `<type>_<key>`, such as `contact_550e8400-…`. Treat it as opaque.",
        metadata={KEY: lambda kind: ids.encode(kind.prefix, "{}").format},
    )
    def id(self) -> strawberry.ID:
        return strawberry.ID(ids.encode(self.prefix, self.key))

    @property
    def shown(self) -> bool:
        """False for what links must not lead to, such as a contact that was deleted."""
        return self.hidden_by is None or getattr(self, self.hidden_by) is None

    @classmethod
    def type_of(cls, row: Record) -> type[Node]:
        """Of which type a row is: this one, where it is no interface."""
        return cls

    @classmethod
    def of(cls, row: Record) -> Self:
        """Make one from a row of its collection."""
        return from_row(cls.type_of(row), row)  # type: ignore[return-value]

    @classmethod
    def named(cls, context: Context, name: str | None) -> Self | None:
        """The one that the code of this deployment defines by that name; None for types of rows."""
        return None

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        """The one with this id, prefixed or bare; None where there is none."""
        if cls.collection is None:
            return cls.named(context, ids.name_of(id, cls.prefix))
        return await link(context, cls.prefix, ids.uuid_of(id, cls.prefix))  # type: ignore[no-any-return]


def bare_uuid() -> Any:
    """The field `uuid` of a type whose key is one."""

    def uuid(self: Any) -> UUID:
        key: UUID = self.key
        return key

    return strawberry.field(
        resolver=uuid,
        description="The UUID without the type prefix of `id`.",
        metadata={KEY: lambda _kind: None},
    )


async def link(context: Context, prefix: str, key: UUID | None, column: Column[Any] | None = None) -> Any:
    """Follow a link to one thing of the type with this prefix; None where there is none, or it does not show."""
    found = await by_key(context, TYPES[prefix], key, column)
    return found if found is not None and found.shown else None


async def by_key(
    context: Context, kind: type[N], key: UUID | None, column: Column[Any] | None = None
) -> N | None:
    """Follow a link to one thing, by its key or another unique column. Siblings are read in one statement."""
    if key is None or kind.collection is None:
        return None
    row = await row_by_key(context, kind.collection, key, column)
    return None if row is None else kind.of(row)
