"""Lists of a level: the pages of all parents in one statement, their counts in another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from itertools import islice
from typing import Any, Protocol, cast

from hogsend.graphql.connections import ConnectionPage, PageInfo, Paging
from hogsend.graphql.context import Context
from hogsend.graphql.node import TYPES, Node
from hogsend.planning.answers import Values, assembled
from hogsend.planning.rowplan import RowPlan, narrowed
from hogsend.planning.shape import FieldShape, NotPlanned, ObjectShape, object_type
from hogsend.planning.statements import Row, counts, pages
from hogsend.storage.collections import PARENT, Selection


class Reader(Protocol):
    """Who answers what is selected of a list's rows."""

    @property
    def context(self) -> Context: ...
    def plans(self, field: FieldShape, kind: type[Node]) -> list[RowPlan]: ...
    async def nodes(self, field: FieldShape, kind: type[Node], rows: Sequence[Row]) -> Values: ...
    async def objects(self, shape: ObjectShape, sources: Values) -> Values: ...


class Lists:
    """The same list of many parents: their pages are read in one statement, their counts in another.

    `notes` are those of the connection's shape.
    """

    def __init__(
        self, reader: Reader, source: Selection, paging: Paging, parents: Values, notes: dict[str, Any]
    ) -> None:
        self._notes = notes
        self._reader = reader
        self._source = source
        self._paging = paging
        self._parents = parents
        self._kind = TYPES[source.collection.node]
        self._wanted: list[FieldShape] = []
        self._reading: asyncio.Future[list[Sequence[Row]]] | None = None

    def field(self, field: FieldShape) -> Awaitable[Values]:
        """The values of one field of the connections."""
        match field.name:
            case "totalCount":
                return self._counts()
            case "nodes":
                self._wanted.append(field)
                return self._nodes(field)
            case "edges":
                shape = field.of(object_type(field))
                self._wanted += [one for one in shape.fields if one.name == "node"]
                return self._edges(shape)
            case "pageInfo":
                return self._infos(field)
        raise NotPlanned

    async def _pages(self) -> list[ConnectionPage]:
        """Each parent's page; the edges hold rows."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        grouped = await self._reading
        return [self._paging.page(rows) for rows in grouped]

    async def _read(self) -> list[Sequence[Row]]:
        source, paging = self._source, self._paging
        if paging.size == 0:
            return [[] for _ in self._parents]
        pruned = self._notes.get(f"narrowed {source.order}")
        if pruned is None:
            plans = [plan for field in self._wanted for plan in self._reader.plans(field, self._kind)]
            sort = source.collection.sorts[source.sort].column.key
            pruned = narrowed(source.collection, plans, self._kind, str(sort), str(source.collection.key.key))
            self._notes[f"narrowed {source.order}"] = pruned
        selection = Selection(
            pruned, source.sort, source.descending, source.filters, source.parent_column, source.parent
        )
        found = await pages(self._reader.context, selection, paging.window(source.place), self._parents)
        if source.parent_column is None:
            return [found]
        grouped: dict[Any, list[Row]] = {parent: [] for parent in self._parents}
        for row in found:
            grouped[row[PARENT]].append(row)
        return [grouped[parent] for parent in self._parents]

    async def _counts(self) -> Values:
        rows = await counts(self._reader.context, self._source, self._parents)
        if self._source.parent_column is None:
            return [rows[0]["count"]]
        found = {row[PARENT]: row["count"] for row in rows}
        return [found.get(parent, 0) for parent in self._parents]

    async def _nodes(self, field: FieldShape) -> Values:
        found = await self._pages()
        flat = [row for page in found for row in page.edges]
        nodes = iter(await self._reader.nodes(field, self._kind, cast(Any, flat)))
        return [list(islice(nodes, len(page.edges))) for page in found]

    async def _edges(self, shape: ObjectShape) -> Values:
        found = await self._pages()
        flat: Any = [row for page in found for row in page.edges]
        edges = iter(await assembled(shape, (self._of_edges(one, flat) for one in shape.fields), len(flat)))
        return [list(islice(edges, len(page.edges))) for page in found]

    def _of_edges(self, field: FieldShape, rows: list[Row]) -> Values | Awaitable[Values]:
        match field.name:
            case "node":
                return self._reader.nodes(field, self._kind, rows)
            case "cursor":
                return [self._source.cursor(cast(Any, row)) for row in rows]
        raise NotPlanned

    async def _infos(self, field: FieldShape) -> Values:
        found = await self._pages()
        infos = []
        for page in found:
            cursors = [
                self._source.cursor(cast(Any, row))
                for row in (page.edges[:1] and (page.edges[0], page.edges[-1]))
            ]
            infos.append(
                PageInfo(
                    has_next_page=page.has_next,
                    has_previous_page=page.has_previous,
                    start_cursor=cursors[0] if cursors else None,
                    end_cursor=cursors[1] if cursors else None,
                )
            )
        return await self._reader.objects(field.of(object_type(field)), infos)
