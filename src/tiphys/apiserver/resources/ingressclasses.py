"""Ingress classes."""

from __future__ import annotations

from tiphys.api.networking_v1 import IngressClass, IngressClassParametersReference
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors

_LONGEST_CONTROLLER = 250


def _parameters(ingress_class: IngressClass) -> str:
    parameters = ingress_class.spec.parameters
    return f"{parameters.kind}/{parameters.name}" if parameters is not None else "<none>"


class IngressClassStrategy(Strategy[IngressClass]):
    columns = (
        NAME,
        Column("Controller", lambda o: o.spec.controller),
        Column("Parameters", _parameters),
        AGE,
    )
    generation = True

    def default(self, obj: IngressClass) -> None:
        if obj.spec.parameters is not None and obj.spec.parameters.scope is None:
            obj.spec.parameters.scope = "Cluster"

    def validate(self, obj: IngressClass) -> list[FieldError]:
        violations = []
        controller = obj.spec.controller
        if len(controller) > _LONGEST_CONTROLLER:
            violations.append(errors.too_long("spec.controller", _LONGEST_CONTROLLER))
        violations += checks.domain_path(controller, "spec.controller")
        if obj.spec.parameters is not None:
            violations += _parameter_errors(obj.spec.parameters, "spec.parameters")
        return violations

    def validate_update(self, new: IngressClass, old: IngressClass) -> list[FieldError]:
        return immutable("spec.controller", new.spec.controller, old.spec.controller)


def _parameter_errors(parameters: IngressClassParametersReference, path: str) -> list[FieldError]:
    scope = parameters.scope
    namespace = parameters.namespace
    violations = checks.subdomain(parameters.api_group, f"{path}.apiGroup")
    violations += checks.segment(parameters.kind, f"{path}.kind")
    violations += checks.segment(parameters.name, f"{path}.name")
    violations += checks.required(scope, f"{path}.scope")
    violations += checks.one_of(scope, ("Cluster", "Namespace"), f"{path}.scope")
    field = f"{path}.namespace"
    if scope == "Namespace":
        violations += checks.required(namespace, field, "`parameters.scope` is set to 'Namespace'")
        violations += checks.named(namespace or "", dns_label_errors, field)
    elif scope == "Cluster" and namespace is not None:
        detail = "`parameters.scope` is set to 'Cluster'"
        violations.append(errors.forbidden_field(field, detail))
    return violations
