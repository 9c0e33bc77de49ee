"""`Node`: everything that has an id, and how it is fetched by it."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar
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

TYPES: dict[str, type[Node]] = {}


@strawberry.interface(description="Everything that has an id.")
class Node:
    """Base of every type with an id.

    A subclass names its `prefix`, the `collection` its rows come from, and makes itself `of` such a row. One that
    is not a row of the database (a journey, a template) overrides `fetch`. `scope` is what `node(id:)` asks for.
    """

    key: strawberry.Private[UUID | str | int]
    prefix: ClassVar[str] = ""
    collection: ClassVar[Collection | None] = None
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
        raise NotImplementedError

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        """The one with this id, prefixed or bare; None where there is none."""
        key = ids.uuid_of(id, cls.prefix)
        if key is None or cls.collection is None:
            return None
        found = await by_key(context, cls, key)
        return found if found is not None and found.shown else None


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
