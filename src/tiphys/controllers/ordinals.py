"""One step of a stateful set: which ordinals to create, which pods to delete, what its status says.
Pure.

The rules are those of upstream's stateful_set_control.go. With the policy OrderedReady one thing is
done at a time, from the first ordinal up and from the last one down, and each pod has to be
available before the next is touched; with Parallel nobody waits, except for a rolling update.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.api.apps_v1 import StatefulSet, StatefulSetStatus
from tiphys.controllers.history import REVISION_LABEL
from tiphys.controllers.pods import available_after, is_available, is_ready
from tiphys.controllers.shell import sooner
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.intorpercent import scaled

_NAME = re.compile(r"(.*)-(\d+)$")


class Member(NamedTuple):
    """A pod's name, taken apart."""

    owner: str
    ordinal: int


def member(name: str) -> Member | None:
    """The set that a pod's name says it is of; None for a name without an ordinal."""
    match = _NAME.match(name)
    return Member(match[1], int(match[2])) if match else None


def ordinal(pod: core_v1.Pod, owner: StatefulSet) -> int:
    """The number in a pod's name, -1 when it has none of this set's."""
    identity = member(pod.metadata.name)
    if identity is None or identity.owner != owner.metadata.name:
        return -1
    return identity.ordinal


def start_of(owner: StatefulSet) -> int:
    """The first ordinal."""
    return owner.spec.ordinals.start if owner.spec.ordinals is not None else 0


def ordinals_of(owner: StatefulSet) -> range:
    """The ordinals that are wanted."""
    start = start_of(owner)
    return range(start, start + (owner.spec.replicas or 0))


def revision_of(pod: core_v1.Pod) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


@dataclass
class Plan:
    """What to do now: ordinals to create, with the revision of each; pods to delete; the status to
    write. `condemned` are all pods that are not wanted, `wake` is when to reconcile again
    (seconds)."""

    status: StatefulSetStatus
    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    condemned: list[core_v1.Pod] = field(default_factory=list)
    wake: float | None = None


def plan(
    owner: StatefulSet, pods: list[core_v1.Pod], current: str, update: str, now: float
) -> Plan:
    """One step. `current` and `update` are the names of the two revisions in play."""
    return _Step(owner, pods, current, update, now).plan()


class _Step:
    """What the parts of one step share."""

    def __init__(
        self, owner: StatefulSet, pods: list[core_v1.Pod], current: str, update: str, now: float
    ) -> None:
        self.owner = owner
        self.pods = pods
        self.current = current
        self.update = update
        self.now = now
        self.ordered = owner.spec.pod_management_policy != "Parallel"
        self.wanted = ordinals_of(owner)
        self.by_ordinal: dict[int, core_v1.Pod] = {}
        self.result = Plan(self._status())
        for pod in pods:
            number = ordinal(pod, owner)
            if number in self.wanted:
                self.by_ordinal[number] = pod
            elif number >= 0:
                self.result.condemned.append(pod)
        self.result.condemned.sort(key=lambda pod: ordinal(pod, owner), reverse=True)

    def plan(self) -> Plan:
        min_ready = self.owner.spec.min_ready_seconds
        waits = [available_after(pod, min_ready, self.now) for pod in self.pods]
        self.result.wake = sooner(*(wait for wait in waits if wait))
        if not self.owner.metadata.deletion_timestamp:
            if self._fill() and self._shrink():
                self._roll()
        return self.result

    def _is_healthy(self, pod: core_v1.Pod) -> bool:
        if pod.metadata.deletion_timestamp:
            return False
        return is_available(pod, self.owner.spec.min_ready_seconds, self.now)

    def _status(self) -> StatefulSetStatus:
        status = copy.deepcopy(self.owner.status)
        spec = self.owner.spec
        members = [pod for pod in self.pods if ordinal(pod, self.owner) >= 0]
        staying = [pod for pod in members if not pod.metadata.deletion_timestamp]
        status.observed_generation = self.owner.metadata.generation
        status.current_revision = self.current
        status.update_revision = self.update
        status.replicas = len(members)
        status.ready_replicas = sum(is_ready(pod) for pod in members)
        status.available_replicas = sum(
            is_available(pod, spec.min_ready_seconds, self.now) for pod in members
        )
        status.current_replicas = sum(revision_of(pod) == self.current for pod in staying)
        status.updated_replicas = sum(revision_of(pod) == self.update for pod in staying)
        is_rolled_out = (
            spec.update_strategy.type == "RollingUpdate"
            and status.updated_replicas == status.replicas
            and status.ready_replicas == status.replicas
            and status.replicas == (spec.replicas or 0)
        )
        if is_rolled_out:
            status.current_revision = self.update
            status.current_replicas = status.updated_replicas
        return status

    def _revision_for(self, number: int) -> str:
        """The revision that a new pod gets: below the partition the current one."""
        strategy = self.owner.spec.update_strategy
        if strategy.type == "RollingUpdate" and strategy.rolling_update is not None:
            if number < self.wanted.start + (strategy.rolling_update.partition or 0):
                return self.current
        return self.update

    def _fill(self) -> bool:
        """Creates what is missing, and replaces what has finished, in order. Returns whether the
        next part of the step may be taken."""
        for number in self.wanted:
            pod = self.by_ordinal.get(number)
            if pod is None:
                self.result.create.append((number, self._revision_for(number)))
            elif pod_finished(pod) and not pod.metadata.deletion_timestamp:
                self.result.delete.append(pod)
            elif self._is_healthy(pod):
                continue
            if self.ordered:
                return False
        return True

    def _shrink(self) -> bool:
        """Deletes what is too much, from the end. Returns whether nothing is too much. In order, a
        pod that is not healthy is waited for, unless none of those before it is unhealthy, too."""
        condemned = self.result.condemned
        unhealthy = [pod for pod in condemned if not self._is_healthy(pod)]
        first_unhealthy = unhealthy[-1] if unhealthy else None
        for pod in condemned:
            is_leaving = bool(pod.metadata.deletion_timestamp)
            if self.ordered:
                waits = pod is not first_unhealthy and not self._is_healthy(pod)
                if not is_leaving and not waits:
                    self.result.delete.append(pod)
                return False
            if not is_leaving:
                self.result.delete.append(pod)
        return not condemned

    def _roll(self) -> None:
        """Replaces pods of an older revision, from the end, as many at a time as may be
        unavailable. What is unavailable already costs nothing to replace."""
        strategy = self.owner.spec.update_strategy
        if strategy.type == "OnDelete":
            return
        partition = 0
        most = 1
        if strategy.rolling_update is not None:
            partition = strategy.rolling_update.partition or 0
            if strategy.rolling_update.max_unavailable is not None:
                limit = strategy.rolling_update.max_unavailable
                most = max(1, scaled(limit, len(self.wanted), round_up=False))
        healthy = sum(self._is_healthy(pod) for pod in self.by_ordinal.values())
        unavailable = len(self.wanted) - healthy
        for number in reversed(self.wanted[partition:]):
            pod = self.by_ordinal.get(number)
            if pod is None or pod.metadata.deletion_timestamp:
                continue
            is_healthy = self._is_healthy(pod)
            if revision_of(pod) == self.update:
                if not is_healthy and most == 1:
                    return  # one that was replaced has to become available first
                continue
            if is_healthy and unavailable >= most:
                return
            self.result.delete.append(pod)
            unavailable += is_healthy
            if unavailable >= most:
                return
