"""A pod's status on its way to the API server: written when it differs from what was written."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import Client
from tiphys.machinery import finished, timestamps
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.resize import IN_PROGRESS, PENDING
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
            # Before anybody hears of it: the scheduler may send another pod into the room.
            managed.holds_room = False
        written = await self._writer.write(pod, status)
        if _version(written) > _version(managed.pod):  # else a newer pod has come meanwhile
            managed.pod = written

    def _observation(self, is_final: bool) -> Observation:
        managed = self._managed
        return Observation(
            managed.pod,
            managed.state,
            managed.records,
            managed.resources,
            scheme=managed.node.runtime.name.partition(":")[0],
            host_ips=managed.node.addresses,
            now=managed.node.now(),
            failure=managed.failure,
            is_final=is_final,
        )

    async def reject(self, rejection: Rejection) -> None:
        """Fails the pod without having run anything of it. Raises StatusError, Unreachable."""
        managed = self._managed
        managed.event("Warning", *rejection)
        status = {
            "phase": "Failed",
            "reason": rejection.reason,
            "message": f"Pod was rejected: {rejection.message}",
            "startTime": timestamps.rfc3339(managed.node.now()),
        }
        await _patch_status(managed.node.client, managed.pod, status)


class StatusWriter:
    """Writes the statuses of one pod."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._written: Any = None

    async def write(self, pod: core_v1.Pod, status: core_v1.PodStatus) -> core_v1.Pod:
        """Writes the status unless it was the last one written. Returns the pod with it, or `pod`
        if nothing was written. Raises StatusError, Unreachable."""
        value = to_builtins(status)
        if value == self._written:
            return pod
        changes = {"reason": None, "message": None, **value}
        changes["conditions"] = _conditions_patch(pod, value.get("conditions", []))
        updated = await _patch_status(self._client, pod, changes)
        if updated is None:
            return pod
        self._written = value
        return updated


async def _patch_status(
    client: Client, pod: core_v1.Pod, changes: dict[str, Any]
) -> core_v1.Pod | None:
    """None if the pod is not there any more."""
    meta = pod.metadata
    body = {"metadata": {"uid": meta.uid}, "status": changes}
    try:
        return await client.patch(core_v1.Pod, meta.name, body, meta.namespace, "status")
    except StatusError as error:
        if is_write_overtaken(error):
            return None
        raise


def _conditions_patch(pod: core_v1.Pod, conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Conditions are merged one by one: what a condition does not have any more must be removed
    explicitly, and so must those of the node that do not hold any more."""
    explained = {old.type for old in pod.status.conditions if old.reason or old.message}
    patch = []
    for condition in conditions:
        removals = {"reason": None, "message": None} if condition["type"] in explained else {}
        patch.append({**removals, **condition})
    held = {condition["type"] for condition in conditions}
    for old in pod.status.conditions:
        if old.type in (PENDING, IN_PROGRESS) and old.type not in held:
            patch.append({"type": old.type, "$patch": "delete"})
    return patch


def _version(pod: core_v1.Pod) -> int:
    return int(pod.metadata.resource_version)
