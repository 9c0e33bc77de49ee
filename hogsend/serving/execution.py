"""Run documents: parsed and validated once, limited, checked against the caller's scopes, errors masked."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import isawaitable
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    execute,
    get_operation_ast,
    subscribe,
    validate,
)

from hogsend.access.audit import Origin, audited
from hogsend.access.caller import Scope
from hogsend.access.errors import InsufficientScope
from hogsend.access.under_way import UnderWay
from hogsend.graphql.context import Context
from hogsend.graphql.errors import Code, denied, is_unavailable, present, problem, status_of
from hogsend.graphql.fields import ANY_KEY, SCOPE
from hogsend.graphql.mutations import AUDIT_ACTION
from hogsend.planning.execute import GRAPHQL_CORE, PlannedExecutor
from hogsend.planning.shape import Shapes
from hogsend.serving.limits import (
    MAX_SOURCE,
    Limited,
    check_shape,
    parse_limited,
    validation_rules,
)
from hogsend.serving.reach import first_reach
from hogsend.serving.refusals import on_record
from hogsend.serving.result_cost import ResultCost
from hogsend.serving.selections import Below, fragments_of, selected
from hogsend.telemetry.counters import GRAPHQL_ANSWERS

REMEMBERED_DOCUMENTS = 512
BAD_REQUEST = 400


@dataclass(frozen=True)
class Answer:
    """A response as it goes out. `status` is HTTP's; nothing but `errors` stands in one that was not `executed`."""

    data: dict[str, Any] | None = None
    errors: tuple[GraphQLError, ...] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    executed: bool = True

    @property
    def refused(self) -> bool:
        return self.status != 200 or not self.executed

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if self.errors:
            body["errors"] = [error.formatted for error in self.errors]
        if not self.refused:
            body["data"] = self.data
        if self.extensions:
            body["extensions"] = dict(self.extensions)
        return body


@dataclass(frozen=True)
class Prepared:
    """One operation of a valid document, its root fields, and the scopes that they want. Made once, whoever asks.

    `reaches` is a field that leads beyond what the root fields hold themselves, for which `read` is wanted as well.
    """

    schema: GraphQLSchema
    document: DocumentNode
    operation: OperationDefinitionNode
    roots: frozenset[str]
    scopes: frozenset[Scope]
    reaches: str | None

    @cached_property
    def result_cost(self) -> ResultCost:
        return ResultCost(self.schema, self.document, self.operation)

    @cached_property
    def limited(self) -> Limited:
        return Limited(self.schema, self.document, self.operation)

    @cached_property
    def shapes(self) -> Shapes:
        return Shapes(self.document)

    @property
    def kind(self) -> OperationType:
        return self.operation.operation


@dataclass(frozen=True)
class _Valid:
    """A document that was found valid, and its operations by the names that they were asked for."""

    document: DocumentNode
    operations: dict[str | None, Prepared] = field(default_factory=dict)


class Refused(Exception):
    """The request cannot be executed. `errors` are fit to be shown."""

    def __init__(self, *errors: GraphQLError, status: int | None = None) -> None:
        super().__init__(errors[0].message)
        self.errors = errors
        self.status = status or status_of(errors[0])

    def answer(self) -> Answer:
        return Answer(errors=self.errors, status=self.status)


class Executor:
    """Executes documents on one schema, by plans; on graphql-core alone unless `planned`.

    Documents that were seen are not validated again.
    """

    def __init__(self, schema: GraphQLSchema, *, introspection: bool = True, planned: bool = True) -> None:
        self.schema = schema
        self._planned = planned
        self._rules = validation_rules(introspection=introspection)
        self._verdicts: OrderedDict[bytes, _Valid | Answer] = OrderedDict()

    def prepare(self, source: str, operation_name: str | None = None) -> Prepared:
        """Raises `Refused` for what does not parse or validate, and where the operation is not found."""
        valid = self._document(source)
        prepared = valid.operations.get(operation_name)
        if prepared is None:
            prepared = valid.operations[operation_name] = self._operation(valid.document, operation_name)
        return prepared

    def _operation(self, document: DocumentNode, operation_name: str | None) -> Prepared:
        operation = get_operation_ast(document, operation_name)
        if operation is None:
            named = f"no operation {operation_name!r}" if operation_name else "more than one operation"
            raise Refused(problem(f"The document has {named}: name one of its operations in operationName"))
        root = self.schema.get_root_type(operation.operation)
        if root is None:
            raise Refused(problem(f"This schema has no {operation.operation.value}"))
        below: Below = [(operation.selection_set, root)]
        fields = selected(self.schema, fragments_of(document), below)
        roots = frozenset(node.name.value for node, _ in fields)
        # What they want, whether or not a directive leaves them out.
        scopes = {_declared_scope(root.fields[name]) for name in roots if name in root.fields}
        return Prepared(
            self.schema,
            document,
            operation,
            roots,
            frozenset(scope for scope in scopes if scope is not None),
            first_reach(self.schema, document, operation),
        )

    async def execute(
        self, prepared: Prepared, variables: Mapping[str, Any], context: Context, *, limited: bool = True
    ) -> Answer:
        """Execute a query or mutation. Nothing is raised but cancellation. REST's own documents are not `limited`."""
        try:
            self._check(prepared, variables, context, limited=limited)
        except Refused as refused:
            await self._note_refusal(prepared, variables, context, refused.errors)
            return refused.answer()
        result = execute(
            self.schema,
            prepared.document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=_name(prepared.operation),
            **self._how(prepared),
        )
        result = await result if isawaitable(result) else result
        answer = self._answer(result, prepared, context, limited)
        if answer.refused:
            await self._note_refusal(prepared, variables, context, result.errors or ())
        return _without_the_database(answer)

    def check(self, prepared: Prepared, variables: Mapping[str, Any], context: Context) -> None:
        """Raise `Refused` where the caller's scopes or the limits do not allow it; nothing is executed."""
        self._check(prepared, variables, context, limited=True)

    async def subscribe(
        self, prepared: Prepared, variables: Mapping[str, Any], context: Context
    ) -> AsyncIterator[Answer]:
        """The answers of a subscription, one a message; one that is `refused` is the last, and says why it ends."""
        try:
            self._check(prepared, variables, context, limited=True)
        except Refused as refused:
            yield refused.answer()
            return
        stream = subscribe(
            self.schema,
            prepared.document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=_name(prepared.operation),
            **self._how(prepared),
        )
        source = await stream if isawaitable(stream) else stream
        if isinstance(source, ExecutionResult):
            yield self._answer(source, prepared, context, limited=False)
            return
        try:
            async for result in source:
                yield self._answer(result, prepared, context, limited=False)
        except Exception as error:
            shown = present(located(error), context)
            yield Answer(errors=(shown,), status=status_of(shown))
        finally:
            await source.aclose()  # type: ignore[attr-defined]

    def _how(self, prepared: Prepared) -> dict[str, Any]:
        return {"executor_class": PlannedExecutor, "shapes": prepared.shapes} if self._planned else {}

    def _document(self, source: str) -> _Valid:
        """The document, parsed and validated once; a verdict against it is remembered as well."""
        if len(source) > MAX_SOURCE:
            raise Refused(problem(f"A document may have {MAX_SOURCE:,} characters"), status=BAD_REQUEST)
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
        verdict = self._verdicts.get(digest)
        if verdict is None:
            verdict = self._verdicts[digest] = self._judged(source)
            if len(self._verdicts) > REMEMBERED_DOCUMENTS:
                self._verdicts.popitem(last=False)
        else:
            self._verdicts.move_to_end(digest)
        if isinstance(verdict, _Valid):
            return verdict
        raise Refused(*verdict.errors, status=verdict.status)

    def _judged(self, source: str) -> _Valid | Answer:
        try:
            document = parse_limited(source)
            check_shape(document)
        except GraphQLError as error:
            return Answer(errors=(present(error, None),), status=BAD_REQUEST)
        errors = tuple(
            present(error, None) for error in validate(self.schema, document, self._rules, max_errors=20)
        )
        return Answer(errors=errors, status=status_of(errors[0])) if errors else _Valid(document)

    def _check(
        self, prepared: Prepared, variables: Mapping[str, Any], context: Context, *, limited: bool
    ) -> None:
        if not all(context.caller.may(scope) for scope in prepared.scopes):
            raise Refused(denied(InsufficientScope()))
        if prepared.reaches is not None and not context.caller.may(Scope.READ):
            raise Refused(problem(f"Insufficient scope: {prepared.reaches} takes `read`", Code.FORBIDDEN))
        if limited:
            try:
                measure = prepared.limited.check(variables)
            except GraphQLError as error:
                raise Refused(error) from None
            context.extensions.setdefault("cost", {})["requested"] = measure.cost

    async def _note_refusal(
        self,
        prepared: Prepared,
        variables: Mapping[str, Any],
        context: Context,
        errors: Sequence[GraphQLError],
    ) -> None:
        """A mutation that was not even begun leaves its row in the audit log too, whoever still listens."""
        if prepared.kind is OperationType.MUTATION:
            told = on_record(errors, self.schema, prepared.operation, variables)
            await context.runtime.part(UnderWay).whole(self._note(prepared, context, told))

    async def _note(self, prepared: Prepared, context: Context, errors: Sequence[Mapping[str, Any]]) -> None:
        mutations = self.schema.mutation_type
        assert mutations is not None
        origin = Origin(context.caller, context.ip_address, context.request_id)
        for name in sorted(prepared.roots):
            field = mutations.fields.get(name)
            if field is not None:
                audit_action = field.extensions["strawberry-definition"].metadata[AUDIT_ACTION]
                async with audited(context.runtime, origin, audit_action, name) as trail:
                    trail.refuse(errors)

    def _answer(self, result: ExecutionResult, prepared: Prepared, context: Context, limited: bool) -> Answer:
        errors = tuple(present(error, context) for error in result.errors or ())
        # Without a path, an error is about the request (a variable that does not fit), not about a field.
        refused = result.data is None and bool(errors) and all(error.path is None for error in errors)
        status = status_of(errors[0]) if refused else 200
        if not refused:
            tier = context.tier or GRAPHQL_CORE
            GRAPHQL_ANSWERS.labels(tier).inc()
            if context.runtime.settings.dev:
                context.extensions["tier"] = tier
        if limited and not refused:
            context.extensions.setdefault("cost", {})["actual"] = prepared.result_cost.of(result.data)
        return Answer(result.data, errors, context.extensions, status)


def _without_the_database(answer: Answer) -> Answer:
    """503 where every root field failed because the database does not answer: there is nothing else in the answer.

    Where one of them has something to say, that is worth a 200.
    """
    data = answer.data or {}
    failed = {error.path[0] for error in answer.errors if error.path}
    if answer.refused or not answer.errors or not all(is_unavailable(error) for error in answer.errors):
        return answer
    if any(value is not None for value in data.values()) or not failed >= data.keys():
        return answer
    return replace(answer, data=None, status=status_of(answer.errors[0]))


def located(error: Exception) -> GraphQLError:
    """The error as graphql-core would have it, so that `present` can judge it."""
    return error if isinstance(error, GraphQLError) else GraphQLError("", original_error=error)


def _declared_scope(field: Any) -> Scope | None:
    metadata: Mapping[str, Any] = field.extensions["strawberry-definition"].metadata
    declared = metadata[SCOPE]
    return None if declared == ANY_KEY else Scope(declared)


def _name(operation: OperationDefinitionNode) -> str | None:
    return operation.name.value if operation.name else None
