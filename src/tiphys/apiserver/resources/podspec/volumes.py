"""The rules of a pod's volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api.core_v1 import (
    ConfigMapVolumeSource,
    CSIVolumeSource,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    EphemeralVolumeSource,
    HostPathVolumeSource,
    ImageVolumeSource,
    KeyToPath,
    NFSVolumeSource,
    PersistentVolumeClaimVolumeSource,
    ProjectedVolumeSource,
    SecretVolumeSource,
    Volume,
    VolumeProjection,
    VolumeSource,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.claimrules import claim_template_errors
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
# In the order in which upstream looks at them: of several, the first is the volume.
_SOURCES = (
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
)
# JSON name of a source → attribute of the volume.
_ATTRIBUTES = dict(
    zip(VolumeSource.__struct_encode_fields__, VolumeSource.__struct_fields__, strict=True)
)


def validate_volumes(volumes: list[Volume], path: str) -> list[FieldError]:
    violations = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        field = f"{path}[{index}]"
        violations += _name(volume.name, seen, f"{field}.name")
        present = [name for name in _SOURCES if getattr(volume, _ATTRIBUTES[name]) is not None]
        for name in present[:1]:
            violations += _source(volume, name, f"{field}.{name}")
        for name in present[1:]:
            detail = "may not specify more than 1 volume type"
            violations.append(errors.forbidden_field(f"{field}.{name}", detail))
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


def _source(volume: Volume, name: str, path: str) -> list[FieldError]:
    rule = _RULES.get(name)
    return rule(getattr(volume, _ATTRIBUTES[name]), path) if rule is not None else []


def host_path_errors(source: HostPathVolumeSource, path: str) -> list[FieldError]:
    if not source.path:
        return [errors.required(f"{path}.path")]
    violations = []
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


def _claim(source: PersistentVolumeClaimVolumeSource, path: str) -> list[FieldError]:
    return checks.required(source.claim_name, f"{path}.claimName")


def _ephemeral(source: EphemeralVolumeSource, path: str) -> list[FieldError]:
    field = f"{path}.volumeClaimTemplate"
    if source.volume_claim_template is None:
        return [errors.required(field)]
    return claim_template_errors(source.volume_claim_template, field)


def _csi(source: CSIVolumeSource, path: str) -> list[FieldError]:
    return checks.required(source.driver, f"{path}.driver")


# --- volumes of files that the node writes ---


def _secret(source: SecretVolumeSource, path: str) -> list[FieldError]:
    return checks.required(source.secret_name, f"{path}.secretName") + _files(source, path)


def _config_map(source: ConfigMapVolumeSource, path: str) -> list[FieldError]:
    return checks.required(source.name, f"{path}.name") + _files(source, path)


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


# Sources that have rules, by JSON name.
_RULES: dict[str, Callable[[Any, str], list[FieldError]]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path_errors,
    "secret": _secret,
    "nfs": nfs_errors,
    "persistentVolumeClaim": _claim,
    "downwardAPI": _downward_api,
    "configMap": _config_map,
    "projected": _projected,
    "csi": _csi,
    "image": _image,
    "ephemeral": _ephemeral,
}
