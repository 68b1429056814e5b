"""What the node process of a machine that has joined does before its agent starts: it makes the
Node, gets the certificates that a node has, waits for its range of pods, and sets up their network.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
from dataclasses import replace
from urllib.parse import urlsplit

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client, Unreachable
from tiphys.client.informer import Informer
from tiphys.client.tasks import TaskGroup
from tiphys.cluster.nodeoptions import NodeProcess
from tiphys.machinery.addresses import version_of
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.network import pods, tunnel
from tiphys.node.certificates import (
    CertificateError,
    Rotation,
    node_client,
    node_server,
    policy_client,
)

log = logging.getLogger(__name__)

_RETRY = 1.0  # seconds until the API server is asked again


class RangeChangedError(Exception):
    """The node was given another range of pods: everything that knows the old one restarts."""


class Membership:
    """`client` is the node's own. What uses a certificate takes a renewed one by itself
    (`client.certfiles`)."""

    def __init__(self, options: NodeProcess, client: Client, tasks: TaskGroup) -> None:
        self._options = options
        self._client = client
        self._tasks = tasks
        self._ranges_known = asyncio.Event()
        self._ranges: list[str] = []

    async def prepare(self) -> NodeProcess:
        """The options with the node's range of pods, once everything is there."""
        await self._ensure_node()
        await self._certificates()
        node = Informer(self._client, core_v1.Node, fields=f"metadata.name={self._options.name}")
        node.on_change(self._node_changed)
        self._tasks.start(node.run(), "informer-range", vital=True)
        log.info("Waiting for the range of this node's pods")
        await self._ranges_known.wait()
        options = with_ranges(self._options, self._ranges)
        server = urlsplit(self._client.config.server).hostname or ""
        await asyncio.to_thread(_set_up_network, options, server)
        log.info("Pods of node %s are in %s", options.name, options.pod_cidr)
        return options

    # --- the Node ---

    async def _ensure_node(self) -> None:
        """Makes the Node, or has the one there show this machine's address: a certificate for the
        address is given to no other."""
        while True:
            try:
                return await self._write_node()
            except (StatusError, Unreachable) as error:
                log.info("The Node cannot be written yet: %s", error)
                await asyncio.sleep(_RETRY * random.uniform(0.8, 1.2))

    async def _write_node(self) -> None:
        name = self._options.name
        addresses = [
            core_v1.NodeAddress(type="InternalIP", address=address)
            for address in self._options.addresses.split(",")
        ]
        addresses.append(core_v1.NodeAddress(type="Hostname", address=name))
        node = core_v1.Node(metadata=ObjectMeta(name=name))
        node.status.addresses = addresses
        try:
            await self._client.create(node)
            return
        except StatusError as error:
            if not is_already_exists(error):
                raise
        existing = await self._client.get(core_v1.Node, name)
        if existing.status.addresses != addresses:
            changed = copy.deepcopy(existing)
            changed.status.addresses = addresses
            await self._client.update_status(changed)

    def _node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        ranges = list(new.spec.pod_cidrs) if new is not None else []
        if not ranges:
            return
        if not self._ranges:
            self._ranges = ranges
            self._ranges_known.set()
        elif ranges != self._ranges:
            self._tasks.start(_restart(self._ranges, ranges), "range", vital=True)

    # --- certificates ---

    async def _certificates(self) -> None:
        """Returns once each certificate is there; renews them from then on."""
        options = self._options
        wanted = {
            options.node_certificate: node_client(options.name),
            options.policy_certificate: policy_client(),
        }
        if options.certificate == options.key:
            # One file of both. A machine of the control plane has two, which are not asked for.
            wanted[options.certificate] = node_server(options.name, options.address)
        rotations = [
            Rotation(self._client, path, certificate)
            for path, certificate in wanted.items()
            if path is not None
        ]
        await asyncio.gather(*(_ensured(rotation) for rotation in rotations))
        for rotation in rotations:
            self._tasks.start(rotation.run(), "renew-certificate", vital=True)


async def _ensured(rotation: Rotation) -> None:
    while True:
        try:
            return await rotation.ensure()
        except (CertificateError, StatusError, Unreachable) as error:
            log.warning("A certificate is not there yet: %s", error)
            await asyncio.sleep(_RETRY)


async def _restart(old: list[str], new: list[str]) -> None:
    raise RangeChangedError(f"pods were in {', '.join(old)} and are in {', '.join(new)} now")


def with_ranges(options: NodeProcess, ranges: list[str]) -> NodeProcess:
    """The options of a node that was given these ranges. Of a family in which the machine has no
    address of its own, the node's address is the one among its pods."""
    updated = replace(options, pod_cidr=",".join(ranges))
    addresses = options.addresses.split(",")
    known = {version_of(address) for address in addresses}
    addresses += [gateway for gateway in updated.gateways if version_of(gateway) not in known]
    return replace(updated, addresses=",".join(addresses))


def _set_up_network(options: NodeProcess, server: str) -> None:
    mtu = tunnel.mtu_between(options.address, server, options.pod_routes, options.versions)
    ranges = options.pod_cidr.split(",")
    pods.write_cni(options.cni, options.cni_name, ranges, options.leases, mtu)
    pods.set_up_link(options.pod_link, list(options.gateways))
    pods.route(options.pod_link, options.service_cidr.split(","))
