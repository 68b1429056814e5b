"""Pre-enqueue: a pod waits outside of the queue until all of its ResourceClaims exist. Pure.

Claims from templates are created after the pod; to schedule it before would only fail (upstream's
PreEnqueue of DynamicResources).
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.podinfo import PodInfo


class ClaimGate:
    """`on_ready` is given a pod that waited and whose claims exist now."""

    def __init__(self, tracker: DeviceTracker, on_ready: Callable[[PodInfo], None]) -> None:
        self._tracker = tracker
        self._on_ready = on_ready
        self._waiting: dict[str, PodInfo] = {}  # by uid

    def must_wait(self, pod: PodInfo) -> bool:
        """Whether a claim of the pod does not exist yet. Then the pod is remembered."""
        if not pod.spec.resource_claims or self._tracker.claims_exist(pod.pod):
            self._waiting.pop(pod.uid, None)
            return False
        self._waiting[pod.uid] = pod
        return True

    def claim_created(self, namespace: str) -> None:
        """Pods of the namespace may have all of their claims now."""
        waiting = [pod for pod in self._waiting.values() if pod.namespace == namespace]
        for pod in waiting:
            if not self.must_wait(pod):
                self._on_ready(pod)

    def count(self) -> int:
        return len(self._waiting)

    def forget(self, uid: str) -> None:
        self._waiting.pop(uid, None)
