"""Nominated pods: those for which room is kept on a node while pods of lower priority leave it.
Pure.

While a nominated pod waits, it stands in the snapshot as if it were on its node, under a uid of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiphys.api import core_v1
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_UID_PREFIX = "nominated/"


def is_nominated(pod: PodInfo) -> bool:
    """Whether what stands in the snapshot keeps room for a nominated pod, and is no pod itself."""
    return pod.uid.startswith(_UID_PREFIX)


class Nominator:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._node_names: dict[str, str] = {}  # by the pod's uid

    def node_of(self, uid: str) -> str:
        """The node that a pod is nominated to; empty: it is not nominated."""
        return self._node_names.get(uid, "")

    def nominate(self, pod: PodInfo, node_name: str) -> None:
        """Keeps room for the pod on the node."""
        self._node_names[pod.uid] = node_name
        placeholder = PodInfo(pod.pod)
        placeholder.uid = _UID_PREFIX + pod.uid
        self._snapshot.put_pod(placeholder, node_name)

    def renominate(self, pod: PodInfo) -> None:
        """Keeps the room again that `release` has freed, if the pod is nominated."""
        node_name = self._node_names.get(pod.uid)
        if node_name:
            self.nominate(pod, node_name)

    def release(self, uid: str) -> None:
        """Frees the room for the pod itself, which is about to be scheduled. It stays nominated."""
        if uid in self._node_names:
            self._snapshot.remove_pod(_UID_PREFIX + uid)

    def withdraw(self, uid: str) -> None:
        """The pod is not nominated any more."""
        self.release(uid)
        self._node_names.pop(uid, None)

    def follow_status(self, old: core_v1.Pod | None, new: core_v1.Pod) -> None:
        """Follows `status.nominatedNodeName`, which others may set, as may the scheduler before a
        restart."""
        uid = new.metadata.uid
        node_name = new.status.nominated_node_name
        old_node_name = old.status.nominated_node_name if old is not None else ""
        if node_name == old_node_name:
            return
        if node_name and uid not in self._node_names:
            self.nominate(PodInfo(new), node_name)
        elif not node_name and self._node_names.get(uid) == old_node_name:
            self.withdraw(uid)

    def lower_priority_pods(self, pod: PodInfo, node_name: str) -> list[PodInfo]:
        """The placeholders, on a node, of nominated pods with a lower priority than the pod."""
        pods = []
        for uid, nominated_node in self._node_names.items():
            if nominated_node != node_name or uid == pod.uid:
                continue
            placed = self._snapshot.pods.get(_UID_PREFIX + uid)
            if placed is not None and placed.pod.priority < pod.priority:
                pods.append(placed.pod)
        return pods

    @contextmanager
    def without_lower_priority(self, pod: PodInfo) -> Iterator[None]:
        """Within the context, room that is kept for pods of lower priority is free for the pod.

        Upstream's filters run with nominated pods of equal or higher priority alone.
        """
        removed = [
            (placeholder, node_name)
            for node_name in set(self._node_names.values())
            for placeholder in self.lower_priority_pods(pod, node_name)
        ]
        for placeholder, _ in removed:
            self._snapshot.remove_pod(placeholder.uid)
        try:
            yield
        finally:
            for placeholder, node_name in removed:
                # It may have been withdrawn meanwhile.
                if self.node_of(placeholder.pod.metadata.uid) == node_name:
                    self._snapshot.put_pod(placeholder, node_name)
