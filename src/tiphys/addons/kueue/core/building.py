"""The state of a cycle, made of the objects as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.addons.kueue.assignments import unpacked
from tiphys.addons.kueue.core.quota import Node, Quota, Slot, sum_up
from tiphys.addons.kueue.core.state import (
    Flavor,
    Fungibility,
    Group,
    Holding,
    Item,
    PodGroup,
    Preemption,
    Queue,
    State,
)
from tiphys.addons.kueue.core.topology import (
    ANYWHERE,
    Layer,
    Nearness,
    Tree,
    Used,
    is_usable,
)
from tiphys.addons.kueue.core.transforming import PLAINLY, Counting
from tiphys.addons.kueue.types.quotas import (
    ClusterQueue,
    ClusterQueueSpec,
    Cohort,
    FairSharing,
    ResourceFlavor,
    ResourceGroup,
    Topology,
)
from tiphys.addons.kueue.types.workloads import PodSetTopologyRequest, Workload
from tiphys.api import core_v1
from tiphys.api.base import encode, from_builtins
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.footprint import requests_of, units
from tiphys.machinery.quantity import nano
from tiphys.machinery.selectors import from_label_selector

Labels = Mapping[str, str]


@dataclass
class Objects:
    """What a state is built from. `namespaces` are labels by name; `checks` are the admission
    checks that there are, and whether their controllers are at work; `others` is what pods of no
    topology use, by node; `strategies`: see State."""

    flavors: Iterable[ResourceFlavor] = ()
    cluster_queues: Iterable[ClusterQueue] = ()
    cohorts: Iterable[Cohort] = ()
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    checks: Mapping[str, bool] = field(default_factory=dict)
    strategies: tuple[str, ...] = ()
    topologies: Iterable[Topology] = ()
    nodes: Iterable[core_v1.Node] = ()
    others: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


# --- queues ---


def state_of(objects: Objects) -> State:
    """The queues without any workload."""
    flavors = _flavors(objects)
    cohorts = {one.metadata.name: one for one in objects.cohorts}
    nodes: dict[str, Node] = {}
    queues: dict[str, Queue] = {}
    for cluster_queue in objects.cluster_queues:
        queue = _queue(cluster_queue, flavors, objects)
        queues[queue.name] = queue
        if cluster_queue.spec.cohort_name:
            _join(queue.node, _cohort(cluster_queue.spec.cohort_name, cohorts, nodes))
    for name in cohorts:  # also those that lend, and have no queue themselves
        _cohort(name, cohorts, nodes)
    in_circles = {name for name, node in nodes.items() if _is_circle(node)}
    for queue in queues.values():
        parent = queue.node.parent
        if parent is not None and parent.name in in_circles:
            # Cohorts in a cycle do not lend: upstream disables its queues until it is gone.
            queue.node.parent = None
            queue.inactive = queue.inactive or "CohortCycle"
    for queue in queues.values():
        if queue.node.parent is None:
            sum_up(queue.node)
    for node in nodes.values():
        if node.parent is None:  # in circles, and below them, everyone has one
            sum_up(node)
    return State(flavors, queues, strategies=objects.strategies, cohorts=nodes)


def _cohort(name: str, cohorts: Mapping[str, Cohort], nodes: dict[str, Node]) -> Node:
    """The node of a cohort; one that has no object lends without limits."""
    known = nodes.get(name)
    if known is not None:
        return known
    spec = cohorts[name].spec if name in cohorts else None
    quotas = _quotas(spec.resource_groups) if spec is not None else {}
    weight = _weight(spec.fair_sharing) if spec is not None else 1.0
    node = nodes[name] = Node(name, quotas, weight)
    if spec is not None and spec.parent_name:
        _join(node, _cohort(spec.parent_name, cohorts, nodes))
    return node


def _join(node: Node, parent: Node) -> None:
    node.parent = parent
    parent.children.append(node)


def _is_circle(node: Node) -> bool:
    seen = {id(node)}
    above = node.parent
    while above is not None:
        if id(above) in seen:
            return True
        seen.add(id(above))
        above = above.parent
    return False


def _flavors(objects: Objects) -> dict[str, Flavor]:
    topologies = {one.metadata.name: one for one in objects.topologies}
    nodes = list(objects.nodes)
    hosts = Used()
    by_name: dict[str, Flavor] = {}
    for flavor in objects.flavors:
        spec = flavor.spec
        name = spec.topology_name or ""
        tree = None
        if name in topologies:
            levels = [level.node_label for level in topologies[name].spec.levels]
            usable = (node for node in nodes if is_usable(node, spec.node_labels, levels))
            tree = Tree(name, levels, usable, objects.others, hosts)
        by_name[flavor.metadata.name] = Flavor(
            spec.node_labels, tuple(spec.node_taints), tuple(spec.tolerations), name, tree
        )
    return by_name


def _queue(cluster_queue: ClusterQueue, flavors: Mapping[str, Flavor], objects: Objects) -> Queue:
    spec = cluster_queue.spec
    fungibility = spec.flavor_fungibility
    preemption = spec.preemption
    selector = from_label_selector(spec.namespace_selector)

    def admits(namespace: str) -> bool:
        labels = objects.namespaces.get(namespace)
        return selector is not None and labels is not None and selector.matches(labels)

    return Queue(
        Node(
            cluster_queue.metadata.name, _quotas(spec.resource_groups), _weight(spec.fair_sharing)
        ),
        tuple(
            Group(frozenset(g.covered_resources), tuple(f.name for f in g.flavors))
            for g in spec.resource_groups
        ),
        strict=spec.queueing_strategy == "StrictFIFO",
        fungibility=Fungibility(
            fungibility.when_can_borrow == "TryNextFlavor",
            fungibility.when_can_preempt == "TryNextFlavor",
            fungibility.preference == "PreemptionOverBorrowing",
        ),
        preemption=Preemption(
            preemption.within_cluster_queue,
            preemption.reclaim_within_cohort,
            preemption.borrow_within_cohort.policy != "Never",
            preemption.borrow_within_cohort.max_priority_threshold,
        ),
        inactive=inactivity(cluster_queue, flavors, objects.checks)[0],
        admits_namespace=admits,
    )


def inactivity(
    queue: ClusterQueue, flavors: Mapping[str, Flavor], checks: Mapping[str, bool]
) -> tuple[str, str]:
    """(reason, message) why a queue admits nothing, in upstream's words; empty when it does."""
    spec = queue.spec
    if queue.metadata.deletion_timestamp:
        return "Terminating", "Can't admit new workloads; clusterQueue is terminating"
    used = [flavor.name for group in spec.resource_groups for flavor in group.flavors]
    wanted = checks_of(spec)
    reasons = {
        "Stopped": "is stopped" if spec.stop_policy != "None" else "",
        "FlavorNotFound": _listing(
            "references missing ResourceFlavor(s)", (one for one in used if one not in flavors)
        ),
        "AdmissionCheckNotFound": _listing(
            "references missing AdmissionCheck(s)", (one for one in wanted if one not in checks)
        ),
        "AdmissionCheckInactive": _listing(
            "references inactive AdmissionCheck(s)",
            (one for one in wanted if not checks.get(one, True)),
        ),
        "TopologyNotFound": ", ".join(_lacking_topologies(used, flavors)),
    }
    present = {reason: message for reason, message in reasons.items() if message}
    if not present:
        return "", ""
    return next(iter(present)), f"Can't admit new workloads: {', '.join(present.values())}."


def _lacking_topologies(used: Iterable[str], flavors: Mapping[str, Flavor]) -> Iterator[str]:
    for name in used:
        flavor = flavors.get(name)
        if flavor is not None and flavor.topology_name and flavor.topology is None:
            yield f'there is no Topology "{flavor.topology_name}" for TAS flavor "{name}"'


def _listing(heading: str, names: Iterable[str]) -> str:
    listed = ",".join(names)
    return f"{heading}: {listed}" if listed else ""


def checks_of(spec: ClusterQueueSpec, flavors: Iterable[str] | None = None) -> tuple[str, ...]:
    """The checks that a queue asks for, or of them those that the assigned flavors need."""
    strategy = spec.admission_checks_strategy
    if strategy is None:
        return ()
    assigned = None if flavors is None else set(flavors)
    return tuple(
        check.name
        for check in strategy.admission_checks
        if assigned is None or not check.on_flavors or assigned & set(check.on_flavors)
    )


def _quotas(groups: Iterable[ResourceGroup]) -> dict[Slot, Quota]:
    return {
        Slot(flavor.name, quota.name): Quota(
            units(quota.name, quota.nominal_quota),
            _limit(quota.name, quota.borrowing_limit),
            _limit(quota.name, quota.lending_limit),
        )
        for group in groups
        for flavor in group.flavors
        for quota in flavor.resources
    }


def _weight(sharing: FairSharing | None) -> float:
    if sharing is None or sharing.weight is None:
        return 1.0
    return nano(sharing.weight) / 10**9


def _limit(resource: str, quantity: str | None) -> int | None:
    return None if quantity is None else units(resource, quantity)


# --- workloads ---


def item_of(workload: Workload, queue: str, counting: Counting = PLAINLY) -> Item:
    """A workload that waits or runs in a cluster queue, its requests as counted. Raises
    msgspec.ValidationError for a template that is none."""
    meta = workload.metadata
    spec = workload.spec
    status = workload.status
    pod_sets = tuple(_pod_set(one, workload, counting) for one in spec.pod_sets)
    return Item(
        key=f"{meta.namespace}/{meta.name}",
        uid=meta.uid,
        queue=queue,
        priority=spec.priority or 0,
        queued=queued_since(workload),
        pod_sets=pod_sets,
        shape=_shape(workload),
        job_uid=meta.labels.get("kueue.x-k8s.io/job-uid", ""),
        reserved=_since(workload, "QuotaReserved"),
        usage=usage_of(workload) if status.admission is not None else {},
        evicted=conditions.is_true(status.conditions, "Evicted"),
        holdings=_holdings(workload, pod_sets),
    )


def _holdings(workload: Workload, pod_sets: Iterable[PodGroup]) -> tuple[Holding, ...]:
    """The places that an admitted workload has."""
    admission = workload.status.admission
    by_name = {one.name: one for one in pod_sets}
    holdings = []
    for pod_set in admission.pod_set_assignments if admission is not None else ():
        assignment = unpacked(pod_set.topology_assignment) if pod_set.topology_assignment else None
        if assignment is not None and pod_set.name in by_name:
            flavors = frozenset(pod_set.flavors.values())
            holdings.append(Holding(flavors, by_name[pod_set.name].taking, assignment.places))
    return tuple(holdings)


def _pod_set(pod_set: Any, workload: Workload, counting: Counting) -> PodGroup:
    template = from_builtins(pod_set.template or {}, core_v1.PodTemplateSpec)
    count = pod_set.count - reclaimable(workload, pod_set.name)
    requests = requests_of(with_requests(template.spec))
    return PodGroup(
        pod_set.name,
        max(0, count),
        counting(requests),
        template.spec,
        pod_set.min_count,
        _nearness(pod_set.topology_request),
        requests,
    )


def _nearness(request: PodSetTopologyRequest | None) -> Nearness:
    if request is None:
        return ANYWHERE
    constraints = request.podset_slice_required_topology_constraints
    layers = [Layer(one.topology, one.size) for one in constraints]
    if request.pod_set_slice_required_topology and request.pod_set_slice_size:
        layers = [Layer(request.pod_set_slice_required_topology, request.pod_set_slice_size)]
    return Nearness(
        request.required or "",
        request.preferred or "",
        bool(request.unconstrained),
        tuple(layers),
        request.pod_set_group_name or "",
    )


def with_requests(spec: core_v1.PodSpec) -> core_v1.PodSpec:
    """Containers that limit a resource and request none of it request as much."""
    for container in [*spec.containers, *spec.init_containers]:
        resources = container.resources
        resources.requests = {**resources.limits, **resources.requests}
    return spec


def reclaimable(workload: Workload, pod_set: str) -> int:
    """Pods of a set that will not be started again: their quota is free."""
    return next((r.count for r in workload.status.reclaimable_pods if r.name == pod_set), 0)


def usage_of(workload: Workload) -> dict[Slot, int]:
    """What an admitted workload holds, less what it will not need again."""
    usage: dict[Slot, int] = {}
    admission = workload.status.admission
    for pod_set in admission.pod_set_assignments if admission is not None else ():
        count = pod_set.count if pod_set.count is not None else 1
        left = max(0, count - reclaimable(workload, pod_set.name))
        for resource, flavor in pod_set.flavors.items():
            slot = Slot(flavor, resource)
            requested = units(resource, pod_set.resource_usage.get(resource, "0"))
            share = requested * left // count if count else requested
            usage[slot] = usage.get(slot, 0) + share
    return usage


def queued_since(workload: Workload) -> float:
    """When it started to wait: when it was evicted because of its pods, otherwise when it was made
    (upstream's queue order timestamp)."""
    evicted = conditions.find(workload.status.conditions, "Evicted")
    if evicted is not None and evicted.status == "True" and evicted.reason in _BACK_IN_LINE:
        return timestamps.parse(evicted.last_transition_time or "")
    return timestamps.parse(workload.metadata.creation_timestamp or "")


_BACK_IN_LINE = ("PodsReadyTimeout", "AdmissionCheck")


def _since(workload: Workload, condition: str) -> float:
    condition_ = conditions.find(workload.status.conditions, condition)
    if condition_ is None or condition_.status != "True" or not condition_.last_transition_time:
        return float("inf")  # it is the newest of all
    return timestamps.parse(condition_.last_transition_time)


def _shape(workload: Workload) -> str:
    """Equal for workloads that are admitted or refused alike."""
    spec = workload.spec
    status = workload.status
    parts = [
        (one.name, one.count, one.min_count, _spec_of(one.template), one.topology_request)
        for one in spec.pod_sets
    ]
    reclaimed = [(one.name, one.count) for one in status.reclaimable_pods]
    text = encode([spec.priority or 0, workload.metadata.namespace, parts, reclaimed])
    return hashlib.sha256(text).hexdigest()


def _spec_of(template: Any) -> Any:
    return template.get("spec") if isinstance(template, dict) else None
