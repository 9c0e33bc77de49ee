"""`node` and `nodes`: anything by its id."""

from __future__ import annotations

import asyncio
from typing import Annotated, cast

import strawberry

from hogsend.access.errors import InsufficientScope
from hogsend.graphql import ids
from hogsend.graphql.context import LONGEST_PAGE, Context, Info
from hogsend.graphql.errors import problem
from hogsend.graphql.fields import described, query
from hogsend.graphql.node import TYPES, Node


async def fetch(context: Context, id: str) -> Node | None:
    prefix, _ = ids.split(id)
    kind = TYPES.get(prefix)
    if kind is None:
        return None
    if not context.caller.may(kind.scope):
        raise InsufficientScope
    return await kind.fetch(context, id)


@strawberry.type
class NodeQuery:
    @query(description="Any node by its global id; null where there is none.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, described("Global id, with its type prefix.")]
    ) -> Node | None:
        return await fetch(info.context, id)

    @query(description="Nodes by their global ids, in the order of the ids; null for each that is not there.")
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], described("Global ids, at most 100, with their type prefixes.")],
    ) -> list[Node | None]:
        if len(ids) > LONGEST_PAGE:
            raise problem(f"`ids` takes at most {LONGEST_PAGE} ids")
        # What is raised for one is its own entry's error: it is null alone.
        found = await asyncio.gather(*(fetch(info.context, one) for one in ids), return_exceptions=True)
        return cast(list[Node | None], found)
