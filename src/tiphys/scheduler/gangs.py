"""Gangs: pods that are placed together or not at all. Pure.

1.36 has an API for them (scheduling.k8s.io/v1alpha2, PodGroup) whose gates GenericWorkload and
GangScheduling are off. Until they are on, pods say it themselves, with the labels of the
coscheduling plugin (kubernetes-sigs/scheduler-plugins): a name, and how many must have a place. The
size is on each pod, so that no further object has to be there. A pod with a name and no size is
one like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiphys.scheduler.podinfo import PodInfo

NAME_LABEL = "scheduling.x-k8s.io/pod-group"
OLD_NAME_LABEL = "pod-group.scheduling.sigs.k8s.io/name"
SIZE_LABEL = "pod-group.scheduling.sigs.k8s.io/min-available"
_LARGEST = 100_000  # pods: more than a cluster has


class Gang(NamedTuple):
    """`key` is ``namespace/name``; `size` is how many of its pods must have a place."""

    key: str
    size: int


def gang_of(namespace: str, labels: Mapping[str, str]) -> Gang | None:
    """None for a pod that is placed by itself."""
    size = labels.get(SIZE_LABEL)
    if size is None:
        return None
    name = labels.get(NAME_LABEL) or labels.get(OLD_NAME_LABEL)
    if not name or not size.isdecimal() or not 1 < int(size) <= _LARGEST:
        return None
    return Gang(f"{namespace}/{name}", int(size))


class Gangs:
    """Which pods of each gang are on nodes, as the API server shows them. One that is being deleted
    does not count: it will not run when the others start."""

    def __init__(self) -> None:
        self._placed: dict[str, set[str]] = {}  # uids by gang

    def put(self, pod: PodInfo) -> None:
        """A pod is on a node."""
        gang = pod.gang
        if gang is None:
            return
        if pod.pod.metadata.deletion_timestamp:
            self.remove(pod)
            return
        self._placed.setdefault(gang.key, set()).add(pod.uid)

    def remove(self, pod: PodInfo) -> None:
        """It has ended, or is gone."""
        gang = pod.gang
        if gang is None or gang.key not in self._placed:
            return
        uids = self._placed[gang.key]
        uids.discard(pod.uid)
        if not uids:
            del self._placed[gang.key]

    def placed(self, key: str) -> frozenset[str]:
        """The uids of a gang's pods on nodes."""
        return frozenset(self._placed.get(key, ()))
