"""GraphQL in one process: the executor, the trusted documents, and how an operation gets its context."""

from __future__ import annotations

from functools import cache

from hogsend.access.caller import Caller
from hogsend.access.rate_limits import Rate
from hogsend.graphql.context import Context
from hogsend.monitoring.requests import note_operation
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.serving.execution import Executor, Prepared
from hogsend.serving.limits import allowance
from hogsend.serving.request import Params
from hogsend.serving.stream_request import StreamRequest
from hogsend.serving.trusted_documents import TrustedDocuments


@cache
def executor(introspection: bool) -> Executor:
    """The process's executor: a document is validated once, whoever sends it."""
    return Executor(graphql_schema(), introspection=introspection)


class GraphQLServer:
    """Shared by every transport, and by REST."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.executor = executor(runtime.settings.introspection)
        self.trusted = TrustedDocuments.load(runtime.settings, self.executor.schema)

    def prepare(self, params: Params) -> Prepared:
        """Raises `Refused`, or `GraphQLError` where the document is not one that may be executed."""
        prepared = self.executor.prepare(
            self.trusted.source(params.query, params.document_id), params.operation_name
        )
        # Only a trusted document's name is ours: `source` refused any other documentId.
        named = prepared.operation.name if params.document_id is not None else None
        note_operation(prepared.kind.value, named.value if named is not None else None)
        return prepared

    def context(self, caller: Caller, rate: Rate | None, request_id: str, ip_address: str | None) -> Context:
        context = Context(self.runtime, caller, request_id=request_id, ip_address=ip_address, rate=rate)
        if rate is not None:
            context.extensions["cost"] = allowance(rate)
        return context

    def stream(
        self, prepared: Prepared, params: Params, context: Context, resume: str | None
    ) -> StreamRequest:
        """A subscription; `resume` is a cursor that the transport was told, and wins over the request's own."""
        return StreamRequest(
            self.executor.schema, prepared, params.variables, context, resume or params.after
        )

    async def close(self) -> None:
        """Nothing to close."""
