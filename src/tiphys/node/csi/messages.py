"""The messages of the Node service of CSI (package csi.v1), which this node calls.
`tests/node/csi/test_messages.py` compares them with the published ones."""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Int32, Int64, Struct

# VolumeCapability.AccessMode.Mode
SINGLE_NODE_WRITER = 1
MULTI_NODE_READER_ONLY = 3
MULTI_NODE_MULTI_WRITER = 5
SINGLE_NODE_SINGLE_WRITER = 6
SINGLE_NODE_MULTI_WRITER = 7

# NodeServiceCapability.RPC.Type
STAGE_UNSTAGE_VOLUME = 1
GET_VOLUME_STATS = 2
EXPAND_VOLUME = 3
CAN_SINGLE_NODE_MULTI_WRITER = 5
VOLUME_MOUNT_GROUP = 6

# VolumeUsage.Unit
BYTES = 1
INODES = 2


class VolumeCapability(Struct):
    access_mode: Annotated[AccessMode | None, F(3)] = None
    block: Annotated[BlockVolume | None, F(1)] = None
    mount: Annotated[MountVolume | None, F(2)] = None


class BlockVolume(Struct):
    pass


class MountVolume(Struct):
    fs_type: Annotated[str, F(1)] = ""
    mount_flags: Annotated[list[str], F(2)] = []
    volume_mount_group: Annotated[str, F(3)] = ""


class AccessMode(Struct):
    mode: Annotated[Int32, F(1)] = 0


class CapacityRange(Struct):
    required_bytes: Annotated[Int64, F(1)] = 0
    limit_bytes: Annotated[Int64, F(2)] = 0


class Topology(Struct):
    segments: Annotated[dict[str, str], F(1)] = {}


class NodeStageVolumeRequest(Struct):
    volume_id: Annotated[str, F(1)] = ""
    publish_context: Annotated[dict[str, str], F(2)] = {}
    staging_target_path: Annotated[str, F(3)] = ""
    volume_capability: Annotated[VolumeCapability | None, F(4)] = None
    secrets: Annotated[dict[str, str], F(5)] = {}
    volume_context: Annotated[dict[str, str], F(6)] = {}


class NodeStageVolumeResponse(Struct):
    pass


class NodeUnstageVolumeRequest(Struct):
    volume_id: Annotated[str, F(1)] = ""
    staging_target_path: Annotated[str, F(2)] = ""


class NodeUnstageVolumeResponse(Struct):
    pass


class NodePublishVolumeRequest(Struct):
    volume_id: Annotated[str, F(1)] = ""
    publish_context: Annotated[dict[str, str], F(2)] = {}
    staging_target_path: Annotated[str, F(3)] = ""
    target_path: Annotated[str, F(4)] = ""
    volume_capability: Annotated[VolumeCapability | None, F(5)] = None
    readonly: Annotated[bool, F(6)] = False
    secrets: Annotated[dict[str, str], F(7)] = {}
    volume_context: Annotated[dict[str, str], F(8)] = {}


class NodePublishVolumeResponse(Struct):
    pass


class NodeUnpublishVolumeRequest(Struct):
    volume_id: Annotated[str, F(1)] = ""
    target_path: Annotated[str, F(2)] = ""


class NodeUnpublishVolumeResponse(Struct):
    pass


class NodeGetVolumeStatsRequest(Struct):
    volume_id: Annotated[str, F(1)] = ""
    volume_path: Annotated[str, F(2)] = ""
    staging_target_path: Annotated[str, F(3)] = ""


class NodeGetVolumeStatsResponse(Struct):
    usage: Annotated[list[VolumeUsage], F(1)] = []
    volume_condition: Annotated[VolumeCondition | None, F(2)] = None


class VolumeUsage(Struct):
    available: Annotated[Int64, F(1)] = 0
    total: Annotated[Int64, F(2)] = 0
    used: Annotated[Int64, F(3)] = 0
    unit: Annotated[Int32, F(4)] = 0


class VolumeCondition(Struct):
    abnormal: Annotated[bool, F(1)] = False
    message: Annotated[str, F(2)] = ""


class NodeGetCapabilitiesRequest(Struct):
    pass


class NodeGetCapabilitiesResponse(Struct):
    capabilities: Annotated[list[NodeServiceCapability], F(1)] = []


class NodeServiceCapability(Struct):
    rpc: Annotated[NodeRPC | None, F(1)] = None


class NodeRPC(Struct):
    type: Annotated[Int32, F(1)] = 0


class NodeGetInfoRequest(Struct):
    pass


class NodeGetInfoResponse(Struct):
    node_id: Annotated[str, F(1)] = ""
    max_volumes_per_node: Annotated[Int64, F(2)] = 0
    accessible_topology: Annotated[Topology | None, F(3)] = None


class NodeExpandVolumeRequest(Struct):
    volume_id: Annotated[str, F(1)] = ""
    volume_path: Annotated[str, F(2)] = ""
    capacity_range: Annotated[CapacityRange | None, F(3)] = None
    staging_target_path: Annotated[str, F(4)] = ""
    volume_capability: Annotated[VolumeCapability | None, F(5)] = None
    secrets: Annotated[dict[str, str], F(6)] = {}


class NodeExpandVolumeResponse(Struct):
    capacity_bytes: Annotated[Int64, F(1)] = 0
