"""What pools could make: every machine that a pool allows, as rows of a table. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiphys.addons._cloud.catalog import InstanceType, Offering
from tiphys.addons.karpenter.names import NODE_POOL, ZONE
from tiphys.addons.karpenter.requirements import by_key, hold, least_values, values_of
from tiphys.addons.karpenter.types import NodePool
from tiphys.api import core_v1
from tiphys.machinery.footprint import units
from tiphys.scheduler.counting import Ints

Option = tuple[InstanceType, Offering]
Left = dict[str, int] | None
"""What the limits of a pool leave, by resource; None where it has no limits."""
NODES = "nodes"
_MOST_CHOICES = 64  # of labels that no machine has: what pods ask for multiplies


@dataclass
class Offer:
    """What one pool could make now.

    labels:  of every node of the pool
    options: machines, the cheapest first
    left:    of the pool's limits, by resource; None where there are no limits
    """

    pool: NodePool
    labels: dict[str, str]
    taints: list[core_v1.Taint]
    options: list[Option]
    left: Left = None
    least: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.pool.metadata.name


def offer_of(
    pool: NodePool, types: Iterable[InstanceType], region: str, used: Mapping[str, int]
) -> Offer:
    """What a pool could make of the cloud's types. `used` is what its nodes have together, their
    number under `NODES`."""
    template = pool.spec.template
    taints = template.spec.taints
    return Offer(
        pool,
        {**template.metadata.labels, NODE_POOL: pool.metadata.name},
        [core_v1.Taint(key=t.key, value=t.value, effect=t.effect) for t in taints],
        options_of(pool, types, region),
        left_of(pool, used),
        least_values(template.spec.requirements),
    )


def options_of(pool: NodePool, types: Iterable[InstanceType], region: str) -> list[Option]:
    """The machines that a pool allows, the cheapest first."""
    template = pool.spec.template
    labels = {**template.metadata.labels, NODE_POOL: pool.metadata.name}
    of_pool = [r for r in template.spec.requirements if r.key in labels]
    if not hold(of_pool, labels):
        return []
    of_machines = [r for r in template.spec.requirements if r.key not in labels]
    # A label of the cloud that a type does not have is missed; others a pool may give its nodes.
    of_cloud = [r for r in of_machines if r.key.startswith("cloud.tiphys.dev/")]
    options: list[Option] = []
    for each in types:
        of_type = [r for r in of_machines if r.key in each.labels or _is_of_offering(r.key)]
        for offering in each.offerings:
            if hold([*of_type, *of_cloud], each.labels_of(offering, region)):
                options.append((each, offering))
    options.sort(key=_price_and_name)
    return options


def _price_and_name(option: Option) -> tuple[float, str, str]:
    machine, offering = option
    return offering.price, machine.name, offering.zone


def _is_of_offering(key: str) -> bool:
    return key in (ZONE, "karpenter.sh/capacity-type", "topology.kubernetes.io/region")


def left_of(pool: NodePool, used: Mapping[str, int]) -> Left:
    """`used` is what its nodes have together."""
    if not pool.spec.limits:
        return None
    return {
        name: units(name, limit) - used.get(name, 0) for name, limit in pool.spec.limits.items()
    }


class Table:
    """The options of several offers: what each has for pods, what it costs, which labels it has.

    A row is an option with one choice of the labels that no machine has (`custom`).
    """

    def __init__(
        self, offers: Sequence[Offer], region: str, mentioned: Mapping[str, Collection[str]]
    ) -> None:
        self.offers = list(offers)
        self.resources: dict[str, int] = {}
        self.owner: list[int] = []
        self.options: list[Option] = []
        self.labels: list[dict[str, str]] = []
        for index, offer in enumerate(self.offers):
            choices = _custom_choices(offer, mentioned)
            for type_, offering in offer.options:
                base = {**type_.labels_of(offering, region), **offer.labels}
                for choice in choices:
                    self.owner.append(index)
                    self.options.append((type_, offering))
                    self.labels.append({**base, **choice})
        for type_, _ in self.options:
            for name in type_.capacity:
                self.resources.setdefault(name, len(self.resources))
        self.allocatable = self._amounts(lambda type_: type_.allocatable)
        self.capacity = self._amounts(lambda type_: dict(type_.capacity))
        self.prices = np.array([offering.price for _, offering in self.options])

    def _amounts(self, of: Callable[[InstanceType], Mapping[str, int]]) -> Ints:
        made: Ints = np.zeros((len(self.options), len(self.resources)), np.int64)
        for row, (type_, _) in enumerate(self.options):
            for name, amount in of(type_).items():
                made[row, self.resources[name]] = amount
        return made

    def vector(self, amounts: Mapping[str, int]) -> Ints | None:
        """Amounts as a line of the table; None for a resource that no machine has."""
        made: Ints = np.zeros(len(self.resources), np.int64)
        for name, amount in amounts.items():
            line = self.resources.get(name)
            if line is not None:
                made[line] = amount
            elif amount > 0:
                return None
        return made

    def classes(self, keys: Collection[str]) -> dict[tuple[object, ...], list[int]]:
        """Rows that pods which mention these labels cannot tell apart, but for their size."""
        found: dict[tuple[object, ...], list[int]] = {}
        for row, labels in enumerate(self.labels):
            key = (self.owner[row], *(labels.get(name) for name in keys))
            found.setdefault(key, []).append(row)
        return found


def _custom_choices(offer: Offer, mentioned: Mapping[str, Collection[str]]) -> list[dict[str, str]]:
    """The labels that a pool leaves open and no machine has, each in every way that matters."""
    if not offer.options:
        return [{}]
    machine = {*offer.options[0][0].labels, *offer.labels}
    keys: list[str] = []
    values: list[list[str | None]] = []
    for key, requirements in by_key(offer.pool.spec.template.spec.requirements).items():
        if key in machine or _is_of_offering(key) or key.startswith("cloud.tiphys.dev/"):
            continue
        of_pods = mentioned.get(key, ())
        keys.append(key)
        values.append(_few(values_of(requirements, of_pods), of_pods))
    choices = itertools.islice(itertools.product(*values), _MOST_CHOICES)
    return [
        {key: value for key, value in zip(keys, choice, strict=True) if value is not None}
        for choice in choices
    ]


def _few(values: list[str | None], mentioned: Collection[str]) -> list[str | None]:
    """One value that nobody mentions stands for all of these."""
    wanted = [value for value in values if value in mentioned]
    others = [value for value in values if value not in mentioned]
    return [*others[:1], *wanted]
