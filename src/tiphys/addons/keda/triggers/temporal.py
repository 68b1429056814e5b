"""temporal: how many tasks of a queue wait."""

from __future__ import annotations

import re
from typing import Annotated

from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.remote_calls import Channel
from tiphys.addons.keda.scaler import Measured, Scaler, ScalerError, scaler
from tiphys.api.base import F, Struct

_SERVICE = "/temporal.api.workflowservice.v1.WorkflowService"
_TYPES = {"workflow": 1, "activity": 2, "nexus": 3}
_NORMAL = 1  # the kind of a queue
_LITERAL = re.compile(r"[a-zA-Z0-9\-_./:]+")


class TaskQueue(Struct):
    name: Annotated[str, F(1)] = ""
    kind: Annotated[int, F(2)] = 0


class DescribeTaskQueueRequest(Struct):
    namespace: Annotated[str, F(1)] = ""
    task_queue: Annotated[TaskQueue | None, F(2)] = None
    task_queue_type: Annotated[int, F(3)] = 0
    report_stats: Annotated[bool, F(8)] = False


class TaskQueueStats(Struct):
    approximate_backlog_count: Annotated[int, F(1)] = 0


class DescribeTaskQueueResponse(Struct):
    stats: Annotated[TaskQueueStats | None, F(5)] = None


class CountRequest(Struct):
    namespace: Annotated[str, F(1)] = ""
    query: Annotated[str, F(2)] = ""


class CountResponse(Struct):
    count: Annotated[int, F(1)] = 0


@scaler("temporal", words="Temporal")
class Temporal(Scaler):
    endpoint: str = parameter(places="metadata env")
    namespace: str = parameter(places="metadata env", default="default")
    activation_target_queue_size: int = parameter(default="0")
    target_queue_size: int = parameter(default="5")
    task_queue: str = parameter(places="metadata env")
    queue_types: list[str] = parameter(optional=True)
    build_id: str = parameter(places="metadata env", optional=True)
    worker_deployment_name: str = parameter(places="metadata env", optional=True)
    include_running: bool = parameter("includeRunningWorkflowCount", default="false")
    count_queue: str = parameter("workflowTaskQueueForCount", places="metadata env", optional=True)
    api_key: str = parameter(places="auth env", optional=True)
    enable_tls: bool = parameter("enableTLS", default="true")
    unsafe_ssl: bool = parameter("unsafeSsl", optional=True)
    cert: str = parameter(places="auth", optional=True)
    key: str = parameter(places="auth", optional=True)
    ca: str = parameter(places="auth", optional=True)
    tls_server_name: str = parameter(optional=True)

    _channel: Channel | None = None

    def check(self) -> None:
        if self.target_queue_size < 0:
            raise ParameterError("targetQueueSize must be a positive number")
        if self.activation_target_queue_size < 0:
            raise ParameterError("activationTargetQueueSize must be a positive number")
        if bool(self.cert) != bool(self.key):
            raise ParameterError("both cert and key must be provided when using TLS")
        if self.count_queue and not self.include_running:
            raise ParameterError(
                "workflowTaskQueueForCount has no effect unless includeRunningWorkflowCount is true"
            )
        if self.build_id or self.worker_deployment_name:
            raise ParameterError(
                "versions of workers (buildId, workerDeploymentName) are not supported"
            )
        for name in (self.task_queue, self.count_queue):
            if self.include_running and name and not _LITERAL.fullmatch(name):
                raise ParameterError(
                    f'value "{name}" contains characters not allowed in Temporal visibility '
                    "queries when includeRunningWorkflowCount is enabled"
                )
        for kind in self.queue_types:
            if kind.lower() not in _TYPES:
                raise ParameterError(f"queueTypes: {kind} is none of {', '.join(_TYPES)}")

    def name(self) -> str:
        return f"temporal-{self.namespace}-{self.task_queue}"

    def target(self) -> float:
        return self.target_queue_size

    def activation(self) -> float:
        return self.activation_target_queue_size

    async def look(self, metric: str) -> Measured:
        backlog = await self.measure()
        is_active = backlog > self.activation_target_queue_size
        if not is_active and self.include_running:
            is_active = await self._running() > 0
        return Measured(backlog, is_active)

    async def measure(self) -> float:
        kinds = [kind.lower() for kind in self.queue_types] or list(_TYPES)
        try:
            return sum([await self._backlog(_TYPES[kind]) for kind in kinds])
        except ScalerError as error:
            raise ScalerError(f"failed to get Temporal backlog count: {error}") from None

    async def _backlog(self, kind: int) -> int:
        asked = DescribeTaskQueueRequest(
            namespace=self.namespace,
            task_queue=TaskQueue(name=self.task_queue, kind=_NORMAL),
            task_queue_type=kind,
            report_stats=True,
        )
        channel = await self._opened()
        answer = await channel.call(
            f"{_SERVICE}/DescribeTaskQueue", asked, DescribeTaskQueueResponse, self._headers()
        )
        return answer.stats.approximate_backlog_count if answer.stats is not None else 0

    async def _running(self) -> int:
        """Workflows that run; none where that cannot be counted, as with KEDA."""
        query = (
            f"ExecutionStatus = 'Running' AND TaskQueue = '{self.count_queue or self.task_queue}' "
            "AND TemporalWorkerDeploymentVersion is null"
        )
        asked = CountRequest(namespace=self.namespace, query=query)
        try:
            channel = await self._opened()
            method = f"{_SERVICE}/CountWorkflowExecutions"
            return (await channel.call(method, asked, CountResponse, self._headers())).count
        except ScalerError:
            return 0

    def _headers(self) -> dict[str, str]:
        headers = {"temporal-namespace": self.namespace}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        return headers

    async def _opened(self) -> Channel:
        if self._channel is None:
            has_tls = bool(self.cert) or (self.enable_tls and bool(self.api_key))
            tls = (self.ca, self.cert, self.key) if has_tls else None
            self._channel = await Channel.open(
                self.config, self.endpoint, tls, self.tls_server_name
            )
        return self._channel

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
