"""What pools could make: every machine that a pool allows, as rows of a table. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiphys.addons._cloud.catalog import DOMAIN, InstanceType, Offering, with_older
from tiphys.addons.karpenter.names import NODE_POOL, ZONE
from tiphys.addons.karpenter.requirements import (
    Allowed,
    Wanted,
    hold,
    least_values,
    wanted_by,
)
from tiphys.addons.karpenter.types import NodePool
from tiphys.api import core_v1
from tiphys.machinery.footprint import units
from tiphys.scheduler.counting import Ints

Option = tuple[InstanceType, Offering]
Left = dict[str, int] | None
"""What the limits of a pool leave, by resource; None where it has no limits."""
NODES = "nodes"
_CLOUD = f"{DOMAIN}/"
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
    wanted = wanted_by(template.spec.requirements, labels)
    if not all(wanted[key].admits(value) for key, value in labels.items()):
        return []
    options: list[Option] = []
    for type_ in types:
        of_machine = of_machines(wanted, type_)
        for offering in type_.offerings:
            if hold(of_machine, type_.labels_of(offering, region)):
                options.append((type_, offering))
    options.sort(key=_price_and_name)
    return options


def of_machines(wanted: Wanted, type_: InstanceType) -> Wanted:
    """What is wanted of a machine: a label of the cloud that its type has not is missing, all
    others that it has not a pool may give its nodes."""
    return {
        key: allowed
        for key, allowed in wanted.items()
        if key in type_.labels or _is_of_offering(key) or key.startswith(_CLOUD)
    }


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

    A row is an option with one choice of the labels that no machine has; `constrained_keys` are the
    keys of these, by offer.
    """

    def __init__(
        self, offers: Sequence[Offer], region: str, mentioned: Mapping[str, Collection[str]]
    ) -> None:
        self.offers = list(offers)
        self.resources: dict[str, int] = {}
        self.owner: list[int] = []
        self.options: list[Option] = []
        self.labels: list[dict[str, str]] = []
        self.constrained_keys: list[set[str]] = []
        for index, offer in enumerate(self.offers):
            choices = _custom_choices(offer, mentioned)
            self.constrained_keys.append({key for choice in choices for key in choice})
            for type_, offering in offer.options:
                base = with_older({**type_.labels_of(offering, region), **offer.labels})
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
        matrix: Ints = np.zeros((len(self.options), len(self.resources)), np.int64)
        for row, (type_, _) in enumerate(self.options):
            for name, amount in of(type_).items():
                matrix[row, self.resources[name]] = amount
        return matrix

    def vector(self, amounts: Mapping[str, int]) -> Ints | None:
        """Amounts as a line of the table; None for a resource that no machine has."""
        vector: Ints = np.zeros(len(self.resources), np.int64)
        for name, amount in amounts.items():
            line = self.resources.get(name)
            if line is not None:
                vector[line] = amount
            elif amount > 0:
                return None
        return vector

    def classes(self, keys: Collection[str]) -> dict[tuple[object, ...], list[int]]:
        """Rows that are equal to pods which mention these labels, except in size."""
        rows_by_class: dict[tuple[object, ...], list[int]] = {}
        for row, labels in enumerate(self.labels):
            key = (self.owner[row], *(labels.get(name) for name in keys))
            rows_by_class.setdefault(key, []).append(row)
        return rows_by_class


def _custom_choices(offer: Offer, mentioned: Mapping[str, Collection[str]]) -> list[dict[str, str]]:
    """The labels that a pool leaves open and no machine has, each in every way that matters."""
    if not offer.options:
        return [{}]
    machine = {*offer.options[0][0].labels, *offer.labels}
    keys: list[str] = []
    values: list[list[str | None]] = []
    for key, allowed in wanted_by(offer.pool.spec.template.spec.requirements).items():
        if key in machine or _is_of_offering(key) or key.startswith(_CLOUD):
            continue
        keys.append(key)
        values.append(_few(allowed, mentioned.get(key)))
    choices = itertools.islice(itertools.product(*values), _MOST_CHOICES)
    return [
        {key: value for key, value in zip(keys, choice, strict=True) if value is not None}
        for choice in choices
    ]


def _few(allowed: Allowed, mentioned: Collection[str] | None) -> list[str | None]:
    """One value that no pod mentions stands for all of these; where no pod uses the label, one
    stands for all."""
    values = allowed.some(mentioned or ())
    if mentioned is None:
        return values[:1]
    others = [value for value in values if value is not None and value not in mentioned]
    return [value for value in values if value not in others[1:]]
