"""The planned executor: level by level, each level's objects together, each list and link of a level in one statement.

Where anything goes wrong the query is executed again by graphql-core, which knows how errors are told: queries read only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

import structlog
from graphql import (
    ExecutionResult,
    GraphQLAbstractType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationType,
    is_abstract_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path

from hogsend.graphql.connections import Connection, ConnectionPage, Edge, Paging
from hogsend.graphql.context import Context
from hogsend.graphql.node import TYPES, Node
from hogsend.graphql.rows import LINK, ROWS, THROUGH, WORKED_OUT, RowLink, RowList, Through, WorkedOut
from hogsend.planning.leaves import finish_of, present
from hogsend.planning.rowplan import Convert, RowField, RowPlan, class_of, narrowed, row_plan, rows_of
from hogsend.planning.shape import FieldShape, NotPlanned, ObjectShape, Shapes
from hogsend.planning.statements import Row, by_key, counts, pages
from hogsend.storage.collections import PARENT, Selection

log = structlog.get_logger(__name__)

Values = list[Any]


class PlannedExecutor(ExecutorThrowingOnIncremental):  # type: ignore[type-arg]
    """graphql-core's executor of one operation, which plans queries and leaves the rest as it is."""

    def __init__(self, *given: Any, shapes: Shapes, **named: Any) -> None:
        super().__init__(*given, **named)
        self._shapes = shapes

    def execute_operation(self, serially: bool | None = None) -> Any:
        if self.operation.operation is not OperationType.QUERY:
            return super().execute_operation(serially)
        return self._planned(serially)

    async def _planned(self, serially: bool | None) -> Any:
        context: Context = self.context_value
        try:
            shape = self._shapes.get(self.schema, self.operation, self.fragments, self.variable_values)
            [data] = await Run(self, context).objects(shape, [None])
        except Exception as error:
            context.forget()
            context.tier = "graphql-core"
            if not isinstance(error, NotPlanned):
                log.debug("plan_failed", exc_info=error)
            result = super().execute_operation(serially)
            return await result if asyncio.iscoroutine(result) else result
        context.tier = "planned"
        return ExecutionResult(data, None)


class _Parent:
    """Stands for one of many siblings when a list's arguments are read."""

    def __init__(self, key: Any) -> None:
        self.key = key


class Run:
    """One execution. Each method takes all objects of a level, and answers in their order."""

    def __init__(self, executor: PlannedExecutor, context: Context) -> None:
        self._executor = executor
        self._context = context

    async def objects(self, shape: ObjectShape, sources: Values) -> Values:
        """What is selected of these Python objects, all of one type."""
        return await self._assembled(shape, [self._resolved(field, sources) for field in shape.fields], len(sources))

    async def _records(self, shape: ObjectShape, kind: type[Node], rows: Sequence[Row]) -> Values:
        """What is selected of these rows, all of one type."""
        plan = row_plan(shape, kind)
        made = [kind.of(cast(Any, row)) for row in rows] if plan.columns is None else []
        return await self._assembled(shape, [self._read(one, rows, made) for one in plan.fields], len(rows))

    async def _assembled(self, shape: ObjectShape, columns: list[Values | Awaitable[Values]], count: int) -> Values:
        waiting = [(index, column) for index, column in enumerate(columns) if not isinstance(column, list)]
        found = await _together([column for _, column in waiting])
        for (index, _), values in zip(waiting, found, strict=True):
            columns[index] = values
        return _assembler(shape)(count, *columns)

    def _read(self, one: RowField, rows: Sequence[Row], made: Values) -> Values | Awaitable[Values]:
        """The values of a field of rows; `made` are the objects of those rows where a resolver wants them."""
        if not one.columns:
            return self._resolved(one.field, made)
        columns = [_converted([row[name] for row in rows], convert) for name, convert in one.columns]
        return self._declared(one.field, one.declared, columns)

    def _declared(self, field: FieldShape, declared: Any, columns: list[Values]) -> Values | Awaitable[Values]:
        """The values of a field by its declaration; `columns` are what that reads of each object."""
        match declared:
            case RowList():
                return self._lists(field, columns[0])
            case RowLink():
                return self._linked(field, declared, columns[0])
            case Through():
                return self._through(field, declared, columns[0])
            case WorkedOut():
                values = [declared.make(*given) for given in zip(*columns, strict=True)]
            case _:
                [values] = columns
        return self._completed(field.definition.type, field, values)

    def _resolved(self, field: FieldShape, sources: Values) -> Values | Awaitable[Values]:
        """The values of a field of Python objects."""
        definition: Any = field.definition.extensions.get("strawberry-definition")
        for name in (ROWS, LINK, THROUGH, WORKED_OUT):
            declared: Any = field.metadata.get(name)
            if declared is not None:
                return self._declared(field, declared, [_attribute(one, sources) for one in _read_by(declared)])
        if definition is not None and definition.is_basic_field:
            return self._declared(field, None, [_attribute(definition.python_name, sources)])
        return self._called(field, sources)

    async def _called(self, field: FieldShape, sources: Values) -> Values:
        resolve = field.definition.resolve
        if resolve is None:
            raise NotPlanned
        info, arguments = self._call(field)
        values = [resolve(source, info, **arguments) for source in sources]
        waiting = [index for index, value in enumerate(values) if asyncio.iscoroutine(value)]
        found = await _together([values[index] for index in waiting])
        for index, value in zip(waiting, found, strict=True):
            values[index] = value
        return await _awaited(self._completed(field.definition.type, field, values))

    def _call(self, field: FieldShape) -> tuple[Any, dict[str, Any]]:
        executor = self._executor
        path = Path(None, field.key, field.parent.name)
        info = executor.build_resolve_info(field.definition, field.nodes, field.parent, path)
        return info, get_argument_values(field.definition, field.nodes[0], executor.variable_values)

    # Values of a type

    def _completed(self, kind: GraphQLOutputType, field: FieldShape, values: Values) -> Values | Awaitable[Values]:
        finish = finish_of(kind)
        return self._composite(kind, field, values) if finish is None else finish(values)

    async def _composite(self, kind: GraphQLOutputType, field: FieldShape, values: Values) -> Values:
        if is_non_null_type(kind):
            return present(await self._composite(kind.of_type, field, values))
        if is_list_type(kind):
            return await self._flattened(kind.of_type, field, values)
        places = [index for index, value in enumerate(values) if value is not None]
        answers: Values = [None] * len(values)
        groups: dict[str, list[int]] = {}
        types: dict[str, GraphQLObjectType] = {}
        for index in places:
            if isinstance(values[index], BaseException):
                raise NotPlanned
            concrete = self._type_of(kind, values[index])
            types[concrete.name] = concrete
            groups.setdefault(concrete.name, []).append(index)

        async def fill(name: str, indexes: list[int]) -> None:
            found = await self.objects(field.of(types[name]), [values[index] for index in indexes])
            for index, answer in zip(indexes, found, strict=True):
                answers[index] = answer

        await _together([fill(name, indexes) for name, indexes in groups.items()])
        return answers

    async def _flattened(self, kind: GraphQLOutputType, field: FieldShape, values: Values) -> Values:
        flat = [item for value in values if value is not None for item in value]
        found = iter(await _awaited(self._completed(kind, field, flat)))
        return [None if value is None else [next(found) for _ in value] for value in values]

    def _type_of(self, kind: GraphQLOutputType, value: Any) -> GraphQLObjectType:
        if isinstance(kind, GraphQLObjectType):
            return kind
        found = _classes(self._executor.schema).get(type(value))
        if found is None or not is_abstract_type(kind):
            raise NotPlanned
        return found

    # Rows

    async def _linked(self, field: FieldShape, link: RowLink, keys: Values) -> Values:
        kind = rows_of(link)
        if kind is None:
            named = [TYPES[link.prefix].named(self._context, key) for key in keys]
            return await _awaited(self._completed(field.definition.type, field, named))
        wanted = list({key: None for key in keys if key is not None})
        if not wanted:
            return [None] * len(keys)
        assert kind.collection is not None
        shape = field.of(cast(GraphQLObjectType, field.definition.type))
        hidden = kind.hidden_by
        collection = narrowed(kind.collection, [row_plan(shape, kind)], kind, *([hidden] if hidden else []))
        column = kind.collection.key if link.column is None else link.column
        rows = await by_key(self._context, collection, column, wanted)
        if hidden is not None:
            rows = [row for row in rows if row[hidden] is None]
        found = await self._records(shape, kind, rows)
        answers = dict(zip((row[PARENT] for row in rows), found, strict=True))
        return [answers.get(key) for key in keys]

    async def _through(self, field: FieldShape, declared: Through, keys: Values) -> Values:
        wanted = list({key: None for key in keys if key is not None})
        collection = declared.collection
        columns = tuple(one for one in collection.columns if one.key in declared.columns)
        rows = await by_key(self._context, replace(collection, columns=columns), collection.key, wanted) if wanted else []
        found = {row[PARENT]: row for row in rows}
        values = [None if key is None else declared.make(key, found.get(key)) for key in keys]
        return await _awaited(self._completed(field.definition.type, field, values))

    async def _lists(self, field: FieldShape, parents: Values) -> Values:
        if not parents:
            return []
        info, arguments = self._call(field)
        assert field.definition.resolve is not None, "a list of rows is resolved by its declaration"
        connection: Connection[Any] = await field.definition.resolve(_Parent(parents[0]), info, **arguments)
        source = connection.source
        if not isinstance(source, Selection):
            raise NotPlanned
        of_type: Any = field.definition.type.of_type if is_non_null_type(field.definition.type) else field.definition.type
        shape = field.of(of_type)
        level = _Lists(self, source, connection.paging, parents)
        return await self._assembled(shape, [level.field(one) for one in shape.fields], len(parents))

    async def nodes(self, field: FieldShape, kind: type[Node], rows: Sequence[Row]) -> Values:
        """What is selected of rows that may be of several types."""
        named: Any = field.definition.type
        while hasattr(named, "of_type"):
            named = named.of_type
        if isinstance(named, GraphQLObjectType):
            return await self._records(field.of(named), kind, rows)
        answers: Values = [None] * len(rows)
        groups: dict[type[Node], list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(kind.type_of(cast(Any, row)), []).append(index)
        classes = _classes(self._executor.schema)

        async def fill(concrete: type[Node], indexes: list[int]) -> None:
            found = await self._records(field.of(classes[concrete]), concrete, [rows[index] for index in indexes])
            for index, answer in zip(indexes, found, strict=True):
                answers[index] = answer

        await _together([fill(concrete, indexes) for concrete, indexes in groups.items()])
        return answers

    def plans(self, field: FieldShape, kind: type[Node]) -> list[RowPlan]:
        """The plans of all types that the rows of a list may be of."""
        named: Any = field.definition.type
        while hasattr(named, "of_type"):
            named = named.of_type
        if isinstance(named, GraphQLObjectType):
            return [row_plan(field.of(named), kind)]
        types = self._executor.schema.get_possible_types(cast(GraphQLAbstractType, named))
        return [row_plan(field.of(one), class_of(one)) for one in types]

    @property
    def context(self) -> Context:
        return self._context


class _Lists:
    """The same list of many parents: their pages are read in one statement, their counts in another."""

    def __init__(self, run: Run, source: Selection, paging: Paging, parents: Values) -> None:
        self._run = run
        self._source = source
        self._paging = paging
        self._parents = parents
        self._kind = TYPES[source.collection.node]
        self._wanted: list[FieldShape] = []
        self._reading: asyncio.Future[list[list[Row]]] | None = None

    def field(self, field: FieldShape) -> Awaitable[Values]:
        """The values of one field of the connections."""
        match field.name:
            case "totalCount":
                return self._counts()
            case "nodes":
                self._wanted.append(field)
                return self._nodes(field)
            case "edges":
                shape = field.of(_object(field))
                self._wanted += [one for one in shape.fields if one.name == "node"]
                return self._edges(shape)
            case "pageInfo":
                return self._infos(field)
        raise NotPlanned

    async def _pages(self) -> list[ConnectionPage]:
        """Each parent's page; the edges hold rows."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        grouped = await asyncio.shield(self._reading)
        return [self._paging.page(rows, cast(Any, lambda row: row)) for rows in grouped]

    async def _read(self) -> list[list[Row]]:
        source, paging = self._source, self._paging
        if paging.size == 0:
            return [[] for _ in self._parents]
        plans = [plan for field in self._wanted for plan in self._run.plans(field, self._kind)]
        sort = source.collection.sorts[source.sort].column.key
        pruned = narrowed(source.collection, plans, self._kind, str(sort), str(source.collection.key.key))
        selection = Selection(
            pruned, source.sort, source.descending, source.filters, source.parent_column, source.parent
        )
        found = await pages(self._run.context, selection, paging.window(source.place), self._parents)
        if source.parent_column is None:
            return [found]
        grouped: dict[Any, list[Row]] = {parent: [] for parent in self._parents}
        for row in found:
            grouped[row[PARENT]].append(row)
        return [grouped[parent] for parent in self._parents]

    async def _counts(self) -> Values:
        rows = await counts(self._run.context, self._source, self._parents)
        if self._source.parent_column is None:
            return [rows[0]["count"]]
        found = {row[PARENT]: row["count"] for row in rows}
        return [found.get(parent, 0) for parent in self._parents]

    async def _nodes(self, field: FieldShape) -> Values:
        found = await self._pages()
        flat = [row for page in found for row in page.edges]
        nodes = iter(await self._run.nodes(field, self._kind, cast(Any, flat)))
        return [[next(nodes) for _ in page.edges] for page in found]

    async def _edges(self, shape: ObjectShape) -> Values:
        found = await self._pages()
        flat: Any = [row for page in found for row in page.edges]
        columns: list[Any] = []
        for field in shape.fields:
            if field.name == "node":
                columns.append(self._run.nodes(field, self._kind, flat))
            elif field.name == "cursor":
                columns.append([self._source.cursor(row) for row in flat])
            else:
                raise NotPlanned
        edges = iter(await self._run._assembled(shape, columns, len(flat)))
        return [[next(edges) for _ in page.edges] for page in found]

    async def _infos(self, field: FieldShape) -> Values:
        from hogsend.graphql.connections import PageInfo

        found = await self._pages()
        infos = []
        for page in found:
            cursors = [self._source.cursor(cast(Any, row)) for row in (page.edges[:1] and (page.edges[0], page.edges[-1]))]
            infos.append(
                PageInfo(
                    has_next_page=page.has_next,
                    has_previous_page=page.has_previous,
                    start_cursor=cursors[0] if cursors else None,
                    end_cursor=cursors[1] if cursors else None,
                )
            )
        return await self._run.objects(field.of(_object(field)), infos)


def _object(field: FieldShape) -> GraphQLObjectType:
    named: Any = field.definition.type
    while hasattr(named, "of_type"):
        named = named.of_type
    return cast(GraphQLObjectType, named)


@cache
def _classes(schema: GraphQLSchema) -> dict[Any, GraphQLObjectType]:
    """The object types by the Python classes that they were declared as."""
    kinds = [kind for kind in schema.type_map.values() if isinstance(kind, GraphQLObjectType)]
    return {class_of(kind): kind for kind in kinds if "strawberry-definition" in kind.extensions}


def _read_by(declared: RowList | RowLink | Through | WorkedOut) -> tuple[str, ...]:
    """The attributes that a declaration reads; of a root list none, for which there is no object."""
    match declared:
        case WorkedOut():
            return declared.attributes
        case RowList():
            return ("key",) if declared.column is not None else ("",)
    return (declared.by,)


def _attribute(name: str, sources: Values) -> Values:
    return [getattr(one, name) for one in sources] if name else [None] * len(sources)


def _converted(values: Values, convert: Convert | None) -> Values:
    return values if convert is None else [None if value is None else convert(value) for value in values]


async def _awaited(values: Values | Awaitable[Values]) -> Values:
    return values if isinstance(values, list) else await values


async def _together(work: list[Any]) -> list[Any]:
    if len(work) == 1:
        return [await work[0]]
    return list(await asyncio.gather(*work)) if work else []


def _assembler(shape: ObjectShape) -> Any:
    """A generated function: from columns of values to the objects of the answer, their keys in the document's order."""
    known = shape.notes.get("assemble")
    if known is None:
        names = {field.key: f"v{index}" for index, field in enumerate(shape.fields)}
        pairs = [f"{key!r}: {names.get(key, repr(shape.kind.name))}" for key in shape.order]
        columns = ", ".join(f"c{index}" for index in range(len(shape.fields)))
        each = f"for {', '.join(names.values())}, in zip({columns})" if names else "for _ in range(count)"
        source = f"lambda count, {columns}: [{{{', '.join(pairs)}}} {each}]".replace("count, :", "count:")
        known = shape.notes["assemble"] = eval(source)  # noqa: S307
    return known
