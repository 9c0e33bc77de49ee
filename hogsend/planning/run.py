"""One execution, level by level: the values of each field for all objects of a level, by what declares the field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

from graphql import (
    GraphQLAbstractType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution import Executor
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path
from orjson import Fragment, loads

from hogsend.graphql.connections import Connection
from hogsend.graphql.context import Context
from hogsend.graphql.node import TYPES, Node
from hogsend.graphql.rows import LINK, ROWS, THROUGH, WORKED_OUT, RowLink, RowList, Through, WorkedOut
from hogsend.planning.answers import Values, assembled, awaited, placed, settled
from hogsend.planning.leaves import finish_of, present
from hogsend.planning.lists import Lists
from hogsend.planning.rowplan import Convert, RowField, RowPlan, class_of, narrowed, row_plan, rows_of
from hogsend.planning.shape import FieldShape, NotPlanned, ObjectShape, object_type
from hogsend.planning.statements import Row, RowsByKey
from hogsend.storage.collections import PARENT, Selection


class _Parent:
    """Stands for one of many siblings when a list's arguments are read."""

    def __init__(self, key: Any) -> None:
        self.key = key


class Run:
    """One execution. Each method takes all objects of a level, and answers in their order."""

    def __init__(self, executor: Executor[Any], context: Context) -> None:
        self._executor = executor
        self._context = context
        self._rows = RowsByKey(context)

    async def objects(self, shape: ObjectShape, sources: Values) -> Values:
        """What is selected of these Python objects, all of one type."""
        return await assembled(
            shape, (self._resolved(field, sources) for field in shape.fields), len(sources)
        )

    async def _records(self, shape: ObjectShape, kind: type[Node], rows: Sequence[Row]) -> Values:
        """What is selected of these rows, all of one type."""
        if not rows:
            return []
        plan = row_plan(shape, kind)
        made = [kind.of(cast(Any, row)) for row in rows] if plan.columns is None else []
        # Rows of the driver are sequences of their values.
        held = dict(zip(rows[0].keys(), zip(*cast(Any, rows), strict=True), strict=True))
        return await assembled(shape, (self._read(one, held, made) for one in plan.fields), len(rows))

    def _read(
        self, one: RowField, held: Mapping[str, Sequence[Any]], made: Values
    ) -> Values | Awaitable[Values]:
        """The values of a field by the columns of its rows; `made` are objects of them where a resolver wants those."""
        if not one.columns:
            return self._resolved(one.field, made)
        columns = [list(held[name]) for name, _ in one.columns]
        if one.is_json:
            read = Fragment if self._context.raw_json else loads
            values = [None if text is None or text == "null" else read(text) for text in columns[0]]
            return self._completed(one.field.definition.type, one.field, values)
        if one.words is not None:
            words = one.words
            values = [words[value] for value in columns[0]]
            return present(values) if is_non_null_type(one.field.definition.type) else values
        converted = [
            _converted(values, convert) for values, (_, convert) in zip(columns, one.columns, strict=True)
        ]
        return self._declared(one.field, one.declared, converted)

    def _declared(
        self, field: FieldShape, declared: Any, columns: list[Values]
    ) -> Values | Awaitable[Values]:
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
                return self._declared(
                    field, declared, [_attribute(one, sources) for one in _read_by(declared)]
                )
        if definition is not None and definition.is_basic_field:
            return self._declared(field, None, [_attribute(definition.python_name, sources)])
        return self._called(field, sources)

    async def _called(self, field: FieldShape, sources: Values) -> Values:
        resolve = field.definition.resolve
        if resolve is None:
            raise NotPlanned
        info, arguments = self._call(field)
        values = await settled(resolve(source, info, **arguments) for source in sources)
        return await awaited(self._completed(field.definition.type, field, values))

    def _call(self, field: FieldShape) -> tuple[Any, dict[str, Any]]:
        executor = self._executor
        path = Path(None, field.key, field.parent.name)
        info = executor.build_resolve_info(field.definition, field.nodes, field.parent, path)
        return info, get_argument_values(field.definition, field.nodes[0], executor.variable_values)

    # Values of a type

    def _completed(
        self, kind: GraphQLOutputType, field: FieldShape, values: Values
    ) -> Values | Awaitable[Values]:
        finish = finish_of(kind)
        return self._composite(kind, field, values) if finish is None else finish(values)

    async def _composite(self, kind: GraphQLOutputType, field: FieldShape, values: Values) -> Values:
        if is_non_null_type(kind):
            return present(await self._composite(kind.of_type, field, values))
        if is_list_type(kind):
            return await self._flattened(kind.of_type, field, values)
        groups: dict[GraphQLObjectType, list[int]] = defaultdict(list)
        for index, value in enumerate(values):
            if isinstance(value, BaseException):
                raise NotPlanned
            if value is not None:
                groups[self._type_of(kind, value)].append(index)

        def of_type(concrete: GraphQLObjectType, places: list[int]) -> Awaitable[Values]:
            return self.objects(field.of(concrete), [values[index] for index in places])

        return await placed(len(values), groups, of_type)

    async def _flattened(self, kind: GraphQLOutputType, field: FieldShape, values: Values) -> Values:
        flat = [item for value in values if value is not None for item in value]
        found = iter(await awaited(self._completed(kind, field, flat)))
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
            return await awaited(self._completed(field.definition.type, field, named))
        wanted = list({key: None for key in keys if key is not None})
        if not wanted:
            return [None] * len(keys)
        assert kind.collection is not None
        shape = field.of(object_type(field))
        hidden = kind.hidden_by
        collection = shape.notes.get("narrowed")
        if collection is None:
            besides = [hidden] if hidden else []
            collection = narrowed(kind.collection, [row_plan(shape, kind)], kind, *besides)
            shape.notes["narrowed"] = collection
        column = kind.collection.key if link.column is None else link.column
        rows = await self._rows.get(collection, column, wanted)
        if hidden is not None:
            rows = [row for row in rows if row[hidden] is None]
        found = await self._records(shape, kind, rows)
        answers = dict(zip([row[PARENT] for row in rows], found, strict=True))
        return [answers.get(key) for key in keys]

    async def _through(self, field: FieldShape, declared: Through, keys: Values) -> Values:
        wanted = list({key: None for key in keys if key is not None})
        collection = declared.collection
        columns = tuple(one for one in collection.columns if one.key in declared.columns)
        rows = (
            await self._rows.get(replace(collection, columns=columns), collection.key, wanted)
            if wanted
            else []
        )
        found = {row[PARENT]: row for row in rows}
        values = [None if key is None else declared.make(key, found.get(key)) for key in keys]
        return await awaited(self._completed(field.definition.type, field, values))

    async def _lists(self, field: FieldShape, parents: Values) -> Values:
        if not parents:
            return []
        info, arguments = self._call(field)
        assert field.definition.resolve is not None, "a list of rows is resolved by its declaration"
        connection: Connection[Any] = await field.definition.resolve(_Parent(parents[0]), info, **arguments)
        source = connection.source
        if not isinstance(source, Selection):
            raise NotPlanned
        shape = field.of(object_type(field))
        level = Lists(self, source, connection.paging, parents, shape.notes)
        return await assembled(shape, (level.field(one) for one in shape.fields), len(parents))

    async def nodes(self, field: FieldShape, kind: type[Node], rows: Sequence[Row]) -> Values:
        """What is selected of rows that may be of several types."""
        named = get_named_type(field.definition.type)
        if isinstance(named, GraphQLObjectType):
            return await self._records(field.of(named), kind, rows)
        # Of which type a row is, is asked once for all that are told alike.
        told = [[row[name] for row in rows] for name in kind.told_by]
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for index, by in enumerate(zip(*told, strict=True)):
            alike[by].append(index)
        groups: dict[type[Node], list[int]] = defaultdict(list)
        for places in alike.values():
            groups[kind.type_of(cast(Any, rows[places[0]]))] += places
        classes = _classes(self._executor.schema)

        def of_type(concrete: type[Node], places: list[int]) -> Awaitable[Values]:
            return self._records(field.of(classes[concrete]), concrete, [rows[index] for index in places])

        return await placed(len(rows), groups, of_type)

    def plans(self, field: FieldShape, kind: type[Node]) -> list[RowPlan]:
        """The plans of all types that the rows of a list may be of."""
        named = get_named_type(field.definition.type)
        if isinstance(named, GraphQLObjectType):
            return [row_plan(field.of(named), kind)]
        types = self._executor.schema.get_possible_types(cast(GraphQLAbstractType, named))
        return [row_plan(field.of(one), class_of(one)) for one in types]

    @property
    def context(self) -> Context:
        return self._context


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
