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


def refusal(pod: Footprint, others: Iterable[Footprint], allocatable: Mapping[str, str]) -> tuple[str, str] | None:
    """The (reason, message) for which a node that holds `others` cannot take `pod`, or None."""
    others = list(others)
    if len(others) + 1 > (room := units("pods", allocatable["pods"])):
        return _lacks("pods", 1, len(others), room)
    for name in _COMPUTE:
        if asked := pod.requests.get(name, 0):
            used, room = sum(other.requests.get(name, 0) for other in others), units(name, allocatable[name])
            if used + asked > room:
                return _lacks(name, asked, used, room)
    if pod.ports and any(clash(mine, theirs) for other in others for theirs in other.ports for mine in pod.ports):
        return "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    return None


def _lacks(name: str, asked: int, used: int, room: int) -> tuple[str, str]:
    text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {room}"
    return f"OutOf{name}", text


MISPLACED = "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
