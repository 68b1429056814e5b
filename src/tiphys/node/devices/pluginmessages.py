"""The messages of device plugins (package v1beta1). `tests/node/devices/test_messages.py` compares
them with the published ones."""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Int32, Int64, Struct


class DevicePluginOptions(Struct):
    pre_start_required: Annotated[bool, F(1)] = False
    get_preferred_allocation_available: Annotated[bool, F(2)] = False


class RegisterRequest(Struct):
    version: Annotated[str, F(1)] = ""
    endpoint: Annotated[str, F(2)] = ""
    resource_name: Annotated[str, F(3)] = ""
    options: Annotated[DevicePluginOptions | None, F(4)] = None


class Empty(Struct):
    pass


class ListAndWatchResponse(Struct):
    devices: Annotated[list[Device], F(1)] = []


class TopologyInfo(Struct):
    nodes: Annotated[list[NUMANode], F(1)] = []


class NUMANode(Struct):
    ID: Annotated[Int64, F(1)] = 0


class Device(Struct):
    ID: Annotated[str, F(1)] = ""
    health: Annotated[str, F(2)] = ""
    topology: Annotated[TopologyInfo | None, F(3)] = None


class PreStartContainerRequest(Struct):
    devices_ids: Annotated[list[str], F(1)] = []


class PreStartContainerResponse(Struct):
    pass


class PreferredAllocationRequest(Struct):
    container_requests: Annotated[list[ContainerPreferredAllocationRequest], F(1)] = []


class ContainerPreferredAllocationRequest(Struct):
    available_deviceIDs: Annotated[list[str], F(1)] = []
    must_include_deviceIDs: Annotated[list[str], F(2)] = []
    allocation_size: Annotated[Int32, F(3)] = 0


class PreferredAllocationResponse(Struct):
    container_responses: Annotated[list[ContainerPreferredAllocationResponse], F(1)] = []


class ContainerPreferredAllocationResponse(Struct):
    deviceIDs: Annotated[list[str], F(1)] = []


class AllocateRequest(Struct):
    container_requests: Annotated[list[ContainerAllocateRequest], F(1)] = []


class ContainerAllocateRequest(Struct):
    devices_ids: Annotated[list[str], F(1)] = []


class CDIDevice(Struct):
    name: Annotated[str, F(1)] = ""


class AllocateResponse(Struct):
    container_responses: Annotated[list[ContainerAllocateResponse], F(1)] = []


class ContainerAllocateResponse(Struct):
    envs: Annotated[dict[str, str], F(1)] = {}
    mounts: Annotated[list[Mount], F(2)] = []
    devices: Annotated[list[DeviceSpec], F(3)] = []
    annotations: Annotated[dict[str, str], F(4)] = {}
    cdi_devices: Annotated[list[CDIDevice], F(5)] = []


class Mount(Struct):
    container_path: Annotated[str, F(1)] = ""
    host_path: Annotated[str, F(2)] = ""
    read_only: Annotated[bool, F(3)] = False


class DeviceSpec(Struct):
    container_path: Annotated[str, F(1)] = ""
    host_path: Annotated[str, F(2)] = ""
    permissions: Annotated[str, F(3)] = ""
