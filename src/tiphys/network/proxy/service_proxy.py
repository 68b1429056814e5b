"""The shell around the rules: informers in, the kernel's tables out, several changes at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from tiphys.api import core_v1, discovery_v1
from tiphys.client.informer import Informers, key_of
from tiphys.network.nft import NftError
from tiphys.network.proxy import flows
from tiphys.network.proxy.endpoints import Place, ServiceKey, service_key
from tiphys.network.proxy.health import ProxyHealth, serve
from tiphys.network.proxy.healthchecks import HealthChecks, local_endpoints
from tiphys.network.proxy.hostports import HostPort, host_ports
from tiphys.network.proxy.kernel import Kernel, KernelTable, ThisKernel, families
from tiphys.network.proxy.metrics import ProxyMetrics
from tiphys.network.proxy.metrics import serve as serve_metrics
from tiphys.network.proxy.rules import Part
from tiphys.network.proxy.serviceports import host_port_part, service_part
from tiphys.network.proxy.table import Changes, Table
from tiphys.network.proxy.triggers import Triggers
from tiphys.network.proxy.wire import Family

log = logging.getLogger(__name__)

_BATCH_SECONDS = 0.01  # to wait for more changes of the same moment
_CHECK_SECONDS = 15.0  # between checks of a table that has not changed
_RETRY_SECONDS = 1.0  # after a whole table that could not be written
_HOST_PORTS = "~"  # starts the owner of what a pod's host ports need
_ZONE = "topology.kubernetes.io/zone"
# Half-closed connections time out after an hour, as in kube-proxy (the kernel: a minute): a
# server that is slow to close could not answer any more.
_CONNECTION_TRACKING = {"nf_conntrack_tcp_timeout_close_wait": "3600"}


@dataclass(frozen=True)
class ProxyNode:
    """The node of a proxy.

    addresses:              where health checks are answered
    table:                  the name of its tables in the kernel
    pod_cidr, service_cidr: networks with commas between them. A version of IP that no network of
    pods has is not proxied.
    """

    name: str
    addresses: tuple[str, ...]
    table: str
    pod_cidr: str
    service_cidr: str


@dataclass
class _Side:
    """One version of IP."""

    family: Family
    kernel: KernelTable
    table: Table = field(default_factory=lambda: Table(_rank))
    needs_rewrite: bool = True  # everything has to be written


def _rank(owner: str) -> int:
    """A service goes before a host port."""
    return int(owner.startswith(_HOST_PORTS))


class ServiceProxy:
    """Keeps the tables of a node as the services are."""

    def __init__(
        self,
        informers: Informers,
        node: ProxyNode,
        kernel: Kernel | None = None,
        metrics: ProxyMetrics | None = None,
    ) -> None:
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._slices.index(
            "service", lambda endpoint_slice: ["/".join(service_key(endpoint_slice))]
        )
        self._place = Place(node.name)
        self._sides = []
        service_cidrs = families(node.service_cidr)
        for family, pods in families(node.pod_cidr).items():
            inside = service_cidrs.get(family, [])
            table = KernelTable(family, node.table, pods, inside, kernel or ThisKernel())
            self._sides.append(_Side(family, table))
        self._dirty: set[str] = set()  # keys of services
        self._changed = asyncio.Event()
        self._host_ports: dict[str, list[HostPort]] = {}  # by the pod's uid
        self.metrics = metrics or ProxyMetrics(CollectorRegistry())
        self.health = ProxyHealth(probed=self.metrics.probed)
        self._triggers = Triggers()
        self._addresses = list(node.addresses)
        self._checks = HealthChecks(node.addresses, self.health.is_healthy)

    # --- changes of objects ---

    def pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        """For the informer of this node's pods: their host ports."""
        pod = new or old
        if pod is None:
            return
        rows = host_ports(new) if new is not None else []
        uid = pod.metadata.uid
        if self._host_ports.get(uid, []) == rows:
            return
        if rows:
            self._host_ports[uid] = rows
        else:
            del self._host_ports[uid]
        for side in self._sides:
            side.table.put(_HOST_PORTS + uid, host_port_part(rows, side.family.version))
        self._wake()

    def node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """For the informer of this node: where it stands, and whether it is to go."""
        self.health.node = new
        zone = new.metadata.labels.get(_ZONE, "") if new is not None else self._place.zone
        if zone != self._place.zone:
            self._place = Place(self._place.node, zone)
            self._dirty.update(key_of(service) for service in self._services)
            self._wake()

    def _service_changed(self, old: core_v1.Service | None, new: core_v1.Service | None) -> None:
        changed = new or old
        if changed is not None:
            self._dirty.add(key_of(changed))
            self.metrics.changed("service")
            self._wake()

    def _slice_changed(
        self, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        for endpoint_slice in (old, new):
            if endpoint_slice is not None:
                self._dirty.add("/".join(service_key(endpoint_slice)))
                self._wake()
        self.metrics.changed("endpoint")
        if new is not None:
            self._triggers.note(new)

    def _wake(self) -> None:
        self.health.queued()
        self.metrics.queued(side.family for side in self._sides)
        self._changed.set()

    # --- the loop ---

    async def run(self) -> None:
        self._services.on_change(self._service_changed)
        self._slices.on_change(self._slice_changed)
        for informer in (self._services, self._slices):
            await informer.synced.wait()
        _track_connections()
        loopback = "::1" if ":" in next(iter(self._addresses), "") else "127.0.0.1"
        server = await serve(self.health, [*self._addresses, loopback])
        pages = await serve_metrics(self.metrics.registry, loopback)
        try:
            while True:
                await self._sync()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _CHECK_SECONDS)
                await asyncio.sleep(_BATCH_SECONDS)
        finally:
            await server.cleanup()
            await pages.cleanup()
            await self._checks.close()

    async def _sync(self) -> None:
        self._changed.clear()
        await self._checks.retry()
        dirty = self._dirty
        self._dirty = set()
        triggers = self._triggers.take()
        self.metrics.taken()
        for number, key in enumerate(dirty):
            await self._update(key)
            if number % 50 == 49:
                await asyncio.sleep(0)  # a first list of thousands holds the loop a while
        for side in self._sides:
            changes = await self._write(side)
            self.metrics.programmed(side.family, triggers.get(side.family.version, ()))
            await self._forget(side.family, list(flows.stale(changes.flows)))
        if self._host_ports:
            rows = [row for of_pod in self._host_ports.values() for row in of_pod]
            _route_loopback({row.address for row in rows})
        if not self._changed.is_set():
            self.health.updated()

    async def _update(self, key: str) -> None:
        """What a service needs now."""
        service = self._services.get(key)
        slices = self._slices.by("service", key)
        port = 0
        for side in self._sides:
            part = Part()
            if service is not None:
                part = service_part(service, slices, self._place, side.family.version)
            side.table.put(key, part)
        if service is not None:
            port = service.spec.health_check_node_port
        count = local_endpoints(slices, self._place.node) if port else 0
        await self._checks.put(ServiceKey(*key.split("/", 1)), port, count)

    async def _forget(self, family: Family, stale: list[flows.Selection]) -> None:
        if not stale:
            return
        began = time.perf_counter()
        await asyncio.to_thread(flows.forget, family.version, stale)
        self.metrics.forgot_flows(family, time.perf_counter() - began)

    async def _write(self, side: _Side) -> Changes:
        """Brings the kernel to what the table says, and notes how long that took."""
        began = time.perf_counter()
        is_whole = side.needs_rewrite
        changes = await self._written(side)
        self.metrics.written(side.family, time.perf_counter() - began, is_whole)
        return changes

    async def _written(self, side: _Side) -> Changes:
        """Brings the kernel to what the table says. What it refuses is written as a whole."""
        changes = side.table.take()
        if not side.needs_rewrite:
            try:
                await asyncio.to_thread(side.kernel.change, changes)
                return changes
            except OSError as error:
                log.warning("A change was refused, the whole table is written again: %s", error)
                self.metrics.failed(side.family)
        side.needs_rewrite = True
        while side.needs_rewrite:
            side.table.forget()
            contents = side.table.take()
            try:
                await asyncio.to_thread(side.kernel.replace, contents)
                side.needs_rewrite = False
            except (NftError, subprocess.TimeoutExpired, OSError) as error:
                log.warning("The table of services could not be written: %s", error)
                self.metrics.failed(side.family)
                await asyncio.sleep(_RETRY_SECONDS)
        return changes

    def remove(self) -> None:
        for side in self._sides:
            with contextlib.suppress(NftError):
                side.kernel.remove()


def _track_connections() -> None:
    for name, value in _CONNECTION_TRACKING.items():
        # The kernel may have no connection tracking yet, or be shared.
        with contextlib.suppress(OSError):
            Path("/proc/sys/net/netfilter", name).write_text(value)


def _route_loopback(addresses: set[str]) -> None:
    """Lets what comes from a loopback address out to these pods' interfaces, and their answers
    back. Others that would reach a loopback address from there are dropped (chain
    input-loopback)."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination = line.split()[:2]
        if socket.inet_ntoa(bytes.fromhex(destination)[::-1]) in addresses:
            with contextlib.suppress(OSError):  # the pod has gone meanwhile
                Path(f"/proc/sys/net/ipv4/conf/{interface}/route_localnet").write_text("1")
