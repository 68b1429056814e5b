"""Pods that nobody will finish: bound to nodes that are gone, deleted before they were bound, or dead and too many."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.controllers.shell import Controller
from tiphys.machinery.errors import StatusError

EVERY = 20.0  # seconds
QUARANTINE = 40.0  # seconds a node must be missing: its object may just be late
KEPT_DEAD = 12_500


def collect(pods: list[core_v1.Pod], nodes: set[str], missing_since: dict[str, float], now: float) -> list[core_v1.Pod]:
    """The pods to remove now. `missing_since` remembers when each node was missed first, and is updated."""
    for name in list(missing_since):
        if name in nodes:
            del missing_since[name]
    gone = []
    for pod in pods:
        node = pod.spec.node_name
        if node and node not in nodes:
            if now - missing_since.setdefault(node, now) >= QUARANTINE:
                gone.append(pod)
        elif not node and pod.metadata.deletion_timestamp:
            gone.append(pod)
    dead = [p for p in pods if p.status.phase in ("Succeeded", "Failed")]
    if len(dead) > KEPT_DEAD:
        dead.sort(key=lambda p: p.metadata.creation_timestamp or "")
        gone += [pod for pod in dead[: len(dead) - KEPT_DEAD] if pod not in gone]
    return gone


class PodGarbageCollector(Controller):
    name = "pod-garbage-collector"
    workers = 1

    def watch(self) -> None:
        self._pods, self._nodes = self.informer(core_v1.Pod), self.informer(core_v1.Node)
        self._missing: dict[str, float] = {}
        self.queue.add("all")

    async def reconcile(self, key: str) -> float | None:
        names = {node.metadata.name for node in self._nodes}
        for pod in collect(list(self._pods), names, self._missing, self.context.now()):
            await self._remove(pod)
        return EVERY

    async def _remove(self, pod: Any) -> None:
        try:
            await self.client.delete(
                core_v1.Pod, pod.metadata.name, pod.metadata.namespace, grace=0, uid=pod.metadata.uid
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise
