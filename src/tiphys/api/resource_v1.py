"""Types of resource.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from tiphys.api.base import (
    F,
    Int64,
    Quantity,
    RawExtension,
    Struct,
    Time,
    always,
    always_list,
    named,
)
from tiphys.api.core_v1 import NodeSelector
from tiphys.api.meta_v1 import Condition, ListMeta, Object, ObjectMeta, TypeMeta


class AllocatedDeviceStatus(Struct):
    driver: Annotated[str, F(1, req=True)] = always("")
    pool: Annotated[str, F(2, req=True)] = always("")
    device: Annotated[str, F(3, req=True)] = always("")
    share_id: Annotated[str | None, F(7)] = named("shareID", None)
    conditions: Annotated[list[Condition], F(4, list="map", keys=("type",))] = always_list()
    data: Annotated[RawExtension, F(5)] = None
    network_data: Annotated[NetworkDeviceData | None, F(6)] = None


class DeviceAllocationResult(Struct):
    results: Annotated[list[DeviceRequestAllocationResult], F(1, list="atomic")] = []
    config: Annotated[list[DeviceAllocationConfiguration], F(2, list="atomic")] = []


class AllocationResult(Struct):
    devices: Annotated[DeviceAllocationResult, F(1)] = field(default_factory=DeviceAllocationResult)
    node_selector: Annotated[NodeSelector | None, F(3, atomic=True)] = None
    allocation_timestamp: Annotated[Time | None, F(5)] = None


class CELDeviceSelector(Struct):
    expression: Annotated[str, F(1, req=True)] = always("")


class CapacityRequestPolicy(Struct):
    default: Annotated[Quantity | None, F(1)] = None
    valid_values: Annotated[list[Quantity], F(3, list="atomic")] = []
    valid_range: Annotated[CapacityRequestPolicyRange | None, F(4)] = None


class CapacityRequestPolicyRange(Struct):
    min: Annotated[Quantity | None, F(1, req=True)] = None
    max: Annotated[Quantity | None, F(2)] = None
    step: Annotated[Quantity | None, F(3)] = None


class CapacityRequirements(Struct):
    requests: Annotated[dict[str, Quantity], F(1)] = {}


class Counter(Struct):
    value: Annotated[Quantity, F(1, req=True)] = always(Quantity("0"))


class CounterSet(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    counters: Annotated[dict[str, Counter], F(2, req=True)] = {}


class Device(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    attributes: Annotated[dict[str, DeviceAttribute], F(2)] = {}
    capacity: Annotated[dict[str, DeviceCapacity], F(3)] = {}
    consumes_counters: Annotated[list[DeviceCounterConsumption], F(4, list="atomic")] = []
    node_name: Annotated[str | None, F(5)] = None
    node_selector: Annotated[NodeSelector | None, F(6, atomic=True)] = None
    all_nodes: Annotated[bool | None, F(7)] = None
    taints: Annotated[list[DeviceTaint], F(8, list="atomic")] = []
    binds_to_node: Annotated[bool | None, F(9)] = None
    binding_conditions: Annotated[list[str], F(10, list="atomic")] = []
    binding_failure_conditions: Annotated[list[str], F(11, list="atomic")] = []
    allow_multiple_allocations: Annotated[bool | None, F(12)] = None
    node_allocatable_resource_mappings: Annotated[
        dict[str, NodeAllocatableResourceMapping], F(13)
    ] = {}


class DeviceConfiguration(Struct):
    opaque: Annotated[OpaqueDeviceConfiguration | None, F(1)] = None


class DeviceAllocationConfiguration(DeviceConfiguration):
    inline: ClassVar[int] = 3
    source: Annotated[str, F(1, req=True)] = always("")
    requests: Annotated[list[str], F(2, list="atomic")] = []


class DeviceAttribute(Struct):
    int_: Annotated[Int64 | None, F(2)] = None
    bool_: Annotated[bool | None, F(3)] = None
    string: Annotated[str | None, F(4)] = None
    version: Annotated[str | None, F(5)] = None
    ints: Annotated[list[Int64], F(6, list="atomic")] = []
    bools: Annotated[list[bool], F(7, list="atomic")] = []
    strings: Annotated[list[str], F(8, list="atomic")] = []
    versions: Annotated[list[str], F(9, list="atomic")] = []


class DeviceCapacity(Struct):
    value: Annotated[Quantity, F(1, req=True)] = always(Quantity("0"))
    request_policy: Annotated[CapacityRequestPolicy | None, F(2)] = None


class DeviceClaim(Struct):
    requests: Annotated[list[DeviceRequest], F(1, list="atomic")] = always_list()
    constraints: Annotated[list[DeviceConstraint], F(2, list="atomic")] = []
    config: Annotated[list[DeviceClaimConfiguration], F(3, list="atomic")] = []


class DeviceClaimConfiguration(DeviceConfiguration):
    inline: ClassVar[int] = 2
    requests: Annotated[list[str], F(1, list="atomic")] = []


class DeviceClassSpec(Struct):
    selectors: Annotated[list[DeviceSelector], F(1, list="atomic")] = []
    config: Annotated[list[DeviceClassConfiguration], F(2, list="atomic")] = []
    extended_resource_name: Annotated[str | None, F(4)] = None


class DeviceClass(Object):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("DeviceClass")
    spec: Annotated[DeviceClassSpec, F(2, req=True)] = field(default_factory=DeviceClassSpec)


class DeviceClassConfiguration(DeviceConfiguration):
    inline: ClassVar[int] = 1


class DeviceClassList(TypeMeta):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("DeviceClassList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[DeviceClass], F(2, req=True)] = always_list()


class DeviceConstraint(Struct):
    requests: Annotated[list[str], F(1, list="atomic")] = []
    match_attribute: Annotated[str | None, F(2)] = None
    distinct_attribute: Annotated[str | None, F(3)] = None


class DeviceCounterConsumption(Struct):
    counter_set: Annotated[str, F(1, req=True)] = always("")
    counters: Annotated[dict[str, Counter], F(2, req=True)] = {}


class DeviceRequest(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    exactly: Annotated[ExactDeviceRequest | None, F(2)] = None
    first_available: Annotated[list[DeviceSubRequest], F(3, list="atomic")] = []


class DeviceRequestAllocationResult(Struct):
    request: Annotated[str, F(1, req=True)] = always("")
    driver: Annotated[str, F(2, req=True)] = always("")
    pool: Annotated[str, F(3, req=True)] = always("")
    device: Annotated[str, F(4, req=True)] = always("")
    admin_access: Annotated[bool | None, F(5)] = None
    tolerations: Annotated[list[DeviceToleration], F(6, list="atomic")] = []
    binding_conditions: Annotated[list[str], F(7, list="atomic")] = []
    binding_failure_conditions: Annotated[list[str], F(8, list="atomic")] = []
    share_id: Annotated[str | None, F(9)] = named("shareID", None)
    consumed_capacity: Annotated[dict[str, Quantity], F(10)] = {}


class DeviceSelector(Struct):
    cel: Annotated[CELDeviceSelector | None, F(1)] = None


class DeviceSubRequest(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    device_class_name: Annotated[str, F(2, req=True)] = always("")
    selectors: Annotated[list[DeviceSelector], F(3, list="atomic")] = []
    allocation_mode: Annotated[str, F(4)] = ""
    count: Annotated[Int64, F(5)] = 0
    tolerations: Annotated[list[DeviceToleration], F(6, list="atomic")] = []
    capacity: Annotated[CapacityRequirements | None, F(7)] = None


class DeviceTaint(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    value: Annotated[str, F(2)] = ""
    effect: Annotated[str, F(3, req=True)] = always("")
    time_added: Annotated[Time | None, F(4)] = None


class DeviceToleration(Struct):
    key: Annotated[str, F(1)] = ""
    operator: Annotated[str, F(2)] = ""
    value: Annotated[str, F(3)] = ""
    effect: Annotated[str, F(4)] = ""
    toleration_seconds: Annotated[Int64 | None, F(5)] = None


class ExactDeviceRequest(Struct):
    device_class_name: Annotated[str, F(1, req=True)] = always("")
    selectors: Annotated[list[DeviceSelector], F(2, list="atomic")] = []
    allocation_mode: Annotated[str, F(3)] = ""
    count: Annotated[Int64, F(4)] = 0
    admin_access: Annotated[bool | None, F(5)] = None
    tolerations: Annotated[list[DeviceToleration], F(6, list="atomic")] = []
    capacity: Annotated[CapacityRequirements | None, F(7)] = None


class NetworkDeviceData(Struct):
    interface_name: Annotated[str, F(1)] = ""
    ips: Annotated[list[str], F(2, list="atomic")] = []
    hardware_address: Annotated[str, F(3)] = ""


class NodeAllocatableResourceMapping(Struct):
    capacity_key: Annotated[str | None, F(1)] = None
    allocation_multiplier: Annotated[Quantity | None, F(2)] = None


class OpaqueDeviceConfiguration(Struct):
    driver: Annotated[str, F(1, req=True)] = always("")
    parameters: Annotated[RawExtension, F(2, req=True)] = None


class ResourceClaimSpec(Struct):
    devices: Annotated[DeviceClaim, F(1)] = field(default_factory=DeviceClaim)


class ResourceClaimStatus(Struct):
    allocation: Annotated[AllocationResult | None, F(1)] = None
    reserved_for: Annotated[
        list[ResourceClaimConsumerReference],
        F(2, patch="merge", key="uid", list="map", keys=("uid",)),
    ] = []
    devices: Annotated[
        list[AllocatedDeviceStatus],
        F(
            4,
            list="map",
            keys=(
                "driver",
                "device",
                "pool",
                "shareID",
            ),
        ),
    ] = []


class ResourceClaim(Object):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("ResourceClaim")
    spec: Annotated[ResourceClaimSpec, F(2, req=True)] = field(default_factory=ResourceClaimSpec)
    status: Annotated[ResourceClaimStatus, F(3)] = field(default_factory=ResourceClaimStatus)


class ResourceClaimConsumerReference(Struct):
    api_group: Annotated[str, F(1)] = ""
    resource: Annotated[str, F(3, req=True)] = always("")
    name: Annotated[str, F(4, req=True)] = always("")
    uid: Annotated[str, F(5, req=True)] = always("")


class ResourceClaimList(TypeMeta):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("ResourceClaimList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ResourceClaim], F(2, req=True)] = always_list()


class ResourceClaimTemplateSpec(Struct):
    metadata: Annotated[ObjectMeta, F(1)] = field(default_factory=ObjectMeta)
    spec: Annotated[ResourceClaimSpec, F(2, req=True)] = field(default_factory=ResourceClaimSpec)


class ResourceClaimTemplate(Object):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("ResourceClaimTemplate")
    spec: Annotated[ResourceClaimTemplateSpec, F(2, req=True)] = field(
        default_factory=ResourceClaimTemplateSpec
    )


class ResourceClaimTemplateList(TypeMeta):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("ResourceClaimTemplateList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ResourceClaimTemplate], F(2, req=True)] = always_list()


class ResourcePool(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    generation: Annotated[Int64, F(2, req=True)] = always(0)
    resource_slice_count: Annotated[Int64, F(3, req=True)] = always(0)


class ResourceSliceSpec(Struct):
    driver: Annotated[str, F(1, req=True)] = always("")
    pool: Annotated[ResourcePool, F(2, req=True)] = field(default_factory=ResourcePool)
    node_name: Annotated[str | None, F(3)] = None
    node_selector: Annotated[NodeSelector | None, F(4, atomic=True)] = None
    all_nodes: Annotated[bool | None, F(5)] = None
    devices: Annotated[list[Device], F(6, list="atomic")] = []
    per_device_node_selection: Annotated[bool | None, F(7)] = None
    shared_counters: Annotated[list[CounterSet], F(8, list="atomic")] = []


class ResourceSlice(Object):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("ResourceSlice")
    spec: Annotated[ResourceSliceSpec, F(2, req=True)] = field(default_factory=ResourceSliceSpec)


class ResourceSliceList(TypeMeta):
    api_version: str = always("resource.k8s.io/v1")
    kind: str = always("ResourceSliceList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ResourceSlice], F(2, req=True)] = always_list()
