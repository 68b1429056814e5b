"""The messages of the pod resources API (package v1 of k8s.io/kubelet/pkg/apis/podresources).
`tests/node/podresources/test_messages.py` compares them with the published ones."""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Int64, Struct


class NUMANode(Struct):
    ID: Annotated[Int64, F(1)] = 0


class TopologyInfo(Struct):
    nodes: Annotated[list[NUMANode], F(1)] = []


class ContainerDevices(Struct):
    resource_name: Annotated[str, F(1)] = ""
    device_ids: Annotated[list[str], F(2)] = []
    topology: Annotated[TopologyInfo | None, F(3)] = None


class ContainerMemory(Struct):
    memory_type: Annotated[str, F(1)] = ""
    size: Annotated[Int64, F(2)] = 0
    topology: Annotated[TopologyInfo | None, F(3)] = None


class CDIDevice(Struct):
    name: Annotated[str, F(1)] = ""


class ClaimResource(Struct):
    cdi_devices: Annotated[list[CDIDevice], F(1)] = []
    driver_name: Annotated[str, F(2)] = ""
    pool_name: Annotated[str, F(3)] = ""
    device_name: Annotated[str, F(4)] = ""
    share_id: Annotated[str | None, F(5)] = None


class DynamicResource(Struct):
    claim_name: Annotated[str, F(2)] = ""
    claim_namespace: Annotated[str, F(3)] = ""
    claim_resources: Annotated[list[ClaimResource], F(4)] = []


class ContainerResources(Struct):
    name: Annotated[str, F(1)] = ""
    devices: Annotated[list[ContainerDevices], F(2)] = []
    cpu_ids: Annotated[list[Int64], F(3)] = []
    memory: Annotated[list[ContainerMemory], F(4)] = []
    dynamic_resources: Annotated[list[DynamicResource], F(5)] = []


class PodResources(Struct):
    name: Annotated[str, F(1)] = ""
    namespace: Annotated[str, F(2)] = ""
    containers: Annotated[list[ContainerResources], F(3)] = []


class ListPodResourcesRequest(Struct):
    pass


class ListPodResourcesResponse(Struct):
    pod_resources: Annotated[list[PodResources], F(1)] = []


class AllocatableResourcesRequest(Struct):
    pass


class AllocatableResourcesResponse(Struct):
    devices: Annotated[list[ContainerDevices], F(1)] = []
    cpu_ids: Annotated[list[Int64], F(2)] = []
    memory: Annotated[list[ContainerMemory], F(3)] = []


class GetPodResourcesRequest(Struct):
    pod_name: Annotated[str, F(1)] = ""
    pod_namespace: Annotated[str, F(2)] = ""


class GetPodResourcesResponse(Struct):
    pod_resources: Annotated[PodResources | None, F(1)] = None
