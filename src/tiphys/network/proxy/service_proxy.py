"""The shell around the rules: informers in, nft out, several changes at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tiphys.api import core_v1, discovery_v1
from tiphys.client.informer import Informers
from tiphys.network.nft import NftError, nft
from tiphys.network.proxy.healthchecks import HealthChecks
from tiphys.network.proxy.hostports import HostPort, host_ports
from tiphys.network.proxy.rules import SERVICES, Ruleset, UDPService, desired
from tiphys.network.proxy.script import base, changes

log = logging.getLogger(__name__)

_BATCH_SECONDS = 0.01  # to wait for more changes of the same moment


class ServiceProxy:
    """Keeps the nft table `table` as the services are. `address` is the node's, where its health
    checks are answered; `pod_cidr` may be several networks with commas; `write` takes a transaction
    (blocking; raises NftError)."""

    def __init__(
        self,
        informers: Informers,
        node: str,
        address: str,
        table: str,
        pod_cidr: str,
        service_cidr: str,
        write: Callable[[str], None] = nft,
    ) -> None:
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._node = node
        self._table = table
        self._base = base(table, pod_cidr, service_cidr)
        self._write = write
        self._current = Ruleset()
        self._changed = asyncio.Event()
        self._host_ports: dict[str, list[HostPort]] = {}  # by the pod's uid
        self._checks = HealthChecks(address)

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
        self._changed.set()

    async def run(self) -> None:
        await asyncio.to_thread(self._reset)
        for informer in (self._services, self._slices):
            informer.on_change(lambda old, new: self._changed.set())
            await informer.synced.wait()
        self._changed.set()
        while True:
            await self._changed.wait()
            await asyncio.sleep(_BATCH_SECONDS)
            self._changed.clear()
            await self._checks.sync(self._services, self._slices, self._node)
            await self._sync()

    def _reset(self) -> None:
        """An empty table: what an earlier run left is replaced in one transaction."""
        clear = f"add table ip {self._table}\ndelete table ip {self._table}\n"
        self._write(clear + self._base)
        self._current = Ruleset()

    async def _sync(self) -> None:
        rows = [row for of_pod in self._host_ports.values() for row in of_pod]
        wanted = desired(self._services, self._slices, self._node, rows)
        script = changes(self._table, self._current, wanted)
        if not script:
            return
        try:
            await asyncio.to_thread(self._write, script)
        except (NftError, subprocess.TimeoutExpired) as error:
            log.warning("nft refused a change, the whole ruleset is written again: %s", error)
            await asyncio.to_thread(self._reset)
            await asyncio.to_thread(self._write, changes(self._table, Ruleset(), wanted))
        if rows:
            _route_loopback({row.address for row in rows})
        moved = moved_udp_services(self._current, wanted)
        self._current = wanted
        for service in moved:
            await asyncio.to_thread(_forget_flows, service)

    def remove(self) -> None:
        with contextlib.suppress(NftError):
            self._write(f"delete table ip {self._table}\n")


def moved_udp_services(old: Ruleset, new: Ruleset) -> list[UDPService]:
    """UDP services that lead elsewhere now."""
    return [service for service in new.udp if _target(old, service) != _target(new, service)]


def _target(ruleset: Ruleset, service: UDPService) -> tuple[str, ...] | None:
    """The rules that a UDP service leads to."""
    element = f"udp . {service.address} . {service.port}"
    verdict = ruleset.elements.get(SERVICES, {}).get(element, "")
    return ruleset.chains.get(verdict.removeprefix("goto "))


def _route_loopback(addresses: set[str]) -> None:
    """Lets what comes from a loopback address out to these pods' interfaces, and their answers
    back. Others that would reach a loopback address from there are dropped (chain
    input-loopback)."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination = line.split()[:2]
        if socket.inet_ntoa(bytes.fromhex(destination)[::-1]) in addresses:
            with contextlib.suppress(OSError):  # the pod has gone meanwhile
                Path(f"/proc/sys/net/ipv4/conf/{interface}/route_localnet").write_text("1")


def _forget_flows(service: UDPService) -> None:
    """UDP has no end: flows to endpoints that are gone would live on in connection tracking."""
    selection = ["-p", "udp", "--orig-dst", service.address, "--dport", str(service.port)]
    with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
        subprocess.run(["conntrack", "-D", *selection], capture_output=True, timeout=10)
