"""Persistent volume claims."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from tiphys.api.core_v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    TypedLocalObjectReference,
    TypedObjectReference,
)
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.claimrules import claim_errors
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.storage import (
    ATTRIBUTES_COLUMN,
    MODE_COLUMN,
    STATUS_COLUMN,
    class_warnings,
    short_modes,
)
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError

_IMMUTABLE_DETAIL = (
    "spec is immutable after creation except resources.requests and"
    " volumeAttributesClassName for bound claims"
)


class PersistentVolumeClaimStrategy(Strategy[PersistentVolumeClaim]):
    columns = (
        NAME,
        STATUS_COLUMN,
        Column("Volume", lambda o: o.spec.volume_name),
        Column("Capacity", lambda o: o.status.capacity.get("storage", "")),
        Column("Access Modes", lambda o: short_modes(o.status.access_modes)),
        Column("StorageClass", lambda o: o.spec.storage_class_name or ""),
        ATTRIBUTES_COLUMN,
        AGE,
        MODE_COLUMN,
    )
    returns_deleted = True

    def default(self, obj: PersistentVolumeClaim) -> None:
        obj.spec.volume_mode = obj.spec.volume_mode or "Filesystem"
        _default_data_source(obj.spec)

    def prepare_for_create(self, obj: PersistentVolumeClaim) -> None:
        obj.status = PersistentVolumeClaimStatus(phase="Pending")

    def validate(self, obj: PersistentVolumeClaim) -> list[FieldError]:
        return claim_errors(obj.spec, "spec")

    def validate_update(
        self, new: PersistentVolumeClaim, old: PersistentVolumeClaim
    ) -> list[FieldError]:
        violations = _resize_errors(new, old)
        if _mutable_parts_as(new, old) != old.spec:
            violations.append(errors.forbidden_field("spec", _IMMUTABLE_DETAIL))
        return violations

    def warnings(
        self, new: PersistentVolumeClaim, old: PersistentVolumeClaim | None
    ) -> Iterator[str]:
        return class_warnings(new.metadata.annotations)


def _default_data_source(spec: PersistentVolumeClaimSpec) -> None:
    """Two names of one thing; the newer one can also name something in another namespace."""
    source = spec.data_source
    reference = spec.data_source_ref
    if source is not None and reference is None:
        spec.data_source_ref = TypedObjectReference(
            api_group=source.api_group, kind=source.kind, name=source.name
        )
    elif reference is not None and source is None and reference.namespace is None:
        spec.data_source = TypedLocalObjectReference(
            api_group=reference.api_group, kind=reference.kind, name=reference.name
        )


# --- changes ---


def _resize_errors(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> list[FieldError]:
    """A bound claim may grow, and may take back what it has asked for and not been given."""
    requested = new.spec.resources.requests.get("storage")
    before = old.spec.resources.requests.get("storage")
    if requested is None or before is None or old.status.phase != "Bound" or requested == before:
        return []
    capacity = old.status.capacity.get("storage", before)
    if quantity.nano(requested) >= quantity.nano(capacity):
        return []
    detail = "field can not be less than status.capacity"
    return [errors.forbidden_field("spec.resources.requests.storage", detail)]


def _mutable_parts_as(
    new: PersistentVolumeClaim, old: PersistentVolumeClaim
) -> PersistentVolumeClaimSpec:
    """The spec of `new` with what may change, or has been checked, put back as it was."""
    spec = copy.deepcopy(new.spec)
    requests = spec.resources.requests
    before = old.spec.resources.requests.get("storage")
    if before is not None and "storage" in requests and old.status.phase == "Bound":
        requests["storage"] = before
    if not old.spec.volume_name:
        spec.volume_name = ""
    if old.spec.storage_class_name is None:
        spec.storage_class_name = None
    spec.volume_attributes_class_name = old.spec.volume_attributes_class_name
    return spec
