"""How long a pod takes to start, as upstream's objective for it (pod_startup_latency) has it: until
the API server shows every container as started. Pure."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.node.metrics import KubeletMetrics


class PodStartup:
    """Of one pod. Times are in seconds since the epoch; `now` is when the node saw the pod."""

    def __init__(self, pod: core_v1.Pod, now: float) -> None:
        self._seen_at = now
        self._is_observed = _has_started(pod)  # an agent before this one did
        self._first_pull_began: float | None = None
        self._last_pull_ended = 0.0

    def pulled(self, began: float, ended: float) -> None:
        """An image was pulled for the pod."""
        if self._first_pull_began is None:
            self._first_pull_began = began
        self._last_pull_ended = ended

    def observe(self, pod: core_v1.Pod, now: float, metrics: KubeletMetrics) -> None:
        """The API server shows the pod like this now. What is observed is its first start alone."""
        if self._is_observed or not _has_started(pod):
            return
        self._is_observed = True
        metrics.start.observe(max(0.0, now - self._seen_at))
        created_at = timestamps.parse(pod.metadata.creation_timestamp)
        if created_at is None:
            return
        total = max(0.0, now - created_at)
        metrics.start_total.observe(total)
        excluded = self._pull_seconds() + _init_seconds(pod)
        metrics.start_sli.observe(max(0.0, total - excluded))

    def _pull_seconds(self) -> float:
        if self._first_pull_began is None:
            return 0.0
        return max(0.0, self._last_pull_ended - self._first_pull_began)


def _has_started(pod: core_v1.Pod) -> bool:
    statuses = pod.status.container_statuses
    if len(statuses) < len(pod.spec.containers):
        return False
    return all(status.state.running or status.state.terminated for status in statuses)


def _init_seconds(pod: core_v1.Pod) -> float:
    """From the start of the first init container to the end of the last one."""
    ended = [
        status.state.terminated
        for status in pod.status.init_container_statuses
        if status.state.terminated is not None
    ]
    began_at = [timestamps.parse(terminated.started_at) for terminated in ended]
    ended_at = [timestamps.parse(terminated.finished_at) for terminated in ended]
    starts = [time for time in began_at if time is not None]
    ends = [time for time in ended_at if time is not None]
    return max(0.0, max(ends) - min(starts)) if starts and ends else 0.0
