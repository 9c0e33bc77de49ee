"""JSON Schemas of answers, derived: a row's `give` is run on samples of what its document selects.

Each sample knows the schema of what it stands for, so what comes out of `give` is the answer with the schema of each part.
`give` is run once with everything there, and once more with each part that may be null left out: so what may be null and
what may be missing is seen, not said. An object is named by the fragment that asked for it, or by `named`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLNamedType,
    GraphQLOutputType,
    GraphQLSchema,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

from hogsend.errors import HogsendError
from hogsend.rest.components import ANYTHING, AT, COUNT, DATE, ID, RATE, TEXT, Schema, maybe, obj, thing, words
from hogsend.rest.table import Named, RequestInput, Row
from hogsend.serving.execution import Prepared

Path = tuple[str | int, ...]

SCALARS: Mapping[str, tuple[Any, Schema]] = {
    "ID": ("id", TEXT),
    "String": ("text", TEXT),
    "UUID": ("6f1c2a50-0000-4000-8000-000000000000", ID),
    "DateTime": ("2026-01-15T10:30:00.000Z", AT),
    "Date": ("2026-01-15", DATE),
    "Duration": ("PT1H30M5S", TEXT),
    "Int": (1, COUNT),
    "Float": (0.5, RATE),
}


class Text(str):
    """A sample of text; its schema follows it through `lower` and `replace`."""

    schema: Schema

    def of(self, schema: Schema) -> Text:
        self.schema = schema
        return self

    def lower(self) -> Text:
        return self._changed(str.lower)

    def replace(self, old: str, new: str, count: int = -1) -> Text:  # type: ignore[override]
        return self._changed(lambda value: value.replace(old, new))

    def _changed(self, change: Any) -> Text:
        schema = self.schema
        if "enum" in schema:
            schema = words(*(change(word) for word in schema["enum"]))
        return Text(change(str(self))).of(schema)


class Number(float):
    """A sample of a number."""

    def __init__(self, _value: float) -> None:
        self.schema: Schema = RATE


class Count(int):
    """A sample of a whole number."""

    schema: Schema = COUNT


class Json(dict[str, Any]):
    """A sample of what users define."""

    schema: Schema = ANYTHING


class _AnyBody:
    """A sample of a checked body: text, whatever is asked of it."""

    def __getattr__(self, _name: str) -> Text:
        return Text("text").of(TEXT)


@dataclass
class _Sampler:
    """Samples of one document's selection. `without` is the path that is null this time; `seen` collects such paths."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    without: Path | None = None
    seen: list[Path] = field(default_factory=list)

    def select(self, selections: SelectionSetNode, parent: GraphQLNamedType, path: Path) -> Named:
        found = Named({})
        for name, node in self._fields(selections, parent, found):
            key = node.alias.value if node.alias else node.name.value
            definition: Any = parent.fields[name]  # type: ignore[attr-defined]
            value = self._value(definition.type, node, (*path, key))
            if isinstance(value, dict) and isinstance(found.get(key), dict):
                value = Named(found[key] | value, value.name if isinstance(value, Named) else None)
            found[key] = value
        return found

    def _fields(
        self, selections: SelectionSetNode, parent: GraphQLNamedType, into: Named
    ) -> Iterator[tuple[str, FieldNode]]:
        for node in selections.selections:
            if isinstance(node, FieldNode):
                yield node.name.value, node
            elif isinstance(node, FragmentSpreadNode):
                fragment = self.fragments[node.name.value]
                if len(selections.selections) == 1:
                    into.name = node.name.value
                yield from self._fields(fragment.selection_set, parent, Named({}))
            elif node.type_condition.name.value == parent.name:  # type: ignore[attr-defined]
                yield from self._fields(node.selection_set, parent, Named({}))  # type: ignore[attr-defined]

    def _value(self, kind: GraphQLOutputType, node: FieldNode, path: Path) -> Any:
        if is_non_null_type(kind):
            kind = kind.of_type
        else:
            self.seen.append(path)
            if path == self.without:
                return None
        if is_list_type(kind):
            concrete = self._concrete(get_named_type(kind))
            return [self._one(one, kind, node, (*path, index)) for index, one in enumerate(concrete)]
        return self._one(get_named_type(kind), kind, node, path)

    def _one(self, named: GraphQLNamedType, _kind: Any, node: FieldNode, path: Path) -> Any:
        if not is_leaf_type(named):
            assert node.selection_set is not None, "validated: objects have a selection"
            return self.select(node.selection_set, named, path)
        if isinstance(named, GraphQLEnumType):
            return Text(next(iter(named.values))).of(words(*named.values))
        if named.name == "Boolean":
            self.seen.append((*path, "false"))
            return (*path, "false") != self.without
        if named.name == "JSON":
            return Json()
        sample, schema = SCALARS[named.name]
        match sample:
            case int():
                return Count(sample)
            case float():
                return Number(sample)
        return Text(sample).of(schema)

    def _concrete(self, named: GraphQLNamedType) -> Sequence[GraphQLNamedType]:
        """One sample a type for lists of an interface: what is selected depends on it."""
        if is_abstract_type(named):
            return self.schema.get_possible_types(named)  # type: ignore[arg-type]
        return [named]


def answer_schema(row: Row, prepared: Prepared, schema: GraphQLSchema, components: dict[str, Schema]) -> Schema:
    """The schema of a row's success; objects that have a name go to `components`, and are referred to."""
    answers = list(_answers(row, prepared, schema))
    return _merged(answers, components)


def _answers(row: Row, prepared: Prepared, schema: GraphQLSchema) -> Iterator[Any]:
    """What the row gives for all that may be there, and for each part that may be null left out."""
    fragments = {
        node.name.value: node
        for node in prepared.document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    root = schema.get_root_type(prepared.operation.operation)
    assert root is not None, "validated: the operation's root type exists"
    given = RequestInput(path={}, query={param.name: _sample_of(param) for param in row.query}, body=_AnyBody())

    def sampled(without: Path | None) -> tuple[Any, list[Path]]:
        sampler = _Sampler(schema, fragments, without)
        return sampler.select(prepared.operation.selection_set, root, ()), sampler.seen

    data, optional = sampled(None)
    yield row.give(data, given)
    for path in optional:
        try:
            yield row.give(sampled(path)[0], given)
        except (HogsendError, LookupError, TypeError):
            continue  # it is a 404, or the payload of a mutation that was refused


def _sample_of(param: Any) -> Any:
    return Count(1) if param.name in ("limit", "offset") else Text("text").of(TEXT)


def _merged(values: Sequence[Any], components: dict[str, Schema]) -> Schema:
    """One schema for what stood in one place, time after time."""
    there = [value for value in values if value is not None]
    if not there:
        return {"type": "null"}
    schema = _schema_of(there, components)
    return maybe(schema) if len(there) < len(values) else schema


def _schema_of(values: Sequence[Any], components: dict[str, Schema]) -> Schema:
    first = values[0]
    if isinstance(first, Text | Number | Count | Json):
        return first.schema
    if isinstance(first, bool):
        return {"type": "boolean"} if len(set(values)) > 1 else {"const": first}
    match first:
        case str():
            found = sorted({str(value) for value in values})
            return {"const": first} if len(found) == 1 else words(*found)
        case int():
            return COUNT
        case list():
            return {"type": "array", "items": _items(values, components)}
        case dict():
            return _object(values, components)
    raise TypeError(f"an answer cannot hold {first!r}")


def _items(lists: Sequence[list[Any]], components: dict[str, Schema]) -> Schema:
    length = max(len(items) for items in lists)
    schemas: list[Schema] = []
    for index in range(length):
        schema = _merged([items[index] for items in lists if len(items) > index], components)
        if schema not in schemas:
            schemas.append(schema)
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}


def _object(values: Sequence[dict[str, Any]], components: dict[str, Schema]) -> Schema:
    keys = list(dict.fromkeys(key for value in values for key in value))
    properties = {
        key: _merged([value[key] for value in values if key in value], components) for key in keys
    }
    required = [key for key in keys if all(key in value for value in values)]
    schema = dict(obj(properties)) | {"required": required}
    name = next((value.name for value in values if isinstance(value, Named) and value.name), None)
    if name is None:
        return schema
    components[name] = _widened(components.get(name), schema)
    return thing(name)


def _widened(known: Schema | None, schema: Schema) -> Schema:
    """A thing that several routes show: what may be null or missing in one may be so."""
    if known is None or known == schema:
        return schema
    properties = dict(known["properties"])
    for key, part in schema["properties"].items():
        if key not in properties or (properties[key] != part and "anyOf" in part):
            properties[key] = part
    required = [key for key in known["required"] if key in schema["required"]]
    return {**known, "properties": properties, "required": required}
