"""Daemon sets: one pod on every node that its template fits."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1
from tiphys.api.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from tiphys.controllers.claiming import claim
from tiphys.controllers.deployment import resolve
from tiphys.controllers.history import REVISION_LABEL, History
from tiphys.controllers.pods import FailureBackoff, available_after, from_template, is_ready
from tiphys.controllers.replicaset import Expectations
from tiphys.controllers.shell import Context, Controller, controller_of, owner_index
from tiphys.machinery.errors import StatusError
from tiphys.machinery.nodes import matches_node, tolerated
from tiphys.machinery.selectors import from_label_selector

BURST = 250
_K8S = "node.kubernetes.io/"
_EVICTING = ("not-ready", "unreachable")
_PRESSURE = ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")


# --- the core: pure ---


def tolerations_of(spec: core_v1.PodSpec) -> list[core_v1.Toleration]:
    """The template's tolerations, and those without which a daemon could not serve a node in trouble."""
    added = [
        core_v1.Toleration(key=_K8S + key, operator="Exists", effect="NoExecute")
        for key in _EVICTING
    ]
    pressed = (*_PRESSURE, "network-unavailable") if spec.host_network else _PRESSURE
    added += [
        core_v1.Toleration(key=_K8S + key, operator="Exists", effect="NoSchedule")
        for key in pressed
    ]
    return [*spec.tolerations, *(t for t in added if t not in spec.tolerations)]


def fits(template: core_v1.PodSpec, node: core_v1.Node) -> tuple[bool, bool]:
    """(whether a pod should be made on the node, whether one that is there may stay)."""
    if template.node_name and template.node_name != node.metadata.name:
        return False, False
    if not matches_node(template, node):
        return False, False
    tolerations = tolerations_of(template)
    taints = [taint for taint in node.spec.taints if not tolerated(taint, tolerations)]
    may_stay = all(taint.effect != "NoExecute" for taint in taints)
    return may_stay and all(taint.effect != "NoSchedule" for taint in taints), may_stay


@dataclass
class Plan:
    """Nodes to make pods on, pods to delete, the status to write, when to look again."""

    status: DaemonSetStatus
    create: list[str] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    failed: list[core_v1.Pod] = field(default_factory=list)
    wake: float | None = None


def node_of(pod: core_v1.Pod) -> str:
    """The node a pod is on, or that its affinity means it for."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    for term in required.node_selector_terms if required else ():
        for want in term.match_fields:
            if want.key == "metadata.name" and want.operator == "In" and len(want.values) == 1:
                return want.values[0]
    return ""


def plan(
    owner: DaemonSet, nodes: list[core_v1.Node], pods: list[core_v1.Pod], update: str, now: float
) -> Plan:
    """One step of a daemon set; `update` is the name of its newest revision."""
    by_node: dict[str, list[core_v1.Pod]] = defaultdict(list)
    for pod in pods:
        by_node[node_of(pod)].append(pod)
    template = owner.spec.template.spec
    verdicts = {node.metadata.name: fits(template, node) for node in nodes}
    made = Plan(_status(owner, verdicts, by_node, update, now))
    if owner.metadata.deletion_timestamp:
        return made
    surge, unavailable = _bounds(owner, made.status.desired_number_scheduled)
    for name, (should, may_stay) in verdicts.items():
        there = by_node.get(name, [])
        if should and not there:
            made.create.append(name)
        elif may_stay:
            _tidy(there, made, surge, update)
        else:
            made.delete += [pod for pod in there if not pod.metadata.deletion_timestamp]
    made.delete += [
        pod
        for name, there in by_node.items()
        if name and name not in verdicts
        for pod in there
        if not pod.metadata.deletion_timestamp
    ]
    if owner.spec.update_strategy.type == "RollingUpdate":
        _roll(owner, verdicts, by_node, made, (surge, unavailable), update, now)
    waits = [available_after(pod, owner.spec.min_ready_seconds, now) for pod in pods]
    made.wake = min((wait for wait in waits if wait), default=None)
    return made


def _tidy(there: list[core_v1.Pod], made: Plan, surge: int, update: str) -> None:
    """Of the pods on one node: the failed go, and of the rest all but one, or two while one replaces the other."""
    alive = []
    for pod in there:
        if pod.metadata.deletion_timestamp:
            continue
        if pod.status.phase == "Failed":
            made.failed.append(pod)
        elif pod.status.phase == "Succeeded":
            made.delete.append(pod)
        else:
            alive.append(pod)
    alive.sort(key=lambda pod: pod.metadata.creation_timestamp or "")
    if len(alive) > 1 and not (
        surge and {_revision(pod) == update for pod in alive} == {True, False}
    ):
        made.delete += alive[1:]


def _revision(pod: core_v1.Pod) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


def _bounds(owner: DaemonSet, desired: int) -> tuple[int, int]:
    """(surge, unavailable) in pods; never both zero."""
    rolling = owner.spec.update_strategy.rolling_update
    if owner.spec.update_strategy.type != "RollingUpdate" or rolling is None:
        return 0, 0
    surge, unavailable = (
        resolve(rolling.max_surge, desired, True),
        resolve(rolling.max_unavailable, desired, True),
    )
    return surge, unavailable if surge or unavailable else 1


def _roll(
    owner: DaemonSet,
    verdicts: dict[str, tuple[bool, bool]],
    by_node: dict[str, list[core_v1.Pod]],
    made: Plan,
    bounds: tuple[int, int],
    update: str,
    now: float,
) -> None:
    """Replaces pods of an older revision, within the bounds."""
    surge, most = bounds
    going = {pod.metadata.uid for pod in (*made.delete, *made.failed)}

    def available(pod: core_v1.Pod) -> bool:
        return (
            available_after(pod, owner.spec.min_ready_seconds, now) == 0
            and not pod.metadata.deletion_timestamp
        )

    unavailable, surging = 0, 0
    old: list[core_v1.Pod] = []
    surged: list[str] = []
    for name, (should, _) in verdicts.items():
        if not should:
            continue
        there = [
            p
            for p in by_node.get(name, [])
            if p.metadata.uid not in going and not p.metadata.deletion_timestamp
        ]
        new_pods = [p for p in there if _revision(p) == update]
        old_pods = [p for p in there if _revision(p) != update]
        if surge and new_pods and old_pods:
            if available(new_pods[0]):
                made.delete += old_pods  # the new one has taken over
            else:
                surging += 1
            continue
        if not any(available(pod) for pod in there):
            unavailable += 1
        if old_pods and not new_pods:
            old.append(old_pods[0])
            surged.append(name)
    # What is broken already costs nothing to replace.
    broken = [pod for pod in old if not available(pod)]
    if surge:
        for name in surged:
            if surging >= surge:
                break
            made.create.append(name)
            surging += 1
        return
    made.delete += broken
    room = most - unavailable
    for pod in (pod for pod in old if available(pod)):
        if room <= 0:
            break
        made.delete.append(pod)
        room -= 1


def _status(
    owner: DaemonSet,
    verdicts: dict[str, tuple[bool, bool]],
    by_node: dict[str, list[core_v1.Pod]],
    update: str,
    now: float,
) -> DaemonSetStatus:
    status = copy.deepcopy(owner.status)
    desired = current = wrong = ready = updated = available = 0
    for name, (should, _) in verdicts.items():
        there = by_node.get(name, [])
        if not should:
            wrong += bool(there)
            continue
        desired += 1
        if there:
            current += 1
            chosen = sorted(there, key=lambda pod: pod.metadata.creation_timestamp or "")
            ready_ones = [pod for pod in chosen if is_ready(pod)]
            ready += bool(ready_ones)
            available += any(
                available_after(pod, owner.spec.min_ready_seconds, now) == 0 for pod in ready_ones
            )
            updated += any(_revision(pod) == update for pod in chosen)
    status.desired_number_scheduled, status.current_number_scheduled = desired, current
    status.number_misscheduled, status.number_ready = wrong, ready
    status.updated_number_scheduled, status.number_available = updated, available
    status.number_unavailable = desired - available
    status.observed_generation = owner.metadata.generation
    return status


def new_pod(owner: DaemonSet, node: str, revision: str) -> core_v1.Pod:
    """The pod for one node: the scheduler binds it, and its affinity leaves it no choice."""
    pod = from_template(owner.spec.template, owner)
    pod.metadata.labels[REVISION_LABEL] = revision
    generation = owner.metadata.annotations.get("deprecated.daemonset.template.generation")
    if generation:
        pod.metadata.labels["pod-template-generation"] = generation
    pod.spec.tolerations = tolerations_of(owner.spec.template.spec)
    affinity = pod.spec.affinity or core_v1.Affinity()
    node_affinity = affinity.node_affinity or core_v1.NodeAffinity()
    here = core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])
    required = node_affinity.required_during_scheduling_ignored_during_execution
    # The node itself was chosen by the template's terms: what remains is to name it in each of them.
    terms = required.node_selector_terms if required is not None else [core_v1.NodeSelectorTerm()]
    for term in terms:
        term.match_fields = [here]
    chosen = core_v1.NodeSelector(node_selector_terms=terms)
    node_affinity.required_during_scheduling_ignored_during_execution = chosen
    affinity.node_affinity = node_affinity
    pod.spec.affinity = affinity
    return pod


# --- the shell ---


class DaemonSetController(Controller):
    name = "daemonset"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expect = Expectations()
        self._failures = FailureBackoff(context.now, 900.0)  # by set and node

    def watch(self) -> None:
        self._sets, self._pods = self.informer(DaemonSet), self.informer(core_v1.Pod)
        self._nodes, revisions = self.informer(core_v1.Node), self.informer(ControllerRevision)
        self._pods.index("owner", owner_index)
        revisions.index("owner", owner_index)
        self._history = History(self.client, revisions, REVISION_LABEL)
        self._sets.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        for pod in (old, new):
            owner = controller_of(pod) if pod is not None else None
            if owner is None or owner.kind != "DaemonSet":
                if pod is not None and pod is new and owner is None and pod.metadata.labels:
                    self._orphaned(pod)
                continue
            key = f"{pod.metadata.namespace}/{owner.name}"
            self._expect.seen(key, old, new)
            self.queue.add(key)

    def _orphaned(self, pod: core_v1.Pod) -> None:
        for owner in self._sets:
            selector = from_label_selector(owner.spec.selector)
            if (
                owner.metadata.namespace == pod.metadata.namespace
                and selector
                and selector.matches(pod.metadata.labels)
            ):
                self.enqueue(None, owner)

    def _node_changed(self, old: Any, new: Any) -> None:
        if old is not None and new is not None:
            same = old.metadata.labels == new.metadata.labels and old.spec.taints == new.spec.taints
            if same and old.spec.unschedulable == new.spec.unschedulable:
                return
        for owner in self._sets:
            self.enqueue(None, owner)

    async def reconcile(self, key: str) -> float | None:
        owner = self._sets.get(key)
        if owner is None:
            self._expect.forget(key)
            return None
        selector = from_label_selector(owner.spec.selector)
        assert selector is not None
        update, collisions = await self._history.current(owner)
        name = update.metadata.name.removeprefix(owner.metadata.name + "-")
        pods = await claim(self.client, self._pods, owner, selector)
        todo = plan(owner, list(self._nodes), pods, name, self.context.now())
        todo.status.collision_count = collisions or owner.status.collision_count
        wake = todo.wake
        if self._expect.met(key):
            wake = await self._carry_out(key, owner, todo, name)
        if todo.status != owner.status:
            changed = copy.copy(owner)
            changed.status = todo.status
            await self.client.update_status(changed)
        live = {update.metadata.name, *(f"{owner.metadata.name}-{_revision(pod)}" for pod in pods)}
        await self._history.truncate(owner, live)
        return wake

    async def _carry_out(
        self, key: str, owner: DaemonSet, todo: Plan, revision: str
    ) -> float | None:
        wake = todo.wake
        for pod in todo.failed:
            wait = self._failures.wait(owner.metadata.uid, node_of(pod))
            if wait > 0:
                wake = min(wake or wait, wait)
                continue
            text = f"Found failed daemon pod {owner.metadata.namespace}/{pod.metadata.name} on node {node_of(pod)}, will try to kill it"
            self.context.recorder.record(owner, "Warning", "FailedDaemonPod", text)
            todo.delete.append(pod)
        create, delete = todo.create[:BURST], todo.delete[:BURST]
        self._expect.expect(key, len(create), {pod.metadata.uid for pod in delete})
        work = [self._create(key, owner, node, revision) for node in create]
        work += [self._delete(key, owner, pod) for pod in delete]
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        return wake

    async def _create(self, key: str, owner: DaemonSet, node: str, revision: str) -> None:
        try:
            pod = await self.client.create(new_pod(owner, node, revision))
        except Exception as error:
            self._expect.created(key)
            self.context.recorder.record(
                owner, "Warning", "FailedCreate", f"Error creating: {error}"
            )
            raise
        self.context.recorder.record(
            owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}"
        )

    async def _delete(self, key: str, owner: DaemonSet, pod: core_v1.Pod) -> None:
        try:
            await self.client.delete(
                core_v1.Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.metadata.uid
            )
        except StatusError as error:
            self._expect.deleted(key, pod.metadata.uid)
            if error.code not in (404, 409):
                raise
            return
        self.context.recorder.record(
            owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}"
        )
