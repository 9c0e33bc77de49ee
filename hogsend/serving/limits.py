"""Query limits: depth, aliases and cost of a document, decided before anything is read.

Tokens are limited while it is parsed; depth, aliases and cost once it has been validated. Cost is in points: an
object is one, a connection one and as many as its `first` can return, times what is asked of each. A field's
declared cost stands instead of its one point, or, for a connection, instead of the one point of each entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    Undefined,
    VariableNode,
    Visitor,
    get_named_type,
    get_nullable_type,
    is_list_type,
    parse,
    value_from_ast_untyped,
    visit,
)
from graphql.validation import (
    ASTValidationRule,
    MaxIntrospectionDepthRule,
    NoSchemaIntrospectionCustomRule,
    specified_rules,
)

from hogsend.access.rate_limits import Rate
from hogsend.clock import instant_text
from hogsend.serving.selections import fragments_of

MAX_DEPTH = 12
MAX_ALIASES = 30
MAX_TOKENS = 2_000
MAX_SOURCE = 100_000
MAX_COST = 10_000
MOST_FIELDS = 1_000
MOST_REPEATS = 10
MOST_SPREADS = 100
MOST_FRAGMENTS = 50
MOST_INTROSPECTIONS = 2
DEFAULT_PAGE = 50
LONGEST_PAGE = 100
LIST_LENGTH = 10
MOST_MEASURES = 64
SIZES = ("first", "last", "ids")
FREE_FIELDS = frozenset({"pageInfo", "userErrors"})


class LimitExceeded(GraphQLError):
    """`code` is BAD_REQUEST or MAX_COST_EXCEEDED; nothing was executed."""

    def __init__(self, message: str, code: str, cost: int | None = None) -> None:
        extensions: dict[str, Any] = {"code": code}
        if cost is not None:
            extensions["cost"] = {"requested": cost, "maximum": MAX_COST}
        super().__init__(message, extensions=extensions)


@dataclass(frozen=True)
class DocumentMeasure:
    """`depth` counts nested objects, `aliases` those in the whole document, `cost` points."""

    depth: int
    aliases: int
    cost: int


def parse_limited(source: str) -> DocumentNode:
    """Parse a document of at most 2,000 tokens. Raises `GraphQLError`: a syntax error, or `LimitExceeded`.

    Text that is written into the document is looked at as that in variables is: Postgres cannot store NUL.
    """
    if len(source) > MAX_SOURCE:
        raise LimitExceeded(f"A document may have {MAX_SOURCE:,} characters", "BAD_REQUEST")
    try:
        document = parse(source, max_tokens=MAX_TOKENS)
    except GraphQLError as error:
        if "contains more than" in error.message or "tokens" in error.message:
            raise LimitExceeded(f"A document may have {MAX_TOKENS:,} tokens", "BAD_REQUEST") from None
        raise
    if "\\u" in source or "\x00" in source:
        visit(document, _NoNul())
    return document


class _NoNul(Visitor):
    def enter_string_value(self, node: StringValueNode, *_: object) -> None:
        if "\x00" in node.value:
            raise LimitExceeded("Text must not contain NUL characters", "BAD_REQUEST")


def check_shape(document: DocumentNode) -> None:
    """Raise `LimitExceeded` for what would take long to validate, before it is: repetition costs its square there.

    One walk over the document as it is written, which its tokens bound.
    """
    fields = spreads = introspections = 0
    waiting: list[Any] = list(document.definitions)
    if sum(isinstance(node, FragmentDefinitionNode) for node in waiting) > MOST_FRAGMENTS:
        raise LimitExceeded(f"A document may have {MOST_FRAGMENTS} fragments", "BAD_REQUEST")
    while waiting:
        selections = getattr(waiting.pop(), "selection_set", None)
        keys: Counter[str] = Counter()
        for node in selections.selections if selections is not None else ():
            if isinstance(node, FragmentSpreadNode):
                spreads += 1
                continue
            waiting.append(node)
            if isinstance(node, FieldNode):
                fields += 1
                introspections += node.name.value in ("__schema", "__type")
                keys[node.alias.value if node.alias else node.name.value] += 1
        if keys and (most := keys.most_common(1)[0])[1] > MOST_REPEATS:
            raise LimitExceeded(
                f"`{most[0][:60]}` is asked for {most[1]} times in one place; at most {MOST_REPEATS}",
                "BAD_REQUEST",
            )
    for found, most_of, what in (
        (fields, MOST_FIELDS, "fields"),
        (spreads, MOST_SPREADS, "fragment spreads"),
        (introspections, MOST_INTROSPECTIONS, "uses of __schema and __type"),
    ):
        if found > most_of:
            raise LimitExceeded(f"A document may have {most_of:,} {what}", "BAD_REQUEST")


def validation_rules(*, introspection: bool) -> tuple[type[ASTValidationRule], ...]:
    """The specified rules, a bound on nested introspection, and no introspection at all where it is off."""
    more = (MaxIntrospectionDepthRule,) if introspection else (NoSchemaIntrospectionCustomRule,)
    return (*(rule for rule in specified_rules if rule not in more), *more)


class Limited:
    """One operation of a validated document, and how it measured for the pages that were asked for so far."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
    ) -> None:
        self._given = (schema, document, operation)
        sizes = _Sizes()
        visit(document, sizes)
        self._names = sorted(sizes.variables)
        self._known: dict[Hashable, DocumentMeasure] = {}

    def check(self, variables: Mapping[str, Any]) -> DocumentMeasure:
        """Raises `LimitExceeded` for the first limit it breaks."""
        sizes = [variables.get(name, Undefined) for name in self._names]
        if not all(one is Undefined or one is None or type(one) is int for one in sizes):
            return check_limits(*self._given, variables)
        known = self._known.get(tuple(sizes))
        if known is None:
            known = check_limits(*self._given, variables)
            if len(self._known) < MOST_MEASURES:
                self._known[tuple(sizes)] = known
        return known


class _Sizes(Visitor):
    """The variables that say how much there may be."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()

    def enter_argument(self, node: ArgumentNode, *_: object) -> None:
        if node.name.value in SIZES:
            found = _Variables()
            visit(node.value, found)
            self.variables |= found.names


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.names.add(node.name.value)


def check_limits(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> DocumentMeasure:
    """Measure a validated document. Raises `LimitExceeded` for the first limit it breaks."""
    measure = measured(schema, document, operation, variables)
    if measure.depth > MAX_DEPTH:
        raise LimitExceeded(f"The query is {measure.depth} levels deep; at most {MAX_DEPTH}", "BAD_REQUEST")
    if measure.aliases > MAX_ALIASES:
        raise LimitExceeded(f"The query has {measure.aliases} aliases; at most {MAX_ALIASES}", "BAD_REQUEST")
    if measure.cost > MAX_COST:
        raise LimitExceeded(
            f"The query costs {measure.cost:,} points; at most {MAX_COST:,}: ask for smaller pages",
            "MAX_COST_EXCEEDED",
            measure.cost,
        )
    return measure


def measured(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> DocumentMeasure:
    """Measure a validated document without judging it."""
    walk = _Walk(schema, document, operation, variables)
    root = schema.get_root_type(operation.operation)
    assert root is not None, "validated: the operation's root type exists"
    depth, cost = walk.selection(operation.selection_set, root, _Page())
    return DocumentMeasure(depth, walk.aliases(operation), cost)


def allowance(rate: Rate) -> dict[str, Any]:
    """`remaining`: the points that a caller may still ask for before `resetAt`, with the requests it has left."""
    return {"remaining": rate.remaining * MAX_COST, "resetAt": instant_text(rate.reset_at)}


@dataclass(frozen=True)
class _Page:
    """What the innermost connection can return: so many entries, each of so many points."""

    size: int = 1
    points: int = 1


class _Walk:
    """One document's fragments and variables. A fragment is measured once, however often it is spread."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        self._schema = schema
        self._variables = {**_defaults(operation), **variables}
        self._fragments = fragments_of(document)
        self._spread: dict[tuple[str, _Page], tuple[int, int]] = {}

    def selection(
        self, selections: SelectionSetNode, parent: GraphQLNamedType, page: _Page
    ) -> tuple[int, int]:
        """Depth and cost of what is selected of one `parent`; `page` counts where that is a connection."""
        depth = cost = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                deeper, points = self._field(node, parent, page)
            elif isinstance(node, InlineFragmentNode):
                deeper, points = self.selection(node.selection_set, self._of(node, parent), page)
            else:
                deeper, points = self._fragment(cast(FragmentSpreadNode, node).name.value, page)
            depth, cost = max(depth, deeper), cost + points
        return depth, cost

    def aliases(self, operation: OperationDefinitionNode) -> int:
        """Aliases as they are written: in the operation and in each fragment of the document."""
        return sum(_aliases(part.selection_set) for part in (operation, *self._fragments.values()))

    def _field(self, node: FieldNode, parent: GraphQLNamedType, page: _Page) -> tuple[int, int]:
        name = node.name.value
        field = definition_of(parent, name)
        if field is None or node.selection_set is None:
            return 0, (_metadata(field).get("cost") or 0) if field is not None else 0
        if name in FREE_FIELDS:
            return 1, 0
        inner = _Page(self._size(node), entry_points(field))
        depth, cost = self.selection(node.selection_set, get_named_type(field.type), inner)
        length = self._length(node, field, parent, page)
        return depth + 1, cost * length + _own(parent.name, name, field, length, page)

    def _fragment(self, name: str, page: _Page) -> tuple[int, int]:
        known = self._spread.get((name, page))
        if known is None:
            fragment = self._fragments[name]
            condition = self._schema.type_map[fragment.type_condition.name.value]
            known = self._spread[name, page] = self.selection(fragment.selection_set, condition, page)
        return known

    def _of(self, node: InlineFragmentNode, parent: GraphQLNamedType) -> GraphQLNamedType:
        condition = node.type_condition
        return parent if condition is None else self._schema.type_map[condition.name.value]

    def _length(self, node: FieldNode, field: GraphQLField, parent: GraphQLNamedType, page: _Page) -> int:
        """How many objects the field can return: a page, as many as ids were given, or a guess."""
        if not is_list(field):
            return 1
        if parent.name.endswith("Connection"):
            return page.size
        ids = self._argument(node, "ids")
        return len(ids) if isinstance(ids, list) else LIST_LENGTH

    def _size(self, node: FieldNode) -> int:
        for name in ("first", "last"):
            size = self._argument(node, name)
            # 100.0 is 100 to GraphQL, too.
            if isinstance(size, int | float) and size >= 0 and size == int(size):
                return min(int(size), LONGEST_PAGE)
        return DEFAULT_PAGE

    def _argument(self, node: FieldNode, name: str) -> Any:
        for argument in node.arguments or ():
            if argument.name.value == name:
                return value_from_ast_untyped(argument.value, self._variables)
        return None


def own_points(parent: str, name: str, field: GraphQLField, entry: int) -> tuple[int, int]:
    """Points of the field without what is selected below it: for each object that it returns, and besides.

    `entry` is what each entry costs where `parent` is a connection.
    """
    if parent.endswith("Connection") and name in ("edges", "nodes"):
        return entry, 0
    if parent.endswith("Edge") and name == "node":
        return 0, 0
    metadata = _metadata(field)
    declared = None if metadata.get("connection") else metadata.get("cost")
    if is_list(field):
        return 1, declared or 0
    return (1 if declared is None else declared), 0


def _own(parent: str, name: str, field: GraphQLField, length: int, page: _Page) -> int:
    each, besides = own_points(parent, name, field, page.points)
    return length * each + besides


def entry_points(field: GraphQLField) -> int:
    """What each entry of this field's connection costs."""
    metadata = _metadata(field)
    return metadata.get("cost", 1) if metadata.get("connection") else 1


def _metadata(field: GraphQLField) -> Mapping[str, Any]:
    """What the schema's declaration of a Strawberry field says of it."""
    metadata: Mapping[str, Any] = getattr(field.extensions.get("strawberry-definition"), "metadata", {})
    return metadata


def _aliases(selections: SelectionSetNode | None) -> int:
    total = 0
    for node in selections.selections if selections is not None else ():
        if isinstance(node, FieldNode):
            total += node.alias is not None
        if isinstance(node, FieldNode | InlineFragmentNode):
            total += _aliases(node.selection_set)
    return total


def definition_of(parent: GraphQLNamedType, name: str) -> GraphQLField | None:
    """None for introspection, which has limits of its own and reads nothing."""
    if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return None
    field: GraphQLField | None = parent.fields.get(name)
    return field


def is_list(field: GraphQLField) -> bool:
    return is_list_type(get_nullable_type(field.type))


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    return {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }
