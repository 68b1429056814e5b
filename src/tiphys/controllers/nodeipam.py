"""Nodes get their part of the pod networks, one of each family, and give it back when they go.

Upstream's nodeipam with the range allocator. Runs when the process has pod networks.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator
from typing import Any

from tiphys.api import core_v1
from tiphys.client.client import STRATEGIC
from tiphys.controllers.podranges import Network, NoneLeftError, PodRanges, RangeError
from tiphys.controllers.shell import Context, Controller

log = logging.getLogger(__name__)

_NONE_LEFT_RETRY = 10.0  # seconds, beside the nodes that go in the meantime


def ranges_of(node: core_v1.Node) -> list[Network]:
    """The ranges that a node has; what is none is left out."""
    ranges = []
    for text in node.spec.pod_cidrs:
        try:
            ranges.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            log.warning("Node %s has an invalid pod range: %r", node.metadata.name, text)
    return ranges


class NodeRangeController(Controller):
    name = "node-ipam"
    event_source = "cidrAllocator"
    workers = 1  # what one gives another must not give

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        networks = context.settings.get("pod_networks", ())
        self._pools = [PodRanges(ipaddress.ip_network(network)) for network in networks]
        for services in context.settings.get("service_networks", ()):
            self._reserve(ipaddress.ip_network(services))

    def _reserve(self, network: Network) -> None:
        """Keeps a network's addresses from pods."""
        for pool in self._pools:
            if pool.overlaps(network):
                pool.occupy(network, "")

    def watch(self) -> None:
        self._nodes = self.informer(core_v1.Node)
        if self._pools:
            self._nodes.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        """What nodes have is noted before anything is given: handlers hear of all nodes first."""
        if new is None:
            self._release(old.metadata.name)
        elif new.spec.pod_cidrs:
            self._occupy(new)
        else:
            self.enqueue(old, new)

    def _occupy(self, node: core_v1.Node) -> None:
        name = node.metadata.name
        for pool, part in self._parts(node):
            try:
                other = pool.occupy(part, name)
            except RangeError as error:
                log.error("Node %s has a range that was not allocated to it: %s", name, error)
                continue
            if other:
                log.error("Nodes %s and %s both have pod range %s", other, name, part)

    def _parts(self, node: core_v1.Node) -> Iterator[tuple[PodRanges, Network]]:
        """The ranges that a node has, each with the pod network that it is of."""
        for part in ranges_of(node):
            for pool in self._pools:
                if pool.overlaps(part):
                    yield pool, part

    def _release(self, name: str) -> None:
        for pool in self._pools:
            pool.release(name)
        for node in self._nodes:
            if not node.spec.pod_cidrs:
                self.enqueue(None, node)  # it may have waited for this

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None or node.spec.pod_cidrs or node.metadata.deletion_timestamp:
            return None
        try:
            ranges = [str(pool.allocate(key)) for pool in self._pools]
        except NoneLeftError as error:
            log.warning("Node %s gets no pod range: %s", key, error)
            message = f"Node {key} status is now: CIDRNotAvailable"
            self.event(node, "Normal", "CIDRNotAvailable", message)
            return _NONE_LEFT_RETRY
        # The ranges stay allocated until the node is deleted, even if this write fails: it may
        # have been done without an answer.
        await self._write(node, ranges)
        log.info("Node %s has pod ranges %s", key, ", ".join(ranges))
        return None

    async def _write(self, node: core_v1.Node, ranges: list[str]) -> None:
        """Only to this very node, as it was seen: one that has set a range meanwhile keeps that."""
        meta = node.metadata
        change = {
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
        }
        await self.client.patch(core_v1.Node, meta.name, change, media=STRATEGIC)
