"""What the scheduler needs to know of a pod, worked out once."""

from __future__ import annotations

from collections import OrderedDict
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
_LEAST = {
    CPU: 100,
    MEMORY: 200 << 20,
}  # what a pod that asks for nothing counts as when nodes are compared


@dataclass(frozen=True)
class Term:
    """A pod (anti-)affinity term: which pods, within which topology. `within` chooses more namespaces by labels. Terms are
    looked up for every pod that comes or goes, so their hash is kept."""

    namespaces: frozenset[str]  # empty without `within`: all
    selector: Selector
    topology: str
    weight: int = 0
    within: Selector | None = None

    @cached_property
    def _hash(self) -> int:
        return hash((self.namespaces, self.selector, self.topology, self.weight))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True)
class Rules:
    """What a pod says of other pods. Preferred terms of anti-affinity have a negative weight."""

    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()
    wishes: tuple[Term, ...] = ()
    spread: tuple[tuple[core_v1.TopologySpreadConstraint, Selector], ...] = ()


_NO_RULES = Rules()
_TEMPLATES = 512  # rules that are kept
_known: OrderedDict[tuple[bytes, str, tuple[tuple[str, str], ...]], Rules] = OrderedDict()


def _rules(pod: core_v1.Pod) -> Rules:
    """The rules of a pod; those that were made from one template share them, which spares their parsing."""
    affinity, spread = pod.spec.affinity, pod.spec.topology_spread_constraints
    if affinity is None and not spread:
        return _NO_RULES
    said = encode([affinity, spread])
    by_labels = b"atchLabelKeys" in said  # then they depend on the pod's own labels
    key = said, pod.metadata.namespace, tuple(pod.metadata.labels.items()) if by_labels else ()
    found = _known.get(key)
    if found is None:
        found = _known[key] = _parsed(pod)
        if len(_known) > _TEMPLATES:
            _known.popitem(last=False)
    return found


def _parsed(pod: core_v1.Pod) -> Rules:
    affinity = pod.spec.affinity or core_v1.Affinity()
    near, far = affinity.pod_affinity, affinity.pod_anti_affinity
    required = _terms(near.required_during_scheduling_ignored_during_execution, pod) if near else ()
    apart = _terms(far.required_during_scheduling_ignored_during_execution, pod) if far else ()
    preferred = tuple(
        _term(weighted.pod_affinity_term, pod, sign * weighted.weight)
        for part, sign in ((near, 1), (far, -1))
        if part is not None
        for weighted in part.preferred_during_scheduling_ignored_during_execution
    )
    spread = tuple(
        (rule, _spread_selector(rule, pod)) for rule in pod.spec.topology_spread_constraints
    )
    return Rules(
        required,
        apart,
        preferred,
        (*preferred, *(replace(term, weight=HARD) for term in required)),
        spread,
    )


def _spread_selector(rule: core_v1.TopologySpreadConstraint, pod: core_v1.Pod) -> Selector:
    selector = from_label_selector(rule.label_selector) or Selector(
        (Requirement("none/none", "in", ()),)
    )
    labels = pod.metadata.labels
    extra = tuple(Requirement(k, "in", (labels[k],)) for k in rule.match_label_keys if k in labels)
    return Selector(selector.requirements + extra)


def _terms(terms: list[core_v1.PodAffinityTerm], pod: core_v1.Pod) -> tuple[Term, ...]:
    return tuple(_term(term, pod) for term in terms)


def _term(term: core_v1.PodAffinityTerm, pod: core_v1.Pod, weight: int = 0) -> Term:
    selector = from_label_selector(term.label_selector)
    extra = []
    if selector is not None:
        for keys, operator in ((term.match_label_keys, "in"), (term.mismatch_label_keys, "notin")):
            extra += [
                Requirement(k, operator, (pod.metadata.labels[k],))
                for k in keys
                if k in pod.metadata.labels
            ]
        selector = Selector(selector.requirements + tuple(extra))
    within = from_label_selector(term.namespace_selector)
    if within is not None and not within.requirements:
        namespaces, within = frozenset[str](), None
    else:
        own = [pod.metadata.namespace] if within is None else []
        namespaces = frozenset(term.namespaces or own)
    return Term(
        namespaces, selector if selector is not None else NOTHING, term.topology_key, weight, within
    )


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
    def rules(self) -> Rules:
        return _rules(self.pod)

    @property
    def required_affinity(self) -> tuple[Term, ...]:
        return self.rules.affinity

    @property
    def required_anti_affinity(self) -> tuple[Term, ...]:
        return self.rules.anti_affinity

    @property
    def preferred(self) -> tuple[Term, ...]:
        """Preferred terms; anti-affinity has a negative weight."""
        return self.rules.preferred

    @property
    def wishes(self) -> tuple[Term, ...]:
        """Terms that draw other pods to this one's node, or away from it, once it is there. Required ones have the
        weight HARD, for which a profile may put another."""
        return self.rules.wishes
