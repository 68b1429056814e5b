"""Whether a node takes a pod that is bound to it. The scheduler has looked for room, but pods can
be bound without it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.machinery.footprint import clash, ports_of, requests_of, units
from tiphys.node.abilities import RuntimeAbilities
from tiphys.node.hugepages import PREFIX
from tiphys.node.profiles import needs_app_armor
from tiphys.node.resources.sysctls import SysctlAllowlist

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
    pages = sorted(name for name in pod.requests if name.startswith(PREFIX))
    for name in (*_COMPUTE, *pages):
        requested = pod.requests.get(name, 0)
        if not requested:
            continue
        used = sum(other.requests.get(name, 0) for other in others)
        shortage = Shortage(name, requested, used, units(name, allocatable.get(name, "0")))
        if shortage.missing > 0:
            yield shortage


def unfit(
    spec: core_v1.PodSpec, abilities: RuntimeAbilities, sysctls: SysctlAllowlist
) -> Rejection | None:
    """Why no node with these abilities takes a pod; None if it may."""
    if spec.os is not None and spec.os.name != "linux":
        text = "Failed to admit pod as the OS field doesn't match node OS"
        return Rejection("PodOSNotSupported", text)
    if problem := sysctls.problem(spec):
        return Rejection("SysctlForbidden", problem)
    if not abilities.app_armor and needs_app_armor(spec):
        text = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
        return Rejection("AppArmor", text)
    security = spec.security_context
    if security is not None and security.supplemental_groups_policy == "Strict":
        if not abilities.strict_groups:
            text = "SupplementalGroupsPolicy=Strict is not supported in this node"
            return Rejection("SupplementalGroupsPolicyNotSupported", text)
    return None
