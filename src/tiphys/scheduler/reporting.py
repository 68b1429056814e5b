"""Reports what came of scheduling a pod: events, the PodScheduled condition, the nominated node."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from tiphys.api import core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informer
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError
from tiphys.scheduler.active_profile import ActiveProfiles
from tiphys.scheduler.podinfo import PodInfo

log = logging.getLogger(__name__)


class FailureReason(StrEnum):
    """The reason of a PodScheduled condition that is false."""

    UNSCHEDULABLE = "Unschedulable"  # the pod fits nowhere now
    SCHEDULER_ERROR = "SchedulerError"  # it is not known where it fits, or it could not be bound


class Reporter:
    """`now` is the wall clock, in seconds since 1970."""

    def __init__(
        self,
        client: Client,
        tasks: TaskGroup,
        pods: Informer[core_v1.Pod],
        profiles: ActiveProfiles,
        now: Callable[[], float],
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._pods = pods
        self._profiles = profiles
        self._now = now

    def scheduled(self, pod: PodInfo, node_name: str) -> None:
        message = f"Successfully assigned {pod.key} to {node_name}"
        self._recorder(pod).record_action(pod.pod, "Normal", "Scheduled", message, "Binding")

    def devices_pending(self, pod: PodInfo, node_name: str) -> None:
        message = f"waiting for binding conditions for device on node {node_name}"
        reason = "BindingConditionsPending"
        self._recorder(pod).record_action(pod.pod, "Normal", reason, message, "Scheduling")

    def preempted(self, victim: PodInfo, preemptor: PodInfo, node_name: str) -> None:
        message = f"Preempted by pod {preemptor.uid} on node {node_name}"
        self._recorder(preemptor).record_action(
            victim.pod, "Normal", "Preempted", message, "Preempting", preemptor.pod
        )

    def failed(
        self, pod: PodInfo, reason: FailureReason, message: str, nominated_node: str = ""
    ) -> None:
        """The pod has no node. What is in its status already is not written again."""
        self._recorder(pod).record_action(
            pod.pod, "Warning", "FailedScheduling", message, "Scheduling"
        )
        report = self._report_failure(pod, reason, message, nominated_node)
        self._tasks.start(report, "report failed scheduling")

    def _recorder(self, pod: PodInfo) -> EventRecorder:
        """Of the profile that schedules the pod."""
        return self._profiles[pod.spec.scheduler_name].recorder

    async def _report_failure(
        self, pod: PodInfo, reason: FailureReason, message: str, nominated_node: str
    ) -> None:
        cached_pod = self._pods.get(pod.key)
        if cached_pod is None or cached_pod.metadata.uid != pod.uid:
            return
        if cached_pod.spec.node_name:
            return
        status: dict[str, Any] = {}
        condition = self.condition(cached_pod, "PodScheduled", "False", reason, message)
        if condition is not None:
            status["conditions"] = [condition]
        if (cached_pod.status.nominated_node_name or "") != nominated_node:
            status["nominatedNodeName"] = nominated_node or None
        if status:
            await self.patch_status(cached_pod, status)

    async def nominate(self, pod: core_v1.Pod, node_name: str | None) -> None:
        """Writes the nominated node of a pod; None: it has none."""
        await self.patch_status(pod, {"nominatedNodeName": node_name})

    async def patch_status(self, pod: core_v1.Pod, status: dict[str, Any]) -> None:
        """Reports are not worth an attempt to schedule: one that fails is written with the next."""
        meta = pod.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": status}
        try:
            await self._client.patch(core_v1.Pod, meta.name, patch, meta.namespace, "status")
        except (StatusError, Unreachable) as error:
            log.debug(
                "The status of pod %s/%s was not written: %s", meta.namespace, meta.name, error
            )

    def condition(
        self, pod: core_v1.Pod, condition_type: str, value: str, reason: str, message: str
    ) -> dict[str, Any] | None:
        """See `condition_patch`."""
        return condition_patch(pod, condition_type, value, reason, message, self._now())


def condition_patch(
    pod: core_v1.Pod, condition_type: str, value: str, reason: str, message: str, now: float
) -> dict[str, Any] | None:
    """A condition that the pod should have, in JSON; None when it is set already. The transition
    time stays as long as the value does; `now` is in seconds since 1970."""
    current = conditions.find(pod.status.conditions, condition_type)
    generation = pod.metadata.generation
    wanted = core_v1.PodCondition(
        type=condition_type, status=value, reason=str(reason), message=message
    )
    is_same = not conditions.differs(current, wanted)
    if is_same and current is not None and current.observed_generation == generation:
        return None
    return {
        "type": condition_type,
        "status": value,
        "reason": str(reason),
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": conditions.transition_time(current, value, now),
    }
