"""Nodes that leave the cluster are deleted, and no traffic goes to what left with them: their pods,
and their DNS servers.

A node may not delete its own Node, so `tiphys leave` asks for it with an annotation once the node
is drained. The annotation has the Node's uid: one that was copied to another Node asks for nothing.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1, discovery_v1
from tiphys.controllers.shell import Controller

_SLICE = "kube-dns-{node}"  # in kube-system, which each node writes (`addons.dns.publishing`)
LEAVES = "tiphys.io/leaves"  # annotation: the uid of the Node that is to go


class NodeLeavingController(Controller):
    name = "node-leaving"
    workers = 1

    def watch(self) -> None:
        self._nodes = self.informer(core_v1.Node)
        self._gone: set[str] = set()
        self._left: set[str] = set()
        self._pods = self.informer(core_v1.Pod)
        self._pods.index("node", lambda pod: [pod.spec.node_name])
        self._nodes.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if new is None:
            self._gone.add(old.metadata.name)
            if _leaves(old):
                self._left.add(old.metadata.name)
        self.enqueue(old, new)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None and key in self._gone:
            await self._remove_slice(key)
            if key in self._left:
                await self._remove_pods(key)
            self._gone.discard(key)
            self._left.discard(key)
        if node is None or not _leaves(node):
            return None
        self.event(node, "Normal", "RemovingNode", f"Node {key} event: Removing Node {key}")
        await self.delete(node)
        return None

    async def _remove_pods(self, node: str) -> None:
        """Those of daemon sets, which were left there: the machine has ended them. (Of a node that
        did not say that it leaves, they are removed later, by the collector of pods.)"""
        for pod in self._pods.by("node", node):
            await self.delete(pod, grace=0)

    async def _remove_slice(self, node: str) -> None:
        name = _SLICE.format(node=node)
        published = await self.live(discovery_v1.EndpointSlice, name, "kube-system")
        if published is not None:
            await self.delete(published)


def _leaves(node: core_v1.Node) -> bool:
    return node.metadata.annotations.get(LEAVES) == node.metadata.uid
