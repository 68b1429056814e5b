"""Types of storage.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Int64, Quantity, Struct, Time, always, always_list, named
from tiphys.api.core_v1 import PersistentVolumeSpec, TopologySelectorTerm
from tiphys.api.meta_v1 import LabelSelector, ListMeta, Object, TypeMeta


class CSIDriverSpec(Struct):
    attach_required: Annotated[bool | None, F(1)] = None
    pod_info_on_mount: Annotated[bool | None, F(2)] = None
    volume_lifecycle_modes: Annotated[list[str], F(3, list="set")] = []
    storage_capacity: Annotated[bool | None, F(4)] = None
    fs_group_policy: Annotated[str | None, F(5)] = None
    token_requests: Annotated[list[TokenRequest], F(6, list="atomic")] = []
    requires_republish: Annotated[bool | None, F(7)] = None
    se_linux_mount: Annotated[bool | None, F(8)] = None
    node_allocatable_update_period_seconds: Annotated[Int64 | None, F(9)] = None
    service_account_token_in_secrets: Annotated[bool | None, F(10)] = None
    prevent_pod_scheduling_if_missing: Annotated[bool | None, F(11)] = None


class CSIDriver(Object):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSIDriver")
    spec: Annotated[CSIDriverSpec, F(2, req=True)] = field(default_factory=CSIDriverSpec)


class CSIDriverList(TypeMeta):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSIDriverList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[CSIDriver], F(2, req=True)] = always_list()


class CSINodeSpec(Struct):
    drivers: Annotated[
        list[CSINodeDriver], F(1, patch="merge", key="name", list="map", keys=("name",), req=True)
    ] = always_list()


class CSINode(Object):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSINode")
    spec: Annotated[CSINodeSpec, F(2, req=True)] = field(default_factory=CSINodeSpec)


class CSINodeDriver(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    node_id: Annotated[str, F(2, req=True)] = named("nodeID", factory=lambda: "")
    topology_keys: Annotated[list[str], F(3, list="atomic")] = always_list()
    allocatable: Annotated[VolumeNodeResources | None, F(4)] = None


class CSINodeList(TypeMeta):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSINodeList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[CSINode], F(2, req=True)] = always_list()


class CSIStorageCapacity(Object):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSIStorageCapacity")
    node_topology: Annotated[LabelSelector | None, F(2, atomic=True)] = None
    storage_class_name: Annotated[str, F(3, req=True)] = always("")
    capacity: Annotated[Quantity | None, F(4)] = None
    maximum_volume_size: Annotated[Quantity | None, F(5)] = None


class CSIStorageCapacityList(TypeMeta):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSIStorageCapacityList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[CSIStorageCapacity], F(2, req=True)] = always_list()


class StorageClass(Object):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("StorageClass")
    provisioner: Annotated[str, F(2, req=True)] = always("")
    parameters: Annotated[dict[str, str], F(3)] = {}
    reclaim_policy: Annotated[str | None, F(4)] = None
    mount_options: Annotated[list[str], F(5, list="atomic")] = []
    allow_volume_expansion: Annotated[bool | None, F(6)] = None
    volume_binding_mode: Annotated[str | None, F(7)] = None
    allowed_topologies: Annotated[list[TopologySelectorTerm], F(8, list="atomic")] = []


class StorageClassList(TypeMeta):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("StorageClassList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[StorageClass], F(2, req=True)] = always_list()


class TokenRequest(Struct):
    audience: Annotated[str, F(1, req=True)] = always("")
    expiration_seconds: Annotated[Int64 | None, F(2)] = None


class VolumeAttachmentSource(Struct):
    persistent_volume_name: Annotated[str | None, F(1)] = None
    inline_volume_spec: Annotated[PersistentVolumeSpec | None, F(2)] = None


class VolumeAttachmentSpec(Struct):
    attacher: Annotated[str, F(1, req=True)] = always("")
    source: Annotated[VolumeAttachmentSource, F(2, req=True)] = field(
        default_factory=VolumeAttachmentSource
    )
    node_name: Annotated[str, F(3, req=True)] = always("")


class VolumeAttachmentStatus(Struct):
    attached: Annotated[bool, F(1, req=True)] = always(False)
    attachment_metadata: Annotated[dict[str, str], F(2)] = {}
    attach_error: Annotated[VolumeError | None, F(3)] = None
    detach_error: Annotated[VolumeError | None, F(4)] = None


class VolumeAttachment(Object):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("VolumeAttachment")
    spec: Annotated[VolumeAttachmentSpec, F(2, req=True)] = field(
        default_factory=VolumeAttachmentSpec
    )
    status: Annotated[VolumeAttachmentStatus, F(3)] = field(default_factory=VolumeAttachmentStatus)


class VolumeAttachmentList(TypeMeta):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("VolumeAttachmentList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[VolumeAttachment], F(2, req=True)] = always_list()


class VolumeAttributesClass(Object):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("VolumeAttributesClass")
    driver_name: Annotated[str, F(2, req=True)] = always("")
    parameters: Annotated[dict[str, str], F(3)] = {}


class VolumeAttributesClassList(TypeMeta):
    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("VolumeAttributesClassList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[VolumeAttributesClass], F(2, req=True)] = always_list()


class VolumeError(Struct):
    time: Annotated[Time | None, F(1)] = None
    message: Annotated[str, F(2)] = ""
    error_code: Annotated[Int32 | None, F(3)] = None


class VolumeNodeResources(Struct):
    count: Annotated[Int32 | None, F(1)] = None
