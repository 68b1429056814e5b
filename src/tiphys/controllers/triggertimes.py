"""When the pods or the service behind endpoint slices changed, to measure how long the network
takes to follow. Pure; upstream's `TriggerTimeTracker`.
"""

from __future__ import annotations

from typing import NamedTuple

from tiphys.api.core_v1 import Pod, Service
from tiphys.machinery import conditions

ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


class _Seen(NamedTuple):
    """Of a service at the last look. Times as the API writes them, which sort as they follow."""

    service: str
    pods: dict[str, str]


class TriggerTimes:
    """What was seen of each service, by ``namespace/name``."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def triggered(self, key: str, service: Service, pods: list[Pod]) -> str:
        """The earliest of the changes since the last look, "" for none that has a time. Of a
        service that is new, that is its creation."""
        now = _Seen(
            service.metadata.creation_timestamp or "",
            {pod.metadata.name: _changed(pod) for pod in pods},
        )
        before = self._seen.get(key)
        self._seen[key] = now
        if before is None:
            return now.service
        times = [time for name, time in now.pods.items() if time > before.pods.get(name, "")]
        if now.service > before.service:
            times.append(now.service)
        return min(times, default="")

    def forget(self, key: str) -> None:
        self._seen.pop(key, None)


def _changed(pod: Pod) -> str:
    """When a pod became ready, or stopped to be."""
    ready = conditions.find(pod.status.conditions, "Ready")
    return (ready.last_transition_time or "") if ready is not None else ""
