"""What the status of a pod may hold about claims for devices: nodes let containers have the devices
of the claims that it names."""

from __future__ import annotations

from tiphys.api.core_v1 import (
    ContainerExtendedResourceRequest,
    Pod,
    PodExtendedResourceClaimStatus,
    PodSpec,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors

_EXTENDED = "status.extendedResourceClaimStatus"


def claim_status_errors(pod: Pod) -> list[FieldError]:
    violations = _template_errors(pod) if pod.status.resource_claim_statuses else []
    if pod.status.extended_resource_claim_status is not None:
        violations += _extended_errors(pod.status.extended_resource_claim_status, pod.spec)
    return violations


def _template_errors(pod: Pod) -> list[FieldError]:
    violations = []
    known = {claim.name for claim in pod.spec.resource_claims}
    seen: set[str] = set()
    for index, status in enumerate(pod.status.resource_claim_statuses):
        path = f"status.resourceClaimStatuses[{index}]"
        if status.name not in known:
            detail = "must match the name of an entry in `spec.resourceClaims`"
            violations.append(errors.invalid_value(f"{path}.name", status.name, detail))
        if status.name in seen:
            violations.append(errors.duplicate(f"{path}.name", status.name))
        seen.add(status.name)
        if status.resource_claim_name is not None:
            violations += _name_errors(f"{path}.resourceClaimName", status.resource_claim_name)
    return violations


def _name_errors(path: str, name: str) -> list[FieldError]:
    return [errors.invalid_value(path, name, detail) for detail in dns_subdomain_errors(name)]


def _extended_errors(status: PodExtendedResourceClaimStatus, spec: PodSpec) -> list[FieldError]:
    violations = []
    path = f"{_EXTENDED}.requestMappings"
    if not status.request_mappings:
        violations.append(errors.required(path, "at least one request mapping is required"))
    seen: set[tuple[str, str, str]] = set()
    for index, mapping in enumerate(status.request_mappings):
        place = f"{path}[{index}]"
        violations += _mapping_errors(mapping, spec, place)
        identity = (mapping.container_name, mapping.resource_name, mapping.request_name)
        if identity in seen:
            fields = ("containerName", "resourceName", "requestName")
            violations += [
                errors.duplicate(f"{place}.{field}", value)
                for field, value in zip(fields, identity, strict=True)
            ]
        seen.add(identity)
    path = f"{_EXTENDED}.resourceClaimName"
    if not status.resource_claim_name:
        return [*violations, errors.required(path, "")]
    return violations + _name_errors(path, status.resource_claim_name)


def _mapping_errors(
    mapping: ContainerExtendedResourceRequest, spec: PodSpec, path: str
) -> list[FieldError]:
    violations = []
    requests = {
        container.name: container.resources.requests
        for container in (*spec.init_containers, *spec.containers)
    }
    if mapping.container_name not in requests:
        detail = (
            "must match the name of an entry in spec.initContainers.name or spec.containers.name"
        )
        value = mapping.container_name
        violations.append(errors.invalid_value(f"{path}.containerName", value, detail))
    elif mapping.resource_name not in requests[mapping.container_name]:
        detail = (
            "must match the extended resource name of an entry in "
            "spec.initContainers.resources.requests or spec.containers.resources.requests"
        )
        value = mapping.resource_name
        violations.append(errors.invalid_value(f"{path}.resourceName", value, detail))
    # Upstream names the field of no mapping here.
    return violations + [
        errors.invalid_value(f"{_EXTENDED}.requestName", mapping.request_name, detail)
        for detail in dns_label_errors(mapping.request_name)
    ]
