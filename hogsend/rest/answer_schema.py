"""JSON Schemas of answers, derived: a route's `give` is run on samples of what its document selects.

Each sample knows the schema of what it stands for, so what comes out of `give` is the answer, with the schema of each
part. `give` is run once with everything there, and once more with each part that may be null left out: so what may be
null and what may be missing is seen, not said. An object is named by the fragment that asked for it, or is `Named`.
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
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

from hogsend.errors import HogsendError
from hogsend.rest.components import (
    ANYTHING,
    AT,
    COUNT,
    DATE,
    ID,
    RATE,
    TEXT,
    Schema,
    enum_of,
    nullable,
    object_of,
    reference,
)
from hogsend.rest.table import AdminRoute, Named, RequestInput
from hogsend.serving.execution import Prepared

Path = tuple[str | int, ...]

SCALARS: Mapping[str, tuple[Any, Schema]] = {
    "ID": ("id", TEXT),
    "String": ("text", TEXT),
    "UUID": ("6f1c2a50-0000-4000-8000-000000000000", ID),
    "DateTime": ("2026-01-15T10:30:00.000Z", AT),
    "Date": ("2026-01-15", DATE),
    "Int": (1, COUNT),
    "Float": (0.5, RATE),
}


class TextSample(str):
    """A sample of text; its schema follows it through `lower` and `replace`."""

    schema: Schema

    def of(self, schema: Schema) -> TextSample:
        self.schema = schema
        return self

    def lower(self) -> TextSample:
        return self._changed(str.lower)

    def replace(self, old: str, new: str, count: int = -1) -> TextSample:  # type: ignore[override]
        return self._changed(lambda value: value.replace(old, new))

    def _changed(self, change: Any) -> TextSample:
        schema = self.schema
        if "enum" in schema:
            schema = enum_of(*(change(word) for word in schema["enum"]))
        return TextSample(change(str(self))).of(schema)


class NumberSample(float):
    """A sample of a number."""

    def __init__(self, _value: float) -> None:
        self.schema: Schema = RATE


class CountSample(int):
    """A sample of a whole number."""

    schema: Schema = COUNT


class JsonSample(dict[str, Any]):
    """A sample of what users define."""

    schema: Schema = ANYTHING


class _AnyBody:
    """A sample of a checked body: text, whatever is asked of it."""

    def __getattr__(self, _name: str) -> TextSample:
        return TextSample("text").of(TEXT)


@dataclass
class _Sampler:
    """Samples of one document's selection. `without` is the path that is null this time; `seen` collects such paths."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    # What a mutation answers is there where it was not refused.
    always: int
    without: Path | None = None
    seen: list[Path] = field(default_factory=list)

    def select(self, selections: SelectionSetNode, parent: GraphQLNamedType, path: Path) -> Named:
        found = Named({})
        for name, node in self._fields(selections, parent, found):
            key = node.alias.value if node.alias else node.name.value
            definition: Any = parent.fields[name]  # type: ignore[attr-defined]
            value = self._value(definition.type, node, (*path, key))
            if isinstance(value, dict) and isinstance(found.get(key), dict):
                value = Named(found[key] | value)
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
                fields = list(self._fields(fragment.selection_set, parent, Named({})))
                into.name = node.name.value
                into.of = frozenset(one.alias.value if one.alias else name for name, one in fields)
                yield from fields
            elif node.type_condition.name.value == parent.name:  # type: ignore[attr-defined]
                yield from self._fields(node.selection_set, parent, Named({}))  # type: ignore[attr-defined]

    def _value(self, kind: GraphQLOutputType, node: FieldNode, path: Path) -> Any:
        if is_non_null_type(kind):
            kind = kind.of_type
        elif len(path) > self.always:
            self.seen.append(path)
            if path == self.without:
                return None
        if is_list_type(kind):
            concrete = self._concrete(get_named_type(kind), node)
            return [self._one(one, kind, node, (*path, index)) for index, one in enumerate(concrete)]
        return self._one(get_named_type(kind), kind, node, path)

    def _one(self, named: GraphQLNamedType, _kind: Any, node: FieldNode, path: Path) -> Any:
        if not is_leaf_type(named):
            assert node.selection_set is not None, "validated: objects have a selection"
            return self.select(node.selection_set, named, path)
        if isinstance(named, GraphQLEnumType):
            return TextSample(next(iter(named.values))).of(enum_of(*named.values))
        if named.name == "Boolean":
            self.seen.append((*path, "false"))
            return (*path, "false") != self.without
        if named.name == "JSON":
            return JsonSample()
        if named.name == "Duration":
            # Its parts may each be missing: a length of nothing has none.
            self.seen.append((*path, "none"))
            return TextSample("PT0S" if (*path, "none") == self.without else "PT1H30M5S").of(TEXT)
        sample, schema = SCALARS[named.name]
        match sample:
            case int():
                return CountSample(sample)
            case float():
                return NumberSample(sample)
        return TextSample(sample).of(schema)

    def _concrete(self, named: GraphQLNamedType, node: FieldNode) -> Sequence[GraphQLNamedType]:
        """One sample for each type of an interface of which something is selected."""
        if not is_abstract_type(named):
            return [named]
        assert node.selection_set is not None, "validated: objects have a selection"
        types = self.schema.get_possible_types(named)
        return [kind for kind in types if any(self._fields(node.selection_set, kind, Named({})))]


def answer_schema(
    route: AdminRoute, prepared: Prepared, schema: GraphQLSchema, components: dict[str, Schema]
) -> Schema:
    """The schema of a route's success; objects that have a name go to `components`, and are referred to."""
    answers = list(_answers(route, prepared, schema))
    return _merged(answers, components)


def _answers(route: AdminRoute, prepared: Prepared, schema: GraphQLSchema) -> Iterator[Any]:
    """What the route gives for all that may be there, and for each part that may be null left out."""
    fragments = {
        node.name.value: node
        for node in prepared.document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    root = schema.get_root_type(prepared.operation.operation)
    assert root is not None, "validated: the operation's root type exists"
    given = RequestInput(
        path={}, query={param.name: _sample_of(param) for param in route.query}, body=_AnyBody()
    )

    def sampled(without: Path | None) -> tuple[Any, list[Path]]:
        always = 2 if prepared.kind is OperationType.MUTATION else 0
        sampler = _Sampler(schema, fragments, always, without)
        return sampler.select(prepared.operation.selection_set, root, ()), sampler.seen

    data, optional = sampled(None)
    yield route.give(data, given)
    for path in optional:
        try:
            yield route.give(sampled(path)[0], given)
        except (HogsendError, LookupError, TypeError):
            continue  # it is a 404, or the payload of a mutation that was refused


def _sample_of(param: Any) -> Any:
    return CountSample(1) if param.name in ("limit", "offset") else TextSample("text").of(TEXT)


def _merged(values: Sequence[Any], components: dict[str, Schema]) -> Schema:
    """One schema for what stood in one place, time after time."""
    there = [value for value in values if value is not None]
    if not there:
        return {"type": "null"}
    schema = _schema_of(there, components)
    return nullable(schema) if len(there) < len(values) else schema


def _schema_of(values: Sequence[Any], components: dict[str, Schema]) -> Schema:
    first = values[0]
    if isinstance(first, TextSample | NumberSample | CountSample | JsonSample):
        return first.schema
    if isinstance(first, bool):
        return {"type": "boolean"} if len(set(values)) > 1 else {"const": first}
    match first:
        case str():
            found = sorted({str(value) for value in values})
            return {"const": first} if len(found) == 1 else enum_of(*found)
        case int():
            return COUNT
        case list():
            return {"type": "array", "items": _items(values, components)}
        case dict():
            return _component(values, components)
    raise TypeError(f"an answer cannot hold {first!r}")


def _items(lists: Sequence[list[Any]], components: dict[str, Schema]) -> Schema:
    length = max(len(items) for items in lists)
    places = [[items[index] for items in lists if len(items) > index] for index in range(length)]
    names = {str(getattr(value, "name", None) or "") for values in places for value in values}
    if length == 1 or len(names) != 1 or "" in names:
        return _one_of([_merged(values, components) for values in places])
    # One named object that looks different by what it is about.
    name = names.pop()
    components[name] = _one_of([_object(values, components) for values in places])
    return reference(name)


def _one_of(schemas: Sequence[Schema]) -> Schema:
    different = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    return different[0] if len(different) == 1 else {"oneOf": different}


def _object(values: Sequence[dict[str, Any]], components: dict[str, Schema]) -> Schema:
    keys = list(dict.fromkeys(key for value in values for key in value))
    properties = {key: _merged([value[key] for value in values if key in value], components) for key in keys}
    required = [key for key in keys if all(key in value for value in values)]
    return dict(object_of(properties)) | {"required": required}


def _component(values: Sequence[dict[str, Any]], components: dict[str, Schema]) -> Schema:
    """The schema of an object, or a reference to it where it has a name."""
    schema = _object(values, components)
    name = next(filter(None, (_name_of(value, schema) for value in values)), None)
    if name is None:
        return schema
    components[name] = _widened(components.get(name), schema)
    return reference(name)


def _name_of(value: dict[str, Any], schema: Schema) -> str | None:
    """The name of an object that is just what it stands for, with nothing added and nothing taken out."""
    if not isinstance(value, Named) or (value.of is not None and value.of != set(schema["properties"])):
        return None
    return value.name


def _widened(known: Schema | None, schema: Schema) -> Schema:
    """A component that several routes show: what may be null or missing in one may be so."""
    if known is None or known == schema:
        return schema
    properties = dict(known["properties"])
    for key, part in schema["properties"].items():
        if key not in properties or (properties[key] != part and "anyOf" in part):
            properties[key] = part
    required = [key for key in known["required"] if key in schema["required"]]
    return {**known, "properties": properties, "required": required}
