"""Whether a node takes a pod it was given. The scheduler has looked for room, but not everybody asks the scheduler.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from tiphys.api import core_v1
from tiphys.machinery.footprint import clash, ports_of, requests_of, units

_COMPUTE = ("cpu", "memory", "ephemeral-storage")


class Footprint:
    """What a pod takes of its node, worked out once."""

    def __init__(self, spec: core_v1.PodSpec) -> None:
        self._spec = spec

    @cached_property
    def requests(self) -> dict[str, int]:
        return requests_of(self._spec)

    @cached_property
    def ports(self) -> tuple[tuple[str, str, int], ...]:
        return ports_of(self._spec)


def refusal(
    pod: Footprint, others: Iterable[Footprint], allocatable: Mapping[str, str]
) -> tuple[str, str] | None:
    """The (reason, message) for which a node that holds `others` cannot take `pod`, or None."""
    others = list(others)
    if len(others) + 1 > (room := units("pods", allocatable["pods"])):
        return _lacks("pods", 1, len(others), room)
    for name in _COMPUTE:
        if asked := pod.requests.get(name, 0):
            used, room = (
                sum(other.requests.get(name, 0) for other in others),
                units(name, allocatable[name]),
            )
            if used + asked > room:
                return _lacks(name, asked, used, room)
    if pod.ports and any(
        clash(mine, theirs) for other in others for theirs in other.ports for mine in pod.ports
    ):
        return (
            "NodePorts",
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        )
    return None


# What a pod may set without reaching beyond itself: upstream's safe sysctls, all of namespaces of the pod's own.
_SAFE_SYSCTLS = {"kernel.shm_rmid_forced": "IPC"} | dict.fromkeys(
    (
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ),
    "Net",
)


def unfit(spec: core_v1.PodSpec) -> tuple[str, str] | None:
    """The (reason, message) for which no node of ours takes a pod, or None."""
    if spec.os is not None and spec.os.name != "linux":
        return "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
    if (
        spec.security_context is not None
        and spec.security_context.supplemental_groups_policy == "Strict"
    ):
        return (
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        )
    for sysctl in spec.security_context.sysctls if spec.security_context is not None else ():
        name = sysctl_name(sysctl.name)
        namespace = _SAFE_SYSCTLS.get(name)
        if namespace is None:
            return "SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted'
        if spec.host_network if namespace == "Net" else spec.host_ipc:
            return (
                "SysctlForbidden",
                f'forbidden sysctl: "{name}" not allowed with host {namespace} enabled',
            )
    return None


def sysctl_name(name: str) -> str:
    """With dots between its parts: one whose first separator is a slash has slashes and dots exchanged."""
    first = next((letter for letter in name if letter in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("./", "/."))


def _lacks(name: str, asked: int, used: int, room: int) -> tuple[str, str]:
    text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {room}"
    return f"OutOf{name}", text


MISPLACED = (
    "NodeAffinity",
    "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
)
