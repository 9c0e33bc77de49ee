"""The gRPC services of the stand-in for Hatchet, on the servicer classes that the SDK ships."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status
from hatchet_sdk.contracts import dispatcher_pb2 as d
from hatchet_sdk.contracts import (
    dispatcher_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    workflows_pb2,
    workflows_pb2_grpc,
)
from hatchet_sdk.contracts.v1 import dispatcher_pb2 as v1
from hatchet_sdk.contracts.v1 import dispatcher_pb2_grpc as v1_grpc
from hatchet_sdk.contracts.v1 import workflows_pb2 as admin
from hatchet_sdk.contracts.v1 import workflows_pb2_grpc as admin_grpc

from tests.standins.hatchet_runs import Node, Pushed, Run, decoded

if TYPE_CHECKING:
    from tests.standins.hatchet import HatchetStandIn

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
VERSION = "v0.113.0"


class Services(
    dispatcher_pb2_grpc.DispatcherServicer,
    v1_grpc.V1DispatcherServicer,
    admin_grpc.AdminServiceServicer,
    events_pb2_grpc.EventsServiceServicer,
    workflows_pb2_grpc.WorkflowServiceServicer,
):
    """The calls, one method each, named by Hatchet."""

    def __init__(self, engine: HatchetStandIn) -> None:
        self.engine = engine
        self.memory = engine.memory

    async def GetVersion(self, request, context):  # noqa: N802
        if dict(context.invocation_metadata()).get("authorization") != f"bearer {self.engine.token}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid auth token")
        return d.GetVersionResponse(version=VERSION)

    async def PutWorkflow(self, request, context):  # noqa: N802
        self.memory.workflows[request.name] = request
        return admin.CreateWorkflowVersionResponse(id=str(uuid4()), workflow_id=str(uuid4()))

    async def Register(self, request, context):  # noqa: N802
        return d.WorkerRegisterResponse(
            tenant_id=TENANT, worker_id=str(uuid4()), worker_name=request.worker_name
        )

    async def ListenV2(self, request, context) -> AsyncIterator[d.AssignedAction]:  # noqa: N802
        await self.engine.until_its_stream_is_back(request.worker_id)
        queue = self.engine.workers.setdefault(request.worker_id, asyncio.Queue())
        self.engine.worker_came(request.worker_id)
        try:
            while True:
                yield await queue.get()
        finally:
            self.engine.workers.pop(request.worker_id, None)
            self.engine.soon(self.engine.worker_left(request.worker_id))

    async def Heartbeat(self, request, context):  # noqa: N802
        return d.HeartbeatResponse()

    async def Unsubscribe(self, request, context):  # noqa: N802
        self.engine.workers.pop(request.worker_id, None)
        return d.WorkerUnsubscribeResponse()

    async def SendStepActionEvent(self, request, context):  # noqa: N802
        run = self.memory.runs[request.task_run_external_id]
        if request.retry_count == run.retry and run.status == "running":
            if request.event_type == d.STEP_EVENT_TYPE_COMPLETED:
                self.engine.finish(run, "completed", decoded(request.event_payload))
            elif request.event_type == d.STEP_EVENT_TYPE_FAILED:
                self.engine.fail(run, request.event_payload, final=request.should_not_retry)
        return d.ActionEventResponse(tenant_id=TENANT, worker_id=request.worker_id)

    async def TriggerWorkflow(self, request, context):  # noqa: N802
        if request.name not in self.memory.workflows:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"workflow {request.name} is not registered"
            )
        given = decoded(request.input)
        key = self.memory.key_of(request.name, given)
        holder = self.memory.holder(key)
        if holder is not None:
            await _refuse_as_duplicate(context, holder)
        run = self.engine.begin(Run(request.name, given, key=key))
        return workflows_pb2.TriggerWorkflowResponse(workflow_run_id=run.id)

    async def RestoreEvictedTask(self, request, context):  # noqa: N802
        run = self.memory.runs[request.task_run_external_id]
        if run.status == "evicted":
            run.restores += 1
            self.engine.assign(run)
        return d.RestoreEvictedTaskResponse(requeued=True)

    async def CancelTasks(self, request, context):  # noqa: N802
        if self.engine.obeys_cancel:
            for run_id in request.external_ids:
                if run_id in self.memory.runs:
                    self.engine.cancel(self.memory.runs[run_id])
        return admin.CancelTasksResponse(cancelled_tasks=request.external_ids)

    async def GetRunDetails(self, request, context):  # noqa: N802
        run = self.memory.runs.get(request.external_id)
        if run is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "workflow run not found")
        return admin.GetRunDetailsResponse(status=run.status.upper(), done=not run.alive)

    async def Push(self, request, context):  # noqa: N802
        event = Pushed(request.key, request.scope, decoded(request.payload), time.time())
        self.memory.events.append(event)
        for run, number in list(self.memory.waiting_for(event)):
            self.engine.satisfy(run, number, {"CREATE": {"wake": [event.payload]}})
        return events_pb2.Event(
            tenant_id=TENANT, event_id=str(uuid4()), key=request.key, payload=request.payload
        )

    async def DurableTask(self, requests, context) -> AsyncIterator[v1.DurableTaskResponse]:  # noqa: N802
        first = await anext(aiter(requests))
        worker = first.register_worker.worker_id
        out: asyncio.Queue[v1.DurableTaskResponse] = asyncio.Queue()
        self.engine.stream_came(worker, out)
        reader = asyncio.create_task(self._read(requests, out))
        try:
            while True:
                yield await out.get()
        finally:
            reader.cancel()
            if self.engine.streams.get(worker) is out:
                del self.engine.streams[worker]

    async def _read(self, requests, out) -> None:
        try:
            await self._read_all(requests, out)
        except Exception as error:
            self.engine.broke(error)
            raise

    async def _read_all(self, requests, out) -> None:
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "worker_status":
                for waiting in request.worker_status.waiting_entries:
                    run = self.memory.runs[waiting.durable_task_external_id]
                    if run.log[waiting.node_id].done and waiting.invocation_count == run.invocation:
                        self.engine.tell(run, waiting.node_id)
                continue
            asked = getattr(request, kind)
            run = self.memory.runs[asked.durable_task_external_id]
            if asked.invocation_count != run.invocation:
                self.engine.refuse_stale(run, asked.invocation_count, out)
            elif run.alive:
                handle = {
                    "wait_for": self._wait,
                    "trigger_runs": self._children,
                    "evict_invocation": self._evicted,
                }
                handle[kind](run, asked, out)

    def _wait(self, run, asked, out) -> None:
        conditions = asked.wait_for_conditions
        mark = "|".join(
            [*(c.sleep_for for c in conditions.sleep_conditions)]
            + [c.user_event_key + c.base.expression for c in conditions.user_event_conditions]
        )
        number, new = self._entry(run, Node(mark, conditions=conditions), out)
        if number is None:
            return
        ack = v1.DurableTaskEventWaitForAckResponse(ref=self.engine.ref(run, number))
        out.put_nowait(v1.DurableTaskResponse(wait_for_ack=ack))
        if new:
            self.engine.arm(run, number, run.log[number])
        elif run.log[number].done:
            self.engine.tell(run, number)

    def _children(self, run, asked, out) -> None:
        entries = []
        for wanted in asked.trigger_opts:
            number, new = self._entry(run, Node(wanted.name + wanted.input), out)
            if number is None:
                return
            if new:
                child = Run(wanted.name, decoded(wanted.input), parent=(run, number))
                run.log[number].child = self.engine.begin(child).id
            entries.append(
                v1.DurableTaskRunAckEntry(
                    node_id=number, branch_id=1, workflow_run_external_id=run.log[number].child
                )
            )
        ack = v1.DurableTaskEventTriggerRunsAckResponse(
            durable_task_external_id=run.id, invocation_count=run.invocation, run_entries=entries
        )
        out.put_nowait(v1.DurableTaskResponse(trigger_runs_ack=ack))
        for entry in entries:
            if run.log[entry.node_id].done:
                self.engine.tell(run, entry.node_id)

    def _entry(self, run, node, out) -> tuple[int | None, bool]:
        """The next entry of the log, and whether it is new; None where the driver contradicts what is recorded."""
        run.cursor += 1
        recorded = run.log.setdefault(run.cursor, node)
        if recorded.mark == node.mark:
            return run.cursor, recorded is node
        contradiction = v1.DurableTaskErrorResponse(
            ref=self.engine.ref(run, run.cursor),
            error_type=v1.DURABLE_TASK_ERROR_TYPE_NONDETERMINISM,
            error_message=f"recorded {recorded.mark}, came {node.mark}",
        )
        out.put_nowait(v1.DurableTaskResponse(error=contradiction))
        return None, False

    def _evicted(self, run, asked, out) -> None:
        ack = v1.DurableTaskEvictionAckResponse(
            invocation_count=run.invocation, durable_task_external_id=run.id
        )
        out.put_nowait(v1.DurableTaskResponse(eviction_ack=ack))
        if run.status == "evicted":
            return
        run.status = "evicted"
        run.evictions += 1
        if run.log[run.cursor].done:
            run.restores += 1
            self.engine.assign(run)


async def _refuse_as_duplicate(context: grpc.aio.ServicerContext, holder: Run) -> None:
    detail = AnyMessage()
    detail.Pack(admin.IdempotencyCollisionError(existing_run_external_id=holder.id))
    status = Status(
        code=grpc.StatusCode.ALREADY_EXISTS.value[0], message="idempotency key collision", details=[detail]
    )
    await context.abort(
        grpc.StatusCode.ALREADY_EXISTS,
        status.message,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
