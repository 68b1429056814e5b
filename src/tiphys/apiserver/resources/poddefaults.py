"""What a pod's spec is when the user does not say, shared by pods and every template of pods."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1


def default_pod_spec(spec: v1.PodSpec, template: bool = False) -> None:
    """A `template` leaves to its pods what only they get: service links, requests for limits, ports of the host."""
    spec.dns_policy = spec.dns_policy or "ClusterFirst"
    spec.restart_policy = spec.restart_policy or "Always"
    spec.scheduler_name = spec.scheduler_name or "default-scheduler"
    if spec.termination_grace_period_seconds is None:
        spec.termination_grace_period_seconds = 30
    if spec.security_context is None:
        spec.security_context = v1.PodSecurityContext()
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


def default_container(container: Any, host_network: bool, template: bool) -> None:
    if not container.image_pull_policy:
        name = container.image.rpartition("/")[2]
        latest = "@" not in name and (":" not in name or name.endswith(":latest"))
        container.image_pull_policy = "Always" if latest else "IfNotPresent"
    container.termination_message_path = (
        container.termination_message_path or "/dev/termination-log"
    )
    container.termination_message_policy = container.termination_message_policy or "File"
    for port in container.ports:
        port.protocol = port.protocol or "TCP"
        if host_network and not port.host_port and not template:
            port.host_port = port.container_port
    for name, value in container.resources.limits.items() if not template else ():
        container.resources.requests.setdefault(name, value)
    for probe in (container.liveness_probe, container.readiness_probe, container.startup_probe):
        if probe is not None:
            default_probe(probe)
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.field_ref is not None:
            variable.value_from.field_ref.api_version = (
                variable.value_from.field_ref.api_version or "v1"
            )
    if container.lifecycle is not None:
        for hook in (container.lifecycle.post_start, container.lifecycle.pre_stop):
            if hook is not None and hook.http_get is not None:
                _default_http(hook.http_get)


def default_probe(probe: v1.Probe) -> None:
    probe.timeout_seconds = probe.timeout_seconds or 1
    probe.period_seconds = probe.period_seconds or 10
    probe.success_threshold = probe.success_threshold or 1
    probe.failure_threshold = probe.failure_threshold or 3
    if probe.http_get is not None:
        _default_http(probe.http_get)
    if probe.grpc is not None and probe.grpc.service is None:
        probe.grpc.service = ""


def _default_http(action: v1.HTTPGetAction) -> None:
    action.path = action.path or "/"
    action.scheme = action.scheme or "HTTP"


def default_volume(volume: v1.Volume) -> None:
    sources = [getattr(volume, name) for name in v1.VolumeSource.__struct_fields__]
    if all(source is None for source in sources):
        volume.empty_dir = v1.EmptyDirVolumeSource()
    if volume.secret is not None and volume.secret.default_mode is None:
        volume.secret.default_mode = 0o644
    if volume.config_map is not None and volume.config_map.default_mode is None:
        volume.config_map.default_mode = 0o644
    if volume.downward_api is not None:
        if volume.downward_api.default_mode is None:
            volume.downward_api.default_mode = 0o644
        _default_downward(volume.downward_api.items)
    if volume.host_path is not None and volume.host_path.type is None:
        volume.host_path.type = ""
    if volume.projected is not None:
        if volume.projected.default_mode is None:
            volume.projected.default_mode = 0o644
        for source in volume.projected.sources:
            if source.downward_api is not None:
                _default_downward(source.downward_api.items)
            if (
                source.service_account_token is not None
                and source.service_account_token.expiration_seconds is None
            ):
                source.service_account_token.expiration_seconds = 3600
    default_source(volume)
    if volume.ephemeral is not None and volume.ephemeral.volume_claim_template is not None:
        spec = volume.ephemeral.volume_claim_template.spec
        spec.volume_mode = spec.volume_mode or "Filesystem"


def default_source(source: Any) -> None:
    """Of storage elsewhere, as volumes of pods and persistent volumes have it."""
    if (iscsi := source.iscsi) is not None:
        iscsi.iscsi_interface = iscsi.iscsi_interface or "default"
    if (rbd := source.rbd) is not None:
        rbd.pool, rbd.user = rbd.pool or "rbd", rbd.user or "admin"
        rbd.keyring = rbd.keyring or "/etc/ceph/keyring"
    if (azure := source.azure_disk) is not None:
        azure.caching_mode, azure.kind = azure.caching_mode or "ReadWrite", azure.kind or "Shared"
        azure.fs_type = azure.fs_type or "ext4"
        azure.read_only = bool(azure.read_only)
    if (scale := source.scale_io) is not None:
        scale.storage_mode, scale.fs_type = (
            scale.storage_mode or "ThinProvisioned",
            scale.fs_type or "xfs",
        )


def _default_downward(items: list[v1.DownwardAPIVolumeFile]) -> None:
    for item in items:
        if item.field_ref is not None:
            item.field_ref.api_version = item.field_ref.api_version or "v1"
