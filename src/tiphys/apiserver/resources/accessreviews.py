"""Access reviews: what their specs may say, and the question that they put to the authorizers."""

from __future__ import annotations

from typing import Any

from tiphys.api import authorization_v1 as v1
from tiphys.apiserver.access.authorization import Asked
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_ONE_OF = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


def review_errors(review: Any, kind: str, namespace: str) -> list[FieldError]:
    """What is wrong with a review of any of the three kinds; `namespace` is that of the request."""
    spec, found = review.spec, []
    resource, other = spec.resource_attributes, spec.non_resource_attributes
    if resource is not None and other is not None:
        why = "cannot be specified in combination with resourceAttributes"
        found.append(errors.invalid_value("spec.nonResourceAttributes", other, why))
    if resource is None and other is None:
        found.append(errors.invalid_value("spec.resourceAttributes", None, _ONE_OF))
    if kind != "SelfSubjectAccessReview" and not spec.user and not spec.groups:
        found.append(
            errors.invalid_value("spec.user", "", "at least one of user or group must be specified")
        )
    if resource is not None:
        at = "spec.resourceAttributes"
        found += _selector_errors(resource.field_selector, f"{at}.fieldSelector")
        found += _selector_errors(resource.label_selector, f"{at}.labelSelector")
    if kind == "LocalSubjectAccessReview":
        if resource is not None and resource.namespace != namespace:
            where = "spec.resourceAttributes.namespace"
            found.append(
                errors.invalid_value(where, resource.namespace, "must match metadata.namespace")
            )
        if other is not None:
            found.append(
                errors.invalid_value(
                    "spec.nonResourceAttributes", other, "disallowed on this kind of request"
                )
            )
    return found


def _selector_errors(
    selector: v1.FieldSelectorAttributes | v1.LabelSelectorAttributes | None, at: str
) -> list[FieldError]:
    if selector is None:
        return []
    found = []
    if selector.raw_selector and selector.requirements:
        why = "may not specified at the same time as requirements"
        found.append(errors.invalid_value(f"{at}.rawSelector", selector.raw_selector, why))
    if not selector.raw_selector and not selector.requirements:
        why = f"when {at} is specified, requirements or rawSelector is required"
        found.append(errors.required(f"{at}.requirements", why))
    requirements: list[Any] = list(selector.requirements)
    for index, requirement in enumerate(requirements):
        where = f"{at}.requirements[{index}]"
        if not requirement.key:
            found.append(errors.required(f"{where}.key", "must be specified"))
        if requirement.operator in ("In", "NotIn") and not requirement.values:
            found.append(
                errors.required(
                    f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"
                )
            )
        if requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(errors.forbidden_field(f"{where}.values", why))
    return found


def asked_of(spec: Any) -> Asked:
    """The question of a review's spec."""
    if spec.non_resource_attributes is not None:
        return Asked(
            spec.non_resource_attributes.verb, path=spec.non_resource_attributes.path or "/"
        )
    a = spec.resource_attributes
    fields = _fields(a.field_selector)
    return Asked(
        a.verb,
        a.group,
        a.resource,
        a.subresource,
        a.namespace,
        a.name,
        version=a.version,
        fields=fields,
    )


def _fields(selector: v1.FieldSelectorAttributes | None) -> str:
    """A field selector as text. What field selectors cannot say is left out, which asks for more, never for less."""
    if selector is None or selector.raw_selector:
        return selector.raw_selector if selector is not None else ""
    signs = {"In": "=", "NotIn": "!="}
    return ",".join(
        _escaped(requirement.key) + signs[requirement.operator] + _escaped(requirement.values[0])
        for requirement in selector.requirements
        if requirement.operator in signs and len(requirement.values) == 1
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
