"""The inventory: ResourceSlices put together to pools, as one node sees them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
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


class PoolID(NamedTuple):
    driver: str
    pool: str


class NodeScope(NamedTuple):
    """Which nodes can use a device: the named one, those that a selector matches, or all."""

    node_name: str
    node_selector: core_v1.NodeSelector | None
    all_nodes: bool


class SelectorError(Exception):
    """A selector's expression failed for a device."""


class Offer:
    """One device of a slice. The results of selectors are kept as long as the slice stays."""

    def __init__(self, slice_: v1.ResourceSlice, device: v1.Device) -> None:
        spec = slice_.spec
        self.id = DeviceID(spec.driver, spec.pool.name, device.name)
        self.device = device
        self.slice = slice_
        self._variables: dict[str, Any] | None = None
        self._selected: dict[str, bool | CelError] = {}  # by expression

    def is_selected_by(self, expression: str) -> bool:
        """Raises SelectorError."""
        result = self._selected.get(expression)
        if result is None:
            result = self._evaluate(expression)
            self._selected[expression] = result
        if isinstance(result, CelError):
            raise SelectorError(str(result))
        return result

    def _evaluate(self, expression: str) -> bool | CelError:
        try:
            if self._variables is None:
                self._variables = variables(self.device, self.id.driver)
            return chooses(expression, self._variables)
        except CelError as error:
            return error

    def attribute(self, name: str) -> v1.DeviceAttribute | None:
        """By qualified name; an attribute of the driver's own domain may be named without it."""
        attribute = self.device.attributes.get(name)
        if attribute is not None:
            return attribute
        domain, _, short_name = name.partition("/")
        return self.device.attributes.get(short_name) if domain == self.id.driver else None

    def scope(self) -> NodeScope:
        per_device = self.slice.spec.per_device_node_selection
        scope = self.device if per_device else self.slice.spec
        return NodeScope(scope.node_name or "", scope.node_selector, bool(scope.all_nodes))

    def reaches(self, node: core_v1.Node) -> bool:
        scope = self.scope()
        if scope.node_name:
            return scope.node_name == node.metadata.name
        if scope.all_nodes:
            return True
        return scope.node_selector is not None and selects(scope.node_selector, node)


def selects(selector: core_v1.NodeSelector, node: core_v1.Node) -> bool:
    return any(matches_term(term, node) for term in selector.node_selector_terms)


@dataclass
class Pool:
    """A pool as one node sees it: `offers` are the devices that the node can use.

    It is incomplete while slices of its newest generation are missing; with an `invalid_reason`
    nothing of it can be used.
    """

    id: PoolID
    offers: list[Offer] = field(default_factory=list)
    counters: dict[str, dict[str, v1.Counter]] = field(default_factory=dict)  # by counter set
    complete: bool = True
    invalid_reason: str = ""

    @property
    def is_usable(self) -> bool:
        return self.complete and not self.invalid_reason


class _Slice(NamedTuple):
    slice: v1.ResourceSlice
    offers: list[Offer]


class _NodeView(NamedTuple):
    node: core_v1.Node
    pools: list[Pool]


class Inventory:
    """Slices as they come and go."""

    def __init__(self) -> None:
        self._slices: dict[str, _Slice] = {}
        self._generations: dict[PoolID, dict[str, int]] = {}  # pool → slice → generation
        # How many slices a pool has for one node alone, and for more nodes.
        self._local_pools: dict[str, dict[PoolID, int]] = {}  # by node
        self._wide_pools: dict[PoolID, int] = {}
        self._views: dict[str, _NodeView] = {}  # results of `pools_of`

    def put(self, slice_: v1.ResourceSlice) -> None:
        name = slice_.metadata.name
        spec = slice_.spec
        self.remove(name)
        self._views.clear()
        pool_id = PoolID(spec.driver, spec.pool.name)
        self._slices[name] = _Slice(slice_, [Offer(slice_, device) for device in spec.devices])
        self._generations.setdefault(pool_id, {})[name] = spec.pool.generation
        slice_counts = self._slice_counts(spec)
        slice_counts[pool_id] = slice_counts.get(pool_id, 0) + 1

    def remove(self, name: str) -> None:
        known = self._slices.pop(name, None)
        if known is None:
            return
        self._views.clear()
        spec = known.slice.spec
        pool_id = PoolID(spec.driver, spec.pool.name)
        generations = self._generations[pool_id]
        del generations[name]
        if not generations:
            del self._generations[pool_id]
        slice_counts = self._slice_counts(spec)
        slice_counts[pool_id] -= 1
        if not slice_counts[pool_id]:
            del slice_counts[pool_id]

    def _slice_counts(self, spec: v1.ResourceSliceSpec) -> dict[PoolID, int]:
        if spec.node_name:
            return self._local_pools.setdefault(spec.node_name, {})
        return self._wide_pools

    def offer(self, device_id: DeviceID) -> Offer | None:
        """The device in the newest generation of its pool."""
        for _, offers in self._newest_slices(PoolID(device_id.driver, device_id.pool)):
            for offer in offers:
                if offer.id == device_id:
                    return offer
        return None

    def _newest_slices(self, pool_id: PoolID) -> Iterator[_Slice]:
        """The slices of the newest generation, by name; older ones are about to be deleted."""
        generations = self._generations.get(pool_id, {})
        newest = max(generations.values(), default=0)
        for name in sorted(generations):
            if generations[name] == newest:
                yield self._slices[name]

    def pools_of(self, node: core_v1.Node) -> list[Pool]:
        """The pools of which a node can use devices, in a stable order. The same list, until
        something changes."""
        name = node.metadata.name
        view = self._views.get(name)
        if view is not None and view.node is node:
            return view.pools
        pool_ids = {*self._local_pools.get(name, {}), *self._wide_pools}
        all_pools = (self._pool(pool_id, node) for pool_id in sorted(pool_ids))
        pools = [pool for pool in all_pools if pool.offers]
        pools.sort(key=_must_be_waited_for)
        self._views[name] = _NodeView(node, pools)
        return pools

    def _pool(self, pool_id: PoolID, node: core_v1.Node) -> Pool:
        pool = Pool(pool_id)
        slices = list(self._newest_slices(pool_id))
        device_ids: set[DeviceID] = set()
        for slice_, offers in slices:
            for counter_set in slice_.spec.shared_counters:
                pool.counters[counter_set.name] = counter_set.counters
            for offer in offers:
                if offer.id in device_ids:
                    pool.invalid_reason = f"duplicate device name {offer.id.device}"
                device_ids.add(offer.id)
                if offer.reaches(node):
                    pool.offers.append(offer)
        pool.complete = bool(slices) and _has_all(slices)
        return pool


def _must_be_waited_for(pool: Pool) -> bool:
    """Whether devices of it have binding conditions: these are taken last (upstream)."""
    return any(offer.device.binding_conditions for offer in pool.offers)


def _has_all(slices: list[_Slice]) -> bool:
    return len(slices) == slices[0].slice.spec.pool.resource_slice_count
