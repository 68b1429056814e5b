"""The environment of a container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiphys.api.core_v1 import (
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    EphemeralContainer,
    FileKeySelector,
    PodSpec,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.podspec import downward
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import config_key_errors, dns_label_errors, dns_subdomain_errors

_NAME_DETAIL = (
    "a valid environment variable name must consist only of printable ASCII characters"
    " other than '='"
)
_ONE_OF_SOURCES = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`"
    " or `fileKeyRef`"
)
_MORE_THAN_ONE = "may not have more than one field specified at a time"


def validate_environment(
    variables: list[EnvVar], sources: list[EnvFromSource], path: str
) -> list[FieldError]:
    violations = []
    for index, variable in enumerate(variables):
        violations += _variable(variable, f"{path}.env[{index}]")
    for index, source in enumerate(sources):
        violations += _source(source, f"{path}.envFrom[{index}]")
        present = (source.config_map_ref is not None) + (source.secret_ref is not None)
        if not present:
            detail = "must specify one of: `configMapRef` or `secretRef`"
            violations.append(errors.invalid_value(f"{path}.envFrom", "", detail))
        elif present > 1:
            violations.append(errors.invalid_value(f"{path}.envFrom", "", _MORE_THAN_ONE))
    return violations


def validate_variable_files(spec: PodSpec, path: str) -> list[FieldError]:
    """Variables are read from files of the pod's own: of emptyDirs."""
    violations: list[FieldError] = []
    if not _reads_files(spec):  # hardly any pod does
        return violations
    for field, volume_name in _variable_files(spec, path):
        volume = next(
            (candidate for candidate in spec.volumes if candidate.name == volume_name), None
        )
        if volume is None:
            violations.append(errors.field_not_found(field, volume_name))
        elif volume.empty_dir is None:
            detail = "referenced volume must be of type emptyDir"
            violations.append(errors.invalid_value(field, volume_name, detail))
    return violations


def _reads_files(spec: PodSpec) -> bool:
    for containers in (spec.init_containers, spec.containers, spec.ephemeral_containers):
        for container in containers:
            for variable in container.env:
                source = variable.value_from
                if source is not None and source.file_key_ref is not None:
                    return True
    return False


def _variable_files(spec: PodSpec, path: str) -> Iterator[tuple[str, str]]:
    """Where a variable names the volume of its file, and the name."""
    by_kind: dict[str, Sequence[Container | EphemeralContainer]] = {
        "initContainers": spec.init_containers,
        "containers": spec.containers,
        "ephemeralContainers": spec.ephemeral_containers,
    }
    for kind, containers in by_kind.items():
        for number, container in enumerate(containers):
            for index, variable in enumerate(container.env):
                source = variable.value_from
                if source is not None and source.file_key_ref is not None:
                    field = f"{path}.{kind}[{number}].env[{index}].valueFrom.fileKeyRef.volumeName"
                    yield field, source.file_key_ref.volume_name


def _variable(variable: EnvVar, path: str) -> list[FieldError]:
    violations = []
    if not variable.name:
        violations.append(errors.required(f"{path}.name"))
    elif _name_errors(variable.name):
        violations.append(errors.invalid_value(f"{path}.name", variable.name, _NAME_DETAIL))
    if variable.value_from is not None:
        violations += _value_from(variable.value_from, variable.value, f"{path}.valueFrom")
    return violations


def _name_errors(name: str) -> list[str]:
    is_printable = name.isascii() and name.isprintable()
    return [] if is_printable and "=" not in name else [_NAME_DETAIL]


def _value_from(source: EnvVarSource, value: str, path: str) -> list[FieldError]:
    violations: list[FieldError] = []
    present = 0
    if source.field_ref is not None:
        present += 1
        violations += downward.field_errors(
            source.field_ref, downward.IN_VARIABLES, f"{path}.fieldRef"
        )
    if source.resource_field_ref is not None:
        present += 1
        violations += downward.amount_errors(source.resource_field_ref, f"{path}.resourceFieldRef")
    keys = {"configMapKeyRef": source.config_map_key_ref, "secretKeyRef": source.secret_key_ref}
    for name, reference in keys.items():
        if reference is not None:
            present += 1
            violations += checks.obeys(reference.name, dns_subdomain_errors, f"{path}.{name}.name")
            violations += checks.required(reference.key, f"{path}.{name}.key")
            violations += checks.named(reference.key, config_key_errors, f"{path}.{name}.key")
    if source.file_key_ref is not None:
        present += 1
        violations += _file_key(source.file_key_ref, f"{path}.fileKeyRef")
    if not present:
        violations.append(errors.invalid_value(path, "", _ONE_OF_SOURCES))
    elif value:
        detail = "may not be specified when `value` is not empty"
        violations.append(errors.invalid_value(path, "", detail))
    elif present > 1:
        violations.append(errors.invalid_value(path, "", _MORE_THAN_ONE))
    return violations


def _file_key(reference: FileKeySelector, path: str) -> list[FieldError]:
    violations = checks.required(reference.key, f"{path}.key")
    violations += checks.named(reference.key, _name_errors, f"{path}.key")
    violations += checks.required(reference.volume_name, f"{path}.volumeName")
    violations += checks.named(reference.volume_name, dns_label_errors, f"{path}.volumeName")
    violations += checks.required(reference.path, f"{path}.path")
    if ".." in reference.path.split("/"):
        detail = "must not contain '..'"
        violations.append(errors.invalid_value(f"{path}.path", reference.path, detail))
    return violations


def _source(source: EnvFromSource, path: str) -> list[FieldError]:
    violations = checks.named(source.prefix, _name_errors, f"{path}.prefix")
    references = {"configMapRef": source.config_map_ref, "secretRef": source.secret_ref}
    for name, reference in references.items():
        if reference is not None:
            violations += checks.required(reference.name, f"{path}.{name}.name")
            violations += checks.subdomain(reference.name, f"{path}.{name}.name")
    return violations
