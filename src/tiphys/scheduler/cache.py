"""Assumed pods: those whose binding is on its way. Pure.

They count on their node in the snapshot as if they were bound, so that the next scheduling cycle
need not wait for the API server (upstream's `cache.AssumePod`, `ForgetPod` and the confirmation by
`AddPod`).
"""

from __future__ import annotations

from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot


class Cache:
    """Puts pods on nodes of the snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._assumed: set[str] = set()

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def assume(self, pod: PodInfo, node_name: str) -> None:
        """The pod will be bound to the node."""
        self._assumed.add(pod.uid)
        self._snapshot.put_pod(pod, node_name)

    def confirm(self, pod: PodInfo, node_name: str) -> None:
        """The API server shows the pod on the node, assumed or not."""
        self._assumed.discard(pod.uid)
        self._snapshot.put_pod(pod, node_name)

    def forget(self, uid: str) -> None:
        """The pod is on no node: its binding failed, or it is gone."""
        self._assumed.discard(uid)
        self._snapshot.remove_pod(uid)
