"""The rules of a pod's spec, shared by pods and every template of pods."""

from __future__ import annotations

from tiphys.api.core_v1 import PodResourceClaim, PodSchedulingGate, PodSpec, PodTemplateSpec
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.podspec.containers import validate_containers
from tiphys.apiserver.resources.podspec.environment import validate_variable_files
from tiphys.apiserver.resources.podspec.hostnames import (
    validate_aliases,
    validate_dns,
    validate_hostname_override,
)
from tiphys.apiserver.resources.podspec.placement import validate_placement
from tiphys.apiserver.resources.podspec.requirements import validate_pod_resources
from tiphys.apiserver.resources.podspec.security import validate_pod_security
from tiphys.apiserver.resources.podspec.volumes import validate_volumes
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.labelrules import validate_annotations, validate_labels
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, label_key_errors

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION_POLICIES = ("Never", "PreemptLowerPriority")


def validate_template(template: PodTemplateSpec, path: str) -> list[FieldError]:
    violations = validate_labels(template.metadata.labels, f"{path}.labels")
    violations += validate_annotations(template.metadata.annotations, f"{path}.annotations")
    return violations + validate_pod_spec(template.spec, f"{path}.spec")


def validate_pod_spec(spec: PodSpec, path: str) -> list[FieldError]:
    """In upstream's order, which is that of the causes in the answer."""
    violations = validate_volumes(spec.volumes, f"{path}.volumes")
    violations += checks.required(spec.containers, f"{path}.containers")
    volumes = {volume.name for volume in spec.volumes}
    violations += validate_containers(spec, volumes, path)
    violations += _policies(spec, path)
    violations += _names(spec, path)
    violations += validate_placement(spec, path)
    violations += validate_dns(spec, f"{path}.dnsConfig")
    violations += validate_aliases(spec, f"{path}.hostAliases")
    violations += _gates(spec, path)
    violations += _host(spec, path)
    violations += validate_hostname_override(spec, f"{path}.hostnameOverride")
    violations += _claims(spec.resource_claims, f"{path}.resourceClaims")
    violations += validate_pod_resources(spec, f"{path}.resources")
    violations += _classes(spec, path)
    violations += validate_pod_security(spec, f"{path}.securityContext")
    return violations + validate_variable_files(spec, path)


def _policies(spec: PodSpec, path: str) -> list[FieldError]:
    violations = []
    policy = spec.restart_policy
    if policy not in _RESTART_POLICIES:
        violations.append(errors.not_supported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    policy = spec.dns_policy
    if policy not in _DNS_POLICIES:
        violations.append(errors.not_supported(f"{path}.dnsPolicy", policy, _DNS_POLICIES))
    deadline = spec.active_deadline_seconds
    if deadline is not None and deadline < 1:
        detail = "must be between 1 and 2147483647, inclusive"
        field = f"{path}.activeDeadlineSeconds"
        violations.append(errors.invalid_value(field, deadline, detail))
    return violations


def _names(spec: PodSpec, path: str) -> list[FieldError]:
    violations = []
    if spec.node_selector:
        violations += validate_labels(spec.node_selector, f"{path}.nodeSelector")
    if spec.hostname or spec.subdomain:
        violations += checks.named(spec.hostname, dns_label_errors, f"{path}.hostname")
        violations += checks.named(spec.subdomain, dns_label_errors, f"{path}.subdomain")
    violations += checks.subdomain(spec.service_account_name, f"{path}.serviceAccountName")
    return violations + checks.subdomain(spec.node_name, f"{path}.nodeName")


def _gates(spec: PodSpec, path: str) -> list[FieldError]:
    """What a pod waits for before it is scheduled, and before it is ready."""
    violations = []
    for index, gate in enumerate(spec.readiness_gates):
        field = f"{path}.readinessGates[{index}].conditionType"
        violations += checks.named(gate.condition_type, label_key_errors, field)
    return violations + _scheduling_gates(spec.scheduling_gates, f"{path}.schedulingGates")


def _scheduling_gates(gates: list[PodSchedulingGate], path: str) -> list[FieldError]:
    violations = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        violations += checks.named(gate.name, label_key_errors, f"{path}[{index}]")
        if gate.name in seen:
            violations.append(errors.duplicate(f"{path}[{index}]", gate.name))
        seen.add(gate.name)
    return violations


def _host(spec: PodSpec, path: str) -> list[FieldError]:
    """Which nodes a pod can run on, and what it may share with its node."""
    violations = []
    if spec.os is not None:
        violations += checks.required(spec.os.name, f"{path}.os.name")
        violations += checks.one_of(spec.os.name, ("linux", "windows"), f"{path}.os.name")
    if spec.host_users is not False:
        return violations
    shared = {
        "hostNetwork": spec.host_network,
        "hostPID": spec.host_pid,
        "hostIPC": spec.host_ipc,
    }
    for name, wanted in shared.items():
        if wanted:
            detail = "when `pod.Spec.HostUsers` is false"
            violations.append(errors.forbidden_field(f"{path}.{name}", detail))
    return violations


def _claims(claims: list[PodResourceClaim], path: str) -> list[FieldError]:
    violations = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        field = f"{path}[{index}]"
        violations += checks.required(claim.name, f"{field}.name")
        violations += checks.named(claim.name, dns_label_errors, f"{field}.name")
        if claim.name in seen:
            violations.append(errors.duplicate(f"{field}.name", claim.name))
        seen.add(claim.name)
        violations += _claim_source(claim, field)
    return violations


def _claim_source(claim: PodResourceClaim, path: str) -> list[FieldError]:
    sources = {
        "resourceClaimName": claim.resource_claim_name,
        "resourceClaimTemplateName": claim.resource_claim_template_name,
    }
    present = {name: value for name, value in sources.items() if value is not None}
    violations = []
    if len(present) > 1:
        detail = (
            "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
        )
        violations.append(errors.invalid_value(path, claim, detail))
    elif not present:
        detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
        violations.append(errors.invalid_value(path, claim, detail))
    for name, value in present.items():
        violations += checks.obeys(value, dns_subdomain_errors, f"{path}.{name}")
    return violations


def _classes(spec: PodSpec, path: str) -> list[FieldError]:
    violations = []
    if spec.share_process_namespace and spec.host_pid:
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        field = f"{path}.securityContext.shareProcessNamespace"
        violations.append(errors.invalid_value(field, True, detail))
    violations += checks.subdomain(spec.priority_class_name, f"{path}.priorityClassName")
    violations += checks.subdomain(spec.runtime_class_name, f"{path}.runtimeClassName")
    policy = spec.preemption_policy
    return violations + checks.one_of(policy, _PREEMPTION_POLICIES, f"{path}.preemptionPolicy")
