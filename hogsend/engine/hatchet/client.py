"""The engine port on Hatchet. Each call has a deadline, so a Hatchet that is down slows nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import grpc
import orjson
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_status import rpc_status
from hatchet_sdk import ClientConfig
from hatchet_sdk.connection import load_channel_credentials
from hatchet_sdk.contracts.dispatcher_pb2 import GetVersionRequest, RestoreEvictedTaskRequest
from hatchet_sdk.contracts.dispatcher_pb2_grpc import DispatcherStub
from hatchet_sdk.contracts.events_pb2 import PushEventRequest
from hatchet_sdk.contracts.events_pb2_grpc import EventsServiceStub
from hatchet_sdk.contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from hatchet_sdk.contracts.v1.workflows_pb2 import (
    CANCELLED,
    EVICTED,
    QUEUED,
    RUNNING,
    CancelTasksRequest,
    GetRunDetailsRequest,
    IdempotencyCollisionError,
)
from hatchet_sdk.contracts.v1.workflows_pb2_grpc import AdminServiceStub
from hatchet_sdk.contracts.workflows_pb2_grpc import WorkflowServiceStub
from hatchet_sdk.deprecated.deprecation import parse_semver
from hatchet_sdk.utils.api_auth import create_authorization_header
from pydantic import ValidationError

from hogsend.engine.crons import worker_lives
from hogsend.engine.hatchet import limits
from hogsend.engine.port import NO_WORKER, EngineDown, EngineHealth
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError

log = structlog.get_logger(__name__)

UNREACHABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
CANCEL_SEEN_WITHIN = 3.0
ALIVE = (QUEUED, RUNNING, EVICTED)

EpochOf = Callable[[Runtime, UUID], Awaitable[int]]
Service = Literal["dispatcher", "workflows", "admin", "events"]
_STUBS: dict[Service, Callable[[Any], Any]] = {
    "dispatcher": DispatcherStub,
    "workflows": WorkflowServiceStub,
    "admin": AdminServiceStub,
    "events": EventsServiceStub,
}


def client_config(settings: Settings) -> ClientConfig:
    """What the SDK needs: the token of the settings, the rest from its own `HATCHET_CLIENT_…` variables.

    Log lines stay with us: the SDK would copy them, and the addresses in them, to Hatchet. Raises `SettingsError`.
    """
    token = settings.hatchet_client_token
    try:
        return ClientConfig(
            token=token.get_secret_value() if token is not None else "", disable_log_capture=True
        )
    except (ValidationError, ValueError):
        raise SettingsError(
            ["HATCHET_CLIENT_TOKEN: must be a token that Hatchet made, whole: three parts with dots between"]
        ) from None


class HatchetEngine:
    """Starts, wakes and cancels drivers, and queues jobs. Closed with the runtime, as its part."""

    def __init__(self, runtime: Runtime, epoch_of: EpochOf) -> None:
        self._runtime = runtime
        self._epoch_of = epoch_of
        self._config = client_config(runtime.settings)
        self._auth = create_authorization_header(self._config.token)
        self._channel: grpc.aio.Channel | None = None
        self._away_until = 0.0
        self.trouble: str | None = None
        """Why the Hatchet that last answered cannot be used, and what to do about it."""

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def start_run(self, run_id: UUID, generation: int) -> str | None:
        """Start a driver; where one lives, bring it back into a worker. Returns its id. Raises `EngineDown`.

        Hatchet forgets a driver whose wait ends in the moment of its eviction: nothing else would bring it back.
        """
        driver, is_new = await self._trigger(limits.RUN, {"run_id": str(run_id), "generation": generation})
        if driver is not None and not is_new:
            await self._call(
                "dispatcher", "RestoreEvictedTask", RestoreEvictedTaskRequest(task_run_external_id=driver)
            )
        return driver

    async def wake_run(self, run_id: UUID, generation: int, reason: str) -> None:
        """Raises `EngineDown`. A driver that is not waiting hears of it when it next does."""
        epoch = await self._epoch_of(self._runtime, run_id)
        sent_at = Timestamp()
        sent_at.FromDatetime(self._runtime.clock.wall())
        event = PushEventRequest(
            key=self._config.apply_namespace(limits.WAKE),
            payload=orjson.dumps({"run_id": str(run_id), "epoch": epoch, "reason": reason}).decode(),
            event_timestamp=sent_at,
            scope=str(run_id),
        )
        await self._call("events", "Push", event)

    async def cancel_run(self, run_id: UUID, engine_run_id: str | None) -> bool:
        """Stop a driver. True only when Hatchet then calls it cancelled: it acknowledges any id that it is given.

        So two that cancel at once, an operator's call and the outbox, are both told that it was.
        """
        if engine_run_id is None:
            return False
        try:
            if await self._status(engine_run_id) in ALIVE:
                await self._call("admin", "CancelTasks", CancelTasksRequest(external_ids=[engine_run_id]))
            return await self._end_of(engine_run_id) == CANCELLED
        except (EngineDown, grpc.RpcError):
            log.warning("driver_not_cancelled", run_id=str(run_id), exc_info=True)
            return False

    async def enqueue(self, job_id: UUID) -> None:
        """Raises `EngineDown`. Nothing happens where it is queued or runs already."""
        await self._trigger(limits.JOB, {"job_id": str(job_id)})

    async def health(self) -> EngineHealth:
        """Up where Hatchet answers and a worker lives."""
        began = time.perf_counter()
        answers = await self.answers()
        latency = (time.perf_counter() - began) * 1000
        if self.trouble is not None:
            return EngineHealth("hatchet", False, latency, self.trouble)
        if not answers:
            return EngineHealth(
                "hatchet", False, latency, f"Hatchet does not answer at {self._config.host_port}"
            )
        lives = await worker_lives(self._runtime)
        return EngineHealth("hatchet", lives, latency, "" if lives else NO_WORKER)

    async def answers(self) -> bool:
        """Whether Hatchet can be called now; asked anew each time, waiting a little for a connection."""
        self._away_until = 0.0
        self.trouble = None
        try:
            answer = await self._call("dispatcher", "GetVersion", GetVersionRequest(), wait_for_ready=True)
        except EngineDown:
            return False
        except grpc.RpcError as error:
            self.trouble = _refusal(error)
            log.warning("hatchet_refuses", error=self.trouble)
            return False
        self.trouble = _unfit(answer.version)
        return True

    async def _trigger(self, task: str, given: dict[str, Any]) -> tuple[str | None, bool]:
        """The run that has the task's idempotency key now, and whether this call started it."""
        request = TriggerWorkflowRequest(
            name=self._config.apply_namespace(task), input=orjson.dumps(given).decode()
        )
        try:
            answer = await self._call("workflows", "TriggerWorkflow", request)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                return _holder_of_key(error), False
            raise
        return str(answer.workflow_run_id), True

    async def _status(self, engine_run_id: str) -> int | None:
        try:
            details = await self._call(
                "admin", "GetRunDetails", GetRunDetailsRequest(external_id=engine_run_id)
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return int(details.status)

    async def _end_of(self, engine_run_id: str) -> int | None:
        """The status in which it ends within a few seconds; None where it does not, or where there is no such run."""
        deadline = time.monotonic() + CANCEL_SEEN_WITHIN
        while time.monotonic() < deadline:
            status = await self._status(engine_run_id)
            if status not in ALIVE:
                return status
            await asyncio.sleep(0.05)
        return None

    async def _call(
        self, service: Service, method: str, request: Any, *, wait_for_ready: bool = False
    ) -> Any:
        """Raises `EngineDown` where Hatchet does not answer, else what it says as `grpc.RpcError`."""
        if time.monotonic() < self._away_until:
            raise EngineDown("Hatchet did not answer a moment ago")
        self._channel = self._channel or _open_channel(self._config)
        try:
            stub = _STUBS[service](self._channel)
            return await getattr(stub, method)(
                request,
                timeout=limits.CALL_TIMEOUT,
                metadata=self._auth,
                wait_for_ready=wait_for_ready,
            )
        except grpc.RpcError as error:
            if error.code() not in UNREACHABLE:
                raise
            self._away_until = time.monotonic() + limits.AWAY
            raise EngineDown(f"Hatchet did not answer: {error.code().name}") from error


def _open_channel(config: ClientConfig) -> grpc.aio.Channel:
    """As the SDK opens it, but soon back after an outage: left alone, it would try every two minutes at last."""
    options: list[tuple[str, int | str]] = [
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", int(limits.AWAY * 1000)),
        ("grpc.keepalive_time_ms", 30_000),
    ]
    credentials = load_channel_credentials(config)
    if credentials is None:
        return grpc.aio.insecure_channel(config.host_port, options)
    options.append(("grpc.ssl_target_name_override", config.tls_config.server_name))
    return grpc.aio.secure_channel(config.host_port, credentials, options)


def _refusal(error: grpc.RpcError) -> str:
    """What to do about a Hatchet that answers, and says no. Its own words may hold the token."""
    if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return "Hatchet refuses HATCHET_CLIENT_TOKEN: make a new one there"
    return f"Hatchet answers {error.code().name} when it is asked for its version"


def _unfit(version: str) -> str | None:
    """What to do about a Hatchet of this version; None where it is new enough.

    The SDK takes a version without a number for an ancient one, and registers no place for drivers.
    """
    if parse_semver(version) >= limits.OLDEST:
        return None
    oldest = "v" + ".".join(str(part) for part in limits.OLDEST)
    if parse_semver(version) == (0, 0, 0):
        return f"Hatchet tells {version!r} as its version, not a number: {oldest} or newer is needed"
    return f"Hatchet {version} is too old: update it to {oldest} or newer"


def _holder_of_key(error: grpc.RpcError) -> str | None:
    """The run that has the idempotency key already."""
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        if detail.Is(IdempotencyCollisionError.DESCRIPTOR):
            collision = IdempotencyCollisionError()
            detail.Unpack(collision)
            return str(collision.existing_run_external_id)
    return None


def whole_seconds(wait: timedelta) -> int:
    """Rounded up: Hatchet sleeps whole seconds, and must not come early."""
    return -int(-wait.total_seconds() // 1)
