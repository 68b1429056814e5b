"""The rules of a pod's spec, shared by pods and every template of pods. Its defaults are in `poddefaults`."""

from __future__ import annotations

from tiphys.api import core_v1 as v1
from tiphys.apiserver.registry.metadata import validate_annotations, validate_labels
from tiphys.apiserver.resources.podcontainers import validate_containers
from tiphys.apiserver.resources.podcontext import validate_surroundings
from tiphys.apiserver.resources.podplacement import validate_placement
from tiphys.apiserver.resources.podvolumes import validate_volumes
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors

_POLICIES = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")


def validate_pod_spec(spec: v1.PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    volumes = validate_volumes(spec.volumes, f"{path}.volumes", found)
    if not spec.containers:
        found.append(errors.required(f"{path}.containers"))
    found += validate_containers(spec, path, volumes)
    if spec.restart_policy not in _POLICIES:
        found.append(errors.not_supported(f"{path}.restartPolicy", spec.restart_policy, _POLICIES))
    if spec.dns_policy not in _DNS:
        found.append(errors.not_supported(f"{path}.dnsPolicy", spec.dns_policy, _DNS))
    deadline = spec.active_deadline_seconds
    if deadline is not None and deadline < 1:
        why = "must be between 1 and 2147483647, inclusive"
        found.append(errors.invalid_value(f"{path}.activeDeadlineSeconds", deadline, why))
    for key, value in spec.node_selector.items():
        found += validate_labels({key: value}, f"{path}.nodeSelector")
    for name, value, check in (
        ("hostname", spec.hostname, dns_label_errors),
        ("subdomain", spec.subdomain, dns_label_errors),
        ("serviceAccountName", spec.service_account_name, dns_subdomain_errors),
        ("nodeName", spec.node_name, dns_subdomain_errors),
    ):
        if value:
            found += [
                errors.invalid_value(f"{path}.{name}", value, problem) for problem in check(value)
            ]
    return found + validate_placement(spec, path) + validate_surroundings(spec, path)


def validate_template(template: v1.PodTemplateSpec, path: str) -> list[FieldError]:
    found = validate_labels(template.metadata.labels, f"{path}.labels")
    found += validate_annotations(template.metadata.annotations, f"{path}.annotations")
    return found + validate_pod_spec(template.spec, f"{path}.spec")
