"""What containers and pods ask for of a node: cpu, memory, devices."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.api.core_v1 import ContainerResizePolicy, PodSpec, ResourceClaim, ResourceRequirements
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors
from tiphys.machinery.quota import container_amounts

STANDARD = ("cpu", "memory", "ephemeral-storage")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")
_OF_PODS = ("cpu", "hugepages-", "memory")


def validate_resources(resources: ResourceRequirements, path: str) -> list[FieldError]:
    """Of a container."""
    if not resources.limits and not resources.requests:
        return []
    violations = _amounts(resources.limits, f"{path}.limits")
    violations += _amounts(resources.requests, f"{path}.requests")
    for name, request in resources.requests.items():
        limit = resources.limits.get(name)
        if name not in STANDARD:
            violations += _indivisible(name, request, limit, path)
        elif limit is not None and quantity.nano(request) > quantity.nano(limit):
            detail = f"must be less than or equal to {name} limit of {limit}"
            violations.append(errors.invalid_value(f"{path}.requests", request, detail))
    return violations


def _amounts(amounts: Mapping[str, str], path: str) -> list[FieldError]:
    violations = []
    for name, amount in amounts.items():
        field = f"{path}[{name}]"
        nano = quantity.nano(amount)
        if nano < 0:
            violations.append(errors.invalid_value(field, amount, checks.NATURAL))
        if name in STANDARD:
            continue
        if "/" not in name and not name.startswith("hugepages-"):
            for detail in (
                "must be a standard resource type or fully qualified",
                "must be a standard resource for containers",
            ):
                violations.append(errors.invalid_value(field, name, detail))
        elif nano % quantity.NANO:
            violations.append(errors.invalid_value(field, amount, "must be an integer"))
    return violations


def _indivisible(name: str, request: str, limit: str | None, path: str) -> list[FieldError]:
    """What cannot be shared is given whole or not at all."""
    if limit is None:
        detail = "Limit must be set for non overcommitable resources"
        return [errors.required(f"{path}.limits", detail)]
    if quantity.nano(request) != quantity.nano(limit):
        detail = f"must be equal to {name} limit of {limit}"
        return [errors.invalid_value(f"{path}.requests", request, detail)]
    return []


def validate_pod_resources(spec: PodSpec, path: str) -> list[FieldError]:
    """What a pod as a whole asks for: never less than its containers together."""
    resources = spec.resources
    if resources is None:
        return []
    violations = []
    for kind, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        violations += checks.amounts(amounts, f"{path}.{kind}")
        for name in amounts:
            if not name.startswith("hugepages-") and name not in ("cpu", "memory"):
                violations.append(errors.not_supported(f"{path}.{kind}[{name}]", name, _OF_PODS))
    together = container_amounts(spec, "requests")
    for name, request in resources.requests.items():
        nano = quantity.nano(request)
        limit = resources.limits.get(name)
        if limit is not None and nano > quantity.nano(limit):
            detail = f"must be less than or equal to {name} limit of {limit}"
            violations.append(errors.invalid_value(f"{path}.requests", request, detail))
        total = together.get(name)
        if total is not None and quantity.nano(total) > nano:
            detail = f"must be greater than or equal to aggregate container requests of {total}"
            violations.append(errors.invalid_value(f"{path}.requests[{name}]", request, detail))
    violations += _limit_errors(spec, resources.limits, path)
    return violations + claim_names(resources.claims, spec, f"{path}.claims")


def _limit_errors(spec: PodSpec, limits: Mapping[str, str], path: str) -> list[FieldError]:
    """No container's limit is more than the pod's; of huge pages, which are given as a whole, not
    all of them together."""
    violations = []
    for name, amount in container_amounts(spec, "limits").items():
        limit = limits.get(name) if name.startswith("hugepages-") else None
        if limit is not None and quantity.nano(amount) > quantity.nano(limit):
            detail = f"must be greater than or equal to aggregate container limits of {amount}"
            violations.append(errors.invalid_value(f"{path}.limits[{name}]", limit, detail))
    for index, container in enumerate(spec.containers):
        for name, amount in container.resources.limits.items():
            limit = limits.get(name)
            if limit is not None and quantity.nano(amount) > quantity.nano(limit):
                field = f"{path}.containers[{index}][{name}].limits"  # upstream's path
                detail = f"must be less than or equal to pod limits of {limit}"
                violations.append(errors.invalid_value(field, amount, detail))
    return violations


def claim_names(claims: list[ResourceClaim], spec: PodSpec, path: str) -> list[FieldError]:
    """Claims of the pod that a container, or the pod as a whole, uses."""
    violations = []
    known = {claim.name for claim in spec.resource_claims}
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        field = f"{path}[{index}]"
        if not claim.name:
            violations.append(errors.required(field))
            continue
        key = f"{claim.name}/{claim.request}" if claim.request else claim.name
        if key in seen or claim.name in seen:
            violations.append(errors.duplicate(field, key))
        seen.add(key)
        violations += checks.named(claim.request, dns_label_errors, f"{field}.request")
        if claim.name not in known:
            violations.append(_unknown_claim(claim.name, known, field))
    return violations


def _unknown_claim(name: str, known: set[str], path: str) -> FieldError:
    error = errors.field_not_found(path, name)

    def detail() -> str:
        choice = f": {', '.join(sorted(known))}" if known else " which is empty"
        return f"{error.detail}:  must be one of the names in pod.spec.resourceClaims{choice}"

    return FieldError(error.reason, error.field, detail)


def validate_resize_policies(
    policies: list[ContainerResizePolicy], spec: PodSpec, path: str
) -> list[FieldError]:
    """Whether a container goes on or restarts when it gets more or less."""
    violations = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name = policy.resource_name
        if name in seen:
            violations.append(errors.duplicate(f"{path}[{index}]", name))
        seen.add(name)
        violations += checks.required(name, path)
        violations += checks.one_of(name, ("cpu", "memory"), path)
        violations += checks.required(policy.restart_policy, path)
        violations += checks.one_of(policy.restart_policy, _RESIZE_POLICIES, path)
        if spec.restart_policy == "Never" and policy.restart_policy == "RestartContainer":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            violations.append(errors.invalid_value(path, policy.restart_policy, detail))
    return violations
