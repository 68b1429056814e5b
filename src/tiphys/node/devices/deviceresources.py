"""The devices of a resource as the node knows them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.node.devices.deviceplugins import (
    Endpoint,
)


class Count(NamedTuple):
    """Devices of one resource."""

    capacity: int
    allocatable: int


class HeldDevice(NamedTuple):
    """A device of a plugin's resource, and the NUMA nodes that it is near."""

    resource: str
    id: str
    nodes: tuple[int, ...] = ()


class ResourceView(NamedTuple):
    """nodes: the NUMA nodes that each device is near, by id
    free: the ids of those that containers can have"""

    nodes: dict[str, tuple[int, ...]]
    free: set[str]


@dataclass
class Resource:
    """devices: whether each is healthy, by id; empty until the plugin has listed them
    nodes: the NUMA nodes that each is near, by id, where the plugin says it
    endpoint: None once the plugin is gone, at `stopped_at` of the monotonic clock"""

    devices: dict[str, bool] = field(default_factory=dict)
    nodes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    endpoint: Endpoint | None = None
    stopped_at: float = 0.0
    path: str = ""

    def healthy(self) -> set[str]:
        return {id for id, is_healthy in self.devices.items() if is_healthy}

    def near(self, devices: set[str], nodes: frozenset[int] | None) -> set[str]:
        """Those of the devices that are near the NUMA nodes; all where these do not matter."""
        if nodes is None or not any(self.nodes.values()):
            return devices
        return {device for device in devices if nodes.intersection(self.nodes.get(device, ()))}
