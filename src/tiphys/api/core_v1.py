"""Types of v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from tiphys.api.base import (
    F,
    Int32,
    Int64,
    IntOrString,
    MicroTime,
    Quantity,
    Struct,
    Time,
    always,
    always_dict,
    always_list,
    named,
)
from tiphys.api.meta_v1 import (
    Condition,
    LabelSelector,
    ListMeta,
    Object,
    ObjectMeta,
    OwnerReference,
    TypeMeta,
)


class AWSElasticBlockStoreVolumeSource(Struct):
    volume_id: Annotated[str, F(1, req=True)] = named("volumeID", factory=lambda: "")
    fs_type: Annotated[str, F(2)] = ""
    partition: Annotated[Int32, F(3)] = 0
    read_only: Annotated[bool, F(4)] = False


class Affinity(Struct):
    node_affinity: Annotated[NodeAffinity | None, F(1)] = None
    pod_affinity: Annotated[PodAffinity | None, F(2)] = None
    pod_anti_affinity: Annotated[PodAntiAffinity | None, F(3)] = None


class AppArmorProfile(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    localhost_profile: Annotated[str | None, F(2)] = None


class AttachedVolume(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    device_path: Annotated[str, F(2, req=True)] = always("")


class AvoidPods(Struct):
    prefer_avoid_pods: Annotated[list[PreferAvoidPodsEntry], F(1)] = []


class AzureDiskVolumeSource(Struct):
    disk_name: Annotated[str, F(1, req=True)] = always("")
    disk_uri: Annotated[str, F(2, req=True)] = named("diskURI", factory=lambda: "")
    caching_mode: Annotated[str | None, F(3)] = None
    fs_type: Annotated[str | None, F(4)] = None
    read_only: Annotated[bool | None, F(5)] = None
    kind: Annotated[str | None, F(6)] = None


class AzureFilePersistentVolumeSource(Struct):
    secret_name: Annotated[str, F(1, req=True)] = always("")
    share_name: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False
    secret_namespace: Annotated[str | None, F(4)] = None


class AzureFileVolumeSource(Struct):
    secret_name: Annotated[str, F(1, req=True)] = always("")
    share_name: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False


class ObjectReference(Struct):
    kind: Annotated[str, F(1)] = ""
    namespace: Annotated[str, F(2)] = ""
    name: Annotated[str, F(3)] = ""
    uid: Annotated[str, F(4)] = ""
    api_version: Annotated[str, F(5)] = ""
    resource_version: Annotated[str, F(6)] = ""
    field_path: Annotated[str, F(7)] = ""


class Binding(Object):
    api_version: str = always("v1")
    kind: str = always("Binding")
    target: Annotated[ObjectReference, F(2, atomic=True, req=True)] = field(
        default_factory=ObjectReference
    )


class CSIPersistentVolumeSource(Struct):
    driver: Annotated[str, F(1, req=True)] = always("")
    volume_handle: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False
    fs_type: Annotated[str, F(4)] = ""
    volume_attributes: Annotated[dict[str, str], F(5)] = {}
    controller_publish_secret_ref: Annotated[SecretReference | None, F(6, atomic=True)] = None
    node_stage_secret_ref: Annotated[SecretReference | None, F(7, atomic=True)] = None
    node_publish_secret_ref: Annotated[SecretReference | None, F(8, atomic=True)] = None
    controller_expand_secret_ref: Annotated[SecretReference | None, F(9, atomic=True)] = None
    node_expand_secret_ref: Annotated[SecretReference | None, F(10, atomic=True)] = None


class CSIVolumeSource(Struct):
    driver: Annotated[str, F(1, req=True)] = always("")
    read_only: Annotated[bool | None, F(2)] = None
    fs_type: Annotated[str | None, F(3)] = None
    volume_attributes: Annotated[dict[str, str], F(4)] = {}
    node_publish_secret_ref: Annotated[LocalObjectReference | None, F(5, atomic=True)] = None


class Capabilities(Struct):
    add: Annotated[list[str], F(1, list="atomic")] = []
    drop: Annotated[list[str], F(2, list="atomic")] = []


class CephFSPersistentVolumeSource(Struct):
    monitors: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    path: Annotated[str, F(2)] = ""
    user: Annotated[str, F(3)] = ""
    secret_file: Annotated[str, F(4)] = ""
    secret_ref: Annotated[SecretReference | None, F(5, atomic=True)] = None
    read_only: Annotated[bool, F(6)] = False


class CephFSVolumeSource(Struct):
    monitors: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    path: Annotated[str, F(2)] = ""
    user: Annotated[str, F(3)] = ""
    secret_file: Annotated[str, F(4)] = ""
    secret_ref: Annotated[LocalObjectReference | None, F(5, atomic=True)] = None
    read_only: Annotated[bool, F(6)] = False


class CinderPersistentVolumeSource(Struct):
    volume_id: Annotated[str, F(1, req=True)] = named("volumeID", factory=lambda: "")
    fs_type: Annotated[str, F(2)] = ""
    read_only: Annotated[bool, F(3)] = False
    secret_ref: Annotated[SecretReference | None, F(4, atomic=True)] = None


class CinderVolumeSource(Struct):
    volume_id: Annotated[str, F(1, req=True)] = named("volumeID", factory=lambda: "")
    fs_type: Annotated[str, F(2)] = ""
    read_only: Annotated[bool, F(3)] = False
    secret_ref: Annotated[LocalObjectReference | None, F(4, atomic=True)] = None


class ClientIPConfig(Struct):
    timeout_seconds: Annotated[Int32 | None, F(1)] = None


class ClusterTrustBundleProjection(Struct):
    name: Annotated[str | None, F(1)] = None
    signer_name: Annotated[str | None, F(2)] = None
    label_selector: Annotated[LabelSelector | None, F(3, atomic=True)] = None
    optional: Annotated[bool | None, F(5)] = None
    path: Annotated[str, F(4, req=True)] = always("")


class ComponentCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    message: Annotated[str, F(3)] = ""
    error: Annotated[str, F(4)] = ""


class ComponentStatus(Object):
    api_version: str = always("v1")
    kind: str = always("ComponentStatus")
    conditions: Annotated[
        list[ComponentCondition], F(2, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class ComponentStatusList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ComponentStatusList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ComponentStatus], F(2, req=True)] = always_list()


class ConfigMap(Object):
    api_version: str = always("v1")
    kind: str = always("ConfigMap")
    immutable: Annotated[bool | None, F(4)] = None
    data: Annotated[dict[str, str], F(2)] = {}
    binary_data: Annotated[dict[str, bytes], F(3)] = {}


class LocalObjectReference(Struct):
    name: Annotated[str, F(1)] = ""


class ConfigMapEnvSource(LocalObjectReference):
    inline: ClassVar[int] = 1
    optional: Annotated[bool | None, F(2)] = None


class ConfigMapKeySelector(LocalObjectReference):
    inline: ClassVar[int] = 1
    key: Annotated[str, F(2, req=True)] = always("")
    optional: Annotated[bool | None, F(3)] = None


class ConfigMapList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ConfigMapList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ConfigMap], F(2, req=True)] = always_list()


class ConfigMapNodeConfigSource(Struct):
    namespace: Annotated[str, F(1, req=True)] = always("")
    name: Annotated[str, F(2, req=True)] = always("")
    uid: Annotated[str, F(3)] = ""
    resource_version: Annotated[str, F(4)] = ""
    kubelet_config_key: Annotated[str, F(5, req=True)] = always("")


class ConfigMapProjection(LocalObjectReference):
    inline: ClassVar[int] = 1
    items: Annotated[list[KeyToPath], F(2, list="atomic")] = []
    optional: Annotated[bool | None, F(4)] = None


class ConfigMapVolumeSource(LocalObjectReference):
    inline: ClassVar[int] = 1
    items: Annotated[list[KeyToPath], F(2, list="atomic")] = []
    default_mode: Annotated[Int32 | None, F(3)] = None
    optional: Annotated[bool | None, F(4)] = None


class ResourceRequirements(Struct):
    limits: Annotated[dict[str, Quantity], F(1)] = {}
    requests: Annotated[dict[str, Quantity], F(2)] = {}
    claims: Annotated[list[ResourceClaim], F(3, list="map", keys=("name",))] = []


class Container(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    image: Annotated[str, F(2)] = ""
    command: Annotated[list[str], F(3, list="atomic")] = []
    args: Annotated[list[str], F(4, list="atomic")] = []
    working_dir: Annotated[str, F(5)] = ""
    ports: Annotated[
        list[ContainerPort],
        F(
            6,
            patch="merge",
            key="containerPort",
            list="map",
            keys=(
                "containerPort",
                "protocol",
            ),
        ),
    ] = []
    env_from: Annotated[list[EnvFromSource], F(19, list="atomic")] = []
    env: Annotated[list[EnvVar], F(7, patch="merge", key="name", list="map", keys=("name",))] = []
    resources: Annotated[ResourceRequirements, F(8)] = field(default_factory=ResourceRequirements)
    resize_policy: Annotated[list[ContainerResizePolicy], F(23, list="atomic")] = []
    restart_policy: Annotated[str | None, F(24)] = None
    restart_policy_rules: Annotated[list[ContainerRestartRule], F(25, list="atomic")] = []
    volume_mounts: Annotated[
        list[VolumeMount], F(9, patch="merge", key="mountPath", list="map", keys=("mountPath",))
    ] = []
    volume_devices: Annotated[
        list[VolumeDevice], F(21, patch="merge", key="devicePath", list="map", keys=("devicePath",))
    ] = []
    liveness_probe: Annotated[Probe | None, F(10)] = None
    readiness_probe: Annotated[Probe | None, F(11)] = None
    startup_probe: Annotated[Probe | None, F(22)] = None
    lifecycle: Annotated[Lifecycle | None, F(12)] = None
    termination_message_path: Annotated[str, F(13)] = ""
    termination_message_policy: Annotated[str, F(20)] = ""
    image_pull_policy: Annotated[str, F(14)] = ""
    security_context: Annotated[SecurityContext | None, F(15)] = None
    stdin: Annotated[bool, F(16)] = False
    stdin_once: Annotated[bool, F(17)] = False
    tty: Annotated[bool, F(18)] = False


class ContainerExtendedResourceRequest(Struct):
    container_name: Annotated[str, F(1, req=True)] = always("")
    resource_name: Annotated[str, F(2, req=True)] = always("")
    request_name: Annotated[str, F(3, req=True)] = always("")


class ContainerImage(Struct):
    names: Annotated[list[str], F(1, list="atomic")] = always_list()
    size_bytes: Annotated[Int64, F(2)] = 0


class ContainerPort(Struct):
    name: Annotated[str, F(1)] = ""
    host_port: Annotated[Int32, F(2)] = 0
    container_port: Annotated[Int32, F(3, req=True)] = always(0)
    protocol: Annotated[str, F(4)] = ""
    host_ip: Annotated[str, F(5)] = named("hostIP", "")


class ContainerResizePolicy(Struct):
    resource_name: Annotated[str, F(1, req=True)] = always("")
    restart_policy: Annotated[str, F(2, req=True)] = always("")


class ContainerRestartRule(Struct):
    action: Annotated[str, F(1, req=True)] = ""
    exit_codes: Annotated[ContainerRestartRuleOnExitCodes | None, F(2)] = None


class ContainerRestartRuleOnExitCodes(Struct):
    operator: Annotated[str, F(1, req=True)] = ""
    values: Annotated[list[Int32], F(2, list="set")] = []


class ContainerState(Struct):
    waiting: Annotated[ContainerStateWaiting | None, F(1)] = None
    running: Annotated[ContainerStateRunning | None, F(2)] = None
    terminated: Annotated[ContainerStateTerminated | None, F(3)] = None


class ContainerStateRunning(Struct):
    started_at: Annotated[Time | None, F(1)] = None


class ContainerStateTerminated(Struct):
    exit_code: Annotated[Int32, F(1, req=True)] = always(0)
    signal: Annotated[Int32, F(2)] = 0
    reason: Annotated[str, F(3)] = ""
    message: Annotated[str, F(4)] = ""
    started_at: Annotated[Time | None, F(5)] = None
    finished_at: Annotated[Time | None, F(6)] = None
    container_id: Annotated[str, F(7)] = named("containerID", "")


class ContainerStateWaiting(Struct):
    reason: Annotated[str, F(1)] = ""
    message: Annotated[str, F(2)] = ""


class ContainerStatus(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    state: Annotated[ContainerState, F(2)] = field(default_factory=ContainerState)
    last_state: Annotated[ContainerState, F(3)] = field(default_factory=ContainerState)
    ready: Annotated[bool, F(4, req=True)] = always(False)
    restart_count: Annotated[Int32, F(5, req=True)] = always(0)
    image: Annotated[str, F(6, req=True)] = always("")
    image_id: Annotated[str, F(7, req=True)] = named("imageID", factory=lambda: "")
    container_id: Annotated[str, F(8)] = named("containerID", "")
    started: Annotated[bool | None, F(9)] = None
    allocated_resources: Annotated[dict[str, Quantity], F(10)] = {}
    resources: Annotated[ResourceRequirements | None, F(11)] = None
    volume_mounts: Annotated[
        list[VolumeMountStatus],
        F(12, patch="merge", key="mountPath", list="map", keys=("mountPath",)),
    ] = []
    user: Annotated[ContainerUser | None, F(13)] = None
    allocated_resources_status: Annotated[
        list[ResourceStatus], F(14, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    stop_signal: Annotated[str | None, F(15)] = None


class ContainerUser(Struct):
    linux: Annotated[LinuxContainerUser | None, F(1)] = None


class DaemonEndpoint(Struct):
    port: Annotated[Int32, F(1, req=True)] = named("Port", factory=lambda: 0)


class DownwardAPIProjection(Struct):
    items: Annotated[list[DownwardAPIVolumeFile], F(1, list="atomic")] = []


class DownwardAPIVolumeFile(Struct):
    path: Annotated[str, F(1, req=True)] = always("")
    field_ref: Annotated[ObjectFieldSelector | None, F(2, atomic=True)] = None
    resource_field_ref: Annotated[ResourceFieldSelector | None, F(3, atomic=True)] = None
    mode: Annotated[Int32 | None, F(4)] = None


class DownwardAPIVolumeSource(Struct):
    items: Annotated[list[DownwardAPIVolumeFile], F(1, list="atomic")] = []
    default_mode: Annotated[Int32 | None, F(2)] = None


class EmptyDirVolumeSource(Struct):
    medium: Annotated[str, F(1)] = ""
    size_limit: Annotated[Quantity | None, F(2)] = None


class EndpointAddress(Struct):
    ip: Annotated[str, F(1, req=True)] = always("")
    hostname: Annotated[str, F(3)] = ""
    node_name: Annotated[str | None, F(4)] = None
    target_ref: Annotated[ObjectReference | None, F(2, atomic=True)] = None


class EndpointPort(Struct):
    name: Annotated[str, F(1)] = ""
    port: Annotated[Int32, F(2, req=True)] = always(0)
    protocol: Annotated[str, F(3)] = ""
    app_protocol: Annotated[str | None, F(4)] = None


class EndpointSubset(Struct):
    addresses: Annotated[list[EndpointAddress], F(1, list="atomic")] = []
    not_ready_addresses: Annotated[list[EndpointAddress], F(2, list="atomic")] = []
    ports: Annotated[list[EndpointPort], F(3, list="atomic")] = []


class Endpoints(Object):
    api_version: str = always("v1")
    kind: str = always("Endpoints")
    subsets: Annotated[list[EndpointSubset], F(2, list="atomic")] = []


class EndpointsList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("EndpointsList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Endpoints], F(2, req=True)] = always_list()


class EnvFromSource(Struct):
    prefix: Annotated[str, F(1)] = ""
    config_map_ref: Annotated[ConfigMapEnvSource | None, F(2)] = None
    secret_ref: Annotated[SecretEnvSource | None, F(3)] = None


class EnvVar(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    value: Annotated[str, F(2)] = ""
    value_from: Annotated[EnvVarSource | None, F(3)] = None


class EnvVarSource(Struct):
    field_ref: Annotated[ObjectFieldSelector | None, F(1, atomic=True)] = None
    resource_field_ref: Annotated[ResourceFieldSelector | None, F(2, atomic=True)] = None
    config_map_key_ref: Annotated[ConfigMapKeySelector | None, F(3, atomic=True)] = None
    secret_key_ref: Annotated[SecretKeySelector | None, F(4, atomic=True)] = None
    file_key_ref: Annotated[FileKeySelector | None, F(5, atomic=True)] = None


class EphemeralContainerCommon(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    image: Annotated[str, F(2)] = ""
    command: Annotated[list[str], F(3, list="atomic")] = []
    args: Annotated[list[str], F(4, list="atomic")] = []
    working_dir: Annotated[str, F(5)] = ""
    ports: Annotated[
        list[ContainerPort],
        F(
            6,
            patch="merge",
            key="containerPort",
            list="map",
            keys=(
                "containerPort",
                "protocol",
            ),
        ),
    ] = []
    env_from: Annotated[list[EnvFromSource], F(19, list="atomic")] = []
    env: Annotated[list[EnvVar], F(7, patch="merge", key="name", list="map", keys=("name",))] = []
    resources: Annotated[ResourceRequirements, F(8)] = field(default_factory=ResourceRequirements)
    resize_policy: Annotated[list[ContainerResizePolicy], F(23, list="atomic")] = []
    restart_policy: Annotated[str | None, F(24)] = None
    restart_policy_rules: Annotated[list[ContainerRestartRule], F(25, list="atomic")] = []
    volume_mounts: Annotated[
        list[VolumeMount], F(9, patch="merge", key="mountPath", list="map", keys=("mountPath",))
    ] = []
    volume_devices: Annotated[
        list[VolumeDevice], F(21, patch="merge", key="devicePath", list="map", keys=("devicePath",))
    ] = []
    liveness_probe: Annotated[Probe | None, F(10)] = None
    readiness_probe: Annotated[Probe | None, F(11)] = None
    startup_probe: Annotated[Probe | None, F(22)] = None
    lifecycle: Annotated[Lifecycle | None, F(12)] = None
    termination_message_path: Annotated[str, F(13)] = ""
    termination_message_policy: Annotated[str, F(20)] = ""
    image_pull_policy: Annotated[str, F(14)] = ""
    security_context: Annotated[SecurityContext | None, F(15)] = None
    stdin: Annotated[bool, F(16)] = False
    stdin_once: Annotated[bool, F(17)] = False
    tty: Annotated[bool, F(18)] = False


class EphemeralContainer(EphemeralContainerCommon):
    inline: ClassVar[int] = 1
    target_container_name: Annotated[str, F(2)] = ""


class EphemeralVolumeSource(Struct):
    volume_claim_template: Annotated[PersistentVolumeClaimTemplate | None, F(1)] = None


class EventSource(Struct):
    component: Annotated[str, F(1)] = ""
    host: Annotated[str, F(2)] = ""


class Event(Object):
    api_version: str = always("v1")
    kind: str = always("Event")
    involved_object: Annotated[ObjectReference, F(2, atomic=True, req=True)] = field(
        default_factory=ObjectReference
    )
    reason: Annotated[str, F(3)] = ""
    message: Annotated[str, F(4)] = ""
    source: Annotated[EventSource, F(5)] = field(default_factory=EventSource)
    first_timestamp: Annotated[Time | None, F(6)] = None
    last_timestamp: Annotated[Time | None, F(7)] = None
    count: Annotated[Int32, F(8)] = 0
    type: Annotated[str, F(9)] = ""
    event_time: Annotated[MicroTime | None, F(10)] = None
    series: Annotated[EventSeries | None, F(11)] = None
    action: Annotated[str, F(12)] = ""
    related: Annotated[ObjectReference | None, F(13, atomic=True)] = None
    reporting_component: Annotated[str, F(14)] = always("")
    reporting_instance: Annotated[str, F(15)] = always("")


class EventList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("EventList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Event], F(2, req=True)] = always_list()


class EventSeries(Struct):
    count: Annotated[Int32, F(1)] = 0
    last_observed_time: Annotated[MicroTime | None, F(2)] = None


class ExecAction(Struct):
    command: Annotated[list[str], F(1, list="atomic")] = []


class FCVolumeSource(Struct):
    target_wwns: Annotated[list[str], F(1, list="atomic")] = named("targetWWNs", factory=list)
    lun: Annotated[Int32 | None, F(2)] = None
    fs_type: Annotated[str, F(3)] = ""
    read_only: Annotated[bool, F(4)] = False
    wwids: Annotated[list[str], F(5, list="atomic")] = []


class FileKeySelector(Struct):
    volume_name: Annotated[str, F(1, req=True)] = always("")
    path: Annotated[str, F(2, req=True)] = always("")
    key: Annotated[str, F(3, req=True)] = always("")
    optional: Annotated[bool | None, F(4)] = None


class FlexPersistentVolumeSource(Struct):
    driver: Annotated[str, F(1, req=True)] = always("")
    fs_type: Annotated[str, F(2)] = ""
    secret_ref: Annotated[SecretReference | None, F(3, atomic=True)] = None
    read_only: Annotated[bool, F(4)] = False
    options: Annotated[dict[str, str], F(5)] = {}


class FlexVolumeSource(Struct):
    driver: Annotated[str, F(1, req=True)] = always("")
    fs_type: Annotated[str, F(2)] = ""
    secret_ref: Annotated[LocalObjectReference | None, F(3, atomic=True)] = None
    read_only: Annotated[bool, F(4)] = False
    options: Annotated[dict[str, str], F(5)] = {}


class FlockerVolumeSource(Struct):
    dataset_name: Annotated[str, F(1)] = ""
    dataset_uuid: Annotated[str, F(2)] = named("datasetUUID", "")


class GCEPersistentDiskVolumeSource(Struct):
    pd_name: Annotated[str, F(1, req=True)] = always("")
    fs_type: Annotated[str, F(2)] = ""
    partition: Annotated[Int32, F(3)] = 0
    read_only: Annotated[bool, F(4)] = False


class GRPCAction(Struct):
    port: Annotated[Int32, F(1, req=True)] = always(0)
    service: Annotated[str | None, F(2)] = None


class GitRepoVolumeSource(Struct):
    repository: Annotated[str, F(1, req=True)] = always("")
    revision: Annotated[str, F(2)] = ""
    directory: Annotated[str, F(3)] = ""


class GlusterfsPersistentVolumeSource(Struct):
    endpoints: Annotated[str, F(1, req=True)] = always("")
    path: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False
    endpoints_namespace: Annotated[str | None, F(4)] = None


class GlusterfsVolumeSource(Struct):
    endpoints: Annotated[str, F(1, req=True)] = always("")
    path: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False


class HTTPGetAction(Struct):
    path: Annotated[str, F(1)] = ""
    port: Annotated[IntOrString, F(2, req=True)] = always(0)
    host: Annotated[str, F(3)] = ""
    scheme: Annotated[str, F(4)] = ""
    http_headers: Annotated[list[HTTPHeader], F(5, list="atomic")] = []


class HTTPHeader(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    value: Annotated[str, F(2, req=True)] = always("")


class HostAlias(Struct):
    ip: Annotated[str, F(1, req=True)] = always("")
    hostnames: Annotated[list[str], F(2, list="atomic")] = []


class HostIP(Struct):
    ip: Annotated[str, F(1, req=True)] = always("")


class HostPathVolumeSource(Struct):
    path: Annotated[str, F(1, req=True)] = always("")
    type: Annotated[str | None, F(2)] = None


class ISCSIPersistentVolumeSource(Struct):
    target_portal: Annotated[str, F(1, req=True)] = always("")
    iqn: Annotated[str, F(2, req=True)] = always("")
    lun: Annotated[Int32, F(3, req=True)] = always(0)
    iscsi_interface: Annotated[str, F(4)] = ""
    fs_type: Annotated[str, F(5)] = ""
    read_only: Annotated[bool, F(6)] = False
    portals: Annotated[list[str], F(7, list="atomic")] = []
    chap_auth_discovery: Annotated[bool, F(8)] = False
    chap_auth_session: Annotated[bool, F(11)] = False
    secret_ref: Annotated[SecretReference | None, F(10, atomic=True)] = None
    initiator_name: Annotated[str | None, F(12)] = None


class ISCSIVolumeSource(Struct):
    target_portal: Annotated[str, F(1, req=True)] = always("")
    iqn: Annotated[str, F(2, req=True)] = always("")
    lun: Annotated[Int32, F(3, req=True)] = always(0)
    iscsi_interface: Annotated[str, F(4)] = ""
    fs_type: Annotated[str, F(5)] = ""
    read_only: Annotated[bool, F(6)] = False
    portals: Annotated[list[str], F(7, list="atomic")] = []
    chap_auth_discovery: Annotated[bool, F(8)] = False
    chap_auth_session: Annotated[bool, F(11)] = False
    secret_ref: Annotated[LocalObjectReference | None, F(10, atomic=True)] = None
    initiator_name: Annotated[str | None, F(12)] = None


class ImageVolumeSource(Struct):
    reference: Annotated[str, F(1)] = ""
    pull_policy: Annotated[str, F(2)] = ""


class ImageVolumeStatus(Struct):
    image_ref: Annotated[str, F(1, req=True)] = ""


class KeyToPath(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    path: Annotated[str, F(2, req=True)] = always("")
    mode: Annotated[Int32 | None, F(3)] = None


class Lifecycle(Struct):
    post_start: Annotated[LifecycleHandler | None, F(1)] = None
    pre_stop: Annotated[LifecycleHandler | None, F(2)] = None
    stop_signal: Annotated[str | None, F(3)] = None


class LifecycleHandler(Struct):
    exec: Annotated[ExecAction | None, F(1)] = None
    http_get: Annotated[HTTPGetAction | None, F(2)] = None
    tcp_socket: Annotated[TCPSocketAction | None, F(3)] = None
    sleep: Annotated[SleepAction | None, F(4)] = None


class LimitRangeSpec(Struct):
    limits: Annotated[list[LimitRangeItem], F(1, list="atomic", req=True)] = always_list()


class LimitRange(Object):
    api_version: str = always("v1")
    kind: str = always("LimitRange")
    spec: Annotated[LimitRangeSpec, F(2)] = field(default_factory=LimitRangeSpec)


class LimitRangeItem(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    max: Annotated[dict[str, Quantity], F(2)] = {}
    min: Annotated[dict[str, Quantity], F(3)] = {}
    default: Annotated[dict[str, Quantity], F(4)] = {}
    default_request: Annotated[dict[str, Quantity], F(5)] = {}
    max_limit_request_ratio: Annotated[dict[str, Quantity], F(6)] = {}


class LimitRangeList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("LimitRangeList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[LimitRange], F(2, req=True)] = always_list()


class LinuxContainerUser(Struct):
    uid: Annotated[Int64, F(1, req=True)] = always(0)
    gid: Annotated[Int64, F(2, req=True)] = always(0)
    supplemental_groups: Annotated[list[Int64], F(3, list="atomic")] = []


class LoadBalancerIngress(Struct):
    ip: Annotated[str, F(1)] = ""
    hostname: Annotated[str, F(2)] = ""
    ip_mode: Annotated[str | None, F(3)] = None
    ports: Annotated[list[PortStatus], F(4, list="atomic")] = []


class LoadBalancerStatus(Struct):
    ingress: Annotated[list[LoadBalancerIngress], F(1, list="atomic")] = []


class LocalVolumeSource(Struct):
    path: Annotated[str, F(1, req=True)] = always("")
    fs_type: Annotated[str | None, F(2)] = None


class ModifyVolumeStatus(Struct):
    target_volume_attributes_class_name: Annotated[str, F(1)] = ""
    status: Annotated[str, F(2, req=True)] = always("")


class NFSVolumeSource(Struct):
    server: Annotated[str, F(1, req=True)] = always("")
    path: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False


class NamespaceSpec(Struct):
    finalizers: Annotated[list[str], F(1, list="atomic")] = []


class NamespaceStatus(Struct):
    phase: Annotated[str, F(1)] = ""
    conditions: Annotated[
        list[NamespaceCondition], F(2, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class Namespace(Object):
    api_version: str = always("v1")
    kind: str = always("Namespace")
    spec: Annotated[NamespaceSpec, F(2)] = field(default_factory=NamespaceSpec)
    status: Annotated[NamespaceStatus, F(3)] = field(default_factory=NamespaceStatus)


class NamespaceCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(4)] = None
    reason: Annotated[str, F(5)] = ""
    message: Annotated[str, F(6)] = ""


class NamespaceList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("NamespaceList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Namespace], F(2, req=True)] = always_list()


class NodeSpec(Struct):
    pod_cidr: Annotated[str, F(1)] = named("podCIDR", "")
    pod_cidrs: Annotated[list[str], F(7, patch="merge", list="set")] = named(
        "podCIDRs", factory=list
    )
    provider_id: Annotated[str, F(3)] = named("providerID", "")
    unschedulable: Annotated[bool, F(4)] = False
    taints: Annotated[list[Taint], F(5, list="atomic")] = []
    config_source: Annotated[NodeConfigSource | None, F(6)] = None
    external_id: Annotated[str, F(2)] = named("externalID", "")


class NodeDaemonEndpoints(Struct):
    kubelet_endpoint: Annotated[DaemonEndpoint, F(1)] = field(default_factory=DaemonEndpoint)


class NodeSystemInfo(Struct):
    machine_id: Annotated[str, F(1, req=True)] = named("machineID", factory=lambda: "")
    system_uuid: Annotated[str, F(2, req=True)] = named("systemUUID", factory=lambda: "")
    boot_id: Annotated[str, F(3, req=True)] = named("bootID", factory=lambda: "")
    kernel_version: Annotated[str, F(4, req=True)] = always("")
    os_image: Annotated[str, F(5, req=True)] = always("")
    container_runtime_version: Annotated[str, F(6, req=True)] = always("")
    kubelet_version: Annotated[str, F(7, req=True)] = always("")
    kube_proxy_version: Annotated[str, F(8, req=True)] = always("")
    operating_system: Annotated[str, F(9, req=True)] = always("")
    architecture: Annotated[str, F(10, req=True)] = always("")
    swap: Annotated[NodeSwapStatus | None, F(11)] = None


class NodeStatus(Struct):
    capacity: Annotated[dict[str, Quantity], F(1)] = {}
    allocatable: Annotated[dict[str, Quantity], F(2)] = {}
    phase: Annotated[str, F(3)] = ""
    conditions: Annotated[
        list[NodeCondition], F(4, patch="merge", key="type", list="map", keys=("type",))
    ] = []
    addresses: Annotated[
        list[NodeAddress], F(5, patch="merge", key="type", list="map", keys=("type",))
    ] = []
    daemon_endpoints: Annotated[NodeDaemonEndpoints, F(6)] = field(
        default_factory=NodeDaemonEndpoints
    )
    node_info: Annotated[NodeSystemInfo, F(7)] = field(default_factory=NodeSystemInfo)
    images: Annotated[list[ContainerImage], F(8, list="atomic")] = []
    volumes_in_use: Annotated[list[str], F(9, list="atomic")] = []
    volumes_attached: Annotated[list[AttachedVolume], F(10, list="atomic")] = []
    config: Annotated[NodeConfigStatus | None, F(11)] = None
    runtime_handlers: Annotated[list[NodeRuntimeHandler], F(12, list="atomic")] = []
    features: Annotated[NodeFeatures | None, F(13)] = None
    declared_features: Annotated[list[str], F(14, list="atomic")] = []


class Node(Object):
    api_version: str = always("v1")
    kind: str = always("Node")
    spec: Annotated[NodeSpec, F(2)] = field(default_factory=NodeSpec)
    status: Annotated[NodeStatus, F(3)] = field(default_factory=NodeStatus)


class NodeAddress(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    address: Annotated[str, F(2, req=True)] = always("")


class NodeAffinity(Struct):
    required_during_scheduling_ignored_during_execution: Annotated[
        NodeSelector | None, F(1, atomic=True)
    ] = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        list[PreferredSchedulingTerm], F(2, list="atomic")
    ] = []


class NodeAllocatableResourceClaimStatus(Struct):
    resource_claim_name: Annotated[str, F(1, req=True)] = always("")
    containers: Annotated[list[str], F(2, list="set")] = []
    resources: Annotated[dict[str, Quantity], F(3, req=True)] = always_dict()


class NodeCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_heartbeat_time: Annotated[Time | None, F(3)] = None
    last_transition_time: Annotated[Time | None, F(4)] = None
    reason: Annotated[str, F(5)] = ""
    message: Annotated[str, F(6)] = ""


class NodeConfigSource(Struct):
    config_map: Annotated[ConfigMapNodeConfigSource | None, F(2)] = None


class NodeConfigStatus(Struct):
    assigned: Annotated[NodeConfigSource | None, F(1)] = None
    active: Annotated[NodeConfigSource | None, F(2)] = None
    last_known_good: Annotated[NodeConfigSource | None, F(3)] = None
    error: Annotated[str, F(4)] = ""


class NodeFeatures(Struct):
    supplemental_groups_policy: Annotated[bool | None, F(1)] = None


class NodeList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("NodeList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Node], F(2, req=True)] = always_list()


class NodeProxyOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("NodeProxyOptions")
    path: Annotated[str, F(1)] = ""


class NodeRuntimeHandler(Struct):
    name: Annotated[str, F(1)] = always("")
    features: Annotated[NodeRuntimeHandlerFeatures | None, F(2)] = None


class NodeRuntimeHandlerFeatures(Struct):
    recursive_read_only_mounts: Annotated[bool | None, F(1)] = None
    user_namespaces: Annotated[bool | None, F(2)] = None


class NodeSelector(Struct):
    node_selector_terms: Annotated[list[NodeSelectorTerm], F(1, list="atomic", req=True)] = (
        always_list()
    )


class NodeSelectorRequirement(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    operator: Annotated[str, F(2, req=True)] = always("")
    values: Annotated[list[str], F(3, list="atomic")] = []


class NodeSelectorTerm(Struct):
    match_expressions: Annotated[list[NodeSelectorRequirement], F(1, list="atomic")] = []
    match_fields: Annotated[list[NodeSelectorRequirement], F(2, list="atomic")] = []


class NodeSwapStatus(Struct):
    capacity: Annotated[Int64 | None, F(1)] = None


class ObjectFieldSelector(Struct):
    api_version: Annotated[str, F(1)] = ""
    field_path: Annotated[str, F(2, req=True)] = always("")


class PersistentVolumeSource(Struct):
    gce_persistent_disk: Annotated[GCEPersistentDiskVolumeSource | None, F(1)] = None
    aws_elastic_block_store: Annotated[AWSElasticBlockStoreVolumeSource | None, F(2)] = None
    host_path: Annotated[HostPathVolumeSource | None, F(3)] = None
    glusterfs: Annotated[GlusterfsPersistentVolumeSource | None, F(4)] = None
    nfs: Annotated[NFSVolumeSource | None, F(5)] = None
    rbd: Annotated[RBDPersistentVolumeSource | None, F(6)] = None
    iscsi: Annotated[ISCSIPersistentVolumeSource | None, F(7)] = None
    cinder: Annotated[CinderPersistentVolumeSource | None, F(8)] = None
    cephfs: Annotated[CephFSPersistentVolumeSource | None, F(9)] = None
    fc: Annotated[FCVolumeSource | None, F(10)] = None
    flocker: Annotated[FlockerVolumeSource | None, F(11)] = None
    flex_volume: Annotated[FlexPersistentVolumeSource | None, F(12)] = None
    azure_file: Annotated[AzureFilePersistentVolumeSource | None, F(13)] = None
    vsphere_volume: Annotated[VsphereVirtualDiskVolumeSource | None, F(14)] = None
    quobyte: Annotated[QuobyteVolumeSource | None, F(15)] = None
    azure_disk: Annotated[AzureDiskVolumeSource | None, F(16)] = None
    photon_persistent_disk: Annotated[PhotonPersistentDiskVolumeSource | None, F(17)] = None
    portworx_volume: Annotated[PortworxVolumeSource | None, F(18)] = None
    scale_io: Annotated[ScaleIOPersistentVolumeSource | None, F(19)] = named("scaleIO", None)
    local: Annotated[LocalVolumeSource | None, F(20)] = None
    storageos: Annotated[StorageOSPersistentVolumeSource | None, F(21)] = None
    csi: Annotated[CSIPersistentVolumeSource | None, F(22)] = None


class PersistentVolumeSpec(PersistentVolumeSource):
    inline: ClassVar[int] = 2
    capacity: Annotated[dict[str, Quantity], F(1)] = {}
    access_modes: Annotated[list[str], F(3, list="atomic")] = []
    claim_ref: Annotated[ObjectReference | None, F(4)] = None
    persistent_volume_reclaim_policy: Annotated[str, F(5)] = ""
    storage_class_name: Annotated[str, F(6)] = ""
    mount_options: Annotated[list[str], F(7, list="atomic")] = []
    volume_mode: Annotated[str | None, F(8)] = None
    node_affinity: Annotated[VolumeNodeAffinity | None, F(9)] = None
    volume_attributes_class_name: Annotated[str | None, F(10)] = None


class PersistentVolumeStatus(Struct):
    phase: Annotated[str, F(1)] = ""
    message: Annotated[str, F(2)] = ""
    reason: Annotated[str, F(3)] = ""
    last_phase_transition_time: Annotated[Time | None, F(4)] = None


class PersistentVolume(Object):
    api_version: str = always("v1")
    kind: str = always("PersistentVolume")
    spec: Annotated[PersistentVolumeSpec, F(2)] = field(default_factory=PersistentVolumeSpec)
    status: Annotated[PersistentVolumeStatus, F(3)] = field(default_factory=PersistentVolumeStatus)


class VolumeResourceRequirements(Struct):
    limits: Annotated[dict[str, Quantity], F(1)] = {}
    requests: Annotated[dict[str, Quantity], F(2)] = {}


class PersistentVolumeClaimSpec(Struct):
    access_modes: Annotated[list[str], F(1, list="atomic")] = []
    selector: Annotated[LabelSelector | None, F(4, atomic=True)] = None
    resources: Annotated[VolumeResourceRequirements, F(2)] = field(
        default_factory=VolumeResourceRequirements
    )
    volume_name: Annotated[str, F(3)] = ""
    storage_class_name: Annotated[str | None, F(5)] = None
    volume_mode: Annotated[str | None, F(6)] = None
    data_source: Annotated[TypedLocalObjectReference | None, F(7, atomic=True)] = None
    data_source_ref: Annotated[TypedObjectReference | None, F(8)] = None
    volume_attributes_class_name: Annotated[str | None, F(9)] = None


class PersistentVolumeClaimStatus(Struct):
    phase: Annotated[str, F(1)] = ""
    access_modes: Annotated[list[str], F(2, list="atomic")] = []
    capacity: Annotated[dict[str, Quantity], F(3)] = {}
    conditions: Annotated[
        list[PersistentVolumeClaimCondition],
        F(4, patch="merge", key="type", list="map", keys=("type",)),
    ] = []
    allocated_resources: Annotated[dict[str, Quantity], F(5)] = {}
    allocated_resource_statuses: Annotated[dict[str, str], F(7)] = {}
    current_volume_attributes_class_name: Annotated[str | None, F(8)] = None
    modify_volume_status: Annotated[ModifyVolumeStatus | None, F(9)] = None


class PersistentVolumeClaim(Object):
    api_version: str = always("v1")
    kind: str = always("PersistentVolumeClaim")
    spec: Annotated[PersistentVolumeClaimSpec, F(2)] = field(
        default_factory=PersistentVolumeClaimSpec
    )
    status: Annotated[PersistentVolumeClaimStatus, F(3)] = field(
        default_factory=PersistentVolumeClaimStatus
    )


class PersistentVolumeClaimCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_probe_time: Annotated[Time | None, F(3)] = None
    last_transition_time: Annotated[Time | None, F(4)] = None
    reason: Annotated[str, F(5)] = ""
    message: Annotated[str, F(6)] = ""


class PersistentVolumeClaimList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PersistentVolumeClaimList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PersistentVolumeClaim], F(2, req=True)] = always_list()


class PersistentVolumeClaimTemplate(Struct):
    metadata: Annotated[ObjectMeta, F(1)] = field(default_factory=ObjectMeta)
    spec: Annotated[PersistentVolumeClaimSpec, F(2, req=True)] = field(
        default_factory=PersistentVolumeClaimSpec
    )


class PersistentVolumeClaimVolumeSource(Struct):
    claim_name: Annotated[str, F(1, req=True)] = always("")
    read_only: Annotated[bool, F(2)] = False


class PersistentVolumeList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PersistentVolumeList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PersistentVolume], F(2, req=True)] = always_list()


class PhotonPersistentDiskVolumeSource(Struct):
    pd_id: Annotated[str, F(1, req=True)] = named("pdID", factory=lambda: "")
    fs_type: Annotated[str, F(2)] = ""


class PodSpec(Struct):
    volumes: Annotated[
        list[Volume], F(1, patch="merge,retainKeys", key="name", list="map", keys=("name",))
    ] = []
    init_containers: Annotated[
        list[Container], F(20, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    containers: Annotated[
        list[Container], F(2, patch="merge", key="name", list="map", keys=("name",), req=True)
    ] = always_list()
    ephemeral_containers: Annotated[
        list[EphemeralContainer], F(34, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    restart_policy: Annotated[str, F(3)] = ""
    termination_grace_period_seconds: Annotated[Int64 | None, F(4)] = None
    active_deadline_seconds: Annotated[Int64 | None, F(5)] = None
    dns_policy: Annotated[str, F(6)] = ""
    node_selector: Annotated[dict[str, str], F(7, atomic=True)] = {}
    service_account_name: Annotated[str, F(8)] = ""
    service_account: Annotated[str, F(9)] = ""
    automount_service_account_token: Annotated[bool | None, F(21)] = None
    node_name: Annotated[str, F(10)] = ""
    host_network: Annotated[bool, F(11)] = False
    host_pid: Annotated[bool, F(12)] = named("hostPID", False)
    host_ipc: Annotated[bool, F(13)] = named("hostIPC", False)
    share_process_namespace: Annotated[bool | None, F(27)] = None
    security_context: Annotated[PodSecurityContext | None, F(14)] = None
    image_pull_secrets: Annotated[
        list[LocalObjectReference], F(15, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    hostname: Annotated[str, F(16)] = ""
    subdomain: Annotated[str, F(17)] = ""
    affinity: Annotated[Affinity | None, F(18)] = None
    scheduler_name: Annotated[str, F(19)] = ""
    tolerations: Annotated[list[Toleration], F(22, list="atomic")] = []
    host_aliases: Annotated[
        list[HostAlias], F(23, patch="merge", key="ip", list="map", keys=("ip",))
    ] = []
    priority_class_name: Annotated[str, F(24)] = ""
    priority: Annotated[Int32 | None, F(25)] = None
    dns_config: Annotated[PodDNSConfig | None, F(26)] = None
    readiness_gates: Annotated[list[PodReadinessGate], F(28, list="atomic")] = []
    runtime_class_name: Annotated[str | None, F(29)] = None
    enable_service_links: Annotated[bool | None, F(30)] = None
    preemption_policy: Annotated[str | None, F(31)] = None
    overhead: Annotated[dict[str, Quantity], F(32)] = {}
    topology_spread_constraints: Annotated[
        list[TopologySpreadConstraint],
        F(
            33,
            patch="merge",
            key="topologyKey",
            list="map",
            keys=(
                "topologyKey",
                "whenUnsatisfiable",
            ),
        ),
    ] = []
    set_hostname_as_fqdn: Annotated[bool | None, F(35)] = named("setHostnameAsFQDN", None)
    os: Annotated[PodOS | None, F(36)] = None
    host_users: Annotated[bool | None, F(37)] = None
    scheduling_gates: Annotated[
        list[PodSchedulingGate], F(38, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    resource_claims: Annotated[
        list[PodResourceClaim],
        F(39, patch="merge,retainKeys", key="name", list="map", keys=("name",)),
    ] = []
    resources: Annotated[ResourceRequirements | None, F(40)] = None
    hostname_override: Annotated[str | None, F(41)] = None
    scheduling_group: Annotated[PodSchedulingGroup | None, F(43)] = None


class PodStatus(Struct):
    observed_generation: Annotated[Int64, F(17)] = 0
    phase: Annotated[str, F(1)] = ""
    conditions: Annotated[
        list[PodCondition], F(2, patch="merge", key="type", list="map", keys=("type",))
    ] = []
    message: Annotated[str, F(3)] = ""
    reason: Annotated[str, F(4)] = ""
    nominated_node_name: Annotated[str, F(11)] = ""
    host_ip: Annotated[str, F(5)] = named("hostIP", "")
    host_ips: Annotated[list[HostIP], F(16, patch="merge", key="ip", list="atomic")] = named(
        "hostIPs", factory=list
    )
    pod_ip: Annotated[str, F(6)] = named("podIP", "")
    pod_ips: Annotated[list[PodIP], F(12, patch="merge", key="ip", list="map", keys=("ip",))] = (
        named("podIPs", factory=list)
    )
    start_time: Annotated[Time | None, F(7)] = None
    init_container_statuses: Annotated[list[ContainerStatus], F(10, list="atomic")] = []
    container_statuses: Annotated[list[ContainerStatus], F(8, list="atomic")] = []
    qos_class: Annotated[str, F(9)] = ""
    ephemeral_container_statuses: Annotated[list[ContainerStatus], F(13, list="atomic")] = []
    resize: Annotated[str, F(14)] = ""
    resource_claim_statuses: Annotated[
        list[PodResourceClaimStatus],
        F(15, patch="merge,retainKeys", key="name", list="map", keys=("name",)),
    ] = []
    extended_resource_claim_status: Annotated[PodExtendedResourceClaimStatus | None, F(18)] = None
    allocated_resources: Annotated[dict[str, Quantity], F(19)] = {}
    resources: Annotated[ResourceRequirements | None, F(20)] = None
    node_allocatable_resource_claim_statuses: Annotated[
        list[NodeAllocatableResourceClaimStatus], F(21, list="atomic")
    ] = []


class Pod(Object):
    api_version: str = always("v1")
    kind: str = always("Pod")
    spec: Annotated[PodSpec, F(2)] = field(default_factory=PodSpec)
    status: Annotated[PodStatus, F(3)] = field(default_factory=PodStatus)


class PodAffinity(Struct):
    required_during_scheduling_ignored_during_execution: Annotated[
        list[PodAffinityTerm], F(1, list="atomic")
    ] = []
    preferred_during_scheduling_ignored_during_execution: Annotated[
        list[WeightedPodAffinityTerm], F(2, list="atomic")
    ] = []


class PodAffinityTerm(Struct):
    label_selector: Annotated[LabelSelector | None, F(1, atomic=True)] = None
    namespaces: Annotated[list[str], F(2, list="atomic")] = []
    topology_key: Annotated[str, F(3, req=True)] = always("")
    namespace_selector: Annotated[LabelSelector | None, F(4, atomic=True)] = None
    match_label_keys: Annotated[list[str], F(5, list="atomic")] = []
    mismatch_label_keys: Annotated[list[str], F(6, list="atomic")] = []


class PodAntiAffinity(Struct):
    required_during_scheduling_ignored_during_execution: Annotated[
        list[PodAffinityTerm], F(1, list="atomic")
    ] = []
    preferred_during_scheduling_ignored_during_execution: Annotated[
        list[WeightedPodAffinityTerm], F(2, list="atomic")
    ] = []


class PodAttachOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PodAttachOptions")
    stdin: Annotated[bool, F(1)] = False
    stdout: Annotated[bool, F(2)] = False
    stderr: Annotated[bool, F(3)] = False
    tty: Annotated[bool, F(4)] = False
    container: Annotated[str, F(5)] = ""


class PodCertificateProjection(Struct):
    signer_name: Annotated[str, F(1, req=True)] = ""
    key_type: Annotated[str, F(2, req=True)] = ""
    max_expiration_seconds: Annotated[Int32 | None, F(3)] = None
    credential_bundle_path: Annotated[str, F(4)] = ""
    key_path: Annotated[str, F(5)] = ""
    certificate_chain_path: Annotated[str, F(6)] = ""
    user_annotations: Annotated[dict[str, str], F(7)] = {}


class PodCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    observed_generation: Annotated[Int64, F(7)] = 0
    status: Annotated[str, F(2, req=True)] = always("")
    last_probe_time: Annotated[Time | None, F(3)] = None
    last_transition_time: Annotated[Time | None, F(4)] = None
    reason: Annotated[str, F(5)] = ""
    message: Annotated[str, F(6)] = ""


class PodDNSConfig(Struct):
    nameservers: Annotated[list[str], F(1, list="atomic")] = []
    searches: Annotated[list[str], F(2, list="atomic")] = []
    options: Annotated[list[PodDNSConfigOption], F(3, list="atomic")] = []


class PodDNSConfigOption(Struct):
    name: Annotated[str, F(1)] = ""
    value: Annotated[str | None, F(2)] = None


class PodExecOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PodExecOptions")
    stdin: Annotated[bool, F(1)] = False
    stdout: Annotated[bool, F(2)] = False
    stderr: Annotated[bool, F(3)] = False
    tty: Annotated[bool, F(4)] = False
    container: Annotated[str, F(5)] = ""
    command: Annotated[list[str], F(6)] = always_list()


class PodExtendedResourceClaimStatus(Struct):
    request_mappings: Annotated[
        list[ContainerExtendedResourceRequest], F(1, list="atomic", req=True)
    ] = always_list()
    resource_claim_name: Annotated[str, F(2, req=True)] = always("")


class PodIP(Struct):
    ip: Annotated[str, F(1, req=True)] = always("")


class PodList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PodList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Pod], F(2, req=True)] = always_list()


class PodLogOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PodLogOptions")
    container: Annotated[str, F(1)] = ""
    follow: Annotated[bool, F(2)] = False
    previous: Annotated[bool, F(3)] = False
    since_seconds: Annotated[Int64 | None, F(4)] = None
    since_time: Annotated[Time | None, F(5)] = None
    timestamps: Annotated[bool, F(6)] = False
    tail_lines: Annotated[Int64 | None, F(7)] = None
    limit_bytes: Annotated[Int64 | None, F(8)] = None
    insecure_skip_tls_verify_backend: Annotated[bool, F(9)] = named(
        "insecureSkipTLSVerifyBackend", False
    )
    stream: Annotated[str | None, F(10)] = None


class PodOS(Struct):
    name: Annotated[str, F(1, req=True)] = always("")


class PodPortForwardOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PodPortForwardOptions")
    ports: Annotated[list[Int32], F(1)] = []


class PodProxyOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PodProxyOptions")
    path: Annotated[str, F(1)] = ""


class PodReadinessGate(Struct):
    condition_type: Annotated[str, F(1, req=True)] = always("")


class PodResourceClaim(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    resource_claim_name: Annotated[str | None, F(3)] = None
    resource_claim_template_name: Annotated[str | None, F(4)] = None


class PodResourceClaimStatus(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    resource_claim_name: Annotated[str | None, F(2)] = None


class PodSchedulingGate(Struct):
    name: Annotated[str, F(1, req=True)] = always("")


class PodSchedulingGroup(Struct):
    pod_group_name: Annotated[str | None, F(1)] = None


class PodSecurityContext(Struct):
    se_linux_options: Annotated[SELinuxOptions | None, F(1)] = None
    windows_options: Annotated[WindowsSecurityContextOptions | None, F(8)] = None
    run_as_user: Annotated[Int64 | None, F(2)] = None
    run_as_group: Annotated[Int64 | None, F(6)] = None
    run_as_non_root: Annotated[bool | None, F(3)] = None
    supplemental_groups: Annotated[list[Int64], F(4, list="atomic")] = []
    supplemental_groups_policy: Annotated[str | None, F(12)] = None
    fs_group: Annotated[Int64 | None, F(5)] = None
    sysctls: Annotated[list[Sysctl], F(7, list="atomic")] = []
    fs_group_change_policy: Annotated[str | None, F(9)] = None
    seccomp_profile: Annotated[SeccompProfile | None, F(10)] = None
    app_armor_profile: Annotated[AppArmorProfile | None, F(11)] = None
    se_linux_change_policy: Annotated[str | None, F(13)] = None


class PodSignature(Struct):
    pod_controller: Annotated[OwnerReference | None, F(1)] = None


class PodStatusResult(Object):
    api_version: str = always("v1")
    kind: str = always("PodStatusResult")
    status: Annotated[PodStatus, F(2)] = field(default_factory=PodStatus)


class PodTemplateSpec(Struct):
    metadata: Annotated[ObjectMeta, F(1)] = field(default_factory=ObjectMeta)
    spec: Annotated[PodSpec, F(2)] = field(default_factory=PodSpec)


class PodTemplate(Object):
    api_version: str = always("v1")
    kind: str = always("PodTemplate")
    template: Annotated[PodTemplateSpec, F(2)] = field(default_factory=PodTemplateSpec)


class PodTemplateList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PodTemplateList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PodTemplate], F(2, req=True)] = always_list()


class PortStatus(Struct):
    port: Annotated[Int32, F(1, req=True)] = always(0)
    protocol: Annotated[str, F(2, req=True)] = always("")
    error: Annotated[str | None, F(3)] = None


class PortworxVolumeSource(Struct):
    volume_id: Annotated[str, F(1, req=True)] = named("volumeID", factory=lambda: "")
    fs_type: Annotated[str, F(2)] = ""
    read_only: Annotated[bool, F(3)] = False


class Preconditions(Struct):
    uid: Annotated[str | None, F(1)] = None


class PreferAvoidPodsEntry(Struct):
    pod_signature: Annotated[PodSignature, F(1)] = field(default_factory=PodSignature)
    eviction_time: Annotated[Time | None, F(2)] = None
    reason: Annotated[str, F(3)] = ""
    message: Annotated[str, F(4)] = ""


class PreferredSchedulingTerm(Struct):
    weight: Annotated[Int32, F(1, req=True)] = always(0)
    preference: Annotated[NodeSelectorTerm, F(2, atomic=True, req=True)] = field(
        default_factory=NodeSelectorTerm
    )


class ProbeHandler(Struct):
    exec: Annotated[ExecAction | None, F(1)] = None
    http_get: Annotated[HTTPGetAction | None, F(2)] = None
    tcp_socket: Annotated[TCPSocketAction | None, F(3)] = None
    grpc: Annotated[GRPCAction | None, F(4)] = None


class Probe(ProbeHandler):
    inline: ClassVar[int] = 1
    initial_delay_seconds: Annotated[Int32, F(2)] = 0
    timeout_seconds: Annotated[Int32, F(3)] = 0
    period_seconds: Annotated[Int32, F(4)] = 0
    success_threshold: Annotated[Int32, F(5)] = 0
    failure_threshold: Annotated[Int32, F(6)] = 0
    termination_grace_period_seconds: Annotated[Int64 | None, F(7)] = None


class ProjectedVolumeSource(Struct):
    sources: Annotated[list[VolumeProjection], F(1, list="atomic")] = always_list()
    default_mode: Annotated[Int32 | None, F(2)] = None


class QuobyteVolumeSource(Struct):
    registry: Annotated[str, F(1, req=True)] = always("")
    volume: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False
    user: Annotated[str, F(4)] = ""
    group: Annotated[str, F(5)] = ""
    tenant: Annotated[str, F(6)] = ""


class RBDPersistentVolumeSource(Struct):
    monitors: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    image: Annotated[str, F(2, req=True)] = always("")
    fs_type: Annotated[str, F(3)] = ""
    pool: Annotated[str, F(4)] = ""
    user: Annotated[str, F(5)] = ""
    keyring: Annotated[str, F(6)] = ""
    secret_ref: Annotated[SecretReference | None, F(7, atomic=True)] = None
    read_only: Annotated[bool, F(8)] = False


class RBDVolumeSource(Struct):
    monitors: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    image: Annotated[str, F(2, req=True)] = always("")
    fs_type: Annotated[str, F(3)] = ""
    pool: Annotated[str, F(4)] = ""
    user: Annotated[str, F(5)] = ""
    keyring: Annotated[str, F(6)] = ""
    secret_ref: Annotated[LocalObjectReference | None, F(7, atomic=True)] = None
    read_only: Annotated[bool, F(8)] = False


class RangeAllocation(Object):
    api_version: str = always("v1")
    kind: str = always("RangeAllocation")
    range: Annotated[str, F(2)] = always("")
    data: Annotated[bytes, F(3)] = always(b"")


class ReplicationControllerSpec(Struct):
    replicas: Annotated[Int32 | None, F(1)] = None
    min_ready_seconds: Annotated[Int32, F(4)] = 0
    selector: Annotated[dict[str, str], F(2, atomic=True)] = {}
    template: Annotated[PodTemplateSpec | None, F(3)] = None


class ReplicationControllerStatus(Struct):
    replicas: Annotated[Int32, F(1, req=True)] = always(0)
    fully_labeled_replicas: Annotated[Int32, F(2)] = 0
    ready_replicas: Annotated[Int32, F(4)] = 0
    available_replicas: Annotated[Int32, F(5)] = 0
    observed_generation: Annotated[Int64, F(3)] = 0
    conditions: Annotated[
        list[ReplicationControllerCondition],
        F(6, patch="merge", key="type", list="map", keys=("type",)),
    ] = []


class ReplicationController(Object):
    api_version: str = always("v1")
    kind: str = always("ReplicationController")
    spec: Annotated[ReplicationControllerSpec, F(2)] = field(
        default_factory=ReplicationControllerSpec
    )
    status: Annotated[ReplicationControllerStatus, F(3)] = field(
        default_factory=ReplicationControllerStatus
    )


class ReplicationControllerCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class ReplicationControllerList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ReplicationControllerList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ReplicationController], F(2, req=True)] = always_list()


class ResourceClaim(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    request: Annotated[str, F(2)] = ""


class ResourceFieldSelector(Struct):
    container_name: Annotated[str, F(1)] = ""
    resource: Annotated[str, F(2, req=True)] = always("")
    divisor: Annotated[Quantity, F(3)] = always(Quantity("0"))


class ResourceHealth(Struct):
    resource_id: Annotated[str, F(1, req=True)] = named("resourceID", factory=lambda: "")
    health: Annotated[str, F(2)] = ""
    message: Annotated[str | None, F(6)] = None


class ResourceQuotaSpec(Struct):
    hard: Annotated[dict[str, Quantity], F(1)] = {}
    scopes: Annotated[list[str], F(2, list="atomic")] = []
    scope_selector: Annotated[ScopeSelector | None, F(3, atomic=True)] = None


class ResourceQuotaStatus(Struct):
    hard: Annotated[dict[str, Quantity], F(1)] = {}
    used: Annotated[dict[str, Quantity], F(2)] = {}


class ResourceQuota(Object):
    api_version: str = always("v1")
    kind: str = always("ResourceQuota")
    spec: Annotated[ResourceQuotaSpec, F(2)] = field(default_factory=ResourceQuotaSpec)
    status: Annotated[ResourceQuotaStatus, F(3)] = field(default_factory=ResourceQuotaStatus)


class ResourceQuotaList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ResourceQuotaList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ResourceQuota], F(2, req=True)] = always_list()


class ResourceStatus(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    resources: Annotated[list[ResourceHealth], F(2, list="map", keys=("resourceID",))] = []


class SELinuxOptions(Struct):
    user: Annotated[str, F(1)] = ""
    role: Annotated[str, F(2)] = ""
    type: Annotated[str, F(3)] = ""
    level: Annotated[str, F(4)] = ""


class ScaleIOPersistentVolumeSource(Struct):
    gateway: Annotated[str, F(1, req=True)] = always("")
    system: Annotated[str, F(2, req=True)] = always("")
    secret_ref: Annotated[SecretReference | None, F(3, atomic=True, req=True)] = None
    ssl_enabled: Annotated[bool, F(4)] = False
    protection_domain: Annotated[str, F(5)] = ""
    storage_pool: Annotated[str, F(6)] = ""
    storage_mode: Annotated[str, F(7)] = ""
    volume_name: Annotated[str, F(8)] = ""
    fs_type: Annotated[str, F(9)] = ""
    read_only: Annotated[bool, F(10)] = False


class ScaleIOVolumeSource(Struct):
    gateway: Annotated[str, F(1, req=True)] = always("")
    system: Annotated[str, F(2, req=True)] = always("")
    secret_ref: Annotated[LocalObjectReference | None, F(3, atomic=True, req=True)] = None
    ssl_enabled: Annotated[bool, F(4)] = False
    protection_domain: Annotated[str, F(5)] = ""
    storage_pool: Annotated[str, F(6)] = ""
    storage_mode: Annotated[str, F(7)] = ""
    volume_name: Annotated[str, F(8)] = ""
    fs_type: Annotated[str, F(9)] = ""
    read_only: Annotated[bool, F(10)] = False


class ScopeSelector(Struct):
    match_expressions: Annotated[list[ScopedResourceSelectorRequirement], F(1, list="atomic")] = []


class ScopedResourceSelectorRequirement(Struct):
    scope_name: Annotated[str, F(1, req=True)] = always("")
    operator: Annotated[str, F(2, req=True)] = always("")
    values: Annotated[list[str], F(3, list="atomic")] = []


class SeccompProfile(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    localhost_profile: Annotated[str | None, F(2)] = None


class Secret(Object):
    api_version: str = always("v1")
    kind: str = always("Secret")
    immutable: Annotated[bool | None, F(5)] = None
    data: Annotated[dict[str, bytes], F(2)] = {}
    string_data: Annotated[dict[str, str], F(4)] = {}
    type: Annotated[str, F(3)] = ""


class SecretEnvSource(LocalObjectReference):
    inline: ClassVar[int] = 1
    optional: Annotated[bool | None, F(2)] = None


class SecretKeySelector(LocalObjectReference):
    inline: ClassVar[int] = 1
    key: Annotated[str, F(2, req=True)] = always("")
    optional: Annotated[bool | None, F(3)] = None


class SecretList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("SecretList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Secret], F(2, req=True)] = always_list()


class SecretProjection(LocalObjectReference):
    inline: ClassVar[int] = 1
    items: Annotated[list[KeyToPath], F(2, list="atomic")] = []
    optional: Annotated[bool | None, F(4)] = None


class SecretReference(Struct):
    name: Annotated[str, F(1)] = ""
    namespace: Annotated[str, F(2)] = ""


class SecretVolumeSource(Struct):
    secret_name: Annotated[str, F(1)] = ""
    items: Annotated[list[KeyToPath], F(2, list="atomic")] = []
    default_mode: Annotated[Int32 | None, F(3)] = None
    optional: Annotated[bool | None, F(4)] = None


class SecurityContext(Struct):
    capabilities: Annotated[Capabilities | None, F(1)] = None
    privileged: Annotated[bool | None, F(2)] = None
    se_linux_options: Annotated[SELinuxOptions | None, F(3)] = None
    windows_options: Annotated[WindowsSecurityContextOptions | None, F(10)] = None
    run_as_user: Annotated[Int64 | None, F(4)] = None
    run_as_group: Annotated[Int64 | None, F(8)] = None
    run_as_non_root: Annotated[bool | None, F(5)] = None
    read_only_root_filesystem: Annotated[bool | None, F(6)] = None
    allow_privilege_escalation: Annotated[bool | None, F(7)] = None
    proc_mount: Annotated[str | None, F(9)] = None
    seccomp_profile: Annotated[SeccompProfile | None, F(11)] = None
    app_armor_profile: Annotated[AppArmorProfile | None, F(12)] = None


class SerializedReference(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("SerializedReference")
    reference: Annotated[ObjectReference, F(1)] = field(default_factory=ObjectReference)


class ServiceSpec(Struct):
    ports: Annotated[
        list[ServicePort],
        F(
            1,
            patch="merge",
            key="port",
            list="map",
            keys=(
                "port",
                "protocol",
            ),
        ),
    ] = []
    selector: Annotated[dict[str, str], F(2, atomic=True)] = {}
    cluster_ip: Annotated[str, F(3)] = named("clusterIP", "")
    cluster_ips: Annotated[list[str], F(18, list="atomic")] = named("clusterIPs", factory=list)
    type: Annotated[str, F(4)] = ""
    external_ips: Annotated[list[str], F(5, list="atomic")] = named("externalIPs", factory=list)
    session_affinity: Annotated[str, F(7)] = ""
    load_balancer_ip: Annotated[str, F(8)] = named("loadBalancerIP", "")
    load_balancer_source_ranges: Annotated[list[str], F(9, list="atomic")] = []
    external_name: Annotated[str, F(10)] = ""
    external_traffic_policy: Annotated[str, F(11)] = ""
    health_check_node_port: Annotated[Int32, F(12)] = 0
    publish_not_ready_addresses: Annotated[bool, F(13)] = False
    session_affinity_config: Annotated[SessionAffinityConfig | None, F(14)] = None
    ip_families: Annotated[list[str], F(19, list="atomic")] = []
    ip_family_policy: Annotated[str | None, F(17)] = None
    allocate_load_balancer_node_ports: Annotated[bool | None, F(20)] = None
    load_balancer_class: Annotated[str | None, F(21)] = None
    internal_traffic_policy: Annotated[str | None, F(22)] = None
    traffic_distribution: Annotated[str | None, F(23)] = None


class ServiceStatus(Struct):
    load_balancer: Annotated[LoadBalancerStatus, F(1)] = field(default_factory=LoadBalancerStatus)
    conditions: Annotated[
        list[Condition], F(2, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class Service(Object):
    api_version: str = always("v1")
    kind: str = always("Service")
    spec: Annotated[ServiceSpec, F(2)] = field(default_factory=ServiceSpec)
    status: Annotated[ServiceStatus, F(3)] = field(default_factory=ServiceStatus)


class ServiceAccount(Object):
    api_version: str = always("v1")
    kind: str = always("ServiceAccount")
    secrets: Annotated[
        list[ObjectReference], F(2, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    image_pull_secrets: Annotated[list[LocalObjectReference], F(3, list="atomic")] = []
    automount_service_account_token: Annotated[bool | None, F(4)] = None


class ServiceAccountList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ServiceAccountList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ServiceAccount], F(2, req=True)] = always_list()


class ServiceAccountTokenProjection(Struct):
    audience: Annotated[str, F(1)] = ""
    expiration_seconds: Annotated[Int64 | None, F(2)] = None
    path: Annotated[str, F(3, req=True)] = always("")


class ServiceList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ServiceList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Service], F(2, req=True)] = always_list()


class ServicePort(Struct):
    name: Annotated[str, F(1)] = ""
    protocol: Annotated[str, F(2)] = ""
    app_protocol: Annotated[str | None, F(6)] = None
    port: Annotated[Int32, F(3, req=True)] = always(0)
    target_port: Annotated[IntOrString, F(4)] = always(0)
    node_port: Annotated[Int32, F(5)] = 0


class ServiceProxyOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ServiceProxyOptions")
    path: Annotated[str, F(1)] = ""


class SessionAffinityConfig(Struct):
    client_ip: Annotated[ClientIPConfig | None, F(1)] = named("clientIP", None)


class SleepAction(Struct):
    seconds: Annotated[Int64, F(1, req=True)] = always(0)


class StorageOSPersistentVolumeSource(Struct):
    volume_name: Annotated[str, F(1)] = ""
    volume_namespace: Annotated[str, F(2)] = ""
    fs_type: Annotated[str, F(3)] = ""
    read_only: Annotated[bool, F(4)] = False
    secret_ref: Annotated[ObjectReference | None, F(5, atomic=True)] = None


class StorageOSVolumeSource(Struct):
    volume_name: Annotated[str, F(1)] = ""
    volume_namespace: Annotated[str, F(2)] = ""
    fs_type: Annotated[str, F(3)] = ""
    read_only: Annotated[bool, F(4)] = False
    secret_ref: Annotated[LocalObjectReference | None, F(5, atomic=True)] = None


class Sysctl(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    value: Annotated[str, F(2, req=True)] = always("")


class TCPSocketAction(Struct):
    port: Annotated[IntOrString, F(1, req=True)] = always(0)
    host: Annotated[str, F(2)] = ""


class Taint(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    value: Annotated[str, F(2)] = ""
    effect: Annotated[str, F(3, req=True)] = always("")
    time_added: Annotated[Time | None, F(4)] = None


class Toleration(Struct):
    key: Annotated[str, F(1)] = ""
    operator: Annotated[str, F(2)] = ""
    value: Annotated[str, F(3)] = ""
    effect: Annotated[str, F(4)] = ""
    toleration_seconds: Annotated[Int64 | None, F(5)] = None


class TopologySelectorLabelRequirement(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    values: Annotated[list[str], F(2, list="atomic", req=True)] = always_list()


class TopologySelectorTerm(Struct):
    match_label_expressions: Annotated[
        list[TopologySelectorLabelRequirement], F(1, list="atomic")
    ] = []


class TopologySpreadConstraint(Struct):
    max_skew: Annotated[Int32, F(1, req=True)] = always(0)
    topology_key: Annotated[str, F(2, req=True)] = always("")
    when_unsatisfiable: Annotated[str, F(3, req=True)] = always("")
    label_selector: Annotated[LabelSelector | None, F(4, atomic=True)] = None
    min_domains: Annotated[Int32 | None, F(5)] = None
    node_affinity_policy: Annotated[str | None, F(6)] = None
    node_taints_policy: Annotated[str | None, F(7)] = None
    match_label_keys: Annotated[list[str], F(8, list="atomic")] = []


class TypedLocalObjectReference(Struct):
    api_group: Annotated[str | None, F(1)] = None
    kind: Annotated[str, F(2, req=True)] = always("")
    name: Annotated[str, F(3, req=True)] = always("")


class TypedObjectReference(Struct):
    api_group: Annotated[str | None, F(1)] = None
    kind: Annotated[str, F(2, req=True)] = always("")
    name: Annotated[str, F(3, req=True)] = always("")
    namespace: Annotated[str | None, F(4)] = None


class VolumeSource(Struct):
    host_path: Annotated[HostPathVolumeSource | None, F(1)] = None
    empty_dir: Annotated[EmptyDirVolumeSource | None, F(2)] = None
    gce_persistent_disk: Annotated[GCEPersistentDiskVolumeSource | None, F(3)] = None
    aws_elastic_block_store: Annotated[AWSElasticBlockStoreVolumeSource | None, F(4)] = None
    git_repo: Annotated[GitRepoVolumeSource | None, F(5)] = None
    secret: Annotated[SecretVolumeSource | None, F(6)] = None
    nfs: Annotated[NFSVolumeSource | None, F(7)] = None
    iscsi: Annotated[ISCSIVolumeSource | None, F(8)] = None
    glusterfs: Annotated[GlusterfsVolumeSource | None, F(9)] = None
    persistent_volume_claim: Annotated[PersistentVolumeClaimVolumeSource | None, F(10)] = None
    rbd: Annotated[RBDVolumeSource | None, F(11)] = None
    flex_volume: Annotated[FlexVolumeSource | None, F(12)] = None
    cinder: Annotated[CinderVolumeSource | None, F(13)] = None
    cephfs: Annotated[CephFSVolumeSource | None, F(14)] = None
    flocker: Annotated[FlockerVolumeSource | None, F(15)] = None
    downward_api: Annotated[DownwardAPIVolumeSource | None, F(16)] = named("downwardAPI", None)
    fc: Annotated[FCVolumeSource | None, F(17)] = None
    azure_file: Annotated[AzureFileVolumeSource | None, F(18)] = None
    config_map: Annotated[ConfigMapVolumeSource | None, F(19)] = None
    vsphere_volume: Annotated[VsphereVirtualDiskVolumeSource | None, F(20)] = None
    quobyte: Annotated[QuobyteVolumeSource | None, F(21)] = None
    azure_disk: Annotated[AzureDiskVolumeSource | None, F(22)] = None
    photon_persistent_disk: Annotated[PhotonPersistentDiskVolumeSource | None, F(23)] = None
    projected: Annotated[ProjectedVolumeSource | None, F(26)] = None
    portworx_volume: Annotated[PortworxVolumeSource | None, F(24)] = None
    scale_io: Annotated[ScaleIOVolumeSource | None, F(25)] = named("scaleIO", None)
    storageos: Annotated[StorageOSVolumeSource | None, F(27)] = None
    csi: Annotated[CSIVolumeSource | None, F(28)] = None
    ephemeral: Annotated[EphemeralVolumeSource | None, F(29)] = None
    image: Annotated[ImageVolumeSource | None, F(30)] = None


class Volume(VolumeSource):
    inline: ClassVar[int] = 2
    name: Annotated[str, F(1, req=True)] = always("")


class VolumeDevice(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    device_path: Annotated[str, F(2, req=True)] = always("")


class VolumeMount(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    read_only: Annotated[bool, F(2)] = False
    recursive_read_only: Annotated[str | None, F(7)] = None
    mount_path: Annotated[str, F(3, req=True)] = always("")
    sub_path: Annotated[str, F(4)] = ""
    mount_propagation: Annotated[str | None, F(5)] = None
    sub_path_expr: Annotated[str, F(6)] = ""


class VolumeMountStatus(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    mount_path: Annotated[str, F(2, req=True)] = always("")
    read_only: Annotated[bool, F(3)] = False
    recursive_read_only: Annotated[str | None, F(4)] = None
    volume_status: Annotated[VolumeStatus | None, F(5)] = None


class VolumeNodeAffinity(Struct):
    required: Annotated[NodeSelector | None, F(1, atomic=True)] = None


class VolumeProjection(Struct):
    secret: Annotated[SecretProjection | None, F(1)] = None
    downward_api: Annotated[DownwardAPIProjection | None, F(2)] = named("downwardAPI", None)
    config_map: Annotated[ConfigMapProjection | None, F(3)] = None
    service_account_token: Annotated[ServiceAccountTokenProjection | None, F(4)] = None
    cluster_trust_bundle: Annotated[ClusterTrustBundleProjection | None, F(5)] = None
    pod_certificate: Annotated[PodCertificateProjection | None, F(6)] = None


class VolumeStatus(Struct):
    image: Annotated[ImageVolumeStatus | None, F(1)] = None


class VsphereVirtualDiskVolumeSource(Struct):
    volume_path: Annotated[str, F(1, req=True)] = always("")
    fs_type: Annotated[str, F(2)] = ""
    storage_policy_name: Annotated[str, F(3)] = ""
    storage_policy_id: Annotated[str, F(4)] = named("storagePolicyID", "")


class WeightedPodAffinityTerm(Struct):
    weight: Annotated[Int32, F(1, req=True)] = always(0)
    pod_affinity_term: Annotated[PodAffinityTerm, F(2, req=True)] = field(
        default_factory=PodAffinityTerm
    )


class WindowsSecurityContextOptions(Struct):
    gmsa_credential_spec_name: Annotated[str | None, F(1)] = None
    gmsa_credential_spec: Annotated[str | None, F(2)] = None
    run_as_user_name: Annotated[str | None, F(3)] = None
    host_process: Annotated[bool | None, F(4)] = None
