"""The rules of a pod's volumes."""

from __future__ import annotations

from tiphys.api.core_v1 import (
    ConfigMapVolumeSource,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    ImageVolumeSource,
    KeyToPath,
    NFSVolumeSource,
    ProjectedVolumeSource,
    SecretVolumeSource,
    Volume,
    VolumeProjection,
    VolumeSource,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.podspec import downward
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors

_HOST_PATH_TYPES = (
    "",
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
)
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
# Attribute of a volume → JSON name of the source.
_SOURCES = dict(
    zip(VolumeSource.__struct_fields__, VolumeSource.__struct_encode_fields__, strict=True)
)


def validate_volumes(volumes: list[Volume], path: str) -> list[FieldError]:
    violations = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        field = f"{path}[{index}]"
        violations += _name(volume.name, seen, f"{field}.name")
        sources = [name for key, name in _SOURCES.items() if getattr(volume, key) is not None]
        if len(sources) > 1:
            detail = "may not specify more than 1 volume type"
            violations.append(errors.forbidden_field(f"{field}.{sources[1]}", detail))
        violations += _source(volume, field)
    return violations


def _name(name: str, seen: set[str], path: str) -> list[FieldError]:
    if not name:
        violations = [errors.required(path)]
    else:
        violations = checks.obeys(name, dns_label_errors, path)
        if not violations and name in seen:
            violations.append(errors.duplicate(path, name))
    seen.add(name)
    return violations


def _source(volume: Volume, path: str) -> list[FieldError]:
    violations = []
    if volume.host_path is not None:
        violations += host_path_errors(volume.host_path, f"{path}.hostPath")
    if volume.nfs is not None:
        violations += nfs_errors(volume.nfs, f"{path}.nfs")
    if volume.secret is not None:
        name = volume.secret.secret_name
        violations += checks.required(name, f"{path}.secret.secretName")
        violations += _files(volume.secret, f"{path}.secret")
    if volume.config_map is not None:
        violations += checks.required(volume.config_map.name, f"{path}.configMap.name")
        violations += _files(volume.config_map, f"{path}.configMap")
    if volume.persistent_volume_claim is not None:
        name = volume.persistent_volume_claim.claim_name
        violations += checks.required(name, f"{path}.persistentVolumeClaim.claimName")
    if volume.empty_dir is not None:
        violations += _empty_dir(volume.empty_dir, f"{path}.emptyDir")
    if volume.downward_api is not None:
        violations += _downward_api(volume.downward_api, f"{path}.downwardAPI")
    if volume.projected is not None:
        violations += _projected(volume.projected, f"{path}.projected")
    if volume.csi is not None:
        violations += checks.required(volume.csi.driver, f"{path}.csi.driver")
    if volume.image is not None:
        violations += _image(volume.image, f"{path}.image")
    return violations


def host_path_errors(source: HostPathVolumeSource, path: str) -> list[FieldError]:
    violations = checks.required(source.path, f"{path}.path")
    if ".." in source.path.split("/"):
        detail = "must not contain '..'"
        violations.append(errors.invalid_value(f"{path}.path", source.path, detail))
    return violations + checks.one_of(source.type, _HOST_PATH_TYPES, f"{path}.type")


def nfs_errors(source: NFSVolumeSource, path: str) -> list[FieldError]:
    violations = checks.required(source.server, f"{path}.server")
    violations += checks.required(source.path, f"{path}.path")
    if source.path and not source.path.startswith("/"):
        detail = "must be an absolute path"
        violations.append(errors.invalid_value(f"{path}.path", source.path, detail))
    return violations


def _empty_dir(source: EmptyDirVolumeSource, path: str) -> list[FieldError]:
    if source.size_limit and quantity.nano(source.size_limit) < 0:
        detail = "SizeLimit field must be a valid resource quantity"
        return [errors.forbidden_field(f"{path}.sizeLimit", detail)]
    return []


def _image(source: ImageVolumeSource, path: str) -> list[FieldError]:
    violations = checks.required(source.reference, f"{path}.reference")
    return violations + checks.one_of(source.pull_policy, _PULL_POLICIES, f"{path}.pullPolicy")


# --- volumes of files that the node writes ---


def _files(source: SecretVolumeSource | ConfigMapVolumeSource, path: str) -> list[FieldError]:
    violations = checks.file_mode(source.default_mode, f"{path}.defaultMode")
    return violations + _items(source.items, f"{path}.items")


def _items(items: list[KeyToPath], path: str) -> list[FieldError]:
    violations = []
    for index, item in enumerate(items):
        field = f"{path}[{index}]"
        violations += checks.required(item.key, f"{field}.key")
        violations += checks.unreserved_path(item.path, f"{field}.path")
        violations += checks.file_mode(item.mode, f"{field}.mode")
    return violations


def _downward_api(source: DownwardAPIVolumeSource, path: str) -> list[FieldError]:
    violations = checks.file_mode(source.default_mode, f"{path}.defaultMode")
    return violations + _pod_facts(source.items, path)


def _pod_facts(items: list[DownwardAPIVolumeFile], path: str) -> list[FieldError]:
    """Files that hold a field of the pod, or an amount of a resource. Upstream does not say
    which of the items it is."""
    violations = []
    for item in items:
        violations += checks.unreserved_path(item.path, f"{path}.path")
        if item.field_ref is not None:
            violations += downward.field_errors(
                item.field_ref, downward.IN_FILES, f"{path}.fieldRef"
            )
            if item.resource_field_ref is not None:
                detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
                violations.append(errors.invalid_value(path, "resource", detail))
        elif item.resource_field_ref is not None:
            violations += downward.amount_errors(
                item.resource_field_ref, f"{path}.resourceFieldRef", of_file=True
            )
        else:
            detail = "one of fieldRef and resourceFieldRef is required"
            violations.append(errors.required(path, detail))
        violations += checks.file_mode(item.mode, f"{path}.mode")
    return violations


def _projected(source: ProjectedVolumeSource, path: str) -> list[FieldError]:
    violations = checks.file_mode(source.default_mode, f"{path}.defaultMode")
    for index, projection in enumerate(source.sources):
        field = f"{path}.sources[{index}]"
        violations += _projection(projection, field)
        if projection.service_account_token is not None:
            token = projection.service_account_token
            lifetime = f"{field}.serviceAccountToken.expirationSeconds"
            violations += checks.token_seconds(token.expiration_seconds, lifetime)
            # Upstream's path has no index of the source.
            violations += checks.unreserved_path(token.path, f"{path}.path")
    return violations


def _projection(source: VolumeProjection, path: str) -> list[FieldError]:
    violations = []
    if source.secret is not None:
        violations += checks.required(source.secret.name, f"{path}.secret.name")
        violations += _items(source.secret.items, f"{path}.secret.items")
    if source.config_map is not None:
        violations += checks.required(source.config_map.name, f"{path}.configMap.name")
        violations += _items(source.config_map.items, f"{path}.configMap.items")
    if source.downward_api is not None:
        violations += _pod_facts(source.downward_api.items, f"{path}.downwardAPI")
    return violations
