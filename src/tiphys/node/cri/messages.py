"""The messages of the container runtime interface, v1 (package runtime.v1), that this node sends
and reads. `tests/node/test_cri_messages.py` compares them with the published ones."""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Int32, Int64, Struct


class VersionRequest(Struct):
    version: Annotated[str, F(1)] = ""


class VersionResponse(Struct):
    version: Annotated[str, F(1)] = ""
    runtime_name: Annotated[str, F(2)] = ""
    runtime_version: Annotated[str, F(3)] = ""
    runtime_api_version: Annotated[str, F(4)] = ""


class StatusRequest(Struct):
    verbose: Annotated[bool, F(1)] = False


class RuntimeHandlerFeatures(Struct):
    recursive_read_only_mounts: Annotated[bool, F(1)] = False
    user_namespaces: Annotated[bool, F(2)] = False


class RuntimeHandler(Struct):
    name: Annotated[str, F(1)] = ""
    features: Annotated[RuntimeHandlerFeatures | None, F(2)] = None


class RuntimeFeatures(Struct):
    supplemental_groups_policy: Annotated[bool, F(1)] = False


class StatusResponse(Struct):
    runtime_handlers: Annotated[list[RuntimeHandler], F(3)] = []
    features: Annotated[RuntimeFeatures | None, F(4)] = None


class DNSConfig(Struct):
    servers: Annotated[list[str], F(1)] = []
    searches: Annotated[list[str], F(2)] = []
    options: Annotated[list[str], F(3)] = []


class PortMapping(Struct):
    protocol: Annotated[Int32, F(1)] = 0
    container_port: Annotated[Int32, F(2)] = 0
    host_port: Annotated[Int32, F(3)] = 0
    host_ip: Annotated[str, F(4)] = ""


class IDMapping(Struct):
    host_id: Annotated[Int64, F(1)] = 0
    container_id: Annotated[Int64, F(2)] = 0
    length: Annotated[Int64, F(3)] = 0


class Mount(Struct):
    container_path: Annotated[str, F(1)] = ""
    host_path: Annotated[str, F(2)] = ""
    readonly: Annotated[bool, F(3)] = False
    selinux_relabel: Annotated[bool, F(4)] = False
    propagation: Annotated[Int32, F(5)] = 0
    uidMappings: Annotated[list[IDMapping], F(6)] = []
    gidMappings: Annotated[list[IDMapping], F(7)] = []
    recursive_read_only: Annotated[bool, F(8)] = False


class UserNamespace(Struct):
    mode: Annotated[Int32, F(1)] = 0
    uids: Annotated[list[IDMapping], F(2)] = []
    gids: Annotated[list[IDMapping], F(3)] = []


class NamespaceOption(Struct):
    network: Annotated[Int32, F(1)] = 0
    pid: Annotated[Int32, F(2)] = 0
    ipc: Annotated[Int32, F(3)] = 0
    target_id: Annotated[str, F(4)] = ""
    userns_options: Annotated[UserNamespace | None, F(5)] = None


class Int64Value(Struct):
    value: Annotated[Int64, F(1)] = 0


class UInt64Value(Struct):
    value: Annotated[Int64, F(1)] = 0


class LinuxSandboxSecurityContext(Struct):
    namespace_options: Annotated[NamespaceOption | None, F(1)] = None
    run_as_user: Annotated[Int64Value | None, F(3)] = None
    run_as_group: Annotated[Int64Value | None, F(8)] = None
    readonly_rootfs: Annotated[bool, F(4)] = False
    supplemental_groups: Annotated[list[Int64], F(5)] = []
    privileged: Annotated[bool, F(6)] = False
    seccomp: Annotated[SecurityProfile | None, F(9)] = None
    apparmor: Annotated[SecurityProfile | None, F(10)] = None


class SecurityProfile(Struct):
    profile_type: Annotated[Int32, F(1)] = 0
    localhost_ref: Annotated[str, F(2)] = ""


class LinuxPodSandboxConfig(Struct):
    cgroup_parent: Annotated[str, F(1)] = ""
    security_context: Annotated[LinuxSandboxSecurityContext | None, F(2)] = None
    sysctls: Annotated[dict[str, str], F(3)] = {}
    overhead: Annotated[LinuxContainerResources | None, F(4)] = None
    resources: Annotated[LinuxContainerResources | None, F(5)] = None


class PodSandboxMetadata(Struct):
    name: Annotated[str, F(1)] = ""
    uid: Annotated[str, F(2)] = ""
    namespace: Annotated[str, F(3)] = ""
    attempt: Annotated[Int64, F(4)] = 0


class PodSandboxConfig(Struct):
    metadata: Annotated[PodSandboxMetadata | None, F(1)] = None
    hostname: Annotated[str, F(2)] = ""
    log_directory: Annotated[str, F(3)] = ""
    dns_config: Annotated[DNSConfig | None, F(4)] = None
    port_mappings: Annotated[list[PortMapping], F(5)] = []
    labels: Annotated[dict[str, str], F(6)] = {}
    annotations: Annotated[dict[str, str], F(7)] = {}
    linux: Annotated[LinuxPodSandboxConfig | None, F(8)] = None


class RunPodSandboxRequest(Struct):
    config: Annotated[PodSandboxConfig | None, F(1)] = None
    runtime_handler: Annotated[str, F(2)] = ""


class RunPodSandboxResponse(Struct):
    pod_sandbox_id: Annotated[str, F(1)] = ""


class StopPodSandboxRequest(Struct):
    pod_sandbox_id: Annotated[str, F(1)] = ""


class StopPodSandboxResponse(Struct):
    pass


class RemovePodSandboxRequest(Struct):
    pod_sandbox_id: Annotated[str, F(1)] = ""


class RemovePodSandboxResponse(Struct):
    pass


class PodSandboxStatusRequest(Struct):
    pod_sandbox_id: Annotated[str, F(1)] = ""
    verbose: Annotated[bool, F(2)] = False


class PodSandboxStatusResponse(Struct):
    status: Annotated[PodSandboxStatus | None, F(1)] = None
    info: Annotated[dict[str, str], F(2)] = {}


class PodSandboxStatus(Struct):
    id: Annotated[str, F(1)] = ""
    metadata: Annotated[PodSandboxMetadata | None, F(2)] = None
    state: Annotated[Int32, F(3)] = 0
    created_at: Annotated[Int64, F(4)] = 0
    network: Annotated[PodSandboxNetworkStatus | None, F(5)] = None
    labels: Annotated[dict[str, str], F(7)] = {}
    annotations: Annotated[dict[str, str], F(8)] = {}
    runtime_handler: Annotated[str, F(9)] = ""


class PodSandboxNetworkStatus(Struct):
    ip: Annotated[str, F(1)] = ""
    additional_ips: Annotated[list[PodIP], F(2)] = []


class PodIP(Struct):
    ip: Annotated[str, F(1)] = ""


class PodSandboxFilter(Struct):
    id: Annotated[str, F(1)] = ""
    label_selector: Annotated[dict[str, str], F(3)] = {}


class ListPodSandboxRequest(Struct):
    filter: Annotated[PodSandboxFilter | None, F(1)] = None


class PodSandbox(Struct):
    id: Annotated[str, F(1)] = ""
    metadata: Annotated[PodSandboxMetadata | None, F(2)] = None
    state: Annotated[Int32, F(3)] = 0
    created_at: Annotated[Int64, F(4)] = 0
    labels: Annotated[dict[str, str], F(5)] = {}
    annotations: Annotated[dict[str, str], F(6)] = {}
    runtime_handler: Annotated[str, F(7)] = ""


class ListPodSandboxResponse(Struct):
    items: Annotated[list[PodSandbox], F(1)] = []


class ImageSpec(Struct):
    image: Annotated[str, F(1)] = ""
    annotations: Annotated[dict[str, str], F(2)] = {}


class KeyValue(Struct):
    key: Annotated[str, F(1)] = ""
    value: Annotated[bytes, F(2)] = b""


class HugepageLimit(Struct):
    page_size: Annotated[str, F(1)] = ""
    limit: Annotated[Int64, F(2)] = 0


class LinuxContainerResources(Struct):
    cpu_period: Annotated[Int64, F(1)] = 0
    cpu_quota: Annotated[Int64, F(2)] = 0
    cpu_shares: Annotated[Int64, F(3)] = 0
    memory_limit_in_bytes: Annotated[Int64, F(4)] = 0
    oom_score_adj: Annotated[Int64, F(5)] = 0
    cpuset_cpus: Annotated[str, F(6)] = ""
    cpuset_mems: Annotated[str, F(7)] = ""
    hugepage_limits: Annotated[list[HugepageLimit], F(8)] = []
    unified: Annotated[dict[str, str], F(9)] = {}
    memory_swap_limit_in_bytes: Annotated[Int64, F(10)] = 0


class UpdateContainerResourcesRequest(Struct):
    container_id: Annotated[str, F(1)] = ""
    linux: Annotated[LinuxContainerResources | None, F(2)] = None


class UpdateContainerResourcesResponse(Struct):
    pass


class Capability(Struct):
    add_capabilities: Annotated[list[str], F(1)] = []
    drop_capabilities: Annotated[list[str], F(2)] = []
    add_ambient_capabilities: Annotated[list[str], F(3)] = []


class LinuxContainerSecurityContext(Struct):
    capabilities: Annotated[Capability | None, F(1)] = None
    privileged: Annotated[bool, F(2)] = False
    namespace_options: Annotated[NamespaceOption | None, F(3)] = None
    run_as_user: Annotated[Int64Value | None, F(5)] = None
    run_as_group: Annotated[Int64Value | None, F(12)] = None
    run_as_username: Annotated[str, F(6)] = ""
    readonly_rootfs: Annotated[bool, F(7)] = False
    supplemental_groups: Annotated[list[Int64], F(8)] = []
    no_new_privs: Annotated[bool, F(11)] = False
    masked_paths: Annotated[list[str], F(13)] = []
    readonly_paths: Annotated[list[str], F(14)] = []
    seccomp: Annotated[SecurityProfile | None, F(15)] = None
    apparmor: Annotated[SecurityProfile | None, F(16)] = None
    apparmor_profile: Annotated[str, F(9)] = ""
    supplemental_groups_policy: Annotated[Int32, F(17)] = 0


class LinuxContainerConfig(Struct):
    resources: Annotated[LinuxContainerResources | None, F(1)] = None
    security_context: Annotated[LinuxContainerSecurityContext | None, F(2)] = None


class ContainerMetadata(Struct):
    name: Annotated[str, F(1)] = ""
    attempt: Annotated[Int64, F(2)] = 0


class Device(Struct):
    container_path: Annotated[str, F(1)] = ""
    host_path: Annotated[str, F(2)] = ""
    permissions: Annotated[str, F(3)] = ""


class ContainerConfig(Struct):
    metadata: Annotated[ContainerMetadata | None, F(1)] = None
    image: Annotated[ImageSpec | None, F(2)] = None
    command: Annotated[list[str], F(3)] = []
    args: Annotated[list[str], F(4)] = []
    working_dir: Annotated[str, F(5)] = ""
    envs: Annotated[list[KeyValue], F(6)] = []
    mounts: Annotated[list[Mount], F(7)] = []
    devices: Annotated[list[Device], F(8)] = []
    labels: Annotated[dict[str, str], F(9)] = {}
    annotations: Annotated[dict[str, str], F(10)] = {}
    log_path: Annotated[str, F(11)] = ""
    stdin: Annotated[bool, F(12)] = False
    stdin_once: Annotated[bool, F(13)] = False
    tty: Annotated[bool, F(14)] = False
    linux: Annotated[LinuxContainerConfig | None, F(15)] = None
    stop_signal: Annotated[Int32, F(18)] = 0
    CDI_devices: Annotated[list[CDIDevice], F(17)] = []


class CDIDevice(Struct):
    name: Annotated[str, F(1)] = ""


class CreateContainerRequest(Struct):
    pod_sandbox_id: Annotated[str, F(1)] = ""
    config: Annotated[ContainerConfig | None, F(2)] = None
    sandbox_config: Annotated[PodSandboxConfig | None, F(3)] = None


class CreateContainerResponse(Struct):
    container_id: Annotated[str, F(1)] = ""


class StartContainerRequest(Struct):
    container_id: Annotated[str, F(1)] = ""


class StartContainerResponse(Struct):
    pass


class StopContainerRequest(Struct):
    container_id: Annotated[str, F(1)] = ""
    timeout: Annotated[Int64, F(2)] = 0


class StopContainerResponse(Struct):
    pass


class RemoveContainerRequest(Struct):
    container_id: Annotated[str, F(1)] = ""


class RemoveContainerResponse(Struct):
    pass


class ContainerFilter(Struct):
    id: Annotated[str, F(1)] = ""
    label_selector: Annotated[dict[str, str], F(4)] = {}


class ListContainersRequest(Struct):
    filter: Annotated[ContainerFilter | None, F(1)] = None


class Container(Struct):
    id: Annotated[str, F(1)] = ""
    pod_sandbox_id: Annotated[str, F(2)] = ""
    metadata: Annotated[ContainerMetadata | None, F(3)] = None
    image: Annotated[ImageSpec | None, F(4)] = None
    image_ref: Annotated[str, F(5)] = ""
    state: Annotated[Int32, F(6)] = 0
    created_at: Annotated[Int64, F(7)] = 0
    labels: Annotated[dict[str, str], F(8)] = {}
    annotations: Annotated[dict[str, str], F(9)] = {}


class ListContainersResponse(Struct):
    containers: Annotated[list[Container], F(1)] = []


class ContainerStatusRequest(Struct):
    container_id: Annotated[str, F(1)] = ""
    verbose: Annotated[bool, F(2)] = False


class ContainerStatus(Struct):
    id: Annotated[str, F(1)] = ""
    metadata: Annotated[ContainerMetadata | None, F(2)] = None
    state: Annotated[Int32, F(3)] = 0
    created_at: Annotated[Int64, F(4)] = 0
    started_at: Annotated[Int64, F(5)] = 0
    finished_at: Annotated[Int64, F(6)] = 0
    exit_code: Annotated[Int32, F(7)] = 0
    image: Annotated[ImageSpec | None, F(8)] = None
    image_ref: Annotated[str, F(9)] = ""
    reason: Annotated[str, F(10)] = ""
    message: Annotated[str, F(11)] = ""
    labels: Annotated[dict[str, str], F(12)] = {}
    annotations: Annotated[dict[str, str], F(13)] = {}
    mounts: Annotated[list[Mount], F(14)] = []
    log_path: Annotated[str, F(15)] = ""


class ContainerStatusResponse(Struct):
    status: Annotated[ContainerStatus | None, F(1)] = None
    info: Annotated[dict[str, str], F(2)] = {}


class ExecSyncRequest(Struct):
    container_id: Annotated[str, F(1)] = ""
    cmd: Annotated[list[str], F(2)] = []
    timeout: Annotated[Int64, F(3)] = 0


class ExecSyncResponse(Struct):
    stdout: Annotated[bytes, F(1)] = b""
    stderr: Annotated[bytes, F(2)] = b""
    exit_code: Annotated[Int32, F(3)] = 0


class ExecRequest(Struct):
    container_id: Annotated[str, F(1)] = ""
    cmd: Annotated[list[str], F(2)] = []
    tty: Annotated[bool, F(3)] = False
    stdin: Annotated[bool, F(4)] = False
    stdout: Annotated[bool, F(5)] = False
    stderr: Annotated[bool, F(6)] = False


class ExecResponse(Struct):
    url: Annotated[str, F(1)] = ""


class AttachRequest(Struct):
    container_id: Annotated[str, F(1)] = ""
    stdin: Annotated[bool, F(2)] = False
    tty: Annotated[bool, F(3)] = False
    stdout: Annotated[bool, F(4)] = False
    stderr: Annotated[bool, F(5)] = False


class AttachResponse(Struct):
    url: Annotated[str, F(1)] = ""


class ListImagesRequest(Struct):
    pass


class RemoveImageRequest(Struct):
    image: Annotated[ImageSpec | None, F(1)] = None


class RemoveImageResponse(Struct):
    pass


class Image(Struct):
    id: Annotated[str, F(1)] = ""
    repo_tags: Annotated[list[str], F(2)] = []
    repo_digests: Annotated[list[str], F(3)] = []
    size: Annotated[Int64, F(4)] = 0
    uid: Annotated[Int64Value | None, F(5)] = None
    username: Annotated[str, F(6)] = ""
    spec: Annotated[ImageSpec | None, F(7)] = None
    pinned: Annotated[bool, F(8)] = False


class ListImagesResponse(Struct):
    images: Annotated[list[Image], F(1)] = []


class ImageStatusRequest(Struct):
    image: Annotated[ImageSpec | None, F(1)] = None
    verbose: Annotated[bool, F(2)] = False


class ImageStatusResponse(Struct):
    image: Annotated[Image | None, F(1)] = None
    info: Annotated[dict[str, str], F(2)] = {}


class AuthConfig(Struct):
    username: Annotated[str, F(1)] = ""
    password: Annotated[str, F(2)] = ""
    auth: Annotated[str, F(3)] = ""
    server_address: Annotated[str, F(4)] = ""
    identity_token: Annotated[str, F(5)] = ""
    registry_token: Annotated[str, F(6)] = ""


class PullImageRequest(Struct):
    image: Annotated[ImageSpec | None, F(1)] = None
    auth: Annotated[AuthConfig | None, F(2)] = None
    sandbox_config: Annotated[PodSandboxConfig | None, F(3)] = None


class PullImageResponse(Struct):
    image_ref: Annotated[str, F(1)] = ""


class ContainerAttributes(Struct):
    id: Annotated[str, F(1)] = ""
    metadata: Annotated[ContainerMetadata | None, F(2)] = None
    labels: Annotated[dict[str, str], F(3)] = {}
    annotations: Annotated[dict[str, str], F(4)] = {}


class CpuUsage(Struct):
    timestamp: Annotated[Int64, F(1)] = 0
    usage_core_nano_seconds: Annotated[UInt64Value | None, F(2)] = None
    usage_nano_cores: Annotated[UInt64Value | None, F(3)] = None


class MemoryUsage(Struct):
    timestamp: Annotated[Int64, F(1)] = 0
    working_set_bytes: Annotated[UInt64Value | None, F(2)] = None
    available_bytes: Annotated[UInt64Value | None, F(3)] = None
    usage_bytes: Annotated[UInt64Value | None, F(4)] = None
    rss_bytes: Annotated[UInt64Value | None, F(5)] = None
    page_faults: Annotated[UInt64Value | None, F(6)] = None
    major_page_faults: Annotated[UInt64Value | None, F(7)] = None


class FilesystemUsage(Struct):
    timestamp: Annotated[Int64, F(1)] = 0
    used_bytes: Annotated[UInt64Value | None, F(3)] = None
    inodes_used: Annotated[UInt64Value | None, F(4)] = None


class ContainerStats(Struct):
    attributes: Annotated[ContainerAttributes | None, F(1)] = None
    cpu: Annotated[CpuUsage | None, F(2)] = None
    memory: Annotated[MemoryUsage | None, F(3)] = None
    writable_layer: Annotated[FilesystemUsage | None, F(4)] = None


class ReopenContainerLogRequest(Struct):
    container_id: Annotated[str, F(1)] = ""


class ReopenContainerLogResponse(Struct):
    pass


class ListContainerStatsRequest(Struct):
    pass


class ListContainerStatsResponse(Struct):
    stats: Annotated[list[ContainerStats], F(1)] = []


class PortForwardRequest(Struct):
    pod_sandbox_id: Annotated[str, F(1)] = ""
    port: Annotated[list[Int32], F(2)] = []


class PortForwardResponse(Struct):
    url: Annotated[str, F(1)] = ""
