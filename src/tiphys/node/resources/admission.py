"""Whether a node takes a pod that is bound to it. The scheduler has looked for room, but pods can
be bound without it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.machinery.footprint import clash, ports_of, requests_of, units

_COMPUTE = ("cpu", "memory", "ephemeral-storage")


class Rejection(NamedTuple):
    """Why a node does not let a pod have something, or ends it, as the pod's status shows it."""

    reason: str
    message: str


NODE_AFFINITY = Rejection(
    "NodeAffinity",
    "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
)
_NODE_PORTS = Rejection(
    "NodePorts",
    "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
)


class Footprint:
    """What a pod takes of its node, computed when it is first asked for."""

    def __init__(self, spec: core_v1.PodSpec) -> None:
        self._spec = spec

    @cached_property
    def requests(self) -> dict[str, int]:
        """By resource, in the units of `machinery.footprint`."""
        return requests_of(self._spec)

    @cached_property
    def ports(self) -> tuple[tuple[str, str, int], ...]:
        """(address, protocol, port) of each host port."""
        return ports_of(self._spec)

    def clashes_with(self, other: Footprint) -> bool:
        """Whether both want the same host port."""
        return any(clash(mine, theirs) for theirs in other.ports for mine in self.ports)


def insufficient_room(
    pod: Footprint, others: Iterable[Footprint], allocatable: Mapping[str, str]
) -> Rejection | None:
    """Why a node that holds `others` has no room for `pod`; None if it has."""
    others = list(others)
    for shortage in shortages(pod, others, allocatable):
        return shortage.rejection
    return clashing_ports(pod, others)


def clashing_ports(pod: Footprint, others: Iterable[Footprint]) -> Rejection | None:
    return _NODE_PORTS if any(pod.clashes_with(other) for other in others) else None


class Shortage(NamedTuple):
    """Of one resource, in the units of `machinery.footprint`."""

    name: str
    requested: int
    used: int
    total: int

    @property
    def missing(self) -> int:
        return self.requested + self.used - self.total

    @property
    def rejection(self) -> Rejection:
        amounts = (
            f"{self.name}, requested: {self.requested}, used: {self.used}, capacity: {self.total}"
        )
        return Rejection(f"OutOf{self.name}", f"Node didn't have enough resource: {amounts}")


def shortages(
    pod: Footprint, others: Sequence[Footprint], allocatable: Mapping[str, str]
) -> Iterator[Shortage]:
    """What a node that holds `others` has too little of for `pod`."""
    pods = Shortage("pods", 1, len(others), units("pods", allocatable["pods"]))
    if pods.missing > 0:
        yield pods
    for name in _COMPUTE:
        requested = pod.requests.get(name, 0)
        if not requested:
            continue
        used = sum(other.requests.get(name, 0) for other in others)
        shortage = Shortage(name, requested, used, units(name, allocatable[name]))
        if shortage.missing > 0:
            yield shortage


# What a pod may set without reaching beyond itself: upstream's safe sysctls, each of a namespace
# that is the pod's own.
_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced": "IPC",
    "net.ipv4.ip_local_port_range": "Net",
    "net.ipv4.ip_local_reserved_ports": "Net",
    "net.ipv4.ip_unprivileged_port_start": "Net",
    "net.ipv4.ping_group_range": "Net",
    "net.ipv4.tcp_fin_timeout": "Net",
    "net.ipv4.tcp_keepalive_intvl": "Net",
    "net.ipv4.tcp_keepalive_probes": "Net",
    "net.ipv4.tcp_keepalive_time": "Net",
    "net.ipv4.tcp_rmem": "Net",
    "net.ipv4.tcp_syncookies": "Net",
    "net.ipv4.tcp_wmem": "Net",
}


def unfit(spec: core_v1.PodSpec) -> Rejection | None:
    """Why no node of ours takes a pod; None if some may."""
    if spec.os is not None and spec.os.name != "linux":
        text = "Failed to admit pod as the OS field doesn't match node OS"
        return Rejection("PodOSNotSupported", text)
    security = spec.security_context
    if security is None:
        return None
    if security.supplemental_groups_policy == "Strict":
        text = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return Rejection("SupplementalGroupsPolicyNotSupported", text)
    for sysctl in security.sysctls:
        if problem := _sysctl_problem(spec, sysctl_name(sysctl.name)):
            return Rejection("SysctlForbidden", problem)
    return None


def _sysctl_problem(spec: core_v1.PodSpec, name: str) -> str:
    """Why a pod may not set a sysctl; "" if it may."""
    namespace = _SAFE_SYSCTLS.get(name)
    if namespace is None:
        return f'forbidden sysctl: "{name}" not allowlisted'
    shares_with_host = spec.host_network if namespace == "Net" else spec.host_ipc
    if shares_with_host:
        return f'forbidden sysctl: "{name}" not allowed with host {namespace} enabled'
    return ""


def sysctl_name(name: str) -> str:
    """The name with dots between its parts. In one whose first separator is a slash, slashes and
    dots are exchanged, as sysctl(8) reads them."""
    separators = [letter for letter in name if letter in "./"]
    if not separators or separators[0] == ".":
        return name
    return name.translate(str.maketrans("./", "/."))
