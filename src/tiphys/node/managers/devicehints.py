"""Devices of device plugins as the topology manager sees them: where enough of them are near
(upstream's `pkg/kubelet/cm/devicemanager/topology_hints.go`). Which devices a container gets is the
device manager's to say, later; it is given where."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from tiphys.api import core_v1
from tiphys.node.devices.devicemanager import DeviceManager
from tiphys.node.devices.deviceresources import ResourceView
from tiphys.node.managers.alignment import EndingInits, containers_of
from tiphys.node.managers.hints import Hint, Hints, Mask, mask_of, masks, nodes_of


class DeviceHints:
    """A hint provider. `nodes` are the numbers of the machine's NUMA nodes."""

    def __init__(self, devices: DeviceManager, nodes: Collection[int]) -> None:
        self._devices = devices
        self._nodes = frozenset(nodes)
        self._ending = EndingInits()
        # What containers before this one of the pod that is being let in will have, by resource:
        # devices are chosen once all containers have their places.
        self._promised: dict[str, set[str]] = {}

    def container_hints(self, pod: core_v1.Pod, container: core_v1.Container) -> Hints:
        if container is (pod.spec.init_containers or pod.spec.containers)[0]:
            self._promised = {}
        held = self._devices.ids_held(pod.metadata.uid, [container.name])
        return self._hints(self._devices.wanted(pod, container), held)

    def pod_hints(self, pod: core_v1.Pod) -> Hints:
        self._promised = {}
        names = [container.name for container in containers_of(pod.spec)]
        return self._hints(self._wanted(pod), self._devices.ids_held(pod.metadata.uid, names))

    def _wanted(self, pod: core_v1.Pod) -> dict[str, int]:
        """At the pod's neediest moment: what init containers had, others may have after them."""
        total: dict[str, int] = {}
        for container in pod.spec.containers:
            for name, count in self._devices.wanted(pod, container).items():
                total[name] = total.get(name, 0) + count
        for init in pod.spec.init_containers:
            for name, count in self._devices.wanted(pod, init).items():
                total[name] = max(total.get(name, 0), count)
        return total

    def _hints(
        self, wanted: Mapping[str, int], held: Mapping[str, Collection[str]]
    ) -> dict[str, Sequence[Hint] | None]:
        return {
            name: self._of_resource(self._view(name), count, held.get(name, ()))
            for name, count in wanted.items()
        }

    def _view(self, name: str) -> ResourceView:
        view = self._devices.view(name)
        return view._replace(free=view.free - self._promised.get(name, set()))

    def _of_resource(
        self, view: ResourceView, wanted: int, held: Collection[str]
    ) -> Sequence[Hint] | None:
        near = {device: self._known(nodes) for device, nodes in view.nodes.items()}
        if not any(near.values()):
            return None  # its plugin does not say where its devices are
        usable = held or view.free
        if len(usable) < wanted or (held and len(held) != wanted):
            return []
        return device_hints([near.get(id, 0) for id in usable], list(near.values()), wanted)

    def _known(self, nodes: Iterable[int]) -> Mask:
        return mask_of(self._nodes.intersection(nodes))

    def allocate(self, pod: core_v1.Pod, container: core_v1.Container, affinity: Hint) -> None:
        wanted = self._devices.wanted(pod, container)
        if not wanted:
            return
        nodes = nodes_of(affinity.nodes) if affinity.nodes is not None else None
        self._devices.note_affinity(pod.metadata.uid, container.name, nodes)
        if self._ending.has(pod, container):
            return  # those after it may have its devices
        for name, count in wanted.items():
            self._promise(name, count, affinity.nodes)

    def _promise(self, name: str, count: int, near: Mask | None) -> None:
        """Keeps as many devices from the containers that follow, those near the nodes first."""
        view = self._view(name)

        def is_apart(device: str) -> bool:
            return near is not None and not self._known(view.nodes.get(device, ())) & near

        chosen = sorted(view.free, key=lambda device: (is_apart(device), device))[:count]
        self._promised.setdefault(name, set()).update(chosen)


def device_hints(usable: Sequence[Mask], every: Sequence[Mask], wanted: int) -> list[Hint]:
    """Sets of NUMA nodes that have enough of the `usable` devices near; preferred are those of as
    few nodes as it would take if all of `every` device were free. A device is given by the nodes
    that it is near."""
    together = 0
    for near in every:
        together |= near
    fewest = together.bit_count()
    sufficient: list[Mask] = []
    for mask in masks(nodes_of(together)):
        if sum(bool(near & mask) for near in every) >= wanted:
            fewest = min(fewest, mask.bit_count())
        if sum(bool(near & mask) for near in usable) >= wanted:
            sufficient.append(mask)
    return [Hint(mask, mask.bit_count() == fewest) for mask in sufficient]
