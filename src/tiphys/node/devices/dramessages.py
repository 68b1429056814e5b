"""The messages of drivers of dynamic resource allocation (package k8s.io.kubelet.pkg.apis.dra.v1,
and v1beta1, which has the same). `tests/node/devices/test_messages.py` compares them with the
published ones."""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Int32, Int64, Struct


class Claim(Struct):
    namespace: Annotated[str, F(1)] = ""
    uid: Annotated[str, F(2)] = ""
    name: Annotated[str, F(3)] = ""


class Device(Struct):
    request_names: Annotated[list[str], F(1)] = []
    pool_name: Annotated[str, F(2)] = ""
    device_name: Annotated[str, F(3)] = ""
    cdi_device_ids: Annotated[list[str], F(4)] = []
    share_id: Annotated[str | None, F(5)] = None


class NodePrepareResourcesRequest(Struct):
    claims: Annotated[list[Claim], F(1)] = []


class NodePrepareResourcesResponse(Struct):
    claims: Annotated[dict[str, NodePrepareResourceResponse], F(1)] = {}


class NodePrepareResourceResponse(Struct):
    devices: Annotated[list[Device], F(1)] = []
    error: Annotated[str, F(2)] = ""


class NodeUnprepareResourcesRequest(Struct):
    claims: Annotated[list[Claim], F(1)] = []


class NodeUnprepareResourcesResponse(Struct):
    claims: Annotated[dict[str, NodeUnprepareResourceResponse], F(1)] = {}


class NodeUnprepareResourceResponse(Struct):
    error: Annotated[str, F(1)] = ""


# --- how devices are: package v1alpha1 of DRAResourceHealth ---


class NodeWatchResourcesRequest(Struct):
    pass


class DeviceIdentifier(Struct):
    pool_name: Annotated[str, F(1)] = ""
    device_name: Annotated[str, F(2)] = ""


class DeviceHealth(Struct):
    device: Annotated[DeviceIdentifier | None, F(1)] = None
    health: Annotated[Int32, F(2)] = 0
    last_updated_time: Annotated[Int64, F(3)] = 0
    health_check_timeout_seconds: Annotated[Int64, F(4)] = 0
    message: Annotated[str, F(5)] = ""


class NodeWatchResourcesResponse(Struct):
    devices: Annotated[list[DeviceHealth], F(1)] = []
