"""Queues and workloads for tests of the core, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.addons.kueue.core.building import Objects, state_of
from tiphys.addons.kueue.core.state import Item, PodGroup, State
from tiphys.addons.kueue.core.topology import ANYWHERE, Nearness
from tiphys.addons.kueue.types.quotas import ClusterQueue, Cohort, ResourceFlavor, Topology
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.footprint import units

PREFIX = "kueue.x-k8s.io"
Quotas = Mapping[str, Any]
"""By flavor; of each flavor by resource: nominal, or (nominal, borrowing limit, lending limit)."""


def flavor(name: str, **spec: Any) -> ResourceFlavor:
    return from_builtins({"metadata": {"name": name}, "spec": spec}, ResourceFlavor)


def _groups(quotas: Quotas) -> list[dict[str, Any]]:
    if not quotas:
        return []
    covered = list(next(iter(quotas.values())))
    flavors = [
        {"name": name, "resources": [_quota(resource, of[resource]) for resource in covered]}
        for name, of in quotas.items()
    ]
    return [{"coveredResources": covered, "flavors": flavors}]


def _quota(resource: str, said: Any) -> dict[str, Any]:
    nominal, borrowing, lending = said if isinstance(said, tuple) else (said, None, None)
    limits = {"borrowingLimit": borrowing, "lendingLimit": lending}
    given = {name: str(limit) for name, limit in limits.items() if limit is not None}
    return {"name": resource, "nominalQuota": str(nominal), **given}


def queue(name: str, quotas: Quotas, cohort: str = "", **spec: Any) -> ClusterQueue:
    """A cluster queue that all namespaces may use."""
    whole = {"namespaceSelector": {}, "resourceGroups": _groups(quotas), **spec}
    if cohort:
        whole["cohortName"] = cohort
    return from_builtins({"metadata": {"name": name}, "spec": whole}, ClusterQueue)


def cohort(name: str, parent: str = "", quotas: Quotas | None = None, **more: Any) -> Cohort:
    spec: dict[str, Any] = {"resourceGroups": _groups(quotas or {}), **more}
    if parent:
        spec["parentName"] = parent
    return from_builtins({"metadata": {"name": name}, "spec": spec}, Cohort)


def state(
    queues: Iterable[ClusterQueue],
    flavors: Iterable[ResourceFlavor] = (),
    cohorts: Iterable[Cohort] = (),
    strategies: tuple[str, ...] = (),
    topologies: Iterable[Topology] = (),
    nodes: Iterable[core_v1.Node] = (),
) -> State:
    """Flavors that are not given are of nodes without labels; with `strategies` of preemption
    queues share fairly."""
    queues = list(queues)
    named = {
        quota.name
        for one in queues
        for group in one.spec.resource_groups
        for quota in group.flavors
    }
    given = list(flavors)
    plain = [flavor(name) for name in sorted(named - {one.metadata.name for one in given})]
    namespaces = {"default": {"kubernetes.io/metadata.name": "default"}}
    cohorts = list(cohorts)
    objects = Objects([*given, *plain], queues, cohorts, namespaces, strategies=strategies)
    objects.topologies, objects.nodes = list(topologies), list(nodes)
    return state_of(objects)


def topology(name: str, *levels: str) -> Topology:
    spec = {"levels": [{"nodeLabel": level} for level in levels]}
    return from_builtins({"metadata": {"name": name}, "spec": spec}, Topology)


def node(name: str, labels: Mapping[str, str], cpu: Any = 4, **spec: Any) -> core_v1.Node:
    """A ready one, with room for ten pods."""
    status = {
        "allocatable": {"cpu": str(cpu), "memory": "100Gi", "pods": "10"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    meta = {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}}
    return from_builtins({"metadata": meta, "spec": spec, "status": status}, core_v1.Node)


_made = 0


def item(
    name: str,
    of: str,
    priority: int = 0,
    count: int = 1,
    least: int | None = None,
    spec: core_v1.PodSpec | None = None,
    near: Nearness = ANYWHERE,
    **each: Any,
) -> Item:
    """A workload of a queue with one set of pods; of two, the later made has waited less long."""
    global _made
    _made += 1
    requests = {resource: units(resource, str(amount)) for resource, amount in each.items()}
    pods = PodGroup("main", count, requests, spec or core_v1.PodSpec(), least, near)
    return Item(
        key=f"default/{name}",
        uid=name,
        queue=of,
        priority=priority,
        queued=float(_made),
        pod_sets=(pods,),
        reserved=float(_made),
    )


def weight(value: str) -> dict[str, str]:
    """Of a queue or a cohort among those that share fairly."""
    return {"weight": value}


def wait(made: State, *items: Item) -> State:
    for one in items:
        made.waiting.setdefault(one.queue, []).append(one)
    return made


def names_of(rows: Iterable[Any]) -> list[str]:
    """Of the workloads that decisions are about."""
    return [row.item.key.partition("/")[2] for row in rows]


def queued_pod(
    name: str = "p",
    group: str = "",
    of: Any = "",
    phase: str = "Pending",
    queue: str = "team",
    role: str = "",
    gated: bool = True,
    going: bool = False,
    made: str = "2026-01-01T00:00:00Z",
    spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    **annotations: str,
) -> core_v1.Pod:
    """A pod in a queue, of a group of so many; annotations by their last word (`pod_group_fast`)."""
    said = {f"{PREFIX}/{key.replace('_', '-')}": text for key, text in annotations.items()}
    if of != "":
        said[f"{PREFIX}/pod-group-total-count"] = str(of)
    if role:
        said[f"{PREFIX}/role-hash"] = role
    labels = {f"{PREFIX}/queue-name": queue} if queue else {}
    if group:
        labels[f"{PREFIX}/pod-group-name"] = group
    meta = {
        "name": name,
        "namespace": "lab",
        "uid": f"uid-{name}",
        "creationTimestamp": made,
        "labels": labels,
        "annotations": said,
        **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {}),
    }
    gates = [{"name": f"{PREFIX}/admission"}] if gated else []
    containers = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]
    whole = {"containers": containers, "schedulingGates": gates, **(spec or {})}
    told = {"phase": phase, **(status or {})}
    return from_builtins({"metadata": meta, "spec": whole, "status": told}, core_v1.Pod)
