"""One step of a daemon set: on which nodes to create pods, which pods to delete, what its status
says. Pure.

The rules are those of upstream's daemon_controller.go and daemon/update.go.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.api.apps_v1 import DaemonSet, DaemonSetStatus
from tiphys.controllers.history import REVISION_LABEL
from tiphys.controllers.pods import available_after, from_template, is_available, is_ready
from tiphys.controllers.shell import sooner
from tiphys.machinery.intorpercent import scaled
from tiphys.machinery.nodes import matches_node, tolerated

_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_TAINTS = "node.kubernetes.io/"
_EVICTING = ("not-ready", "unreachable")
_PRESSURE = ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")


# --- which nodes ---


class Fit(NamedTuple):
    """Whether a pod should be created on a node, and whether one that is there may stay."""

    should_run: bool
    may_stay: bool


NOWHERE = Fit(False, False)


def tolerations_of(spec: core_v1.PodSpec) -> list[core_v1.Toleration]:
    """The template's tolerations, and those without which a daemon could not serve a node that is
    in trouble."""
    keys = [(key, "NoExecute") for key in _EVICTING]
    keys += [(key, "NoSchedule") for key in _PRESSURE]
    if spec.host_network:
        keys.append(("network-unavailable", "NoSchedule"))
    tolerations = list(spec.tolerations)
    for key, effect in keys:
        added = core_v1.Toleration(key=_TAINTS + key, operator="Exists", effect=effect)
        if added not in spec.tolerations:
            tolerations.append(added)
    return tolerations


def fit_of(template: core_v1.PodSpec, node: core_v1.Node) -> Fit:
    """What a node says to the pods of a template."""
    if template.node_name and template.node_name != node.metadata.name:
        return NOWHERE
    if not matches_node(template, node):
        return NOWHERE
    tolerations = tolerations_of(template)
    effects = {taint.effect for taint in node.spec.taints if not tolerated(taint, tolerations)}
    may_stay = "NoExecute" not in effects
    return Fit(may_stay and "NoSchedule" not in effects, may_stay)


def node_of(pod: core_v1.Pod) -> str:
    """The node that a pod is on, or that its affinity means it for; empty when there is none."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    if affinity is None:
        return ""
    required = affinity.required_during_scheduling_ignored_during_execution
    if required is None:
        return ""
    for term in required.node_selector_terms:
        for requirement in term.match_fields:
            if (requirement.key, requirement.operator) != ("metadata.name", "In"):
                continue
            if len(requirement.values) == 1:
                return requirement.values[0]
    return ""


def revision_of(pod: core_v1.Pod) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


# --- one step ---


@dataclass
class Plan:
    """Nodes to create pods on, pods to delete, the status to write, when to run again (seconds).
    Pods that have failed are apart: they are deleted with a back-off."""

    status: DaemonSetStatus
    create: list[str] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    failed: list[core_v1.Pod] = field(default_factory=list)
    wake: float | None = None


class _Bounds(NamedTuple):
    """How many nodes may have a second pod at a time, and how many none that is available."""

    surge: int
    unavailable: int


def plan(
    owner: DaemonSet, nodes: list[core_v1.Node], pods: list[core_v1.Pod], update: str, now: float
) -> Plan:
    """One step; `update` is the hash of the newest revision."""
    return _Step(owner, nodes, pods, update, now).plan()


class _Step:
    """What the parts of one step share."""

    def __init__(
        self,
        owner: DaemonSet,
        nodes: list[core_v1.Node],
        pods: list[core_v1.Pod],
        update: str,
        now: float,
    ) -> None:
        self.owner = owner
        self.update = update
        self.now = now
        self.pods = pods
        self.by_node: dict[str, list[core_v1.Pod]] = defaultdict(list)
        for pod in pods:
            self.by_node[node_of(pod)].append(pod)
        template = owner.spec.template.spec
        self.fits = {node.metadata.name: fit_of(template, node) for node in nodes}
        self.result = Plan(self._status())
        self.bounds = self._bounds()

    def plan(self) -> Plan:
        if self.owner.metadata.deletion_timestamp:
            return self.result
        for name, fit in self.fits.items():
            pods_of_node = self.by_node.get(name, [])
            if fit.should_run and not pods_of_node:
                self.result.create.append(name)
            elif fit.may_stay:
                self._tidy(pods_of_node)
            else:
                self._delete_all(pods_of_node)
        for name, pods_of_node in self.by_node.items():
            if name and name not in self.fits:  # the node is gone
                self._delete_all(pods_of_node)
        if self.owner.spec.update_strategy.type == "RollingUpdate":
            self._roll()
        min_ready = self.owner.spec.min_ready_seconds
        waits = [available_after(pod, min_ready, self.now) for pod in self.pods]
        self.result.wake = sooner(*(wait for wait in waits if wait))
        return self.result

    def _bounds(self) -> _Bounds:
        """Never both zero, or nothing could ever move."""
        strategy = self.owner.spec.update_strategy
        rolling = strategy.rolling_update
        if strategy.type != "RollingUpdate" or rolling is None:
            return _Bounds(0, 0)
        desired = self.result.status.desired_number_scheduled
        surge = scaled(rolling.max_surge, desired, round_up=True)
        unavailable = scaled(rolling.max_unavailable, desired, round_up=True)
        if not surge and not unavailable:
            unavailable = 1
        return _Bounds(surge, unavailable)

    def _delete_all(self, pods: list[core_v1.Pod]) -> None:
        self.result.delete += [pod for pod in pods if not pod.metadata.deletion_timestamp]

    def _tidy(self, pods_of_node: list[core_v1.Pod]) -> None:
        """Of the pods on one node those that have finished go, and of the rest all but the oldest,
        or one of each revision while one replaces the other."""
        running = []
        for pod in _by_age(pods_of_node):
            if pod.metadata.deletion_timestamp:
                continue
            if pod.status.phase == "Failed":
                self.result.failed.append(pod)
            elif pod.status.phase == "Succeeded":
                self.result.delete.append(pod)
            else:
                running.append(pod)
        are_current = {revision_of(pod) == self.update for pod in running}
        is_surging = self.bounds.surge > 0 and are_current == {True, False}
        if not is_surging:
            self.result.delete += running[1:]

    def _is_available(self, pod: core_v1.Pod) -> bool:
        if pod.metadata.deletion_timestamp:
            return False
        return is_available(pod, self.owner.spec.min_ready_seconds, self.now)

    def _staying(self) -> dict[str, list[core_v1.Pod]]:
        """By node that should have one: the pods that are not about to go."""
        leaving = {pod.metadata.uid for pod in (*self.result.delete, *self.result.failed)}
        staying = {}
        for name, fit in self.fits.items():
            if fit.should_run:
                staying[name] = [
                    pod
                    for pod in self.by_node.get(name, [])
                    if pod.metadata.uid not in leaving and not pod.metadata.deletion_timestamp
                ]
        return staying

    def _roll(self) -> None:
        """Replaces pods of an older revision, within the bounds."""
        outdated: dict[str, core_v1.Pod] = {}  # by node: pods that nothing replaces yet
        replaced: list[core_v1.Pod] = []
        surging = 0
        unavailable = 0
        for name, pods_of_node in self._staying().items():
            old = [pod for pod in pods_of_node if revision_of(pod) != self.update]
            new = [pod for pod in pods_of_node if revision_of(pod) == self.update]
            if self.bounds.surge and old and new:
                if self._is_available(new[0]):
                    replaced += old
                else:
                    surging += 1
                continue
            if not any(self._is_available(pod) for pod in pods_of_node):
                unavailable += 1
            if old and not new:
                outdated[name] = old[0]
        self.result.delete += replaced
        if self.bounds.surge:
            room = max(0, self.bounds.surge - surging)
            self.result.create += list(outdated)[:room]
            return
        # What is unavailable already costs nothing to replace.
        self.result.delete += [pod for pod in outdated.values() if not self._is_available(pod)]
        room = max(0, self.bounds.unavailable - unavailable)
        available = [pod for pod in outdated.values() if self._is_available(pod)]
        self.result.delete += available[:room]

    def _status(self) -> DaemonSetStatus:
        status = copy.deepcopy(self.owner.status)
        min_ready = self.owner.spec.min_ready_seconds
        status.observed_generation = self.owner.metadata.generation
        status.desired_number_scheduled = 0
        status.current_number_scheduled = 0
        status.number_misscheduled = 0
        status.number_ready = 0
        status.number_available = 0
        status.updated_number_scheduled = 0
        for name, fit in self.fits.items():
            pods_of_node = self.by_node.get(name, [])
            if not fit.should_run:
                status.number_misscheduled += bool(pods_of_node)
                continue
            status.desired_number_scheduled += 1
            status.current_number_scheduled += bool(pods_of_node)
            status.number_ready += any(map(is_ready, pods_of_node))
            status.number_available += any(
                is_available(pod, min_ready, self.now) for pod in pods_of_node
            )
            status.updated_number_scheduled += any(
                revision_of(pod) == self.update for pod in pods_of_node
            )
        status.number_unavailable = status.desired_number_scheduled - status.number_available
        return status


def _by_age(pods: list[core_v1.Pod]) -> list[core_v1.Pod]:
    return sorted(pods, key=lambda pod: pod.metadata.creation_timestamp or "")


# --- pods ---


def new_pod(owner: DaemonSet, node: str, revision: str) -> core_v1.Pod:
    """The pod for one node: the scheduler binds it, and its affinity leaves it no choice."""
    pod = from_template(owner.spec.template, owner)
    pod.metadata.labels[REVISION_LABEL] = revision
    generation = owner.metadata.annotations.get(_TEMPLATE_GENERATION)
    if generation:
        pod.metadata.labels["pod-template-generation"] = generation
    pod.spec.tolerations = tolerations_of(owner.spec.template.spec)
    pod.spec.affinity = _only_on(node, pod.spec.affinity or core_v1.Affinity())
    return pod


def _only_on(node: str, affinity: core_v1.Affinity) -> core_v1.Affinity:
    """The affinity with the node named in each term: that its other requirements hold there was
    seen when the node was chosen, and terms are alternatives."""
    by_node_name = core_v1.NodeSelectorRequirement(
        key="metadata.name", operator="In", values=[node]
    )
    node_affinity = affinity.node_affinity or core_v1.NodeAffinity()
    required = node_affinity.required_during_scheduling_ignored_during_execution
    if required is None:
        required = core_v1.NodeSelector(node_selector_terms=[core_v1.NodeSelectorTerm()])
    for term in required.node_selector_terms:
        term.match_fields = [by_node_name]
    node_affinity.required_during_scheduling_ignored_during_execution = required
    affinity.node_affinity = node_affinity
    return affinity
