"""The fields of a KubeletConfiguration that the managers and the node's reservations follow. Pure.

What is refused is refused in upstream's words (`pkg/kubelet/apis/config/validation`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.machinery import durations
from tiphys.machinery.footprint import units
from tiphys.node.managers import options
from tiphys.node.managers.cpusets import NONE, CPUSet, parse, written
from tiphys.node.managers.options import CPUOptions, TopologyOptions

_RECONCILE = 10.0  # seconds, as upstream
_RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
Amounts = Mapping[str, int]


@dataclass(frozen=True)
class Settings:
    """
    reconcile:       seconds between reconciliations of CPU sets
    reserved_cpus:   for the system, by number; empty if only their number is given
    reserved_memory: (NUMA node, bytes by resource)
    system, kube:    kept back for the system and its agents, in units of `footprint`
    pids:            how many processes a pod may have; None for as many as there can be
    """

    cpu_policy: str = options.NONE
    cpu_options: CPUOptions = field(default_factory=CPUOptions)
    reconcile: float = _RECONCILE
    reserved_cpus: CPUSet = NONE
    memory_policy: str = options.MEMORY_NONE
    reserved_memory: tuple[tuple[int, Amounts], ...] = ()
    topology_policy: str = options.NONE
    topology_scope: str = options.CONTAINER
    topology_options: TopologyOptions = field(default_factory=TopologyOptions)
    system: Amounts = field(default_factory=dict)
    kube: Amounts = field(default_factory=dict)
    pids: int | None = None
    alpha_options: bool = False  # whether `options.ALPHA_GATE` is on

    def reserved(self) -> dict[str, int]:
        """What pods do not get of the machine. CPUs that are named count alone (upstream)."""
        total = {
            name: self.system.get(name, 0) + self.kube.get(name, 0)
            for name in {**self.system, **self.kube}
        }
        if self.reserved_cpus:
            total["cpu"] = 1000 * len(self.reserved_cpus)
        return total


def shown(settings: Settings) -> dict[str, Any]:
    """Under the names of a KubeletConfiguration."""
    return {
        "cpuManagerPolicy": settings.cpu_policy,
        "cpuManagerReconcilePeriod": f"{settings.reconcile:g}s",
        "reservedSystemCPUs": written(settings.reserved_cpus),
        "memoryManagerPolicy": settings.memory_policy,
        "reservedMemory": [
            {"numaNode": node, "limits": {name: str(size) for name, size in limits.items()}}
            for node, limits in settings.reserved_memory
        ],
        "topologyManagerPolicy": settings.topology_policy,
        "topologyManagerScope": settings.topology_scope,
        "systemReserved": _amounts(settings.system),
        "kubeReserved": _amounts(settings.kube),
        "podPidsLimit": -1 if settings.pids is None else settings.pids,
    }


def _amounts(amounts: Amounts) -> dict[str, str]:
    return {name: f"{size}m" if name == "cpu" else str(size) for name, size in amounts.items()}


def _cpu_policy(value: Any) -> str:
    if value not in (options.NONE, options.STATIC):
        raise ValueError(f'unknown policy: "{value}"')
    return str(value)


def _memory_policy(value: Any) -> str:
    if value == "BestEffort":
        raise ValueError('policy "BestEffort" is not available for platform "linux"')
    if value not in (options.MEMORY_NONE, options.MEMORY_STATIC):
        raise ValueError(f'unknown policy: "{value}"')
    return str(value)


def _topology_policy(value: Any) -> str:
    policies = (options.NONE, options.BEST_EFFORT, options.RESTRICTED, options.SINGLE_NODE)
    if value not in policies:
        known = " ".join(f'"{policy}"' for policy in policies)
        raise ValueError(
            "invalid configuration: topologyManagerPolicy (--topology-manager-policy) "
            f'"{value}" must be one of: [{known}]'
        )
    return str(value)


def _scope(value: Any) -> str:
    if value not in (options.CONTAINER, options.POD):
        raise ValueError(
            "invalid configuration: topologyManagerScope (--topology-manager-scope) "
            f'"{value}" must be one of: "container", or "pod"'
        )
    return str(value)


def _cpus(value: Any) -> CPUSet:
    try:
        return parse(str(value))
    except ValueError as error:
        raise ValueError(
            "invalid configuration: unable to parse reservedSystemCPUs (--reserved-cpus) "
            f"{value}, error: {error}"
        ) from None


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("it is no map of strings")
    return {str(name): text for name, text in value.items()}


def _reserved(value: Any) -> dict[str, int]:
    amounts = {}
    for name, amount in _strings(value).items():
        if name not in _RESERVABLE:
            raise ValueError(f'cannot reserve "{name}" resource')
        amounts[name] = units(name, amount)
        if amounts[name] < 0:
            raise ValueError(f'resource quantity for "{name}" cannot be negative: {amount}')
    return amounts


def _reserved_memory(value: Any) -> tuple[tuple[int, Amounts], ...]:
    if not isinstance(value, list):
        raise ValueError("it is no list")
    reservations: list[tuple[int, Amounts]] = []
    seen: set[tuple[int, str]] = set()
    for entry in value:
        if not isinstance(entry, Mapping) or set(entry) - {"numaNode", "limits"}:
            raise ValueError("each entry has numaNode and limits")
        node = entry.get("numaNode", 0)
        limits = entry.get("limits", {})
        if type(node) is not int or not isinstance(limits, Mapping):
            raise ValueError("numaNode is a number and limits a map")
        amounts = {name: _limit(node, name, amount) for name, amount in limits.items()}
        for name in amounts:
            if (node, name) in seen:
                raise ValueError(
                    "invalid configuration: the reserved memory has a duplicate value for NUMA "
                    f'node {node} and resource "{name}"'
                )
            seen.add((node, name))
        reservations.append((node, amounts))
    return tuple(reservations)


def _limit(node: int, name: Any, amount: Any) -> int:
    if name != "memory" and not str(name).startswith("hugepages-"):
        raise ValueError(
            f'invalid configuration: the limit type "{name}" for NUMA node {node} is not '
            "supported, only [memory hugepages-<HugePageSize>] is accepted"
        )
    size = units("memory", str(amount))
    if size <= 0:
        raise ValueError(
            f"invalid configuration: reserved memory may not be zero for NUMA node {node} and "
            f'resource "{name}"'
        )
    return size


def _period(value: Any) -> float:
    seconds = durations.seconds(str(value))
    if seconds <= 0:
        raise ValueError(f"{value!r} is not above 0")
    return seconds


def _pids(value: Any) -> int | None:
    if type(value) is not int or value >= 1 << 31:
        raise ValueError(f"{value!r} is no number")
    return value if value > 0 else None  # -1: no limit


def _gates(value: Any) -> bool:
    if not isinstance(value, Mapping):
        raise ValueError("it is no map")
    return options.alpha_gate(value)


FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "cpuManagerPolicy": ("cpu_policy", _cpu_policy),
    "cpuManagerPolicyOptions": (
        "cpu_options",
        lambda value: options.cpu_options(_strings(value)),
    ),
    "cpuManagerReconcilePeriod": ("reconcile", _period),
    "reservedSystemCPUs": ("reserved_cpus", _cpus),
    "memoryManagerPolicy": ("memory_policy", _memory_policy),
    "reservedMemory": ("reserved_memory", _reserved_memory),
    "topologyManagerPolicy": ("topology_policy", _topology_policy),
    "topologyManagerScope": ("topology_scope", _scope),
    "topologyManagerPolicyOptions": (
        "topology_options",
        lambda value: options.topology_options(_strings(value)),
    ),
    "systemReserved": ("system", _reserved),
    "kubeReserved": ("kube", _reserved),
    "podPidsLimit": ("pids", _pids),
    "featureGates": ("alpha_options", _gates),
}
