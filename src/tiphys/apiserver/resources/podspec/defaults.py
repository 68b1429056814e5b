"""The defaults of a pod's spec, shared by pods and every template of pods."""

from __future__ import annotations

from typing import Protocol

from tiphys.api.core_v1 import (
    AzureDiskVolumeSource,
    Container,
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    EphemeralContainer,
    HTTPGetAction,
    ISCSIPersistentVolumeSource,
    ISCSIVolumeSource,
    PodSecurityContext,
    PodSpec,
    Probe,
    ProjectedVolumeSource,
    RBDPersistentVolumeSource,
    RBDVolumeSource,
    ScaleIOPersistentVolumeSource,
    ScaleIOVolumeSource,
    Volume,
    VolumeSource,
)

_FILE_MODE = 0o644
_TOKEN_SECONDS = 3600


def default_pod_spec(spec: PodSpec, template: bool = False) -> None:
    """A `template` leaves to its pods what only they get: service links, requests for limits,
    ports of the host."""
    spec.dns_policy = spec.dns_policy or "ClusterFirst"
    spec.restart_policy = spec.restart_policy or "Always"
    spec.scheduler_name = spec.scheduler_name or "default-scheduler"
    if spec.termination_grace_period_seconds is None:
        spec.termination_grace_period_seconds = 30
    if spec.security_context is None:
        spec.security_context = PodSecurityContext()
    if spec.enable_service_links is None and not template:
        spec.enable_service_links = True
    if spec.service_account_name:
        spec.service_account = spec.service_account_name
    elif spec.service_account:
        spec.service_account_name = spec.service_account
    for container in spec.init_containers:
        default_container(container, spec.host_network, template)
    for container in spec.containers:
        default_container(container, spec.host_network, template)
    for ephemeral in spec.ephemeral_containers:
        default_container(ephemeral, False, template)
    for volume in spec.volumes:
        default_volume(volume)
    for constraint in spec.topology_spread_constraints:
        constraint.node_affinity_policy = constraint.node_affinity_policy or None


def default_container(
    container: Container | EphemeralContainer, host_network: bool, template: bool
) -> None:
    if not container.image_pull_policy:
        container.image_pull_policy = _pull_policy(container.image)
    if not container.termination_message_path:
        container.termination_message_path = "/dev/termination-log"
    container.termination_message_policy = container.termination_message_policy or "File"
    for port in container.ports:
        port.protocol = port.protocol or "TCP"
        if host_network and not port.host_port and not template:
            port.host_port = port.container_port
    if not template:
        for name, limit in container.resources.limits.items():
            container.resources.requests.setdefault(name, limit)
    for probe in (container.liveness_probe, container.readiness_probe, container.startup_probe):
        if probe is not None:
            _default_probe(probe)
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.field_ref is not None:
            reference = variable.value_from.field_ref
            reference.api_version = reference.api_version or "v1"
    if container.lifecycle is not None:
        for hook in (container.lifecycle.post_start, container.lifecycle.pre_stop):
            if hook is not None and hook.http_get is not None:
                _default_http(hook.http_get)


def _pull_policy(image: str) -> str:
    """What is called `latest`, or nothing, may be another image tomorrow."""
    name = image.rpartition("/")[2]
    latest = "@" not in name and (":" not in name or name.endswith(":latest"))
    return "Always" if latest else "IfNotPresent"


def _default_probe(probe: Probe) -> None:
    probe.timeout_seconds = probe.timeout_seconds or 1
    probe.period_seconds = probe.period_seconds or 10
    probe.success_threshold = probe.success_threshold or 1
    probe.failure_threshold = probe.failure_threshold or 3
    if probe.http_get is not None:
        _default_http(probe.http_get)
    if probe.grpc is not None and probe.grpc.service is None:
        probe.grpc.service = ""


def _default_http(action: HTTPGetAction) -> None:
    action.path = action.path or "/"
    action.scheme = action.scheme or "HTTP"


# --- volumes ---


def default_volume(volume: Volume) -> None:
    sources = [getattr(volume, name) for name in VolumeSource.__struct_fields__]
    if all(source is None for source in sources):
        volume.empty_dir = EmptyDirVolumeSource()
    if volume.secret is not None and volume.secret.default_mode is None:
        volume.secret.default_mode = _FILE_MODE
    if volume.config_map is not None and volume.config_map.default_mode is None:
        volume.config_map.default_mode = _FILE_MODE
    if volume.downward_api is not None:
        if volume.downward_api.default_mode is None:
            volume.downward_api.default_mode = _FILE_MODE
        _default_pod_facts(volume.downward_api.items)
    if volume.host_path is not None and volume.host_path.type is None:
        volume.host_path.type = ""
    if volume.projected is not None:
        _default_projected(volume.projected)
    default_source(volume)
    if volume.ephemeral is not None and volume.ephemeral.volume_claim_template is not None:
        spec = volume.ephemeral.volume_claim_template.spec
        spec.volume_mode = spec.volume_mode or "Filesystem"


def _default_projected(projected: ProjectedVolumeSource) -> None:
    if projected.default_mode is None:
        projected.default_mode = _FILE_MODE
    for source in projected.sources:
        if source.downward_api is not None:
            _default_pod_facts(source.downward_api.items)
        token = source.service_account_token
        if token is not None and token.expiration_seconds is None:
            token.expiration_seconds = _TOKEN_SECONDS


def _default_pod_facts(items: list[DownwardAPIVolumeFile]) -> None:
    for item in items:
        if item.field_ref is not None:
            item.field_ref.api_version = item.field_ref.api_version or "v1"


class _Sources(Protocol):
    """Storage elsewhere, as volumes of pods and persistent volumes have it."""

    @property
    def iscsi(self) -> ISCSIVolumeSource | ISCSIPersistentVolumeSource | None: ...
    @property
    def rbd(self) -> RBDVolumeSource | RBDPersistentVolumeSource | None: ...
    @property
    def azure_disk(self) -> AzureDiskVolumeSource | None: ...
    @property
    def scale_io(self) -> ScaleIOVolumeSource | ScaleIOPersistentVolumeSource | None: ...


def default_source(source: _Sources) -> None:
    """Of a pod's volume, or of the spec of a persistent volume."""
    if (iscsi := source.iscsi) is not None:
        iscsi.iscsi_interface = iscsi.iscsi_interface or "default"
    if (rbd := source.rbd) is not None:
        rbd.pool = rbd.pool or "rbd"
        rbd.user = rbd.user or "admin"
        rbd.keyring = rbd.keyring or "/etc/ceph/keyring"
    if (azure := source.azure_disk) is not None:
        azure.caching_mode = azure.caching_mode or "ReadWrite"
        azure.kind = azure.kind or "Shared"
        azure.fs_type = azure.fs_type or "ext4"
        azure.read_only = bool(azure.read_only)
    if (scale_io := source.scale_io) is not None:
        scale_io.storage_mode = scale_io.storage_mode or "ThinProvisioned"
        scale_io.fs_type = scale_io.fs_type or "xfs"
