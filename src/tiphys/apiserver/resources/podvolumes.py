"""The rules of a pod's volumes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.resources.checks import file_mode, given, one_of, unreserved_path
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors

_HOST_PATHS = (
    "",
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
)
_JSON_NAMES = dict(
    zip(v1.VolumeSource.__struct_fields__, v1.VolumeSource.__struct_encode_fields__, strict=True)
)


def validate_volumes(volumes: list[v1.Volume], path: str, found: list[FieldError]) -> set[str]:
    """The names of the volumes; what is wrong with them is added to `found`."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        if not volume.name:
            found.append(errors.required(f"{at}.name"))
        elif problems := dns_label_errors(volume.name):
            found += [
                errors.invalid_value(f"{at}.name", volume.name, problem) for problem in problems
            ]
        elif volume.name in seen:
            found.append(errors.duplicate(f"{at}.name", volume.name))
        seen.add(volume.name)
        sources = [
            name for name in v1.VolumeSource.__struct_fields__ if getattr(volume, name) is not None
        ]
        if len(sources) > 1:
            where = f"{at}.{_JSON_NAMES[sources[1]]}"
            found.append(errors.forbidden_field(where, "may not specify more than 1 volume type"))
        found += _source(volume, at)
    return seen


def _source(volume: v1.Volume, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    if (host := volume.host_path) is not None:
        found += host_path_errors(host, f"{at}.hostPath")
    if (nfs := volume.nfs) is not None:
        found += nfs_errors(nfs, f"{at}.nfs")
    if (secret := volume.secret) is not None:
        found += given(secret.secret_name, f"{at}.secret.secretName")
        found += _files(secret, f"{at}.secret")
    if (config := volume.config_map) is not None:
        found += given(config.name, f"{at}.configMap.name") + _files(config, f"{at}.configMap")
    if (claim := volume.persistent_volume_claim) is not None:
        found += given(claim.claim_name, f"{at}.persistentVolumeClaim.claimName")
    if (
        (folder := volume.empty_dir) is not None
        and folder.size_limit
        and quantity.nano(folder.size_limit) < 0
    ):
        found.append(
            errors.forbidden_field(
                f"{at}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity"
            )
        )
    if (facts := volume.downward_api) is not None:
        found += file_mode(facts.default_mode, f"{at}.downwardAPI.defaultMode")
        found += _facts(facts.items, f"{at}.downwardAPI")
    if (projected := volume.projected) is not None:
        found += file_mode(projected.default_mode, f"{at}.projected.defaultMode")
        for index, source in enumerate(projected.sources):
            found += _projection(source, f"{at}.projected.sources[{index}]")
    if (csi := volume.csi) is not None:
        found += given(csi.driver, f"{at}.csi.driver")
    if (image := volume.image) is not None:
        found += given(image.reference, f"{at}.image.reference")
        found += one_of(
            image.pull_policy, ("Always", "IfNotPresent", "Never"), f"{at}.image.pullPolicy"
        )
    return found


def host_path_errors(source: v1.HostPathVolumeSource, at: str) -> list[FieldError]:
    found = given(source.path, f"{at}.path")
    if ".." in source.path.split("/"):
        found.append(errors.invalid_value(f"{at}.path", source.path, "must not contain '..'"))
    return found + one_of(source.type, _HOST_PATHS, f"{at}.type")


def nfs_errors(source: v1.NFSVolumeSource, at: str) -> list[FieldError]:
    found = given(source.server, f"{at}.server") + given(source.path, f"{at}.path")
    if source.path and not source.path.startswith("/"):
        found.append(errors.invalid_value(f"{at}.path", source.path, "must be an absolute path"))
    return found


def _files(source: Any, at: str) -> list[FieldError]:
    return file_mode(source.default_mode, f"{at}.defaultMode") + _items(source.items, at)


def _items(items: Iterable[v1.KeyToPath], at: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, item in enumerate(items):
        where = f"{at}.items[{index}]"
        found += given(item.key, f"{where}.key") + unreserved_path(item.path, f"{where}.path")
        found += file_mode(item.mode, f"{where}.mode")
    return found


def _facts(items: Iterable[v1.DownwardAPIVolumeFile], at: str) -> list[FieldError]:
    found: list[FieldError] = []
    for item in items:
        found += unreserved_path(item.path, f"{at}.path")
        if item.field_ref is not None and item.resource_field_ref is not None:
            why = "fieldRef and resourceFieldRef can not be specified simultaneously"
            found.append(errors.invalid_value(at, "resource", why))
        elif item.field_ref is None and item.resource_field_ref is None:
            found.append(errors.required(at, "one of fieldRef and resourceFieldRef is required"))
        found += file_mode(item.mode, f"{at}.mode")
    return found


def _projection(source: v1.VolumeProjection, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name, kept in (("secret", source.secret), ("configMap", source.config_map)):
        if kept is not None:
            found += given(kept.name, f"{at}.{name}.name") + _items(kept.items, f"{at}.{name}")
    if source.downward_api is not None:
        found += _facts(source.downward_api.items, f"{at}.downwardAPI")
    if (token := source.service_account_token) is not None:
        where, seconds = f"{at}.serviceAccountToken", token.expiration_seconds
        if seconds is not None and seconds < 600:
            why = "may not specify a duration less than 10 minutes"
            found.append(errors.invalid_value(f"{where}.expirationSeconds", seconds, why))
        elif seconds is not None and seconds > 1 << 32:
            why = "may not specify a duration larger than 2^32 seconds"
            found.append(errors.invalid_value(f"{where}.expirationSeconds", seconds, why))
        found += unreserved_path(
            token.path, f"{at.rpartition('.sources')[0]}.path"
        )  # upstream tells not of which source
    return found
