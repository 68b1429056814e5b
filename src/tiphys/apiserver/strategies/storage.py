"""Claims, volumes and storage classes."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.strategies import checks
from tiphys.apiserver.strategies.base import Strategy, immutable
from tiphys.apiserver.strategies.podplacement import validate_node_selector
from tiphys.apiserver.strategies.podvolumes import host_path_errors, nfs_errors
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors


class ClaimStrategy(Strategy):
    def default(self, obj: v1.PersistentVolumeClaim) -> None:
        obj.spec.volume_mode = obj.spec.volume_mode or "Filesystem"

    def prepare_for_create(self, obj: v1.PersistentVolumeClaim) -> None:
        obj.status = v1.PersistentVolumeClaimStatus(phase="Pending")

    def validate(self, obj: v1.PersistentVolumeClaim) -> list[FieldError]:
        found = []
        if not obj.spec.access_modes:
            found.append(errors.required("spec.accessModes", "at least 1 access mode is required"))
        found += _modes(obj.spec)
        size = obj.spec.resources.requests.get("storage")
        if size is None:
            found.append(errors.required("spec.resources[storage]"))
        elif quantity.nano(size) <= 0:
            found.append(errors.invalid_value("spec.resources[storage]", size, "must be greater than zero"))
        name = obj.spec.storage_class_name or ""
        return found + checks.named(name, dns_subdomain_errors, "spec.storageClassName")

    def validate_update(self, new: v1.PersistentVolumeClaim, old: v1.PersistentVolumeClaim) -> list[FieldError]:
        import copy

        spec = copy.deepcopy(new.spec)
        wanted, before = spec.resources.requests.get("storage"), old.spec.resources.requests.get("storage")
        found = []
        if wanted is not None and before is not None and old.status.phase == "Bound":
            if quantity.nano(wanted) < quantity.nano(old.status.capacity.get("storage", before)) and wanted != before:
                path = "spec.resources.requests.storage"
                found.append(errors.forbidden_field(path, "field can not be less than status.capacity"))
            spec.resources.requests["storage"] = before
        if not old.spec.volume_name:
            spec.volume_name = ""
        if old.spec.storage_class_name is None:
            spec.storage_class_name = None
        spec.volume_attributes_class_name = old.spec.volume_attributes_class_name
        if spec != old.spec:
            why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            found.append(errors.forbidden_field("spec", why))
        return found


class VolumeStrategy(Strategy):
    def default(self, obj: v1.PersistentVolume) -> None:
        obj.spec.volume_mode = obj.spec.volume_mode or "Filesystem"
        obj.spec.persistent_volume_reclaim_policy = obj.spec.persistent_volume_reclaim_policy or "Retain"
        if obj.spec.host_path is not None and obj.spec.host_path.type is None:
            obj.spec.host_path.type = ""

    def prepare_for_create(self, obj: v1.PersistentVolume) -> None:
        obj.status = v1.PersistentVolumeStatus(phase="Pending")

    def validate(self, obj: v1.PersistentVolume) -> list[FieldError]:
        found = []
        if not obj.spec.access_modes:
            found.append(errors.required("spec.accessModes"))
        if "storage" not in obj.spec.capacity:
            found.append(errors.required("spec.capacity"))
        found += _modes(obj.spec) + checks.amounts(obj.spec.capacity, "spec.capacity")
        policy = obj.spec.persistent_volume_reclaim_policy
        found += checks.one_of(policy, ("Delete", "Recycle", "Retain"), "spec.persistentVolumeReclaimPolicy")
        sources = _volume_sources(obj.spec)
        if not sources:
            found.append(errors.required("spec", "must specify a volume type"))
        for name in list(sources)[1:]:
            found.append(errors.forbidden_field(f"spec.{name}", "may not specify more than 1 volume type"))
        if obj.spec.host_path is not None:
            found += host_path_errors(obj.spec.host_path, "spec.hostPath")
        if obj.spec.nfs is not None:
            found += nfs_errors(obj.spec.nfs, "spec.nfs")
        where = obj.spec.node_affinity
        if where is not None and where.required is not None:
            found += validate_node_selector(where.required, "spec.nodeAffinity.required")
        return found

    def validate_update(self, new: v1.PersistentVolume, old: v1.PersistentVolume) -> list[FieldError]:
        if _volume_sources(new.spec) == _volume_sources(old.spec):
            return []
        why = "spec.persistentvolumesource is immutable after creation"
        return [errors.forbidden_field("spec.persistentvolumesource", why)]


def _volume_sources(spec: v1.PersistentVolumeSpec) -> dict[str, Any]:
    """What kinds of volume a spec describes, by JSON name."""
    kind = v1.PersistentVolumeSource
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return {name: found for field, name in names if (found := getattr(spec, field)) is not None}


def _modes(spec: Any) -> list[FieldError]:
    """Of a claim or a volume."""
    allowed = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    found = [error for mode in spec.access_modes for error in checks.one_of(mode, allowed, "spec.accessModes")]
    return found + checks.one_of(spec.volume_mode, ("Block", "Filesystem"), "spec.volumeMode")


class AttachmentStrategy(Strategy):
    status_alone = True


class StorageClassStrategy(Strategy):
    def default(self, obj: Any) -> None:
        obj.reclaim_policy = obj.reclaim_policy or "Delete"
        obj.volume_binding_mode = obj.volume_binding_mode or "Immediate"

    def validate(self, obj: Any) -> list[FieldError]:
        found = checks.given(obj.provisioner, "provisioner")
        found += checks.one_of(obj.reclaim_policy, ("Delete", "Retain"), "reclaimPolicy")
        return found + checks.one_of(obj.volume_binding_mode, ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode")

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return [
            errors.forbidden_field(name, f"updates to {name} are forbidden.")
            for name, attribute in (
                ("parameters", "parameters"), ("provisioner", "provisioner"), ("reclaimPolicy", "reclaim_policy"),
            )
            if getattr(new, attribute) != getattr(old, attribute)
        ] + immutable("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)  # fmt: skip
