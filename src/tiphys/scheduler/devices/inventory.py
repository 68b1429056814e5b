"""What drivers offer: slices put together to pools, as one node sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.machinery.cel import CelError
from tiphys.machinery.devices import chooses, variables
from tiphys.machinery.nodes import matches_term


class DeviceID(NamedTuple):
    driver: str
    pool: str
    device: str


class SelectorError(Exception):
    """A selector could not be worked out for a device."""


class Offer:
    """One device of a slice. What selectors say of it is kept as long as the slice stays."""

    def __init__(self, slice_: v1.ResourceSlice, device: v1.Device) -> None:
        spec = slice_.spec
        self.id = DeviceID(spec.driver, spec.pool.name, device.name)
        self.device, self.slice = device, slice_
        self._variables: dict[str, Any] | None = None
        self._chosen: dict[str, bool | str] = {}

    def chosen_by(self, expression: str) -> bool:
        """Raises SelectorError."""
        verdict = self._chosen.get(expression)
        if verdict is None:
            try:
                if self._variables is None:
                    self._variables = variables(self.device, self.id.driver)
                verdict = chooses(expression, self._variables)
            except CelError as error:
                verdict = str(error)
            self._chosen[expression] = verdict
        if isinstance(verdict, str):
            raise SelectorError(verdict)
        return verdict

    def place(self) -> tuple[str, core_v1.NodeSelector | None, bool]:
        """(the node it is on, the nodes it can be reached from, whether all can reach it): one of the three."""
        where: Any = self.device if self.slice.spec.per_device_node_selection else self.slice.spec
        return where.node_name or "", where.node_selector, bool(where.all_nodes)

    def reaches(self, node: core_v1.Node) -> bool:
        name, selector, everywhere = self.place()
        if name:
            return name == node.metadata.name
        return everywhere or (selector is not None and _selects(selector, node))


def _selects(selector: core_v1.NodeSelector, node: core_v1.Node) -> bool:
    return any(matches_term(term, node) for term in selector.node_selector_terms)


@dataclass
class Pool:
    """A pool as one node sees it: `offers` are the devices that the node can reach."""

    driver: str
    name: str
    offers: list[Offer] = field(default_factory=list)
    counters: dict[str, dict[str, v1.Counter]] = field(default_factory=dict)
    complete: bool = True
    wrong: str = ""  # why nothing of it can be used


class Inventory:
    """Slices as they come and go."""

    def __init__(self) -> None:
        self._slices: dict[str, tuple[v1.ResourceSlice, list[Offer]]] = {}
        self._pools: dict[
            tuple[str, str], dict[str, int]
        ] = {}  # (driver, pool) → slice → generation
        self._local: dict[
            str, dict[tuple[str, str], int]
        ] = {}  # node → pools with slices of it alone
        self._wide: dict[tuple[str, str], int] = {}  # pools with slices that more nodes may reach
        self._seen: dict[str, tuple[core_v1.Node, list[Pool]]] = {}  # what `pools` has found

    def put(self, slice_: v1.ResourceSlice) -> None:
        name, spec = slice_.metadata.name, slice_.spec
        self.remove(name)
        key = (spec.driver, spec.pool.name)
        self._seen.clear()
        self._slices[name] = slice_, [Offer(slice_, device) for device in spec.devices]
        self._pools.setdefault(key, {})[name] = spec.pool.generation
        reach = self._local.setdefault(spec.node_name, {}) if spec.node_name else self._wide
        reach[key] = reach.get(key, 0) + 1

    def remove(self, name: str) -> None:
        known = self._slices.pop(name, None)
        if known is None:
            return
        self._seen.clear()
        spec = known[0].spec
        key = (spec.driver, spec.pool.name)
        del self._pools[key][name]
        if not self._pools[key]:
            del self._pools[key]
        reach = self._local[spec.node_name] if spec.node_name else self._wide
        reach[key] -= 1
        if not reach[key]:
            del reach[key]

    def offer(self, id_: DeviceID) -> Offer | None:
        """The device, as the newest generation of its pool has it."""
        return next((o for o in self._newest((id_.driver, id_.pool)) if o.id == id_), None)

    def _newest(self, key: tuple[str, str]) -> Iterator[Offer]:
        for _, offers in self._current(key):
            yield from offers

    def _current(self, key: tuple[str, str]) -> list[tuple[v1.ResourceSlice, list[Offer]]]:
        """The slices of the newest generation; older ones are on their way out."""
        slices = self._pools.get(key, {})
        newest = max(slices.values(), default=0)
        return [self._slices[name] for name in sorted(slices) if slices[name] == newest]

    def pools(self, node: core_v1.Node) -> list[Pool]:
        """What a node can reach, in a stable order."""
        seen = self._seen.get(node.metadata.name)
        if seen is not None and seen[0] is node:
            return seen[1]
        keys: Iterable[tuple[str, str]] = self._local.get(node.metadata.name, {})
        found = (self._pool(key, node) for key in sorted({*keys, *self._wide}))
        pools = [pool for pool in found if pool.offers]
        self._seen[node.metadata.name] = node, pools
        return pools

    def _pool(self, key: tuple[str, str], node: core_v1.Node) -> Pool:
        pool, seen = Pool(*key), set()
        slices = self._current(key)
        for slice_, offers in slices:
            for counters in slice_.spec.shared_counters:
                pool.counters[counters.name] = counters.counters
            for offer in offers:
                if offer.id in seen:
                    pool.wrong = f"duplicate device name {offer.id.device}"
                seen.add(offer.id)
                if offer.reaches(node):
                    pool.offers.append(offer)
        pool.complete = (
            len(slices) == slices[0][0].spec.pool.resource_slice_count if slices else False
        )
        return pool
