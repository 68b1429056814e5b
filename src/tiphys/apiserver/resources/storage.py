"""Rules, warnings and columns that resources of storage share."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.core_v1 import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeSpec,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.columns import WIDE, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_LARGEST_PARAMETERS = 256 * 1024  # characters
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def _phase(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    return "Terminating" if obj.metadata.deletion_timestamp else obj.status.phase


STATUS_COLUMN = Column("Status", _phase)
MODE_COLUMN = Column("VolumeMode", lambda o: o.spec.volume_mode, priority=WIDE)
ATTRIBUTES_COLUMN = Column(
    "VolumeAttributesClass", lambda o: o.spec.volume_attributes_class_name or "<unset>"
)


def short_modes(modes: list[str]) -> str:
    """Access modes as tables show them: ``RWO,ROX``."""
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


def mode_errors(
    spec: PersistentVolumeClaimSpec | PersistentVolumeSpec, path: str = "spec"
) -> list[FieldError]:
    """Of a claim or a volume."""
    violations = []
    allowed = sorted(_MODES)
    for mode in spec.access_modes:
        violations += checks.one_of(mode, allowed, f"{path}.accessModes")
    if "ReadWriteOncePod" in spec.access_modes and len(set(spec.access_modes)) > 1:
        detail = "may not use ReadWriteOncePod with other access modes"
        violations.append(errors.forbidden_field(f"{path}.accessModes", detail))
    return violations + checks.one_of(
        spec.volume_mode, ("Block", "Filesystem"), f"{path}.volumeMode"
    )


def parameter_errors(parameters: dict[str, str]) -> list[FieldError]:
    """Of a class."""
    violations = []
    if "" in parameters:
        detail = "field can not be empty."
        violations.append(errors.invalid_value("parameters", "", detail))
    size = sum(len(key) + len(value) for key, value in parameters.items())
    if size > _LARGEST_PARAMETERS:
        violations.append(errors.too_long("parameters", _LARGEST_PARAMETERS))
    return violations


def class_warnings(annotations: dict[str, str]) -> Iterator[str]:
    """Of a claim or a volume."""
    if _CLASS_ANNOTATION in annotations:
        yield (
            f"metadata.annotations[{_CLASS_ANNOTATION}]: deprecated since v1.8;"
            ' use "storageClassName" attribute instead'
        )
