"""APIServices: which server answers for a group and version."""

from __future__ import annotations

from tiphys.api.apiregistration_v1 import APIService, APIServiceSpec
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import conditions, errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns1035_errors, dns_subdomain_errors, path_segment_errors

_HIGHEST_GROUP_PRIORITY = 20000
_HIGHEST_VERSION_PRIORITY = 1000


def _service(api_service: APIService) -> str:
    service = api_service.spec.service
    return f"{service.namespace}/{service.name}" if service is not None else "Local"


def _available(api_service: APIService) -> str:
    condition = conditions.find(api_service.status.conditions, "Available")
    if condition is None:
        return "Unknown"
    if condition.status == "True":
        return "True"
    return f"{condition.status} ({condition.reason})"


class APIServiceStrategy(Strategy[APIService]):
    """The name is that of what is served: ``v1.apps``, and ``v1.`` for the group without a name."""

    columns = (NAME, Column("Service", _service), Column("Available", _available), AGE)
    name_errors = staticmethod(path_segment_errors)
    status_alone = True

    def default(self, obj: APIService) -> None:
        service = obj.spec.service
        if service is not None and service.port is None:
            service.port = 443

    def validate(self, obj: APIService) -> list[FieldError]:
        spec = obj.spec
        violations = []
        name = f"{spec.version}.{spec.group}"
        if obj.metadata.name != name:
            detail = f'must be `spec.version+"."+spec.group`: "{name}"'
            violations.append(errors.invalid_value("metadata.name", obj.metadata.name, detail))
        if not spec.group and spec.version != "v1":
            detail = "only v1 may have an empty group and it better be legacy kube"
            violations.append(errors.required("spec.group", detail))
        violations += checks.named(spec.group, dns_subdomain_errors, "spec.group")
        violations += checks.obeys(spec.version, dns1035_errors, "spec.version")
        priority = spec.group_priority_minimum
        if not 0 < priority <= _HIGHEST_GROUP_PRIORITY:
            detail = "must be positive and less than 20000"
            violations.append(errors.invalid_value("spec.groupPriorityMinimum", priority, detail))
        priority = spec.version_priority
        if not 0 < priority <= _HIGHEST_VERSION_PRIORITY:
            detail = "must be positive and less than 1000"
            violations.append(errors.invalid_value("spec.versionPriority", priority, detail))
        return violations + _service_errors(spec)


def _service_errors(spec: APIServiceSpec) -> list[FieldError]:
    service = spec.service
    if service is None:
        return _local_errors(spec)
    violations = checks.required(service.namespace, "spec.service.namespace")
    violations += checks.required(service.name, "spec.service.name")
    violations += [
        errors.invalid_value(error.field, service.port, f"port is not valid: {checks.PORT_RANGE}")
        for error in checks.port(service.port, "spec.service.port")
    ]
    if spec.insecure_skip_tls_verify and spec.ca_bundle:
        detail = "may not be true if caBundle is present"
        field = "spec.insecureSkipTLSVerify"
        violations.append(errors.invalid_value(field, True, detail))
    return violations


def _local_errors(spec: APIServiceSpec) -> list[FieldError]:
    """What is served here needs no way to trust a server."""
    violations = []
    if spec.ca_bundle:
        shown = f"{len(spec.ca_bundle)} bytes"
        detail = "local APIServices may not have a caBundle"
        violations.append(errors.invalid_value("spec.caBundle", shown, detail))
    if spec.insecure_skip_tls_verify:
        detail = "local APIServices may not have insecureSkipTLSVerify"
        violations.append(errors.invalid_value("spec.insecureSkipTLSVerify", True, detail))
    return violations
