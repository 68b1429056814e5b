"""What a claim of a volume may ask for, whether it is an object or a template in a pod."""

from __future__ import annotations

from tiphys.api.core_v1 import (
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate,
    TypedLocalObjectReference,
    TypedObjectReference,
)
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.storage import mode_errors
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.labelrules import validate_annotations, validate_labels
from tiphys.machinery.names import dns_label_errors

_OF_TEMPLATES = ("annotations", "labels")


def claim_errors(spec: PersistentVolumeClaimSpec, path: str) -> list[FieldError]:
    detail = "at least 1 access mode is required"
    violations = checks.required(spec.access_modes, f"{path}.accessModes", detail)
    violations += mode_errors(spec, path)
    violations += _size_errors(spec, path)
    violations += checks.subdomain(spec.storage_class_name, f"{path}.storageClassName")
    violations += checks.label_selector(spec.selector, f"{path}.selector")
    if spec.data_source is not None:
        violations += _source_errors(spec.data_source, f"{path}.dataSource")
    if spec.data_source_ref is not None:
        violations += _source_errors(spec.data_source_ref, f"{path}.dataSourceRef")
    name = spec.volume_attributes_class_name
    return violations + checks.subdomain(name, f"{path}.volumeAttributesClassName")


def claim_template_errors(template: PersistentVolumeClaimTemplate, path: str) -> list[FieldError]:
    """Of a template in a pod: of its metadata, labels and annotations alone are used."""
    metadata = template.metadata
    violations = validate_annotations(metadata.annotations, f"{path}.metadata.annotations")
    violations += validate_labels(metadata.labels, f"{path}.metadata.labels")
    empty = ObjectMeta()
    names = zip(ObjectMeta.__struct_fields__, ObjectMeta.__struct_encode_fields__, strict=True)
    for attribute, name in names:
        is_set = getattr(metadata, attribute) != getattr(empty, attribute)
        if attribute not in _OF_TEMPLATES and is_set:
            field = "uID" if name == "uid" else name  # as Go's field is called
            violations.append(errors.forbidden_field(f"{path}.metadata.{field}", "cannot be set"))
    return violations + claim_errors(template.spec, f"{path}.spec")


def _size_errors(spec: PersistentVolumeClaimSpec, path: str) -> list[FieldError]:
    field = f"{path}.resources[storage]"
    size = spec.resources.requests.get("storage")
    if size is None:
        return [errors.required(field)]
    if quantity.nano(size) <= 0:
        return [errors.invalid_value(field, size, "must be greater than zero")]
    return []


def _source_errors(
    source: TypedLocalObjectReference | TypedObjectReference, path: str
) -> list[FieldError]:
    """Of what a claim's volume is to be filled from."""
    violations = checks.required(source.name, f"{path}.name")
    violations += checks.required(source.kind, f"{path}.kind")
    if not source.api_group and source.kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        violations.append(errors.invalid_value(path, source.kind, detail))
    violations += checks.subdomain(source.api_group, f"{path}.apiGroup")
    if isinstance(source, TypedObjectReference):
        violations += checks.named(source.namespace or "", dns_label_errors, f"{path}.namespace")
    return violations
