"""The planned executor: level by level, each list and each link of a level in one statement.

Where anything goes wrong, what reads is executed again by graphql-core, which knows how errors are told.
"""

from __future__ import annotations

from typing import Any

import structlog
from graphql import ExecutionResult, GraphQLObjectType, GraphQLResolveInfo, OperationType
from graphql.execution.collect_fields import FieldDetails
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental
from graphql.pyutils import Path

from hogsend.graphql.context import Context
from hogsend.planning.run import Run
from hogsend.planning.shape import NotPlanned, Shapes

log = structlog.get_logger(__name__)

PLANNED = "planned"
GRAPHQL_CORE = "graphql-core"


class PlannedExecutor(ExecutorThrowingOnIncremental):
    """graphql-core's executor of one operation, which plans queries and leaves the rest as it is."""

    def __init__(self, *given: Any, shapes: Shapes, **named: Any) -> None:
        super().__init__(*given, **named)
        self._shapes = shapes

    def build_per_event_executor(self, payload: Any) -> Any:
        """For one message of a subscription: without what graphql-core keeps of each for as long as that lasts."""
        executor: Any = super().build_per_event_executor(payload)
        executor._relevant_sub_fields = {}
        return executor

    def execute_operation(self, serially: bool | None = None) -> Any:
        if self.operation.operation is OperationType.MUTATION:
            return super().execute_operation(serially)
        return self._planned(serially)

    async def _planned(self, serially: bool | None) -> Any:
        """A query, or one message of a subscription, whose root is what the stream gave."""
        try:
            shape = self._shapes.get(self.schema, self.operation, self.fragments, self.variable_values)
            [data] = await Run(self, self.context_value).objects(shape, [self.root_value])
        except Exception as error:
            self._give_up(error)
            result = super().execute_operation(serially)
            return await result if self.is_awaitable(result) else result
        self.context_value.tier = PLANNED
        return ExecutionResult(data, None)

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        """The payload of a mutation: what changed is changed, and what is selected below it is only read."""
        given = (return_type, field_details_list, info, path, result, position_context)
        if path.prev is not None or self.operation.operation is not OperationType.MUTATION:
            return super().complete_object_value(*given)
        return self._payload(*given)

    async def _payload(self, *given: Any) -> Any:
        return_type, _details, _info, path, result, _position = given
        try:
            operation = self._shapes.get(self.schema, self.operation, self.fragments, self.variable_values)
            [field] = [one for one in operation.fields if one.key == path.key]
            [data] = await Run(self, self.context_value).objects(field.of(return_type), [result])
        except Exception as error:
            self._give_up(error)
            completed = super().complete_object_value(*given)
            return await completed if self.is_awaitable(completed) else completed
        self.context_value.tier = PLANNED
        return data

    def _give_up(self, error: Exception) -> None:
        context: Context = self.context_value
        context.forget()
        context.tier = GRAPHQL_CORE
        if not isinstance(error, NotPlanned):
            log.debug("plan_failed", error=type(error).__name__)
