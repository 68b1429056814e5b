"""Types of authorization.k8s.io/v1: names, tags, keys and defaults from the published API of
release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Struct, always, always_list, named
from tiphys.api.meta_v1 import FieldSelectorRequirement, LabelSelectorRequirement, Object


class FieldSelectorAttributes(Struct):
    raw_selector: Annotated[str, F(1)] = ""
    requirements: Annotated[list[FieldSelectorRequirement], F(2, list="atomic")] = []


class LabelSelectorAttributes(Struct):
    raw_selector: Annotated[str, F(1)] = ""
    requirements: Annotated[list[LabelSelectorRequirement], F(2, list="atomic")] = []


class SubjectAccessReviewSpec(Struct):
    resource_attributes: Annotated[ResourceAttributes | None, F(1)] = None
    non_resource_attributes: Annotated[NonResourceAttributes | None, F(2)] = None
    user: Annotated[str, F(3)] = ""
    groups: Annotated[list[str], F(4, list="atomic")] = []
    extra: Annotated[dict[str, list[str]], F(5)] = {}
    uid: Annotated[str, F(6)] = ""


class SubjectAccessReviewStatus(Struct):
    allowed: Annotated[bool, F(1, req=True)] = always(False)
    denied: Annotated[bool, F(4)] = False
    reason: Annotated[str, F(2)] = ""
    evaluation_error: Annotated[str, F(3)] = ""


class LocalSubjectAccessReview(Object):
    api_version: str = always("authorization.k8s.io/v1")
    kind: str = always("LocalSubjectAccessReview")
    spec: Annotated[SubjectAccessReviewSpec, F(2, req=True)] = field(
        default_factory=SubjectAccessReviewSpec
    )
    status: Annotated[SubjectAccessReviewStatus, F(3)] = field(
        default_factory=SubjectAccessReviewStatus
    )


class NonResourceAttributes(Struct):
    path: Annotated[str, F(1)] = ""
    verb: Annotated[str, F(2)] = ""


class NonResourceRule(Struct):
    verbs: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    non_resource_urls: Annotated[list[str], F(2, list="atomic")] = named(
        "nonResourceURLs", factory=list
    )


class ResourceAttributes(Struct):
    namespace: Annotated[str, F(1)] = ""
    verb: Annotated[str, F(2)] = ""
    group: Annotated[str, F(3)] = ""
    version: Annotated[str, F(4)] = ""
    resource: Annotated[str, F(5)] = ""
    subresource: Annotated[str, F(6)] = ""
    name: Annotated[str, F(7)] = ""
    field_selector: Annotated[FieldSelectorAttributes | None, F(8)] = None
    label_selector: Annotated[LabelSelectorAttributes | None, F(9)] = None


class ResourceRule(Struct):
    verbs: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    api_groups: Annotated[list[str], F(2, list="atomic")] = []
    resources: Annotated[list[str], F(3, list="atomic")] = []
    resource_names: Annotated[list[str], F(4, list="atomic")] = []


class SelfSubjectAccessReviewSpec(Struct):
    resource_attributes: Annotated[ResourceAttributes | None, F(1)] = None
    non_resource_attributes: Annotated[NonResourceAttributes | None, F(2)] = None


class SelfSubjectAccessReview(Object):
    api_version: str = always("authorization.k8s.io/v1")
    kind: str = always("SelfSubjectAccessReview")
    spec: Annotated[SelfSubjectAccessReviewSpec, F(2, req=True)] = field(
        default_factory=SelfSubjectAccessReviewSpec
    )
    status: Annotated[SubjectAccessReviewStatus, F(3)] = field(
        default_factory=SubjectAccessReviewStatus
    )


class SelfSubjectRulesReviewSpec(Struct):
    namespace: Annotated[str, F(1)] = ""


class SubjectRulesReviewStatus(Struct):
    resource_rules: Annotated[list[ResourceRule], F(1, list="atomic", req=True)] = always_list()
    non_resource_rules: Annotated[list[NonResourceRule], F(2, list="atomic", req=True)] = (
        always_list()
    )
    incomplete: Annotated[bool, F(3, req=True)] = always(False)
    evaluation_error: Annotated[str, F(4)] = ""


class SelfSubjectRulesReview(Object):
    api_version: str = always("authorization.k8s.io/v1")
    kind: str = always("SelfSubjectRulesReview")
    spec: Annotated[SelfSubjectRulesReviewSpec, F(2, req=True)] = field(
        default_factory=SelfSubjectRulesReviewSpec
    )
    status: Annotated[SubjectRulesReviewStatus, F(3)] = field(
        default_factory=SubjectRulesReviewStatus
    )


class SubjectAccessReview(Object):
    api_version: str = always("authorization.k8s.io/v1")
    kind: str = always("SubjectAccessReview")
    spec: Annotated[SubjectAccessReviewSpec, F(2, req=True)] = field(
        default_factory=SubjectAccessReviewSpec
    )
    status: Annotated[SubjectAccessReviewStatus, F(3)] = field(
        default_factory=SubjectAccessReviewStatus
    )
