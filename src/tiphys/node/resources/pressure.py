"""When a node is short of something, and which pod must go then. Pure.

The signals, their thresholds and the order of pods are those of upstream's kubelet
(`pkg/kubelet/eviction`). Its thresholds for disks are shares of them (10 and 15 %), which many a
workstation is below for years; the default here is a GiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.machinery import quantity
from tiphys.machinery.footprint import requests_of
from tiphys.node.resources.admission import Rejection

DEFAULT_THRESHOLDS = "memory.available<100Mi,nodefs.available<1Gi,nodefs.inodesFree<1%"

MEMORY_PRESSURE, DISK_PRESSURE, PID_PRESSURE = "MemoryPressure", "DiskPressure", "PIDPressure"
STORAGE, INODES, PIDS = "ephemeral-storage", "inodes", "pids"
# Of each signal: the node's condition, and the resource that pods have too much of.
SIGNALS = {
    "memory.available": (MEMORY_PRESSURE, "memory"),
    "nodefs.available": (DISK_PRESSURE, STORAGE),
    "nodefs.inodesFree": (DISK_PRESSURE, INODES),
    "imagefs.available": (DISK_PRESSURE, STORAGE),
    "imagefs.inodesFree": (DISK_PRESSURE, INODES),
    "pid.available": (PID_PRESSURE, PIDS),
}
HOLD = 300.0  # seconds that a condition holds after its cause is over, as upstream

_CRITICAL = 2_000_000_000  # the priority from which on pods are not evicted
_MEMORY_TAINT = "node.kubernetes.io/memory-pressure"


class Threshold(NamedTuple):
    """`least` is a number of bytes or pieces, or a share of all there is (0 to 1).

    grace:   seconds that a node may be below a soft threshold; None for a hard one
    reclaim: how much more than `least` there has to be before it is over, once pods went for it
    """

    signal: str
    least: int | float
    written: str
    grace: float | None = None
    reclaim: int | float = 0

    @property
    def is_soft(self) -> bool:
        return self.grace is not None

    def amount(self, capacity: int) -> int:
        return _pieces(self.least, capacity)

    def to_reclaim(self, capacity: int) -> int:
        return _pieces(self.reclaim, capacity)


def _pieces(amount: int | float, capacity: int) -> int:
    return int(amount * capacity) if isinstance(amount, float) else amount


class Observed(NamedTuple):
    """What is left of something, and how much of it there is: bytes, or pieces."""

    available: int
    capacity: int


def parse_thresholds(text: str) -> list[Threshold]:
    """Of ``memory.available<100Mi,nodefs.available<10%``, as upstream's `evictionHard`. Raises
    ValueError. A threshold of 0 or 0 % is none."""
    thresholds = []
    for part in text.split(","):
        signal, separator, written = part.strip().partition("<")
        if not part.strip():
            continue
        if not separator or signal not in SIGNALS:
            known = ", ".join(SIGNALS)
            raise ValueError(f"{part.strip()!r} is no threshold SIGNAL<AMOUNT of one of {known}")
        least = _amount(written)
        if least:
            thresholds.append(Threshold(signal, least, written))
    return thresholds


def _amount(written: str) -> int | float:
    if written.endswith("%"):
        try:
            share = float(written[:-1]) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share < 1:
            raise ValueError(f"{written!r} is no share between 0% and 100%")
        return share
    try:
        amount = quantity.ceil_units(written)
    except ValueError:
        amount = -1
    if amount < 0:
        raise ValueError(f"{written!r} is no amount")
    return amount


# --- the node's conditions ---


@dataclass
class Pressures:
    """Which conditions hold. One goes `hold` seconds after its last threshold was crossed, so that
    it does not come and go."""

    hold: float = HOLD
    _last_seen: dict[str, float] = field(default_factory=dict)

    def observe(self, thresholds: Iterable[Threshold], now: float) -> None:
        for threshold in thresholds:
            self._last_seen[SIGNALS[threshold.signal][0]] = now
        for condition, seen in list(self._last_seen.items()):
            if now - seen >= self.hold:
                del self._last_seen[condition]

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(sorted(self._last_seen))


def refused_under_pressure(pod: core_v1.Pod, conditions: tuple[str, ...]) -> Rejection | None:
    """Why a node that is short of something does not take a pod. Short of memory alone it takes
    those that have asked for some."""
    if not conditions or is_critical(pod):
        return None
    if conditions == (MEMORY_PRESSURE,):
        if pod.status.qos_class != "BestEffort" or _tolerates(pod, _MEMORY_TAINT):
            return None
    return Rejection("Evicted", f"The node had condition: [{' '.join(conditions)}]. ")


def _tolerates(pod: core_v1.Pod, taint: str) -> bool:
    return any(
        toleration.key in ("", taint) and toleration.effect in ("", "NoSchedule")
        for toleration in pod.spec.tolerations
    )


def is_critical(pod: core_v1.Pod) -> bool:
    return (pod.spec.priority or 0) >= _CRITICAL


# --- who goes ---


class Consumer(NamedTuple):
    """A pod and what it uses, by resource: bytes, or pieces. `containers` is the same for each."""

    pod: core_v1.Pod
    used: Mapping[str, int]
    containers: Mapping[str, Mapping[str, int]]


def ranked(consumers: Iterable[Consumer], resource: str) -> list[Consumer]:
    """In which order pods go: those that use more than they asked for, then by priority, then by
    how much more they use. Processes are not asked for: there priority comes first."""
    evictable = [consumer for consumer in consumers if not is_critical(consumer.pod)]

    def key(consumer: Consumer) -> tuple[bool, int, int]:
        over = consumer.used.get(resource, 0) - _requested(consumer.pod, resource)
        is_within = resource != PIDS and over <= 0
        return is_within, consumer.pod.spec.priority or 0, -over

    return sorted(evictable, key=key)


def _requested(pod: core_v1.Pod, resource: str) -> int:
    return requests_of(pod.spec).get(resource, 0)


def message(threshold: Threshold, observed: Observed, consumer: Consumer) -> str:
    """Why the pod goes, in upstream's words."""
    resource = SIGNALS[threshold.signal][1]
    least = binary_text(threshold.amount(observed.capacity))
    text = (
        f"The node was low on resource: {resource}. Threshold quantity: {least}, "
        f"available: {binary_text(observed.available)}. "
    )
    spec = consumer.pod.spec
    for container in (*spec.containers, *spec.init_containers):
        used = consumer.containers.get(container.name, {}).get(resource, 0)
        requested = container.resources.requests.get(resource, "0")
        if used > quantity.ceil_units(requested):
            text += (
                f"Container {container.name} was using {binary_text(used)}, "
                f"request is {requested}, has larger consumption of {resource}. "
            )
    return text


def binary_text(amount: int) -> str:
    """As Go prints a binary quantity: with the largest suffix that leaves a whole number."""
    suffixes = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
    index = 0
    while amount and amount % 1024 == 0 and index + 1 < len(suffixes):
        amount //= 1024
        index += 1
    return f"{amount}{suffixes[index]}"
