"""Who has what on a node, as the pod resources API says it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from tiphys.api import core_v1
from tiphys.machinery.finished import pod_finished
from tiphys.node.containers.restartpolicy import is_sidecar
from tiphys.node.devices.deviceresources import HeldDevice
from tiphys.node.devices.nodedevices import DriverDevices, HeldClaim
from tiphys.node.managers.placement import MemoryBlock, Placement
from tiphys.node.podresources import messages as m


class NotHere(Exception):
    """The node has no such pod; the text is upstream's."""


@dataclass(frozen=True)
class PodResourceLists:
    """
    pods: gives those of the node
    """

    pods: Callable[[], Collection[core_v1.Pod]]
    devices: DriverDevices
    placement: Placement

    def list(self) -> m.ListPodResourcesResponse:
        """Of pods that have not ended."""
        active = (pod for pod in self.pods() if not pod_finished(pod))
        return m.ListPodResourcesResponse(pod_resources=[self._of(pod) for pod in active])

    def get(self, namespace: str, name: str) -> m.GetPodResourcesResponse:
        """Raises NotHere."""
        for pod in self.pods():
            if (pod.metadata.namespace, pod.metadata.name) == (namespace, name):
                return m.GetPodResourcesResponse(pod_resources=self._of(pod))
        raise NotHere(f"pod {name} in namespace {namespace} not found")

    def allocatable(self) -> m.AllocatableResourcesResponse:
        """All that there is for containers, used or not."""
        return m.AllocatableResourcesResponse(
            devices=[_device(device) for device in self.devices.healthy()],
            cpu_ids=self.placement.allocatable_cpus(),
            memory=[_memory(block) for block in self.placement.allocatable_memory()],
        )

    def _of(self, pod: core_v1.Pod) -> m.PodResources:
        """Init containers that end do not count (upstream)."""
        sidecars = [container for container in pod.spec.init_containers if is_sidecar(container)]
        return m.PodResources(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            containers=[
                self._held(pod, container) for container in (*sidecars, *pod.spec.containers)
            ],
        )

    def _held(self, pod: core_v1.Pod, container: core_v1.Container) -> m.ContainerResources:
        uid = pod.metadata.uid
        name = container.name
        return m.ContainerResources(
            name=name,
            devices=[_device(device) for device in self.devices.held(uid, name)],
            cpu_ids=self.placement.own_cpus(uid, name),
            memory=[_memory(block) for block in self.placement.memory_blocks(uid, name)],
            dynamic_resources=[_claim(claim) for claim in self.devices.claims(pod, container)],
        )


def _device(held: HeldDevice) -> m.ContainerDevices:
    return m.ContainerDevices(
        resource_name=held.resource, device_ids=[held.id], topology=_nodes(held.nodes)
    )


def _memory(block: MemoryBlock) -> m.ContainerMemory:
    return m.ContainerMemory(memory_type=block.type, size=block.size, topology=_nodes(block.nodes))


def _nodes(numbers: Iterable[int]) -> m.TopologyInfo | None:
    nodes = [m.NUMANode(ID=number) for number in numbers]
    return m.TopologyInfo(nodes=nodes) if nodes else None


def _claim(held: HeldClaim) -> m.DynamicResource:
    return m.DynamicResource(
        claim_name=held.name,
        claim_namespace=held.namespace,
        claim_resources=[
            m.ClaimResource(
                cdi_devices=[m.CDIDevice(name=name) for name in device.cdi],
                driver_name=device.driver,
                pool_name=device.pool,
                device_name=device.device,
                share_id=device.share,
            )
            for device in held.devices
        ],
    )
