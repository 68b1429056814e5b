"""The rules and defaults of what a claim asks for, shared by resource claims and templates of
them.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.api.core_v1 import Namespace
from tiphys.apiserver.resources.checks import amounts, named, required
from tiphys.apiserver.resources.devices import (
    attribute_name,
    check_items,
    configuration,
    full_name,
    itself,
    label,
    selectors,
    toleration_errors,
)
from tiphys.apiserver.resources.lookups import Objects
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors

ADMIN_LABEL = "resource.kubernetes.io/admin-access"
MOST_REQUESTS = 32


def default_claim(spec: v1.ResourceClaimSpec) -> None:
    for request in spec.devices.requests:
        asked: list[Any] = [
            *request.first_available,
            *([request.exactly] if request.exactly is not None else []),
        ]
        for device_request in asked:
            device_request.allocation_mode = device_request.allocation_mode or "ExactCount"
            if device_request.allocation_mode == "ExactCount":
                device_request.count = device_request.count or 1
            for toleration in device_request.tolerations:
                toleration.operator = toleration.operator or "Equal"


def request_names(spec: v1.ResourceClaimSpec) -> set[str]:
    """What constraints, configurations and results may name: requests, and
    ``request/subrequest``."""
    names = set()
    for request in spec.devices.requests:
        names.add(request.name)
        names.update(f"{request.name}/{sub.name}" for sub in request.first_available)
    return names


def claim_errors(spec: v1.ResourceClaimSpec, path: str) -> list[FieldError]:
    """What is wrong with what a claim asks for."""
    path = f"{path}.devices"
    names = request_names(spec)
    violations = check_items(
        spec.devices.requests,
        f"{path}.requests",
        _request,
        MOST_REQUESTS,
        lambda r: r.name,
        "name",
    )
    violations += check_items(
        spec.devices.constraints,
        f"{path}.constraints",
        lambda constraint, field: _constraint(constraint, field, names),
        32,
    )

    def for_requests(config: v1.DeviceClaimConfiguration, field: str) -> list[FieldError]:
        return named_requests(config.requests, f"{field}.requests", names) + configuration(
            config, field
        )

    return violations + check_items(spec.devices.config, f"{path}.config", for_requests, 32)


def _request(request: v1.DeviceRequest, path: str) -> list[FieldError]:
    violations = label(request.name, f"{path}.name")
    if request.first_available:
        violations += check_items(
            request.first_available,
            f"{path}.firstAvailable",
            _subrequest,
            8,
            lambda r: r.name,
            "name",
        )
    if request.exactly is not None:
        violations += _device_request(request.exactly, f"{path}.exactly")
    kinds = bool(request.first_available) + (request.exactly is not None)
    detail = "exactly one of `exactly` or `firstAvailable` is required"
    if kinds == 0:
        violations.append(errors.required(path, detail))
    elif kinds > 1:
        violations.append(
            errors.invalid_value(path, None, f"{detail}, but multiple fields are set")
        )
    return violations


def _subrequest(request: v1.DeviceSubRequest, path: str) -> list[FieldError]:
    return label(request.name, f"{path}.name") + _device_request(request, path)


def _device_request(
    request: v1.ExactDeviceRequest | v1.DeviceSubRequest, path: str
) -> list[FieldError]:
    field = f"{path}.deviceClassName"
    violations = required(request.device_class_name, field) + named(
        request.device_class_name, dns_subdomain_errors, field
    )
    violations += selectors(request.selectors, f"{path}.selectors")
    if request.allocation_mode == "All":
        if request.count:
            detail = "must not be specified when allocationMode is 'All'"
            violations.append(errors.invalid_value(f"{path}.count", request.count, detail))
    elif request.allocation_mode == "ExactCount":
        if request.count <= 0:
            violations.append(
                errors.invalid_value(f"{path}.count", request.count, "must be greater than zero")
            )
    else:
        violations.append(
            errors.not_supported(
                f"{path}.allocationMode", request.allocation_mode, ("All", "ExactCount")
            )
        )
    violations += check_items(request.tolerations, f"{path}.tolerations", toleration_errors, 16)
    if request.capacity is not None:
        for name in request.capacity.requests:
            violations += attribute_name(name, f"{path}.capacity.requests[{name}]")
        violations += amounts(request.capacity.requests, f"{path}.capacity.requests")
    return violations


def named_requests(names: list[str], path: str, known: set[str]) -> list[FieldError]:
    detail = (
        "must be the name of a request in the claim or the name of a request and a"
        " subrequest separated by '/'"
    )

    def rule(name: str, field: str) -> list[FieldError]:
        return [] if name in known else [errors.invalid_value(field, name, detail)]

    return check_items(names, path, rule, MOST_REQUESTS, itself)


def _constraint(constraint: v1.DeviceConstraint, path: str, names: set[str]) -> list[FieldError]:
    violations = named_requests(constraint.requests, f"{path}.requests", names)
    kinds = {
        "matchAttribute": constraint.match_attribute,
        "distinctAttribute": constraint.distinct_attribute,
    }
    asked = {name: value for name, value in kinds.items() if value is not None}
    detail = "exactly one of `matchAttribute` or `distinctAttribute` is required"
    for name, value in asked.items():
        violations += full_name(value, f"{path}.{name}")
    if not asked:
        violations.append(errors.required(path, detail))
    elif len(asked) > 1:
        violations.append(
            errors.invalid_value(
                path, to_builtins(constraint), f"{detail}, but multiple fields are set"
            )
        )
    return violations


def admin_errors(spec: v1.ResourceClaimSpec, namespace: str, objects: Objects) -> list[FieldError]:
    """Access past other claims is for namespaces that administrators have marked."""
    asking = (
        i
        for i, request in enumerate(spec.devices.requests)
        if request.exactly and request.exactly.admin_access
    )
    if (index := next(asking, None)) is None:
        return []
    space = objects.find(Namespace, "", namespace)
    if space is not None and space.metadata.labels.get(ADMIN_LABEL) == "true":
        return []
    detail = (
        f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the"
        " containing namespace"
    )
    return [errors.forbidden_field(f"spec.devices.requests[{index}].exactly.adminAccess", detail)]
