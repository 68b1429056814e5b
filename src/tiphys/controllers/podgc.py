"""Pods that nobody will finish: bound to nodes that are gone or out of service, deleted before they were bound, or dead
and too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiphys.api import core_v1
from tiphys.controllers.nodelifecycle import is_well
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError

EVERY = 20.0  # seconds
QUARANTINE = 40.0  # seconds a node must be missing: its object may just be late
KEPT_DEAD = 12_500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@dataclass
class Lost:
    """A pod to remove; `orphaned`: its node is gone, which is noted on it as a disruption."""

    pod: core_v1.Pod
    orphaned: bool = False


def collect(
    pods: list[core_v1.Pod],
    nodes: dict[str, core_v1.Node],
    missing_since: dict[str, float],
    now: float,
) -> list[Lost]:
    """The pods to remove now. `missing_since` remembers when each node was missed first, and is updated."""
    for name in list(missing_since):
        if name in nodes:
            del missing_since[name]
    gone = []
    for pod in pods:
        node, leaving = pod.spec.node_name, bool(pod.metadata.deletion_timestamp)
        if node and node not in nodes:
            if now - missing_since.setdefault(node, now) >= QUARANTINE:
                gone.append(Lost(pod, orphaned=True))
        elif leaving and (not node or _out_of_service(nodes[node])):
            gone.append(Lost(pod))
    dead = [p for p in pods if p.status.phase in ("Succeeded", "Failed")]
    if len(dead) > KEPT_DEAD:
        dead.sort(key=lambda p: p.metadata.creation_timestamp or "")
        known = {lost.pod.metadata.uid for lost in gone}
        gone += [
            Lost(pod) for pod in dead[: len(dead) - KEPT_DEAD] if pod.metadata.uid not in known
        ]
    return gone


def _out_of_service(node: core_v1.Node) -> bool:
    """Whether somebody has said that a silent node will not come back: its pods need not be waited for."""
    return not is_well(node) and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


class PodGarbageCollector(Controller):
    name = "pod-garbage-collector"
    workers = 1

    def watch(self) -> None:
        self._pods, self._nodes = self.informer(core_v1.Pod), self.informer(core_v1.Node)
        self._missing: dict[str, float] = {}
        self.queue.add("all")

    async def reconcile(self, key: str) -> float | None:
        nodes = {node.metadata.name: node for node in self._nodes}
        for lost in collect(list(self._pods), nodes, self._missing, self.context.now()):
            await self._remove(lost)
        return EVERY

    async def _remove(self, lost: Lost) -> None:
        meta = lost.pod.metadata
        try:
            if lost.pod.status.phase not in ("Succeeded", "Failed"):
                await self._fail(lost)
            await self.client.delete(core_v1.Pod, meta.name, meta.namespace, grace=0, uid=meta.uid)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _fail(self, lost: Lost) -> None:
        """Nobody else can say any more what has become of it."""
        status: dict[str, Any] = {"phase": "Failed"}
        if lost.orphaned:
            status["conditions"] = [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByPodGC",
                    "message": "PodGC: node no longer exists",
                    "lastTransitionTime": timestamps.rfc3339(self.context.now()),
                }
            ]
        meta = lost.pod.metadata
        change = {"metadata": {"uid": meta.uid}, "status": status}
        await self.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
