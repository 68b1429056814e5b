"""What the scheduler needs to know of a pod, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.machinery import quantity
from tiphys.machinery.selectors import Requirement, Selector, from_label_selector

CPU, MEMORY, STORAGE, PODS = "cpu", "memory", "ephemeral-storage", "pods"
_LEAST = {CPU: 100, MEMORY: 200 << 20}  # what a pod that asks for nothing counts as when nodes are compared


def units(name: str, value: str) -> int:
    """A quantity in the scheduler's units: thousandths of cpu, whole numbers of everything else."""
    return quantity.milli(value) if name == CPU else quantity.ceil_units(value)


def requests_of(spec: core_v1.PodSpec) -> dict[str, int]:
    """What the pod needs at its neediest moment: all containers together, or one init container beside the
    sidecars started before it, plus overhead."""
    total: dict[str, int] = {}
    for container in spec.containers:
        for name, asked in container.resources.requests.items():
            total[name] = total.get(name, 0) + units(name, asked)
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.init_containers:
        own = {name: units(name, value) for name, value in container.resources.requests.items()}
        if container.restart_policy == "Always":
            for name, value in own.items():
                sidecars[name] = sidecars.get(name, 0) + value
                total[name] = total.get(name, 0) + value
            own = {}
        for name in own.keys() | sidecars.keys():
            peak[name] = max(peak.get(name, 0), own.get(name, 0) + sidecars.get(name, 0))
    result = {name: max(total.get(name, 0), peak.get(name, 0)) for name in total.keys() | peak.keys()}
    if spec.resources is not None:
        result |= {name: units(name, value) for name, value in spec.resources.requests.items()}
    for name, over in spec.overhead.items():
        result[name] = result.get(name, 0) + units(name, over)
    return result


@dataclass(frozen=True)
class Term:
    """A pod (anti-)affinity term: which pods, within which topology."""

    namespaces: frozenset[str]  # empty: all
    selector: Selector
    topology: str
    weight: int = 0

    def matches(self, namespace: str, labels: dict[str, str]) -> bool:
        return (not self.namespaces or namespace in self.namespaces) and self.selector.matches(labels)


def _terms(terms: list[core_v1.PodAffinityTerm], pod: core_v1.Pod) -> tuple[Term, ...]:
    return tuple(_term(term, pod) for term in terms)


def _term(term: core_v1.PodAffinityTerm, pod: core_v1.Pod, weight: int = 0) -> Term:
    selector = from_label_selector(term.label_selector)
    extra = []
    if selector is not None:
        for keys, operator in ((term.match_label_keys, "in"), (term.mismatch_label_keys, "notin")):
            extra += [Requirement(k, operator, (pod.metadata.labels[k],)) for k in keys if k in pod.metadata.labels]
        selector = Selector(selector.requirements + tuple(extra))
    nothing = Selector((_NEVER,))
    everywhere = (
        term.namespace_selector is not None
        and not term.namespace_selector.match_labels
        and not term.namespace_selector.match_expressions
    )
    namespaces = frozenset() if everywhere else frozenset(term.namespaces or [pod.metadata.namespace])
    return Term(namespaces, selector if selector is not None else nothing, term.topology_key, weight)


_NEVER = Requirement("metadata.name/none", "in", ())


class PodInfo:
    """A pod as the plugins see it."""

    def __init__(self, pod: core_v1.Pod) -> None:
        self.pod = pod
        meta = pod.metadata
        self.key = f"{meta.namespace}/{meta.name}"
        self.uid, self.namespace, self.labels = meta.uid, meta.namespace, meta.labels
        self.priority = pod.spec.priority or 0

    @cached_property
    def requests(self) -> dict[str, int]:
        return requests_of(self.pod.spec)

    @cached_property
    def scored(self) -> tuple[int, int]:
        """(cpu, memory) as they count when nodes are compared: container by container, never nothing."""
        cpu = memory = 0
        for container in self.pod.spec.containers:
            asked = container.resources.requests
            cpu += units(CPU, asked[CPU]) if CPU in asked else _LEAST[CPU]
            memory += units(MEMORY, asked[MEMORY]) if MEMORY in asked else _LEAST[MEMORY]
        return cpu, memory

    @cached_property
    def ports(self) -> tuple[tuple[str, str, int], ...]:
        """(address, protocol, host port) that the pod takes on its node."""
        return tuple(
            (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)
            for container in self.pod.spec.containers
            for port in container.ports
            if port.host_port
        )

    @cached_property
    def static_key(self) -> bytes:
        """Pods with the same key are alike to every filter that looks at nodes alone."""
        spec = self.pod.spec
        affinity = spec.affinity.node_affinity if spec.affinity else None
        return encode([spec.node_selector, affinity, spec.tolerations, spec.node_name])

    @cached_property
    def required_affinity(self) -> tuple[Term, ...]:
        affinity = self.pod.spec.affinity
        if affinity is None or affinity.pod_affinity is None:
            return ()
        return _terms(affinity.pod_affinity.required_during_scheduling_ignored_during_execution, self.pod)

    @cached_property
    def required_anti_affinity(self) -> tuple[Term, ...]:
        affinity = self.pod.spec.affinity
        if affinity is None or affinity.pod_anti_affinity is None:
            return ()
        return _terms(affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution, self.pod)

    @cached_property
    def preferred(self) -> tuple[Term, ...]:
        """Preferred terms; anti-affinity has a negative weight."""
        affinity = self.pod.spec.affinity
        if affinity is None:
            return ()
        found = []
        for part, sign in ((affinity.pod_affinity, 1), (affinity.pod_anti_affinity, -1)):
            if part is not None:
                for weighted in part.preferred_during_scheduling_ignored_during_execution:
                    found.append(_term(weighted.pod_affinity_term, self.pod, sign * weighted.weight))
        return tuple(found)
