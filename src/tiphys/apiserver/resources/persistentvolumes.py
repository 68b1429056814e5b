"""Persistent volumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api.core_v1 import (
    CSIPersistentVolumeSource,
    PersistentVolume,
    PersistentVolumeSource,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.podspec.defaults import default_source
from tiphys.apiserver.resources.podspec.placement import validate_node_selector
from tiphys.apiserver.resources.podspec.volumes import host_path_errors, nfs_errors
from tiphys.apiserver.resources.podspec.warnings import node_term_warnings
from tiphys.apiserver.resources.storage import (
    ATTRIBUTES_COLUMN,
    MODE_COLUMN,
    STATUS_COLUMN,
    class_warnings,
    mode_errors,
    short_modes,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
# Attribute → JSON name of each kind of volume.
_SOURCES = dict(
    zip(
        PersistentVolumeSource.__struct_fields__,
        PersistentVolumeSource.__struct_encode_fields__,
        strict=True,
    )
)


def _claim(volume: PersistentVolume) -> str:
    claim = volume.spec.claim_ref
    return f"{claim.namespace}/{claim.name}" if claim is not None else ""


class PersistentVolumeStrategy(Strategy[PersistentVolume]):
    columns = (
        NAME,
        Column("Capacity", lambda o: o.spec.capacity.get("storage", "")),
        Column("Access Modes", lambda o: short_modes(o.spec.access_modes)),
        Column("Reclaim Policy", lambda o: o.spec.persistent_volume_reclaim_policy),
        STATUS_COLUMN,
        Column("Claim", _claim),
        Column("StorageClass", lambda o: o.spec.storage_class_name),
        ATTRIBUTES_COLUMN,
        Column("Reason", lambda o: o.status.reason),
        AGE,
        MODE_COLUMN,
    )
    returns_deleted = True

    def default(self, obj: PersistentVolume) -> None:
        spec = obj.spec
        spec.volume_mode = spec.volume_mode or "Filesystem"
        spec.persistent_volume_reclaim_policy = spec.persistent_volume_reclaim_policy or "Retain"
        if spec.host_path is not None and spec.host_path.type is None:
            spec.host_path.type = ""
        default_source(spec)

    def prepare_for_create(self, obj: PersistentVolume) -> None:
        obj.status = PersistentVolumeStatus(phase="Pending")

    def validate(self, obj: PersistentVolume) -> list[FieldError]:
        spec = obj.spec
        violations = checks.required(spec.access_modes, "spec.accessModes")
        violations += _capacity_errors(spec.capacity)
        violations += mode_errors(spec)
        violations += checks.amounts(spec.capacity, "spec.capacity")
        policy = spec.persistent_volume_reclaim_policy
        field = "spec.persistentVolumeReclaimPolicy"
        violations += checks.one_of(policy, _RECLAIM_POLICIES, field)
        violations += _source_errors(spec)
        violations += _topology_errors(spec)
        return violations + _class_errors(spec)

    def validate_update(self, new: PersistentVolume, old: PersistentVolume) -> list[FieldError]:
        if _sources(new.spec) == _sources(old.spec):
            return []
        detail = "spec.persistentvolumesource is immutable after creation"
        return [errors.forbidden_field("spec.persistentvolumesource", detail)]

    def warnings(self, new: PersistentVolume, old: PersistentVolume | None) -> Iterator[str]:
        annotations = new.metadata.annotations
        spec = new.spec
        yield from class_warnings(annotations)
        if _MOUNT_OPTIONS in annotations:
            yield (
                f"metadata.annotations[{_MOUNT_OPTIONS}]: deprecated since v1.31;"
                ' use "mountOptions" attribute instead'
            )
        if spec.persistent_volume_reclaim_policy == "Recycle":
            yield (
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated."
                " Instead, the recommended approach is to use dynamic provisioning."
            )
        if spec.node_affinity is not None and spec.node_affinity.required is not None:
            terms = spec.node_affinity.required.node_selector_terms
            yield from node_term_warnings(terms, "spec.nodeAffinity.required.nodeSelectorTerms")


def _capacity_errors(capacity: dict[str, Any]) -> list[FieldError]:
    if "storage" in capacity:
        return []
    violations = checks.required(capacity, "spec.capacity")
    shown = dict(capacity) or None
    return [*violations, errors.not_supported("spec.capacity", shown, ("storage",))]


def _sources(spec: PersistentVolumeSpec) -> dict[str, Any]:
    """What kinds of volume a spec describes, by JSON name."""
    sources = {name: getattr(spec, attribute) for attribute, name in _SOURCES.items()}
    return {name: source for name, source in sources.items() if source is not None}


def _source_errors(spec: PersistentVolumeSpec) -> list[FieldError]:
    sources = list(_sources(spec))
    violations = checks.required(sources, "spec", "must specify a volume type")
    for name in sources[1:]:
        detail = "may not specify more than 1 volume type"
        violations.append(errors.forbidden_field(f"spec.{name}", detail))
    if spec.host_path is not None:
        violations += host_path_errors(spec.host_path, "spec.hostPath")
    if spec.nfs is not None:
        violations += nfs_errors(spec.nfs, "spec.nfs")
    return violations


def _topology_errors(spec: PersistentVolumeSpec) -> list[FieldError]:
    """Which nodes can use the volume."""
    violations = []
    affinity = spec.node_affinity
    if affinity is not None:
        field = "spec.nodeAffinity.required"
        if affinity.required is None:
            violations.append(errors.required(field, "must specify required node constraints"))
        else:
            violations += validate_node_selector(affinity.required, field)
    if spec.local is not None:
        violations += checks.required(spec.local.path, "spec.local.path")
        if affinity is None:
            detail = "Local volume requires node affinity"
            violations.append(errors.required("spec.nodeAffinity", detail))
    return violations


def _class_errors(spec: PersistentVolumeSpec) -> list[FieldError]:
    """Which classes the volume is of, and the driver that serves it."""
    violations = checks.subdomain(spec.storage_class_name, "spec.storageClassName")
    name = spec.volume_attributes_class_name
    if name is not None:
        field = "spec.volumeAttributesClassName"
        violations += checks.required(name, field, "an empty string is disallowed")
        violations += checks.subdomain(name, field)
        if spec.csi is None:
            detail = "has to be specified when using volumeAttributesClassName"
            violations.append(errors.required("spec.csi", detail))
    if spec.csi is not None:
        violations += _csi_errors(spec.csi, "spec.csi")
    return violations


def _csi_errors(source: CSIPersistentVolumeSource, path: str) -> list[FieldError]:
    violations = checks.driver(source.driver, f"{path}.driver")
    return violations + checks.required(source.volume_handle, f"{path}.volumeHandle")
