"""Where the pods of a set go in a tree of domains.

Source: upstream's algorithm (KEP 2724). First the pods, and the groups of pods, that fit are
counted in each leaf and summed up towards the root. Then the level is found at which one domain, or
the fewest, has room for all. From there down each domain's pods go to its children: those with the
most room first, and the last ones to the child that they fit best. Pods that may be anywhere fill
what has the least room left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.addons.kueue.core.topology import (
    Assignment,
    Domain,
    Nearness,
    Place,
    Tree,
    Used,
    fitting,
)
from tiphys.api import core_v1
from tiphys.machinery.nodes import matches_node, tolerated

_PODS = "pods"


class PlacingError(Exception):
    """The pods cannot be placed; upstream's words."""


@dataclass
class Request:
    """Pods that are to be placed. `per_pod` is what one of them requests by its template.
    `is_implied`: no topology was requested, and the queue has only flavors with topologies."""

    nearness: Nearness
    count: int
    per_pod: Mapping[str, int]
    spec: core_v1.PodSpec
    tolerations: Sequence[core_v1.Toleration] = ()
    is_implied: bool = False

    @property
    def is_unconstrained(self) -> bool:
        near = self.nearness
        is_in_groups_alone = bool(near.layers) and not (near.required or near.preferred)
        return near.unconstrained or self.is_implied or is_in_groups_alone

    @property
    def taking(self) -> dict[str, int]:
        """What one pod takes of a leaf: itself, too."""
        return {**self.per_pod, _PODS: 1}


def place(
    tree: Tree, request: Request, assumed: Used | None = None, is_empty: bool = False
) -> Assignment:
    """Beside what is used and `assumed`; `is_empty`: as if no workload used anything. Raises
    PlacingError."""
    return Placing(tree, request).place(assumed, is_empty)


def has_levels(tree: Tree, nearness: Nearness) -> bool:
    """Whether a tree has the levels that are requested."""
    named = [nearness.required or nearness.preferred, *(one.topology for one in nearness.layers)]
    return all(level in tree.levels for level in named if level)


class _Groups(NamedTuple):
    """`size` pods are within one domain of `level`; further down `inner` are, by level."""

    level: int
    size: int
    inner: Mapping[int, int]


@dataclass
class _Excluded:
    """Nodes that can take no pod at all, by reason."""

    total: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def __str__(self) -> str:
        if not self.reasons:
            return ""
        listed = ", ".join(sorted(f"{reason}: {count}" for reason, count in self.reasons.items()))
        return f". Total nodes: {self.total}; excluded: {listed}"


class Placing:
    def __init__(self, tree: Tree, request: Request) -> None:
        self._tree = tree
        self._request = request
        self._fills_gaps = request.is_unconstrained
        self._excluded = _Excluded()
        self._level = self._requested_level()
        self._groups = self._requested_groups()

    def place(self, assumed: Used | None, is_empty: bool) -> Assignment:
        self._count(assumed, is_empty)
        level, domains = self._fitting_domains(self._level)
        count = self._request.count
        domains = self._spread(domains, count, self._groups.size)
        last = len(self._tree.levels) - 1
        while level < min(last, self._groups.level):
            # Above the level of groups these go to the best domains of all.
            children = [child for domain in domains for child in domain.children]
            domains = self._spread(self._sorted(children), count, self._groups.size)
            level += 1
        while level < last:
            level += 1
            domains = self._descend(domains, level)
        return self._assignment(domains)

    # --- what is requested ---

    def _requested_level(self) -> int:
        near = self._request.nearness
        levels = self._tree.levels
        named = near.required or near.preferred
        if not named:
            named = levels[0] if near.layers else levels[-1]
        if named not in levels:
            raise PlacingError(f"no requested topology level: {named}")
        return levels.index(named)

    def _requested_groups(self) -> _Groups:
        levels = self._tree.levels
        layers = self._request.nearness.layers
        if not layers:
            return _Groups(len(levels) - 1, 1, {})
        if any(layer.size <= 0 for layer in layers):
            raise PlacingError("slice topology requested, but slice size not provided")
        outer, *inner = layers
        if outer.topology not in levels:
            raise PlacingError(f"no requested topology level for slices: {outer.topology}")
        level = levels.index(outer.topology)
        if level < self._level:
            raise PlacingError(
                f"podset slice topology {outer.topology} is above the podset topology "
                f"{levels[self._level]}"
            )
        sizes: dict[int, int] = {}
        above = level
        size = outer.size
        for layer in inner:
            if layer.topology not in levels:
                raise PlacingError(
                    f"no requested topology level for additional slice layer: {layer.topology}"
                )
            layer_level = levels.index(layer.topology)
            if layer_level <= above:
                raise PlacingError(
                    f"additional slice layer topology {layer.topology} must be at a lower level "
                    f"than {levels[above]}"
                )
            if size % layer.size:
                raise PlacingError(
                    f"additional slice layer size {layer.size} must evenly divide parent layer "
                    f"size {size}"
                )
            sizes.update(dict.fromkeys(range(above + 1, layer_level + 1), layer.size))
            above = layer_level
            size = layer.size
        return _Groups(level, outer.size, sizes)

    # --- counting ---

    def _count(self, assumed: Used | None, is_empty: bool) -> None:
        taking = self._request.taking
        self._excluded.total = len(self._tree.leaves)
        for key, leaf in self._tree.leaves.items():
            leaf.pods = 0
            exclusion = self._unsuited(leaf)
            if not exclusion:
                free = self._tree.remaining(key, assumed, is_empty)
                self._fill(leaf, taking, free)
                if not leaf.pods:
                    exclusion = f'resource "{_scarcest(taking, free)}"'
            if exclusion:
                self._excluded.add(exclusion)
        for root in self._tree.by_level[0].values():
            self._sum_up(root, 0)

    def _fill(self, leaf: Domain, taking: Mapping[str, int], free: Mapping[str, int]) -> None:
        leaf.pods = fitting(taking, free)

    def _unsuited(self, leaf: Domain) -> str:
        """Why pods cannot be on a host, in upstream's words. Of domains above hosts nothing is
        known."""
        node = leaf.node
        if node is None:
            return ""
        spec = self._request.spec
        tolerations = [*spec.tolerations, *self._request.tolerations]
        for taint in node.spec.taints:
            if taint.effect != "PreferNoSchedule" and not tolerated(taint, tolerations):
                written = f"{taint.key}={taint.value}" if taint.value else taint.key
                return f'taint "{written}:{taint.effect}"'
        labels = node.metadata.labels
        if any(labels.get(key) != value for key, value in spec.node_selector.items()):
            return "nodeSelector"
        try:
            return "" if matches_node(spec, node) else "affinity"
        except (KeyError, ValueError):  # templates of custom resources are not validated
            return "affinity"

    def _sum_up(self, domain: Domain, level: int) -> None:
        groups = self._groups
        if domain.children:
            inner = groups.inner.get(level + 1, 1)
            domain.pods = domain.slices = 0
            for child in domain.children:
                self._sum_up(child, level + 1)
                domain.pods += child.pods // inner * inner
                domain.slices += child.slices
        elif level != groups.level:
            domain.slices = 0
        if level == groups.level:
            domain.slices = domain.pods // groups.size

    # --- finding the level ---

    def _fitting_domains(self, level: int) -> tuple[int, list[Domain]]:
        """The level, and the domains of it that have room for all."""
        domains = self._sorted(self._tree.by_level[level].values())
        if not domains:
            raise PlacingError(f"no topology domains at level: {self._tree.levels[level]}")
        needed = self._request.count // self._groups.size
        if self._fills_gaps:
            for domain in domains:
                if domain.slices >= needed:
                    return level, [domain]
        elif domains[0].slices >= needed:
            return level, [_best(domains, needed)]
        elif self._request.nearness.required:
            raise PlacingError(self._not_fitting(domains[0].slices, needed, level))
        elif level > 0:
            return self._fitting_domains(level - 1)
        return level, self._several(domains, needed, level)

    def _several(self, domains: list[Domain], needed: int, level: int) -> list[Domain]:
        taken: list[Domain] = []
        left = needed
        for index, domain in enumerate(domains):
            if left <= 0:
                break
            chosen = domain
            if not self._fills_gaps and domain.slices >= left:
                chosen = _best(domains[index:], left)
            taken.append(chosen)
            left -= chosen.slices
        if left > 0:
            raise PlacingError(self._not_fitting(needed - left, needed, level))
        return taken

    def _not_fitting(self, fits: int, needed: int, level: int) -> str:
        name = self._tree.name
        layers = self._request.nearness.layers
        if len(layers) > 1:
            return self._layers_not_fitting(level)
        unit = "pod" if self._groups.size == 1 else "slice"
        if not fits:
            verdict = f"doesn't allow to fit any of {needed} {unit}(s)"
        else:
            verdict = f"allows to fit only {fits} out of {needed} {unit}(s)"
        return f'topology "{name}" {verdict}{self._excluded}'

    def _layers_not_fitting(self, level: int) -> str:
        domains = self._tree.by_level[level].values()
        best = max(domains, key=lambda one: (one.slices, [-ord(c) for c in "".join(one.values)]))
        details = []
        for layer in self._request.nearness.layers:
            target = self._tree.levels.index(layer.topology)
            fits = _groups_below(best, level, target, layer.size)
            needed = self._request.count // layer.size
            details.append(f"; {fits}/{needed} slice(s) fit on level {layer.topology}")
        return (
            f'topology "{self._tree.name}" doesn\'t allow to fit{"".join(details)}{self._excluded}'
        )

    # --- going down ---

    def _descend(self, domains: list[Domain], level: int) -> list[Domain]:
        """The pods of each domain go to its children at `level`."""
        size = self._groups.size
        if level > self._groups.level:
            size = self._groups.inner.get(level, 1)
        spread: list[Domain] = []
        for domain in domains:
            children = self._sorted(domain.children)
            if size > 1:
                for child in children:
                    child.slices = child.pods // size
            spread += self._spread(children, domain.pods, size, in_groups=size > 1)
        return spread

    def _spread(
        self, domains: list[Domain], count: int, size: int, in_groups: bool = True
    ) -> list[Domain]:
        """Gives `count` pods to the first of the domains, and notes in each how many it has."""
        chosen_domains: list[Domain] = []
        left = count // size
        for index, domain in enumerate(domains):
            chosen = domain
            if not self._fills_gaps and _room(domain, in_groups) >= left:
                chosen = _best(domains[index:], left, in_groups)
            taken = min(_room(chosen, in_groups), left)
            chosen.pods = taken * size
            if in_groups:
                chosen.slices = taken
            chosen_domains.append(chosen)
            left -= taken
            if left <= 0:
                return chosen_domains
        raise PlacingError(f"unexpected remaining pods: {left}")

    def _sorted(self, domains: Iterable[Domain]) -> list[Domain]:
        """Those with room for the most groups first, or the least for pods that fill gaps."""
        sign = 1 if self._fills_gaps else -1
        return sorted(domains, key=lambda one: (sign * one.slices, one.pods, one.values))

    def _assignment(self, domains: list[Domain]) -> Assignment:
        skipped = len(self._tree.levels) - 1 if self._tree.has_hosts else 0
        places = [
            Place(one.values[skipped:], one.pods)
            for one in sorted(domains, key=lambda one: one.values)
            if one.pods
        ]
        return Assignment(self._tree.levels[skipped:], tuple(places))


def _room(domain: Domain, in_groups: bool) -> int:
    return domain.slices if in_groups else domain.pods


def _best(domains: Sequence[Domain], needed: int, in_groups: bool = True) -> Domain:
    """The one with the least room that is enough, the first of them; else the first."""
    enough = [one for one in domains if _room(one, in_groups) >= needed]
    return min(enough, key=lambda one: _room(one, in_groups), default=domains[0])


def _groups_below(domain: Domain, level: int, target: int, size: int) -> int:
    if level == target:
        return domain.pods // size
    return sum(_groups_below(child, level + 1, target, size) for child in domain.children)


def _scarcest(taking: Mapping[str, int], free: Mapping[str, int]) -> str:
    """The resource of which not even one pod's share is there."""
    return next(name for name in sorted(taking) if free.get(name, 0) < taking[name])
