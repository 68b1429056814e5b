"""What the scheduler needs to know of a pod, worked out once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.machinery.footprint import CPU, MEMORY, Port, occupied, ports_of
from tiphys.machinery.selectors import NOTHING, Requirement, Selector, from_label_selector
from tiphys.machinery.volumes import claims_of

STORAGE, PODS = "ephemeral-storage", "pods"
HARD = 1 << 20  # stands for the weight of a required affinity term for pods that come later
_LEAST = {CPU: 100, MEMORY: 200 << 20}  # what a pod that asks for nothing counts as when nodes are compared


@dataclass(frozen=True)
class Term:
    """A pod (anti-)affinity term: which pods, within which topology. `within` chooses more namespaces by labels."""

    namespaces: frozenset[str]  # empty without `within`: all
    selector: Selector
    topology: str
    weight: int = 0
    within: Selector | None = None


def _terms(terms: list[core_v1.PodAffinityTerm], pod: core_v1.Pod) -> tuple[Term, ...]:
    return tuple(_term(term, pod) for term in terms)


def _term(term: core_v1.PodAffinityTerm, pod: core_v1.Pod, weight: int = 0) -> Term:
    selector = from_label_selector(term.label_selector)
    extra = []
    if selector is not None:
        for keys, operator in ((term.match_label_keys, "in"), (term.mismatch_label_keys, "notin")):
            extra += [Requirement(k, operator, (pod.metadata.labels[k],)) for k in keys if k in pod.metadata.labels]
        selector = Selector(selector.requirements + tuple(extra))
    within = from_label_selector(term.namespace_selector)
    if within is not None and not within.requirements:
        namespaces, within = frozenset[str](), None
    else:
        own = [pod.metadata.namespace] if within is None else []
        namespaces = frozenset(term.namespaces or own)
    return Term(namespaces, selector if selector is not None else NOTHING, term.topology_key, weight, within)


def _disks(pod: core_v1.Pod) -> Iterator[tuple[str, bool]]:
    for volume in pod.spec.volumes:
        if (gce := volume.gce_persistent_disk) is not None:
            yield f"gce/{gce.pd_name}", bool(gce.read_only)
        if (aws := volume.aws_elastic_block_store) is not None:
            yield f"aws/{aws.volume_id}", False
        if (iscsi := volume.iscsi) is not None:
            yield f"iscsi/{iscsi.iqn}", bool(iscsi.read_only)
        if (rbd := volume.rbd) is not None:
            for monitor in rbd.monitors:
                yield f"rbd/{monitor}/{rbd.pool}/{rbd.image}", bool(rbd.read_only)


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
        return occupied(self.pod)

    @cached_property
    def scored(self) -> tuple[int, int]:
        """(cpu, memory) as they count when nodes are compared: no container counts as nothing."""
        found = occupied(self.pod, _LEAST)
        return found[CPU], found[MEMORY]

    @cached_property
    def claims(self) -> tuple[str, ...]:
        """Names of the claims whose volumes the pod mounts."""
        return tuple(claims_of(self.pod))

    @cached_property
    def disks(self) -> tuple[tuple[str, bool], ...]:
        """(which disk, whether it is only read and may be shared for that) of each volume that names a disk itself."""
        return tuple(_disks(self.pod))

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        return ports_of(self.pod.spec)

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

    @cached_property
    def wishes(self) -> tuple[Term, ...]:
        """Terms that draw other pods to this one's node, or away from it, once it is there. Required ones have the
        weight HARD, for which a profile may put another."""
        return (*self.preferred, *(replace(term, weight=HARD) for term in self.required_affinity))
