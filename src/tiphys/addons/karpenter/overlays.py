"""What machines of each pool cost and have, with NodeOverlays over what the cloud reports. Pure.

The heaviest overlay wins, and of equal weights there may be one for a price or a resource: another
is in conflict, and none of it counts (upstream's `nodeoverlay` controller and store).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tiphys.addons._cloud.catalog import Catalog, InstanceType, Offering
from tiphys.addons.karpenter.names import NODE_POOL
from tiphys.addons.karpenter.requirements import hold, wanted_by
from tiphys.addons.karpenter.types import NodeOverlay, NodePool
from tiphys.machinery.footprint import units

CONFLICT = "conflict with another overlay"


@dataclass
class _Price:
    change: str
    lowest: int  # weight of the overlays that meant it


@dataclass
class _Extra:
    amounts: dict[str, int]
    lowest: int
    of_lowest: set[str]


@dataclass
class _Changes:
    """Of one pool: by type and offering, and by type."""

    prices: dict[tuple[str, Offering], _Price] = field(default_factory=dict)
    extras: dict[str, _Extra] = field(default_factory=dict)


@dataclass(frozen=True)
class Overlaid:
    """`catalogs` are those of pools for which something is changed, `conflicts` the names of
    overlays that do not count."""

    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    conflicts: frozenset[str] = frozenset()


def overlaid(overlays: Iterable[NodeOverlay], pools: Iterable[NodePool], base: Catalog) -> Overlaid:
    known = list(pools)
    changes = {pool.name: _Changes() for pool in known}
    conflicts = set()
    # Of equal weights the one later in the alphabet goes first.
    ordered = sorted(
        overlays, key=lambda each: (each.spec.weight or 0, each.metadata.name), reverse=True
    )
    for overlay in ordered:
        meant = [
            (changes[pool.name], type_, offerings)
            for pool in known
            for type_, offerings in _meant(overlay, pool, base)
        ]
        if any(_is_in_conflict(overlay, *one) for one in meant):
            conflicts.add(overlay.metadata.name)
            continue
        for target in meant:
            _note(overlay, *target)
    catalogs = {
        name: replace(base, types=tuple(_changed(type_, change) for type_ in base.types))
        for name, change in changes.items()
        if change.prices or change.extras
    }
    return Overlaid(catalogs, frozenset(conflicts))


def adjusted(price: float, change: str) -> float:
    """A price as ``0.2``, ``+0.1``, ``-0.1``, ``+10%`` or ``-15%`` makes it; never below 0."""
    if change[0] not in "+-":
        return float(change)
    if change.endswith("%"):
        return max(price * (1 + float(change[:-1]) / 100), 0.0)
    return max(price + float(change), 0.0)


def _meant(
    overlay: NodeOverlay, pool: NodePool, base: Catalog
) -> Iterator[tuple[InstanceType, list[Offering]]]:
    """The types and offerings that an overlay is about."""
    own = {**pool.spec.template.metadata.labels, NODE_POOL: pool.name}
    wanted = wanted_by(overlay.spec.requirements)
    for type_ in base.types:
        offerings = [
            offering
            for offering in type_.offerings
            if hold(wanted, _common(own, type_.labels_of(offering, base.region)))
        ]
        if offerings:
            yield type_, offerings


def _common(own: Mapping[str, str], machines: Mapping[str, str]) -> dict[str, str]:
    """The labels of a pool and a machine; what they say otherwise has no value (upstream)."""
    both = {**own, **machines}
    return {key: value for key, value in both.items() if own.get(key, value) == value}


def _is_in_conflict(
    overlay: NodeOverlay, changes: _Changes, type_: InstanceType, offerings: list[Offering]
) -> bool:
    weight = overlay.spec.weight or 0
    if _change(overlay):
        for offering in offerings:
            price = changes.prices.get((type_.name, offering))
            if price is not None and price.lowest == weight:
                return True
    extra = changes.extras.get(type_.name)
    if extra is None or extra.lowest != weight:
        return False
    return bool(extra.of_lowest & overlay.spec.capacity.keys())


def _note(
    overlay: NodeOverlay, changes: _Changes, type_: InstanceType, offerings: list[Offering]
) -> None:
    weight = overlay.spec.weight or 0
    change = _change(overlay)
    for offering in offerings if change else ():
        standing = changes.prices.setdefault((type_.name, offering), _Price(change, weight))
        standing.lowest = weight
    if overlay.spec.capacity:
        amounts = {name: units(name, value) for name, value in overlay.spec.capacity.items()}
        before = changes.extras.get(type_.name)
        heavier = before.amounts if before is not None else {}
        changes.extras[type_.name] = _Extra({**amounts, **heavier}, weight, set(amounts))


def _change(overlay: NodeOverlay) -> str:
    return overlay.spec.price or overlay.spec.price_adjustment or ""


def _changed(type_: InstanceType, changes: _Changes) -> InstanceType:
    extra = changes.extras.get(type_.name)
    offerings = []
    for offering in type_.offerings:
        price = changes.prices.get((type_.name, offering))
        if price is not None:
            offering = replace(offering, price=adjusted(offering.price, price.change))
        offerings.append(offering)
    capacity = {**type_.capacity, **(extra.amounts if extra is not None else {})}
    return replace(type_, capacity=capacity, offerings=tuple(offerings))
