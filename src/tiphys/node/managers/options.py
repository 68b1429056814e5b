"""How the managers are to work, of a KubeletConfiguration, in upstream's words where it refuses
something. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NONE, STATIC = "none", "static"
BEST_EFFORT, RESTRICTED, SINGLE_NODE = "best-effort", "restricted", "single-numa-node"
CONTAINER, POD = "container", "pod"
MEMORY_NONE, MEMORY_STATIC = "None", "Static"
MOST_NODES = 8  # NUMA nodes of a machine: every set of them is tried

ALPHA_GATE = "CPUManagerPolicyAlphaOptions"  # off in 1.36, unless `featureGates` says otherwise
_ALPHA = ("align-by-socket", "distribute-cpus-across-cores")
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


@dataclass(frozen=True)
class CPUOptions:
    """
    whole_cores:  only whole cores are given: no two containers share one
    spread:       evenly over NUMA nodes where one does not hold them all
    keep_strict:  reserved CPUs are not in the shared pool, either
    by_cache:     behind as few last-level caches as possible
    across_cores: threads of as many cores as there are
    by_socket:    CPUs of one socket are as good as those of one NUMA node
    alpha:        the option that needs `ALPHA_GATE`; "" if none was given
    """

    whole_cores: bool = False
    spread: bool = False
    keep_strict: bool = False
    by_cache: bool = False
    across_cores: bool = False
    by_socket: bool = False
    alpha: str = ""


@dataclass(frozen=True)
class TopologyOptions:
    """
    closest:    of sets of as many NUMA nodes, the one whose nodes are close to each other
    most_nodes: machines with more are refused
    """

    closest: bool = False
    most_nodes: int = MOST_NODES


_CPU_OPTIONS = {
    "full-pcpus-only": "whole_cores",
    "distribute-cpus-across-numa": "spread",
    "strict-cpu-reservation": "keep_strict",
    "prefer-align-cpus-by-uncorecache": "by_cache",
    "distribute-cpus-across-cores": "across_cores",
    "align-by-socket": "by_socket",
}
# Of these pairs one option alone may be on.
_EXCLUSIVE = (
    ("full-pcpus-only", "distribute-cpus-across-cores"),
    ("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
)


def cpu_options(policy_options: Mapping[str, str]) -> CPUOptions:
    """Raises ValueError."""
    fields: dict[str, bool] = {}
    alpha = ""
    for name, value in policy_options.items():
        if name not in _CPU_OPTIONS:
            raise ValueError(f'unknown CPU Manager Policy option: "{name}"')
        alpha = name if name in _ALPHA else alpha
        fields[_CPU_OPTIONS[name]] = _boolean(name, value)
    for one, other in _EXCLUSIVE:
        if fields.get(_CPU_OPTIONS[one]) and fields.get(_CPU_OPTIONS[other]):
            raise ValueError(
                f"static policy options {one} and {other} can not be used at the same time"
            )
    return CPUOptions(**fields, alpha=alpha)


def check_gate(options: CPUOptions, is_on: bool) -> None:
    """Raises ValueError for an option whose feature gate is off."""
    if options.alpha and not is_on:
        raise ValueError(
            f"CPU Manager Policy Alpha-level Options not enabled, but option "
            f'"{options.alpha}" provided'
        )


def alpha_gate(gates: Mapping[str, object]) -> bool:
    """Whether `featureGates` turns `ALPHA_GATE` on. Raises ValueError."""
    for name, value in gates.items():
        if name != ALPHA_GATE:
            raise ValueError(f"nodes of Tiphys follow only {ALPHA_GATE}")
        if type(value) is not bool:
            raise ValueError(f"{name}: {value!r} is neither true nor false")
    return bool(gates.get(ALPHA_GATE, False))


def topology_options(policy_options: Mapping[str, str]) -> TopologyOptions:
    """Raises ValueError."""
    closest = False
    most = MOST_NODES
    for name, value in policy_options.items():
        if name == "prefer-closest-numa-nodes":
            closest = _boolean(name, value)
        elif name == "max-allowable-numa-nodes":
            most = _most_nodes(name, value)
        else:
            raise ValueError(f'unknown Topology Manager Policy option: "{name}"')
    return TopologyOptions(closest, most)


def _most_nodes(name: str, value: str) -> int:
    digits = value.lstrip("+-")
    if not (digits.isascii() and digits.isdecimal()) or len(value) > 18:
        raise ValueError(
            f'unable to convert policy option to integer "{name}": '
            f'strconv.Atoi: parsing "{value}": invalid syntax'
        )
    if int(value) < MOST_NODES:
        raise ValueError(f'the minimum value of "{name}" should not be less than {MOST_NODES}')
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ValueError(
        f'bad value for option "{name}": strconv.ParseBool: parsing "{value}": invalid syntax'
    )
