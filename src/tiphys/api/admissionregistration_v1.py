"""Types of admissionregistration.k8s.io/v1: names, tags, keys and defaults from the published API
of release 1.36."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from tiphys.api.base import F, Int32, Int64, Struct, always, always_list
from tiphys.api.meta_v1 import Condition, LabelSelector, ListMeta, Object, TypeMeta


class ApplyConfiguration(Struct):
    expression: Annotated[str, F(1)] = ""


class AuditAnnotation(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    value_expression: Annotated[str, F(2, req=True)] = always("")


class ExpressionWarning(Struct):
    field_ref: Annotated[str, F(2, req=True)] = always("")
    warning: Annotated[str, F(3, req=True)] = always("")


class JSONPatch(Struct):
    expression: Annotated[str, F(1)] = ""


class MatchCondition(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    expression: Annotated[str, F(2, req=True)] = always("")


class MatchResources(Struct):
    namespace_selector: Annotated[LabelSelector | None, F(1, atomic=True)] = None
    object_selector: Annotated[LabelSelector | None, F(2, atomic=True)] = None
    resource_rules: Annotated[list[NamedRuleWithOperations], F(3, list="atomic")] = []
    exclude_resource_rules: Annotated[list[NamedRuleWithOperations], F(4, list="atomic")] = []
    match_policy: Annotated[str | None, F(7)] = None


class MutatingAdmissionPolicySpec(Struct):
    param_kind: Annotated[ParamKind | None, F(1, atomic=True)] = None
    match_constraints: Annotated[MatchResources | None, F(2, atomic=True)] = None
    variables: Annotated[list[Variable], F(3, list="atomic")] = []
    mutations: Annotated[list[Mutation], F(4, list="atomic")] = []
    failure_policy: Annotated[str | None, F(5)] = None
    match_conditions: Annotated[
        list[MatchCondition], F(6, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    reinvocation_policy: Annotated[str, F(7)] = ""


class MutatingAdmissionPolicy(Object):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("MutatingAdmissionPolicy")
    spec: Annotated[MutatingAdmissionPolicySpec, F(2)] = field(
        default_factory=MutatingAdmissionPolicySpec
    )


class MutatingAdmissionPolicyBindingSpec(Struct):
    policy_name: Annotated[str, F(1)] = ""
    param_ref: Annotated[ParamRef | None, F(2, atomic=True)] = None
    match_resources: Annotated[MatchResources | None, F(3, atomic=True)] = None


class MutatingAdmissionPolicyBinding(Object):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("MutatingAdmissionPolicyBinding")
    spec: Annotated[MutatingAdmissionPolicyBindingSpec, F(2)] = field(
        default_factory=MutatingAdmissionPolicyBindingSpec
    )


class MutatingAdmissionPolicyBindingList(TypeMeta):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("MutatingAdmissionPolicyBindingList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[MutatingAdmissionPolicyBinding], F(2, req=True)] = always_list()


class MutatingAdmissionPolicyList(TypeMeta):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("MutatingAdmissionPolicyList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[MutatingAdmissionPolicy], F(2, req=True)] = always_list()


class WebhookClientConfig(Struct):
    url: Annotated[str | None, F(3)] = None
    service: Annotated[ServiceReference | None, F(1)] = None
    ca_bundle: Annotated[bytes, F(2)] = b""


class MutatingWebhook(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    client_config: Annotated[WebhookClientConfig, F(2, req=True)] = field(
        default_factory=WebhookClientConfig
    )
    rules: Annotated[list[RuleWithOperations], F(3, list="atomic")] = []
    failure_policy: Annotated[str | None, F(4)] = None
    match_policy: Annotated[str | None, F(9)] = None
    namespace_selector: Annotated[LabelSelector | None, F(5, atomic=True)] = None
    object_selector: Annotated[LabelSelector | None, F(11, atomic=True)] = None
    side_effects: Annotated[str | None, F(6, req=True)] = None
    timeout_seconds: Annotated[Int32 | None, F(7)] = None
    admission_review_versions: Annotated[list[str], F(8, list="atomic", req=True)] = always_list()
    reinvocation_policy: Annotated[str | None, F(10)] = None
    match_conditions: Annotated[
        list[MatchCondition], F(12, patch="merge", key="name", list="map", keys=("name",))
    ] = []


class MutatingWebhookConfiguration(Object):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("MutatingWebhookConfiguration")
    webhooks: Annotated[
        list[MutatingWebhook], F(2, patch="merge", key="name", list="map", keys=("name",))
    ] = []


class MutatingWebhookConfigurationList(TypeMeta):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("MutatingWebhookConfigurationList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[MutatingWebhookConfiguration], F(2, req=True)] = always_list()


class Mutation(Struct):
    patch_type: Annotated[str, F(2, req=True)] = always("")
    apply_configuration: Annotated[ApplyConfiguration | None, F(3)] = None
    json_patch: Annotated[JSONPatch | None, F(4)] = None


class Rule(Struct):
    api_groups: Annotated[list[str], F(1)] = []
    api_versions: Annotated[list[str], F(2)] = []
    resources: Annotated[list[str], F(3)] = []
    scope: Annotated[str | None, F(4)] = None


class RuleWithOperations(Rule):
    inline: ClassVar[int] = 2
    operations: Annotated[list[str], F(1, list="atomic")] = []


class NamedRuleWithOperations(RuleWithOperations):
    inline: ClassVar[int] = 2
    resource_names: Annotated[list[str], F(1, list="atomic")] = []


class ParamKind(Struct):
    api_version: Annotated[str, F(1)] = ""
    kind: Annotated[str, F(2)] = ""


class ParamRef(Struct):
    name: Annotated[str, F(1)] = ""
    namespace: Annotated[str, F(2)] = ""
    selector: Annotated[LabelSelector | None, F(3, atomic=True)] = None
    parameter_not_found_action: Annotated[str | None, F(4)] = None


class ServiceReference(Struct):
    namespace: Annotated[str, F(1, req=True)] = always("")
    name: Annotated[str, F(2, req=True)] = always("")
    path: Annotated[str | None, F(3)] = None
    port: Annotated[Int32 | None, F(4)] = None


class TypeChecking(Struct):
    expression_warnings: Annotated[list[ExpressionWarning], F(1, list="atomic")] = []


class ValidatingAdmissionPolicySpec(Struct):
    param_kind: Annotated[ParamKind | None, F(1, atomic=True)] = None
    match_constraints: Annotated[MatchResources | None, F(2, atomic=True)] = None
    validations: Annotated[list[Validation], F(3, list="atomic")] = []
    failure_policy: Annotated[str | None, F(4)] = None
    audit_annotations: Annotated[list[AuditAnnotation], F(5, list="atomic")] = []
    match_conditions: Annotated[
        list[MatchCondition], F(6, patch="merge", key="name", list="map", keys=("name",))
    ] = []
    variables: Annotated[
        list[Variable], F(7, patch="merge", key="name", list="map", keys=("name",))
    ] = []


class ValidatingAdmissionPolicyStatus(Struct):
    observed_generation: Annotated[Int64, F(1)] = 0
    type_checking: Annotated[TypeChecking | None, F(2)] = None
    conditions: Annotated[list[Condition], F(3, list="map", keys=("type",))] = []


class ValidatingAdmissionPolicy(Object):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("ValidatingAdmissionPolicy")
    spec: Annotated[ValidatingAdmissionPolicySpec, F(2)] = field(
        default_factory=ValidatingAdmissionPolicySpec
    )
    status: Annotated[ValidatingAdmissionPolicyStatus, F(3)] = field(
        default_factory=ValidatingAdmissionPolicyStatus
    )


class ValidatingAdmissionPolicyBindingSpec(Struct):
    policy_name: Annotated[str, F(1, req=True)] = ""
    param_ref: Annotated[ParamRef | None, F(2, atomic=True)] = None
    match_resources: Annotated[MatchResources | None, F(3, atomic=True)] = None
    validation_actions: Annotated[list[str], F(4, list="set", req=True)] = []


class ValidatingAdmissionPolicyBinding(Object):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("ValidatingAdmissionPolicyBinding")
    spec: Annotated[ValidatingAdmissionPolicyBindingSpec, F(2, req=True)] = field(
        default_factory=ValidatingAdmissionPolicyBindingSpec
    )


class ValidatingAdmissionPolicyBindingList(TypeMeta):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("ValidatingAdmissionPolicyBindingList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ValidatingAdmissionPolicyBinding], F(2, req=True)] = always_list()


class ValidatingAdmissionPolicyList(TypeMeta):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("ValidatingAdmissionPolicyList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ValidatingAdmissionPolicy], F(2, req=True)] = always_list()


class ValidatingWebhook(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    client_config: Annotated[WebhookClientConfig, F(2, req=True)] = field(
        default_factory=WebhookClientConfig
    )
    rules: Annotated[list[RuleWithOperations], F(3, list="atomic")] = []
    failure_policy: Annotated[str | None, F(4)] = None
    match_policy: Annotated[str | None, F(9)] = None
    namespace_selector: Annotated[LabelSelector | None, F(5, atomic=True)] = None
    object_selector: Annotated[LabelSelector | None, F(10, atomic=True)] = None
    side_effects: Annotated[str | None, F(6, req=True)] = None
    timeout_seconds: Annotated[Int32 | None, F(7)] = None
    admission_review_versions: Annotated[list[str], F(8, list="atomic", req=True)] = always_list()
    match_conditions: Annotated[
        list[MatchCondition], F(11, patch="merge", key="name", list="map", keys=("name",))
    ] = []


class ValidatingWebhookConfiguration(Object):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("ValidatingWebhookConfiguration")
    webhooks: Annotated[
        list[ValidatingWebhook], F(2, patch="merge", key="name", list="map", keys=("name",))
    ] = []


class ValidatingWebhookConfigurationList(TypeMeta):
    api_version: str = always("admissionregistration.k8s.io/v1")
    kind: str = always("ValidatingWebhookConfigurationList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ValidatingWebhookConfiguration], F(2, req=True)] = always_list()


class Validation(Struct):
    expression: Annotated[str, F(1, req=True)] = always("")
    message: Annotated[str, F(2)] = ""
    reason: Annotated[str | None, F(3)] = None
    message_expression: Annotated[str, F(4)] = ""


class Variable(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    expression: Annotated[str, F(2, req=True)] = always("")
