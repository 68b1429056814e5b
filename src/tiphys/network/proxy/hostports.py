"""Ports of the node that lead to one pod on it (hostPort). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tiphys.api import core_v1

_EVERY_ADDRESS = ("0.0.0.0", "::")


@dataclass(frozen=True)
class HostPort:
    """`host` is empty for every address of the node, loopback too. `address` and `target` are the
    pod's."""

    protocol: str
    host: str
    port: int
    address: str
    target: int


def host_ports(pod: core_v1.Pod) -> list[HostPort]:
    """The ports that lead to a pod as long as it runs, to each of its addresses; those of a pod in
    its node's network are the node's anyway."""
    status = pod.status
    if pod.spec.host_network or status.phase not in ("Pending", "Running"):
        return []
    addresses = [pod_ip.ip for pod_ip in status.pod_ips] or [status.pod_ip]
    return [
        HostPort(
            port.protocol,
            "" if port.host_ip in _EVERY_ADDRESS else port.host_ip,
            port.host_port,
            address,
            port.container_port,
        )
        for port in _ports(pod)
        for address in addresses
        if port.host_port and address and _is_reached(port.host_ip, address)
    ]


def _ports(pod: core_v1.Pod) -> Iterator[core_v1.ContainerPort]:
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        yield from container.ports


def _is_reached(host: str, address: str) -> bool:
    """An address of the node leads to those of its own family."""
    return not host or host in _EVERY_ADDRESS or (":" in host) == (":" in address)
