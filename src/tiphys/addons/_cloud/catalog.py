"""What a cloud offers: types of machines, where, how, and for how much. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from tiphys.machinery.footprint import units

DOMAIN = "cloud.tiphys.dev"
SPOT = "spot"
ON_DEMAND = "on-demand"
_GPU = "nvidia.com/gpu"
_GIB = 1 << 30
_STORAGE = "100Gi"

Amounts = Mapping[str, int]
_OLDER = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
}
"""Names that labels of machines had before; clouds give their nodes both."""


def current(label: str) -> str:
    """The name that a label has today."""
    return _OLDER.get(label, label)


def with_older(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels of a machine, also under the names that they had before."""
    return {**{old: labels[new] for old, new in _OLDER.items() if new in labels}, **labels}


@dataclass(frozen=True)
class Offering:
    """A type of machine in one zone, paid for in one way (`SPOT`, `ON_DEMAND`), by the hour."""

    zone: str
    capacity_type: str
    price: float


@dataclass(frozen=True)
class InstanceType:
    """A type of machine. Amounts are in units of `footprint`: thousandths of cpu, bytes.

    labels: of every node of the type; those of an offering come to them
    """

    name: str
    labels: Mapping[str, str]
    capacity: Amounts
    reserved: Amounts
    offerings: tuple[Offering, ...]

    @cached_property
    def allocatable(self) -> dict[str, int]:
        """What pods can have."""
        return {name: amount - self.reserved.get(name, 0) for name, amount in self.capacity.items()}

    def labels_of(self, offering: Offering, region: str) -> dict[str, str]:
        return {
            **self.labels,
            "topology.kubernetes.io/region": region,
            "topology.kubernetes.io/zone": offering.zone,
            "karpenter.sh/capacity-type": offering.capacity_type,
        }

    def values_of(self, label: str, region: str) -> set[str]:
        """Those that a label of its machines can have."""
        labels = (self.labels_of(offering, region) for offering in self.offerings)
        return {each[label] for each in labels if label in each}


@dataclass(frozen=True)
class Catalog:
    """Everything there is. `boot` is seconds, `images` has the versions of each, newest last."""

    region: str
    types: tuple[InstanceType, ...]
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boot: float = 0.0

    @cached_property
    def by_name(self) -> dict[str, InstanceType]:
        return {each.name: each for each in self.types}

    @property
    def zones(self) -> frozenset[str]:
        return frozenset(offering.zone for each in self.types for offering in each.offerings)

    def image(self, text: str) -> str:
        """``NAME@VERSION`` with the newest version for ``latest``. Raises ValueError for a name
        that there is not."""
        name, _, version = text.partition("@")
        versions = self.images.get(name)
        if versions is None:
            raise ValueError(f'there is no image "{name}": {", ".join(sorted(self.images))}')
        return f"{name}@{versions[-1] if version == 'latest' else version}"

    def price(self, type_name: str, zone: str, capacity_type: str) -> float | None:
        """Dollars an hour; None for what is not offered."""
        instance_type = self.by_name.get(type_name)
        for offering in instance_type.offerings if instance_type is not None else ():
            if (offering.zone, offering.capacity_type) == (zone, capacity_type):
                return offering.price
        return None


@cache
def builtin() -> Catalog:
    """The catalog that comes with the cloud."""
    return parse(yaml.safe_load(Path(__file__).with_name("catalog.yaml").read_text()))


def parse(document: Any) -> Catalog:
    """A catalog of a document like `catalog.yaml`. Raises KeyError, ValueError."""
    images = {name: tuple(versions) for name, versions in document["images"].items()}
    types = tuple(_types(document))
    return Catalog(document["region"], types, images, float(document.get("boot", 0)))


def _types(document: Any) -> Iterator[InstanceType]:
    reserved = {name: units(name, value) for name, value in document["reserved"].items()}
    for family in document["families"]:
        for size, gpus in family.get("sizes", dict.fromkeys(document["sizes"], 0)).items():
            facts = document["sizes"][size]
            offerings = tuple(_offerings(document, family["price"] * facts["cpu"]))
            capacity = _capacity(family, facts, gpus)
            labels = _labels(family, size, facts, gpus)
            name = f"{family['name']}.{size}"
            yield InstanceType(name, labels, capacity, reserved, offerings)


def _capacity(family: Any, facts: Any, gpus: int) -> dict[str, int]:
    capacity = {
        "cpu": facts["cpu"] * 1000,
        "memory": facts["cpu"] * family["memory"] * _GIB,
        "ephemeral-storage": units("ephemeral-storage", _STORAGE),
        "pods": facts["pods"],
    }
    if gpus:
        capacity[_GPU] = gpus
    return capacity


def _labels(family: Any, size: str, facts: Any, gpus: int) -> dict[str, str]:
    labels = {
        "node.kubernetes.io/instance-type": f"{family['name']}.{size}",
        "kubernetes.io/arch": family.get("arch", "amd64"),
        "kubernetes.io/os": "linux",
        f"{DOMAIN}/instance-category": family["category"],
        f"{DOMAIN}/instance-family": family["name"],
        f"{DOMAIN}/instance-generation": str(family["generation"]),
        f"{DOMAIN}/instance-size": size,
        f"{DOMAIN}/instance-cpu": str(facts["cpu"]),
        f"{DOMAIN}/instance-memory": str(facts["cpu"] * family["memory"] * 1024),  # MiB
    }
    if gpus:
        labels[f"{DOMAIN}/instance-gpu-name"] = family["gpu"]["name"]
        labels[f"{DOMAIN}/instance-gpu-count"] = str(gpus)
        labels[f"{DOMAIN}/instance-gpu-memory"] = str(family["gpu"]["memory"] * 1024)
    return labels


def _offerings(document: Any, price: float) -> Iterator[Offering]:
    for zone, factor in document["zones"].items():
        yield Offering(zone, ON_DEMAND, round(price * factor, 5))
        yield Offering(zone, SPOT, round(price * factor * document["spot"], 5))
