"""The shell around the rules: informers in, nft out, several changes at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
from pathlib import Path
from typing import Any

from tiphys.api import core_v1, discovery_v1
from tiphys.client.informer import Informers
from tiphys.network.proxy.healthchecks import HealthChecks
from tiphys.network.proxy.rules import HostPort, Ruleset, base, changes, desired

log = logging.getLogger(__name__)

_PATIENCE = 0.01  # seconds to wait for more changes of the same moment


class NftError(Exception):
    """nft refused; the text is its own."""


def nft(script: str) -> None:
    done = subprocess.run(
        ["nft", "-f", "-"], input=script, capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise NftError(done.stderr.strip())


class ServiceProxy:
    def __init__(
        self,
        informers: Informers,
        node: str,
        address: str,
        table: str,
        pod_cidr: str,
        service_cidr: str,
    ) -> None:
        """`address` is where the node answers how services are here."""
        self._services, self._slices = (
            informers.of(core_v1.Service),
            informers.of(discovery_v1.EndpointSlice),
        )
        self._informers = informers
        self._node, self._table = node, table
        self._pod_cidr, self._service_cidr = pod_cidr, service_cidr
        self._current = Ruleset()
        self._changed = asyncio.Event()
        self._host_ports: dict[str, list[HostPort]] = {}
        self._checks = HealthChecks(address)

    def pod_changed(self, old: Any, new: Any) -> None:
        """For the informer of this node's pods: their host ports."""
        uid = (new or old).metadata.uid  # type: ignore[union-attr]
        rows = _host_ports(new) if new is not None else []
        if self._host_ports.get(uid, []) != rows:
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
            await asyncio.sleep(_PATIENCE)
            self._changed.clear()
            await self._checks.sync(self._services, self._slices, self._node)
            await self._sync()

    def _reset(self) -> None:
        """Our table anew: what an earlier run left is replaced in one step."""
        nft(
            f"add table ip {self._table}\ndelete table ip {self._table}\n"
            + base(self._table, self._pod_cidr, self._service_cidr)
        )
        self._current = Ruleset()

    async def _sync(self) -> None:
        ports = [row for rows in self._host_ports.values() for row in rows]
        wanted = desired(self._services, self._slices, self._node, ports)
        script = changes(self._table, self._current, wanted)
        if not script:
            return
        try:
            await asyncio.to_thread(nft, script)
        except (NftError, subprocess.TimeoutExpired) as error:
            log.warning("nft: %s; writing the whole ruleset again", error)
            await asyncio.to_thread(self._reset)
            await asyncio.to_thread(nft, changes(self._table, Ruleset(), wanted))
        if ports:
            _open_loopback({row.address for row in ports})
        moved = [key for key in wanted.udp if self._touched(wanted, key)]
        self._current = wanted
        for address, port in moved:
            await asyncio.to_thread(_forget_flows, address, port)

    def _touched(self, wanted: Ruleset, key: tuple[str, int]) -> bool:
        element = f"udp . {key[0]} . {key[1]}"
        before, after = (
            r.elements.get("services", {}).get(element, "") for r in (self._current, wanted)
        )
        return before != after or self._current.chains.get(before[5:]) != wanted.chains.get(
            after[5:]
        )

    def remove(self) -> None:
        with contextlib.suppress(NftError):
            nft(f"delete table ip {self._table}\n")


def _host_ports(pod: core_v1.Pod) -> list[HostPort]:
    """The ports of the node that lead to a pod."""
    address = pod.status.pod_ip
    if not address or pod.spec.host_network or pod.status.phase not in ("Pending", "Running"):
        return []
    return [
        HostPort(
            port.protocol,
            "" if port.host_ip in ("0.0.0.0", "::") else port.host_ip,
            port.host_port,
            address,
            port.container_port,
        )
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for port in container.ports
        if port.host_port and (":" not in port.host_ip or port.host_ip == "::")
    ]


def _open_loopback(addresses: set[str]) -> None:
    """Lets what comes from a loopback address out to these pods' interfaces, and their answers back. Others that would
    reach a loopback address from there are dropped (`input-loopback`)."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination = line.split()[:2]
        if socket.inet_ntoa(bytes.fromhex(destination)[::-1]) in addresses:
            with contextlib.suppress(OSError):  # the pod has gone meanwhile
                Path(f"/proc/sys/net/ipv4/conf/{interface}/route_localnet").write_text("1")


def _forget_flows(address: str, port: int) -> None:
    """UDP has no end: flows to endpoints that are gone would live on in connection tracking."""
    with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
        subprocess.run(
            ["conntrack", "-D", "-p", "udp", "--orig-dst", address, "--dport", str(port)],
            capture_output=True,
            timeout=10,
        )
