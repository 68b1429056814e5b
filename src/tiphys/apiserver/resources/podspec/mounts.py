"""How a container uses the volumes of its pod: mounted as files, or as block devices."""

from __future__ import annotations

from tiphys.api.core_v1 import Container, EphemeralContainer, PodSpec, VolumeDevice, VolumeMount
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")


def validate_mounts(
    container: Container | EphemeralContainer, volumes: set[str], path: str
) -> list[FieldError]:
    """`volumes` are the names that mounts may use."""
    context = container.security_context
    privileged = context is not None and bool(context.privileged)
    violations = []
    seen: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        field = f"{path}[{index}]"
        violations += _volume(mount, volumes, seen, field)
        if container.volume_devices:
            violations += _apart_from_devices(mount, container.volume_devices, field)
        if mount.sub_path or mount.sub_path_expr:
            violations += _sub_paths(mount, path, field)
        if mount.mount_propagation:
            violations += _propagation(mount, privileged, f"{path}.mountPropagation")
    return violations


def _volume(mount: VolumeMount, volumes: set[str], seen: set[str], path: str) -> list[FieldError]:
    violations = []
    if not mount.name:
        violations.append(errors.required(f"{path}.name"))
    elif mount.name not in volumes:
        violations.append(errors.field_not_found(f"{path}.name", mount.name))
    if not mount.mount_path:
        violations.append(errors.required(f"{path}.mountPath"))
    elif mount.mount_path in seen:
        violations.append(
            errors.invalid_value(f"{path}.mountPath", mount.mount_path, "must be unique")
        )
    seen.add(mount.mount_path)
    return violations


def _apart_from_devices(
    mount: VolumeMount, devices: list[VolumeDevice], path: str
) -> list[FieldError]:
    violations = []
    if any(device.name == mount.name for device in devices):
        detail = "must not already exist in volumeDevices"
        violations.append(errors.invalid_value(f"{path}.name", mount.name, detail))
    if any(device.device_path == mount.mount_path for device in devices):
        detail = "must not already exist as a path in volumeDevices"
        violations.append(errors.invalid_value(f"{path}.mountPath", mount.mount_path, detail))
    return violations


def _sub_paths(mount: VolumeMount, mounts: str, path: str) -> list[FieldError]:
    """`mounts` is the path of the list: upstream's path has no index of the mount."""
    violations = []
    if mount.sub_path and mount.sub_path_expr:
        detail = "subPathExpr and subPath are mutually exclusive"
        violations.append(errors.invalid_value(f"{path}.subPathExpr", mount.sub_path_expr, detail))
    if mount.sub_path:
        violations += checks.local_path(mount.sub_path, f"{mounts}.subPath")
    if mount.sub_path_expr:
        violations += checks.local_path(mount.sub_path_expr, f"{mounts}.subPathExpr")
    return violations


def _propagation(mount: VolumeMount, privileged: bool, path: str) -> list[FieldError]:
    violations = checks.one_of(mount.mount_propagation, _PROPAGATIONS, path)
    if mount.mount_propagation == "Bidirectional" and not privileged:
        detail = "Bidirectional mount propagation is available only to privileged containers"
        violations.append(errors.forbidden_field(path, detail))
    return violations


def validate_devices(container: Container, spec: PodSpec, path: str) -> list[FieldError]:
    """Volumes that the container sees as block devices."""
    violations = []
    mounted = {mount.name for mount in container.volume_mounts}
    mount_paths = {mount.mount_path for mount in container.volume_mounts}
    seen: set[str] = set()
    for index, device in enumerate(container.volume_devices):
        violations += _device_volume(device, spec, mounted, seen, f"{path}[{index}].name")
        seen.add(device.name)
        violations += _device_path(device.device_path, mount_paths, f"{path}[{index}].devicePath")
    return violations


def _device_volume(
    device: VolumeDevice, spec: PodSpec, mounted: set[str], seen: set[str], path: str
) -> list[FieldError]:
    name = device.name
    if not name:
        return [errors.required(path)]
    if name in seen:
        return [errors.invalid_value(path, name, "must be unique")]
    if name in mounted:
        return [errors.invalid_value(path, name, "must not already exist in volumeMounts")]
    volume = next((volume for volume in reversed(spec.volumes) if volume.name == name), None)
    if volume is None:
        return [errors.field_not_found(path, name)]
    if volume.persistent_volume_claim is None and volume.ephemeral is None:
        detail = (
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
        )
        return [errors.invalid_value(path, name, detail)]
    return []


def _device_path(device_path: str, mount_paths: set[str], path: str) -> list[FieldError]:
    violations = checks.required(device_path, path)
    if ".." in device_path.split("/"):
        detail = "can not contain backsteps ('..')"
        violations.append(errors.invalid_value(path, device_path, detail))
    elif device_path in mount_paths:
        detail = "must not already exist as a path in volumeMounts"
        violations.append(errors.invalid_value(path, device_path, detail))
    return violations
