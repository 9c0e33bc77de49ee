"""Hatchet, as far as Hogsend uses it: its gRPC services on loopback, in a thread of their own.

It delivers at least once, moves the runs of workers that died, evicts drivers and brings them back, keeps logs of
durable runs and refuses a driver that contradicts its log. It can go down and come up again, and remembers.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import grpc
from hatchet_sdk.contracts import dispatcher_pb2 as d
from hatchet_sdk.contracts import (
    dispatcher_pb2_grpc,
    events_pb2_grpc,
    workflows_pb2_grpc,
)
from hatchet_sdk.contracts.v1 import dispatcher_pb2 as v1
from hatchet_sdk.contracts.v1 import dispatcher_pb2_grpc as v1_grpc
from hatchet_sdk.contracts.v1 import workflows_pb2_grpc as admin_grpc

from tests.standins.hatchet_runs import Memory, Node, Run, matches, seconds
from tests.standins.hatchet_services import TENANT, Services

WORKER_COMES_BACK = 0.5

T = TypeVar("T")


class HatchetStandIn:
    """Use it from any thread. What it saw: `memory`; how it is to misbehave: the attributes below."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.deliver_twice = False
        self.obeys_cancel = True
        self.notices_deaths = True
        self.workers: dict[str, asyncio.Queue[d.AssignedAction]] = {}
        self.streams: dict[str, asyncio.Queue[v1.DurableTaskResponse]] = {}
        self.port = 0
        self._streamed: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: grpc.aio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._broke: list[str] = []

    # Control, from the test's thread.

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not self._broke, "\n".join(self._broke)

    @property
    def token(self) -> str:
        claims = {
            "sub": TENANT,
            "server_url": "http://127.0.0.1:1",
            "grpc_broadcast_address": f"127.0.0.1:{self.port}",
        }
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return f"eyJhbGciOiJub25lIn0.{body}.signature"

    def up(self) -> None:
        self._do(self._up())

    def down(self) -> None:
        self._do(self._down())

    def run(self, workflow: str, given: dict[str, Any]) -> str:
        """Trigger a run, as a cron or the dashboard would."""
        return self._do(self._later(lambda: self.begin(Run(workflow, given)).id))

    def evict(self, run_id: str) -> None:
        """Put a waiting driver out of its worker, as Hatchet does with one that it takes for stale."""
        self._do(self._later(lambda: self._evict(self.memory.runs[run_id])))

    def picture(self) -> str:
        """What stands where, for a test that failed."""
        lines = [*self._broke, f"workers {sorted(self.workers)}, streams {sorted(self.streams)}"]
        lines += [
            f"{run.workflow} {run.status} on {run.worker}: {run.input}" for run in self.memory.runs.values()
        ]
        return "\n".join(lines)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)

    async def _later(self, work: Callable[[], T]) -> T:
        return work()

    # Life, on the loop of the thread.

    async def _up(self) -> None:
        # The SDK pings often, and would be told to calm down.
        server = grpc.aio.server(options=[("grpc.http2.max_ping_strikes", 0)])
        services = Services(self)
        dispatcher_pb2_grpc.add_DispatcherServicer_to_server(services, server)
        v1_grpc.add_V1DispatcherServicer_to_server(services, server)
        admin_grpc.add_AdminServiceServicer_to_server(services, server)
        events_pb2_grpc.add_EventsServiceServicer_to_server(services, server)
        workflows_pb2_grpc.add_WorkflowServiceServicer_to_server(services, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def _down(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(0)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def broke(self, error: Exception) -> None:
        """The stand-in itself is wrong: the test fails at its end, and says so."""
        self._broke.append("".join(traceback.format_exception(error)))

    def soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Runs.

    def begin(self, run: Run) -> Run:
        self.memory.runs[run.id] = run
        self.assign(run)
        return run

    def assign(self, run: Run) -> None:
        """Hand the run to a worker; where there is none, to the first that comes."""
        if not self.workers:
            run.status, run.worker = "queued", None
            return
        worker = min(
            self.workers,
            key=lambda each: sum(r.worker == each and r.alive for r in self.memory.runs.values()),
        )
        run.status, run.worker = "running", worker
        for _ in range(2 if self.deliver_twice else 1):
            run.cursor = 0
            run.invocation += 1
            run.deliveries += 1
            self.workers[worker].put_nowait(self._action(run, d.START_STEP_RUN))

    def _action(self, run: Run, type: d.ActionType) -> d.AssignedAction:
        task = self.memory.workflows[run.workflow].tasks[0]
        return d.AssignedAction(
            tenant_id=TENANT,
            workflow_run_id=run.id,
            job_id="job",
            job_name=run.workflow,
            job_run_id="job-run",
            task_id="task",
            task_run_external_id=run.id,
            action_id=task.action,
            action_type=type,
            action_payload=json.dumps({"input": run.input}),
            task_name=task.readable_id,
            retry_count=run.retry,
            durable_task_invocation_count=run.invocation if task.is_durable else None,
        )

    def stream_came(self, worker: str, out: asyncio.Queue[v1.DurableTaskResponse]) -> None:
        self.streams[worker] = out
        self._streamed.add(worker)

    async def until_its_stream_is_back(self, worker: str) -> None:
        """Give a worker that reconnects no work before its stream for drivers is there again.

        Hatchet would. But the SDK may write a driver's next request to the stream that broke, and then waits a
        minute for the answer; that is not what the tests are about.
        """
        while worker in self._streamed and worker not in self.streams:
            await asyncio.sleep(0.02)

    async def worker_left(self, worker: str) -> None:
        """Move its runs, unless it comes back soon; or take them for running where deaths are not noticed."""
        await asyncio.sleep(WORKER_COMES_BACK)
        if worker in self.workers or self._server is None or not self.notices_deaths:
            return
        for run in [r for r in self.memory.runs.values() if r.worker == worker and r.status == "running"]:
            run.retry += 1
            self.assign(run)

    def worker_came(self, worker: str) -> None:
        for run in [r for r in self.memory.runs.values() if r.status == "queued" and r.worker is None]:
            self.assign(run)

    def finish(self, run: Run, status: str, output: Any = None, failure: str | None = None) -> None:
        if not run.alive:
            return
        run.status, run.output = status, output
        if run.parent is not None:
            parent, number = run.parent
            self.satisfy(parent, number, output, failure)

    def fail(self, run: Run, error: str, *, final: bool) -> None:
        retries = self.memory.workflows[run.workflow].tasks[0].retries
        if final or run.retry >= retries:
            self.finish(run, "failed", failure=error)
        else:
            run.retry += 1
            self.assign(run)

    def cancel(self, run: Run) -> None:
        worker = run.worker
        if run.status == "running" and worker in self.workers:
            self.workers[worker].put_nowait(self._action(run, d.CANCEL_STEP_RUN))
        self.finish(run, "cancelled", failure="cancelled")

    # The logs of durable runs.

    def satisfy(self, run: Run, number: int, payload: Any, failure: str | None = None) -> None:
        node = run.log[number]
        if node.done or not run.alive:
            return
        node.done, node.payload, node.failure = True, payload, failure
        if run.status == "evicted":
            run.restores += 1
            self.assign(run)
        else:
            self.tell(run, number)

    def tell(self, run: Run, number: int) -> None:
        node = run.log[number]
        if run.worker in self.streams:
            self.streams[run.worker].put_nowait(
                v1.DurableTaskResponse(
                    entry_completed=v1.DurableTaskEventLogEntryCompletedResponse(
                        ref=self.ref(run, number),
                        payload=json.dumps(node.payload).encode(),
                        is_failure=node.failure is not None,
                        error_message=node.failure or "",
                    )
                )
            )

    def ref(self, run: Run, number: int) -> v1.DurableEventLogEntryRef:
        return v1.DurableEventLogEntryRef(
            durable_task_external_id=run.id, invocation_count=run.invocation, branch_id=1, node_id=number
        )

    def arm(self, run: Run, number: int, node: Node) -> None:
        assert node.conditions is not None
        for sleep in node.conditions.sleep_conditions:
            self.soon(self._ring(run, number, seconds(sleep.sleep_for)))
        for event in self.memory.events:
            since = [c.consider_events_since for c in node.conditions.user_event_conditions]
            if matches(node, event) and all(event.at >= each.ToDatetime().timestamp() for each in since):
                self.satisfy(run, number, {"CREATE": {"wake": [event.payload]}})

    async def _ring(self, run: Run, number: int, after: int) -> None:
        await asyncio.sleep(after)
        self.satisfy(run, number, {"CREATE": {"timer": [{}]}})

    def _evict(self, run: Run) -> None:
        assert run.waits, f"{run} does not wait"
        assert run.worker is not None
        run.status = "evicted"
        run.evictions += 1
        self.streams[run.worker].put_nowait(_notice(run.id, run.invocation))

    def refuse_stale(self, run: Run, invocation: int, out: asyncio.Queue[v1.DurableTaskResponse]) -> None:
        """Of two deliveries of a driver, the older one is put out when it next asks for something."""
        out.put_nowait(_notice(run.id, invocation))


def _notice(run_id: str, invocation: int) -> v1.DurableTaskResponse:
    notice = v1.DurableTaskServerEvictNotice(
        durable_task_external_id=run_id, invocation_count=invocation, reason="stale"
    )
    return v1.DurableTaskResponse(server_evict=notice)
