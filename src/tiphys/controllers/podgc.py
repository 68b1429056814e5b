"""Pods that no kubelet will finish: bound to nodes that are gone or out of service, deleted before
they were bound, or finished and too many."""

from __future__ import annotations

from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.controllers.pods import disruption_patch
from tiphys.controllers.shell import Controller
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.nodes import is_out_of_service

EVERY = 20.0  # seconds between looks, as upstream
QUARANTINE = 40.0  # seconds a node must be missing: its object may only be late
KEPT_FINISHED = 12_500  # upstream's terminated-pod-gc-threshold


class Lost(NamedTuple):
    """A pod to remove; `orphaned` if its node is gone, which is noted on it as a disruption."""

    pod: core_v1.Pod
    orphaned: bool = False


def collect(
    pods: list[core_v1.Pod],
    nodes: dict[str, core_v1.Node],
    missing_since: dict[str, float],
    now: float,
) -> list[Lost]:
    """The pods to remove now. `missing_since` remembers when each node was missed first, in
    seconds, and is updated."""
    for name in list(missing_since):
        if name in nodes:
            del missing_since[name]
    lost = []
    for pod in pods:
        name = pod.spec.node_name
        is_leaving = bool(pod.metadata.deletion_timestamp)
        if name and name not in nodes:
            if now - missing_since.setdefault(name, now) >= QUARANTINE:
                lost.append(Lost(pod, orphaned=True))
        elif is_leaving and (not name or is_out_of_service(nodes[name])):
            lost.append(Lost(pod))
    known = {orphan.pod.metadata.uid for orphan in lost}
    too_many = [pod for pod in _beyond_threshold(pods) if pod.metadata.uid not in known]
    return [*lost, *map(Lost, too_many)]


def _beyond_threshold(pods: list[core_v1.Pod]) -> list[core_v1.Pod]:
    """The oldest of the finished pods, down to the number that is kept."""
    finished = [pod for pod in pods if pod_finished(pod)]
    finished.sort(key=lambda pod: pod.metadata.creation_timestamp or "")
    return finished[: max(0, len(finished) - KEPT_FINISHED)]


class PodGarbageCollector(Controller):
    """Has one key for everything: it looks at all pods once in a while."""

    name = "pod-garbage-collector"
    workers = 1

    def watch(self) -> None:
        self._pods = self.informer(core_v1.Pod)
        self._nodes = self.informer(core_v1.Node)
        self._missing_since: dict[str, float] = {}
        self.queue.add("all")

    async def reconcile(self, key: str) -> float | None:
        nodes = {node.metadata.name: node for node in self._nodes}
        pods = list(self._pods)
        for lost in collect(pods, nodes, self._missing_since, self.context.now()):
            await self._remove(lost)
        return EVERY

    async def _remove(self, lost: Lost) -> None:
        try:
            if not pod_finished(lost.pod):
                await self._fail(lost)
            await self.delete(lost.pod, grace=0)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise

    async def _fail(self, lost: Lost) -> None:
        """Nobody else can say any more what has become of the pod, and its job waits for that."""
        meta = lost.pod.metadata
        change: dict[str, Any] = {"metadata": {"uid": meta.uid}, "status": {}}
        if lost.orphaned:
            message = "PodGC: node no longer exists"
            now = self.context.now()
            change = disruption_patch(lost.pod, "DeletionByPodGC", message, now)
        change["status"]["phase"] = "Failed"
        await self.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
