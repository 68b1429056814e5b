"""Access reviews, in their three kinds: what one of them may contain, and the question that it puts
to the authorizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from tiphys.api.authorization_v1 import (
    FieldSelectorAttributes,
    LabelSelectorAttributes,
    LocalSubjectAccessReview,
    ResourceAttributes,
    SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
)
from tiphys.api.base import Struct, to_builtins
from tiphys.api.meta_v1 import FieldSelectorRequirement, LabelSelectorRequirement, ObjectMeta
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.eventloop.aside import answered, aside
from tiphys.apiserver.http.request import User
from tiphys.apiserver.resources.actions import Action, ActionContext
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_MANY = 1000  # groups: more than any user is in
_ONE_OF = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
AnyReview = SubjectAccessReview | LocalSubjectAccessReview | SelfSubjectAccessReview
AnySpec = SubjectAccessReviewSpec | SelfSubjectAccessReviewSpec
R = TypeVar("R", SubjectAccessReview, LocalSubjectAccessReview, SelfSubjectAccessReview)


async def review_access(review: R, context: ActionContext) -> Struct:
    resource = context.resource
    if violations := review_errors(review, context.namespace):
        raise errors.invalid("", resource.group, "", violations)  # upstream names no kind
    user = context.user
    spec = review.spec
    if isinstance(spec, SubjectAccessReviewSpec):
        groups = await _deciding(spec.groups, context)
        user = User(spec.user, tuple(groups), spec.uid, spec.extra)
    decision = await answered(context.authorizer.decide, user, question_of(spec))
    review.status = SubjectAccessReviewStatus(
        allowed=decision.allowed,
        denied=decision.denied,
        reason=decision.reason,
        evaluation_error=decision.error,
    )
    return review


async def _deciding(groups: list[str], context: ActionContext) -> list[str]:
    """Of very many groups, those that may make a difference: to look each of 200,000 up would hold
    the loop for 60 ms."""
    deciding = context.authorizer.deciding_groups() if len(groups) > _MANY else None
    if deciding is None:
        return groups
    return await aside(lambda: [group for group in groups if group in deciding])


class SubjectAccessReviewStrategy(Strategy[SubjectAccessReview]):
    action = Action(SubjectAccessReview, review_access)


class LocalSubjectAccessReviewStrategy(Strategy[LocalSubjectAccessReview]):
    action = Action(LocalSubjectAccessReview, review_access)


class SelfSubjectAccessReviewStrategy(Strategy[SelfSubjectAccessReview]):
    action = Action(SelfSubjectAccessReview, review_access)


def review_errors(review: AnyReview, namespace: str) -> list[FieldError]:
    """What is wrong with a review of any kind; `namespace` is that of the request."""
    violations = []
    spec = review.spec
    resource = spec.resource_attributes
    path = spec.non_resource_attributes
    if resource is not None and path is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        violations.append(errors.invalid_value("spec.nonResourceAttributes", path, detail))
    if resource is None and path is None:
        violations.append(errors.invalid_value("spec.resourceAttributes", None, _ONE_OF))
    if isinstance(spec, SubjectAccessReviewSpec) and not spec.user and not spec.groups:
        detail = "at least one of user or group must be specified"
        violations.append(errors.invalid_value("spec.user", "", detail))
    if resource is not None:
        field = "spec.resourceAttributes"
        violations += _selector_errors(resource.field_selector, f"{field}.fieldSelector")
        violations += _selector_errors(resource.label_selector, f"{field}.labelSelector")
    if isinstance(review, LocalSubjectAccessReview):
        violations += _local_errors(spec, namespace)
    return violations + _metadata_errors(review)


def _metadata_errors(review: AnyReview) -> list[FieldError]:
    """A review is no object: it has no name."""
    meta = msgspec.structs.replace(review.metadata, managed_fields=[])
    detail = "must be empty"
    if isinstance(review, LocalSubjectAccessReview):
        detail = "must be empty except for namespace"
        meta.namespace = ""
    if meta == ObjectMeta():
        return []
    return [errors.invalid_value("metadata", to_builtins(review.metadata), detail)]


def _local_errors(spec: AnySpec, namespace: str) -> list[FieldError]:
    violations = []
    resource = spec.resource_attributes
    path = spec.non_resource_attributes
    if resource is not None and resource.namespace != namespace:
        field = "spec.resourceAttributes.namespace"
        detail = "must match metadata.namespace"
        violations.append(errors.invalid_value(field, resource.namespace, detail))
    if path is not None:
        detail = "disallowed on this kind of request"
        violations.append(errors.invalid_value("spec.nonResourceAttributes", path, detail))
    return violations


def _requirements(
    selector: FieldSelectorAttributes | LabelSelectorAttributes,
) -> Sequence[FieldSelectorRequirement | LabelSelectorRequirement]:
    return selector.requirements


def _selector_errors(
    selector: FieldSelectorAttributes | LabelSelectorAttributes | None, path: str
) -> list[FieldError]:
    if selector is None:
        return []
    violations = []
    if selector.raw_selector and selector.requirements:
        detail = "may not specified at the same time as requirements"
        violations.append(
            errors.invalid_value(f"{path}.rawSelector", selector.raw_selector, detail)
        )
    if not selector.raw_selector and not selector.requirements:
        detail = f"when {path} is specified, requirements or rawSelector is required"
        violations.append(errors.required(f"{path}.requirements", detail))
    for index, requirement in enumerate(_requirements(selector)):
        field = f"{path}.requirements[{index}]"
        if not requirement.key:
            violations.append(errors.required(f"{field}.key", "must be specified"))
        if requirement.operator in ("In", "NotIn") and not requirement.values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            violations.append(errors.required(f"{field}.values", detail))
        if requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            violations.append(errors.forbidden_field(f"{field}.values", detail))
    return violations


def question_of(spec: AnySpec) -> Asked:
    """What a review asks."""
    path = spec.non_resource_attributes
    if path is not None:
        return Asked(path.verb, path=path.path or "/")
    resource = spec.resource_attributes or ResourceAttributes()
    return Asked(
        resource.verb,
        resource.group,
        resource.resource,
        resource.subresource,
        resource.namespace,
        resource.name,
        version=resource.version,
        fields=_fields(resource.field_selector),
    )


def _fields(selector: FieldSelectorAttributes | None) -> str:
    """A field selector as text. What field selectors cannot express is left out, which asks for
    more, never for less."""
    if selector is None:
        return ""
    if selector.raw_selector:
        return selector.raw_selector
    signs = {"In": "=", "NotIn": "!="}
    return ",".join(
        _escaped(requirement.key) + signs[requirement.operator] + _escaped(requirement.values[0])
        for requirement in selector.requirements
        if requirement.operator in signs and len(requirement.values) == 1
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
