"""A pod's status on its way to the API server: written when it differs from what was written."""

from __future__ import annotations

import copy

from tiphys.api import core_v1
from tiphys.machinery import finished, timestamps
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.statuswriter import StatusWriter, patch_status
from tiphys.node.resources.admission import Rejection
from tiphys.node.status.containerstatus import Observation
from tiphys.node.status.podstatus import pod_status, settle


class StatusReporter:
    """Makes and writes the status of one pod."""

    def __init__(self, managed: ManagedPod) -> None:
        self._managed = managed
        self._writer = StatusWriter(managed.node.client)

    async def report(self, is_final: bool = False) -> None:
        """Writes the status as it is now. `is_final`: nothing of the pod runs any more. Raises
        StatusError, Unreachable."""
        managed = self._managed
        pod = managed.pod
        status = pod_status(self._observation(is_final))
        if is_final:
            settle(pod, status)
        if finished.is_final(status.phase):
            # Before it is reported: the scheduler may send another pod into the room.
            managed.holds_room = False
        count = managed.node.metrics.pods.reported
        if managed.mirror is not None:
            count(pod.status, status)
            managed.mirror.show_status(status)
            managed.pod = _with_status(managed.pod, status)
            return
        written = await self._writer.write(pod, status)
        if written is not pod:
            count(pod.status, status)
        if _version(written) > _version(managed.pod):  # else a newer pod has come meanwhile
            managed.pod = written

    def _observation(self, is_final: bool) -> Observation:
        managed = self._managed
        pod = managed.pod
        devices = managed.node.devices
        return Observation(
            managed.pod,
            managed.state,
            managed.records,
            managed.resources,
            scheme=managed.node.runtime.name.partition(":")[0],
            host_ips=managed.node.addresses,
            now=managed.node.now(),
            failure=managed.failure,
            disruption=managed.disruption,
            recursive_read_only=managed.node.runtime.abilities.of(
                managed.handler
            ).recursive_read_only,
            is_final=is_final,
            devices={
                container.name: devices.health(pod, container) for container in pod.spec.containers
            },
        )

    async def reject(self, rejection: Rejection) -> None:
        """Fails the pod without having run anything of it. Raises StatusError, Unreachable."""
        managed = self._managed
        managed.event("Warning", *rejection)
        message = f"Pod was rejected: {rejection.message}"
        started_at = timestamps.rfc3339(managed.node.now())
        if managed.mirror is not None:
            status = core_v1.PodStatus(
                observed_generation=managed.pod.metadata.generation,
                phase="Failed",
                reason=rejection.reason,
                message=message,
                start_time=started_at,
            )
            managed.mirror.show_status(status)
            return
        changes = {
            "observedGeneration": managed.pod.metadata.generation,
            "phase": "Failed",
            "reason": rejection.reason,
            "message": message,
            "startTime": started_at,
        }
        await patch_status(managed.node.client, managed.pod, changes)


def _with_status(pod: core_v1.Pod, status: core_v1.PodStatus) -> core_v1.Pod:
    """Of a static pod, which nothing else writes."""
    shown = copy.copy(pod)
    shown.status = status
    return shown


def _version(pod: core_v1.Pod) -> int:
    return int(pod.metadata.resource_version)
