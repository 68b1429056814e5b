"""Room that is kept on nodes for pods that others were asked to go for. Pure.

A nominated pod stands in the view as if it were on its node, under a uid of its own, while it waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiphys.api import core_v1
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.preemption import NOMINATED
from tiphys.scheduler.snapshot import Snapshot


class Nominations:
    def __init__(self, view: Snapshot) -> None:
        self._view = view
        self._nodes: dict[str, str] = {}  # by the pod's uid

    def node_of(self, uid: str) -> str:
        """Empty when no room is kept."""
        return self._nodes.get(uid, "")

    def reserve(self, pod: PodInfo, node: str) -> None:
        """The pod counts on the node as if it were there."""
        self._nodes[pod.uid] = node
        held = PodInfo(pod.pod)
        held.uid = NOMINATED + pod.uid
        self._view.put_pod(held, node)

    def hold(self, pod: PodInfo) -> None:
        """Goes on keeping what room there is for the pod, if any."""
        if node := self._nodes.get(pod.uid):
            self.reserve(pod, node)

    def release(self, uid: str) -> None:
        """The room is free, for the pod to be placed."""
        if uid in self._nodes:
            self._view.remove_pod(NOMINATED + uid)

    def withdraw(self, uid: str) -> None:
        """No room is kept for the pod any more."""
        self.release(uid)
        self._nodes.pop(uid, None)

    def follow(self, old: core_v1.Pod | None, new: core_v1.Pod) -> None:
        """Somebody says where the pod is to be, or the scheduler said so before it was restarted."""
        uid, node = new.metadata.uid, new.status.nominated_node_name
        before = old.status.nominated_node_name if old is not None else ""
        if node == before:
            return
        if node and uid not in self._nodes:
            self.reserve(PodInfo(new), node)
        elif not node and self._nodes.get(uid) == before:
            self.withdraw(uid)

    def lesser(self, pod: PodInfo, node: str) -> list[PodInfo]:
        """Pods of lower priority for which room is kept on a node, as they stand in the view."""
        uids = [uid for uid, promised in self._nodes.items() if promised == node and uid != pod.uid]
        return [
            held
            for uid in uids
            if (held := self._held(uid)) is not None and held.priority < pod.priority
        ]

    def _held(self, uid: str) -> PodInfo | None:
        entry = self._view.pods.get(NOMINATED + uid)
        return entry[1] if entry is not None else None

    @contextmanager
    def without_lesser(self, pod: PodInfo) -> Iterator[None]:
        """Rooms that are kept for pods of lower priority are free for this one meanwhile, as upstream has it."""
        held = [(one, node) for node in set(self._nodes.values()) for one in self.lesser(pod, node)]
        for one, _ in held:
            self._view.remove_pod(one.uid)
        try:
            yield
        finally:
            for one, node in held:
                if self.node_of(one.uid.removeprefix(NOMINATED)) == node:
                    self._view.put_pod(one, node)
