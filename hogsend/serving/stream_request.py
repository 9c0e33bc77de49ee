"""A subscription as it was asked for: where it begins, and what those have in common who ask alike."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from graphql import (
    FieldNode,
    GraphQLSchema,
    OperationDefinitionNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    value_from_ast_untyped,
    visit,
)

from hogsend.graphql.context import Context
from hogsend.graphql.errors import problem
from hogsend.graphql.fields import TELLS
from hogsend.realtime.cursor import StreamCursor
from hogsend.serving.execution import Prepared, Refused
from hogsend.serving.selections import Below, fragments_of, selected
from hogsend.serving.subscriber import Subscriber

AFTER = "after"


@dataclass
class StreamRequest:
    """One subscription of one reader. `resume` is a cursor that came beside document and variables."""

    schema: GraphQLSchema
    prepared: Prepared
    variables: Mapping[str, Any]
    context: Context
    resume: str | None = None
    subscriber: Subscriber | None = None

    @cached_property
    def tells_entries(self) -> bool:
        """Whether it tells entries behind a cursor; else a state, and then `Refused` is raised where it is resumed."""
        root = self.schema.subscription_type
        field = None if root is None or self._root is None else root.fields.get(self._root.name.value)
        entries = (
            field is not None and field.extensions["strawberry-definition"].metadata.get(TELLS) == "entries"
        )
        if self.resume is not None and not (entries and field is not None and AFTER in field.args):
            raise Refused(problem("This subscription has no `after`: it begins with the current state"))
        return entries

    def after(self) -> StreamCursor | None:
        """The cursor to begin behind; None for now. Raises `InvalidInput` for one that was never given out."""
        given = self.resume or self._argument
        # What is no text, the document's own types refuse when it is executed.
        return StreamCursor.decode(given) if isinstance(given, str) else None

    @cached_property
    def key(self) -> Hashable:
        """Equal for those whom one execution can serve. The document is held by whoever holds the key's request."""
        variables = dict(self.variables)
        if self._cursor_variable is not None:
            variables.pop(self._cursor_variable, None)
        return (
            id(self.prepared.document),
            self.prepared.operation.name.value if self.prepared.operation.name else None,
            orjson.dumps(variables, option=orjson.OPT_SORT_KEYS),
            self.context.caller.scopes,
        )

    def context_at(self, cursor: StreamCursor | None) -> Context:
        """A context for an execution that begins at `cursor`."""
        return Context(self.context.runtime, self.context.caller, streaming=True, resume=cursor)

    def follow_with(self, subscriber: Subscriber) -> None:
        """`subscriber` hears the stream now: say that it can be followed, unless it has ended already."""
        self.subscriber = subscriber
        if not subscriber.ended.done():
            self.context.begun.set()

    @property
    def position(self) -> StreamCursor | None:
        """Behind what its reader has taken."""
        return self.context.position if self.subscriber is None else self.subscriber.cursor

    @cached_property
    def _root(self) -> FieldNode | None:
        """The one field that it subscribes to, whatever fragment that stands in."""
        root = self.schema.subscription_type
        if root is None:
            return None
        below: Below = [(self.prepared.operation.selection_set, root)]
        fields = selected(self.schema, fragments_of(self.prepared.document), below)
        return next((node for node, _ in fields), None)

    @cached_property
    def _after(self) -> Any:
        """The node of the argument `after`, or None."""
        for argument in (self._root.arguments or ()) if self._root is not None else ():
            if argument.name.value == AFTER:
                return argument.value
        return None

    @cached_property
    def _argument(self) -> Any:
        node = self._after
        if node is None:
            return None
        if isinstance(node, VariableNode) and node.name.value not in self.variables:
            return _default(self.prepared.operation, node.name.value)
        return value_from_ast_untyped(node, dict(self.variables))

    @cached_property
    def _cursor_variable(self) -> str | None:
        """The variable that is the cursor, where it is nothing else."""
        node = self._after
        if not isinstance(node, VariableNode):
            return None
        uses = _Uses(node.name.value)
        visit(self.prepared.document, uses)
        return node.name.value if uses.count == 1 else None


class _Uses(Visitor):
    """Counts where a variable is used."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.count = 0

    def enter_variable(self, node: VariableNode, _key: Any, parent: Any, *_: Any) -> None:
        if node.name.value == self._name and not isinstance(parent, VariableDefinitionNode):
            self.count += 1


def _default(operation: OperationDefinitionNode, name: str) -> Any:
    for definition in operation.variable_definitions or ():
        if definition.variable.name.value == name and definition.default_value is not None:
            return value_from_ast_untyped(definition.default_value)
    return None
