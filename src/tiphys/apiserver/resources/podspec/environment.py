"""The environment of a container."""

from __future__ import annotations

from tiphys.api.core_v1 import EnvFromSource, EnvVar, EnvVarSource
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

# What the downward API tells a container of its pod; labels and annotations by their keys, too.
_FIELDS = frozenset(
    (
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    )
)
_SUBSCRIPTED = ("metadata.labels['", "metadata.annotations['")
_AMOUNTS = frozenset(
    f"{kind}.{name}"
    for kind in ("limits", "requests")
    for name in ("cpu", "memory", "ephemeral-storage")
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_NAME_DETAIL = (
    "a valid environment variable name must consist only of printable ASCII characters"
    " other than '='"
)
_ONE_OF_SOURCES = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`"
    " or `fileKeyRef`"
)


def validate_environment(
    variables: list[EnvVar], sources: list[EnvFromSource], path: str
) -> list[FieldError]:
    violations = []
    for index, variable in enumerate(variables):
        violations += _variable(variable, f"{path}.env[{index}]")
    for index, source in enumerate(sources):
        if source.config_map_ref is None and source.secret_ref is None:
            detail = "must specify one of: `configMapRef` or `secretRef`"
            violations.append(errors.invalid_value(f"{path}.envFrom", "", detail))
        violations += _source(source, f"{path}.envFrom[{index}]")
    return violations


def _variable(variable: EnvVar, path: str) -> list[FieldError]:
    violations = []
    if not variable.name:
        violations.append(errors.required(f"{path}.name"))
    elif "=" in variable.name:
        violations.append(errors.invalid_value(f"{path}.name", variable.name, _NAME_DETAIL))
    if variable.value_from is not None:
        violations += _value_from(variable.value_from, variable.value, f"{path}.valueFrom")
    return violations


def _value_from(source: EnvVarSource, value: str, path: str) -> list[FieldError]:
    kinds = (
        source.field_ref,
        source.resource_field_ref,
        source.config_map_key_ref,
        source.secret_key_ref,
        source.file_key_ref,
    )
    present = sum(kind is not None for kind in kinds)
    violations = []
    if not present:
        violations.append(errors.invalid_value(path, "", _ONE_OF_SOURCES))
    elif value:
        detail = "may not be specified when `value` is not empty"
        violations.append(errors.invalid_value(path, "", detail))
    elif present > 1:
        detail = "may not have more than one field specified at a time"
        violations.append(errors.invalid_value(path, "", detail))
    if source.field_ref is not None:
        violations += _field_path(source.field_ref.field_path, f"{path}.fieldRef.fieldPath")
    if source.resource_field_ref is not None:
        name = source.resource_field_ref.resource
        violations += _amount(name, f"{path}.resourceFieldRef.resource")
    keys = {"configMapKeyRef": source.config_map_key_ref, "secretKeyRef": source.secret_key_ref}
    for name, reference in keys.items():
        if reference is not None:
            violations += checks.given(reference.name, f"{path}.{name}.name")
            violations += checks.given(reference.key, f"{path}.{name}.key")
    return violations


def _field_path(field_path: str, path: str) -> list[FieldError]:
    if not field_path:
        return [errors.required(path)]
    if field_path in _FIELDS or field_path.startswith(_SUBSCRIPTED):
        return []
    detail = f"error converting fieldPath: field label not supported: {field_path}"
    return [errors.invalid_value(path, field_path, detail)]


def _amount(name: str, path: str) -> list[FieldError]:
    if name.startswith(_HUGE_PAGES):
        return []
    return checks.given(name, path) + checks.one_of(name, _AMOUNTS, path)


def _source(source: EnvFromSource, path: str) -> list[FieldError]:
    violations = []
    references = {"configMapRef": source.config_map_ref, "secretRef": source.secret_ref}
    for name, reference in references.items():
        if reference is not None:
            violations += checks.given(reference.name, f"{path}.{name}.name")
            violations += checks.subdomain(reference.name, f"{path}.{name}.name")
    return violations
