"""What devices change in a container."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.node.runtime import DeviceNode, Mount


@dataclass
class ContainerEdits:
    """env, annotations: by name
    devices: files of the node that the container may use
    cdi: qualified names of devices that the runtime looks up in files of its own"""

    env: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    devices: list[DeviceNode] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    cdi: list[str] = field(default_factory=list)

    def add(self, other: ContainerEdits) -> None:
        """What is there already stays: the first device that wants a name or a path has it."""
        self.env = {**other.env, **self.env}
        self.annotations = {**other.annotations, **self.annotations}
        paths = {mount.path for mount in self.mounts}
        self.mounts += [mount for mount in other.mounts if mount.path not in paths]
        files = {device.path for device in self.devices}
        self.devices += [device for device in other.devices if device.path not in files]
        self.cdi += [name for name in other.cdi if name not in self.cdi]
