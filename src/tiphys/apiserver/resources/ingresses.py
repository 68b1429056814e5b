"""Ingresses."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.core_v1 import TypedLocalObjectReference
from tiphys.api.networking_v1 import (
    HTTPIngressPath,
    Ingress,
    IngressBackend,
    IngressServiceBackend,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column, shortened
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, is_ip, port_name_errors

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def _hosts(ingress: Ingress) -> str:
    hosts = [rule.host for rule in ingress.spec.rules if rule.host]
    return shortened(hosts, "*")


def _addresses(ingress: Ingress) -> str:
    return ",".join(point.ip or point.hostname for point in ingress.status.load_balancer.ingress)


class IngressStrategy(Strategy[Ingress]):
    columns = (
        NAME,
        Column("Class", lambda o: o.spec.ingress_class_name or "<none>"),
        Column("Hosts", _hosts),
        Column("Address", _addresses),
        Column("Ports", lambda o: "80, 443" if o.spec.tls else "80"),
        AGE,
    )
    generation = True

    def validate(self, obj: Ingress) -> list[FieldError]:
        spec = obj.spec
        if not spec.rules and spec.default_backend is None:
            detail = "either `defaultBackend` or `rules` must be specified"
            return [errors.invalid_value("spec", None, detail)]
        violations = _backend(spec.default_backend, "spec.defaultBackend")
        violations += checks.subdomain(spec.ingress_class_name, "spec.ingressClassName")
        for number, tls in enumerate(spec.tls):
            path = f"spec.tls[{number}]"
            for index, host in enumerate(tls.hosts):
                violations += _host(host, f"{path}.hosts[{index}]")
            violations += checks.subdomain(tls.secret_name, f"{path}.secretName")
        for number, rule in enumerate(spec.rules):
            path = f"spec.rules[{number}]"
            violations += _host(rule.host, f"{path}.host")
            for index, http_path in enumerate(rule.http.paths if rule.http is not None else ()):
                violations += _path(http_path, f"{path}.http.paths[{index}]")
        return violations

    def warnings(self, new: Ingress, old: Ingress | None) -> Iterator[str]:
        if old is None and _CLASS_ANNOTATION in new.metadata.annotations:
            yield (
                f'annotation "{_CLASS_ANNOTATION}" is deprecated,'
                " please use 'spec.ingressClassName' instead"
            )


def _host(name: str, path: str) -> list[FieldError]:
    if is_ip(name):
        return [errors.invalid_value(path, name, "must be a DNS name, not an IP address")]
    plain = name.removeprefix("*.")
    problems = dns_subdomain_errors(plain) if plain else []
    return [errors.invalid_value(path, name, problem) for problem in problems]


def _path(http_path: HTTPIngressPath, path: str) -> list[FieldError]:
    kind = http_path.path_type
    violations = checks.required(kind, f"{path}.pathType", "pathType must be specified")
    violations += checks.one_of(kind, _PATH_TYPES, f"{path}.pathType")
    if kind in ("Exact", "Prefix") and not http_path.path.startswith("/"):
        detail = "must be an absolute path"
        violations.append(errors.invalid_value(f"{path}.path", http_path.path, detail))
    return violations + _backend(http_path.backend, f"{path}.backend")


# --- backends ---


def _backend(backend: IngressBackend | None, path: str) -> list[FieldError]:
    if backend is None:
        return []
    if backend.resource is not None:
        if backend.service is not None:
            detail = "cannot set both resource and service backends"
            return [errors.invalid_value(path, "", detail)]
        return _resource_backend(backend.resource, f"{path}.resource")
    if backend.service is None:
        return [errors.required(f"{path}.name")]
    return _service_backend(backend.service, path)


def _resource_backend(resource: TypedLocalObjectReference, path: str) -> list[FieldError]:
    violations = checks.subdomain(resource.api_group, f"{path}.apiGroup")
    violations += checks.segment(resource.kind, f"{path}.kind")
    return violations + checks.segment(resource.name, f"{path}.name")


def _service_backend(service: IngressServiceBackend, path: str) -> list[FieldError]:
    violations = checks.required(service.name, f"{path}.service.name")
    violations += checks.named(service.name, dns_label_errors, f"{path}.service.name")
    port = service.port
    if port is None or not (port.name or port.number):
        violations.append(errors.required(path, "port name or number is required"))
    elif port.name and port.number:
        detail = "cannot set both port name & port number"
        violations.append(errors.invalid_value(path, "", detail))
    elif port.number:
        violations += checks.port(port.number, f"{path}.service.port.number")
    else:
        violations += checks.named(port.name, port_name_errors, f"{path}.service.port.name")
    return violations
