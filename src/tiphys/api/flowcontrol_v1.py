"""Types of flowcontrol.apiserver.k8s.io/v1: names, tags, keys and defaults from the published API
of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Struct, Time, always, always_list, named
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class ExemptPriorityLevelConfiguration(Struct):
    nominal_concurrency_shares: Annotated[Int32 | None, F(1)] = None
    lendable_percent: Annotated[Int32 | None, F(2)] = None


class FlowDistinguisherMethod(Struct):
    type: Annotated[str, F(1, req=True)] = always("")


class PriorityLevelConfigurationReference(Struct):
    name: Annotated[str, F(1, req=True)] = always("")


class FlowSchemaSpec(Struct):
    priority_level_configuration: Annotated[PriorityLevelConfigurationReference, F(1, req=True)] = (
        field(default_factory=PriorityLevelConfigurationReference)
    )
    matching_precedence: Annotated[Int32, F(2)] = always(0)
    distinguisher_method: Annotated[FlowDistinguisherMethod | None, F(3)] = None
    rules: Annotated[list[PolicyRulesWithSubjects], F(4, list="atomic")] = []


class FlowSchemaStatus(Struct):
    conditions: Annotated[
        list[FlowSchemaCondition], F(1, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class FlowSchema(Object):
    api_version: str = always("flowcontrol.apiserver.k8s.io/v1")
    kind: str = always("FlowSchema")
    spec: Annotated[FlowSchemaSpec, F(2)] = field(default_factory=FlowSchemaSpec)
    status: Annotated[FlowSchemaStatus, F(3)] = field(default_factory=FlowSchemaStatus)


class FlowSchemaCondition(Struct):
    type: Annotated[str, F(1)] = ""
    status: Annotated[str, F(2)] = ""
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class FlowSchemaList(TypeMeta):
    api_version: str = always("flowcontrol.apiserver.k8s.io/v1")
    kind: str = always("FlowSchemaList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[FlowSchema], F(2, req=True)] = always_list()


class GroupSubject(Struct):
    name: Annotated[str, F(1, req=True)] = always("")


class LimitResponse(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    queuing: Annotated[QueuingConfiguration | None, F(2)] = None


class LimitedPriorityLevelConfiguration(Struct):
    nominal_concurrency_shares: Annotated[Int32 | None, F(1)] = None
    limit_response: Annotated[LimitResponse, F(2)] = field(default_factory=LimitResponse)
    lendable_percent: Annotated[Int32 | None, F(3)] = None
    borrowing_limit_percent: Annotated[Int32 | None, F(4)] = None


class NonResourcePolicyRule(Struct):
    verbs: Annotated[list[str], F(1, list="set", req=True)] = always_list()
    non_resource_urls: Annotated[list[str], F(6, list="set", req=True)] = named(
        "nonResourceURLs", factory=list
    )


class PolicyRulesWithSubjects(Struct):
    subjects: Annotated[list[Subject], F(1, list="atomic", req=True)] = always_list()
    resource_rules: Annotated[list[ResourcePolicyRule], F(2, list="atomic")] = []
    non_resource_rules: Annotated[list[NonResourcePolicyRule], F(3, list="atomic")] = []


class PriorityLevelConfigurationSpec(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    limited: Annotated[LimitedPriorityLevelConfiguration | None, F(2)] = None
    exempt: Annotated[ExemptPriorityLevelConfiguration | None, F(3)] = None


class PriorityLevelConfigurationStatus(Struct):
    conditions: Annotated[
        list[PriorityLevelConfigurationCondition],
        F(1, patch="merge", key="type", list="map", keys=("type",)),
    ] = []


class PriorityLevelConfiguration(Object):
    api_version: str = always("flowcontrol.apiserver.k8s.io/v1")
    kind: str = always("PriorityLevelConfiguration")
    spec: Annotated[PriorityLevelConfigurationSpec, F(2)] = field(
        default_factory=PriorityLevelConfigurationSpec
    )
    status: Annotated[PriorityLevelConfigurationStatus, F(3)] = field(
        default_factory=PriorityLevelConfigurationStatus
    )


class PriorityLevelConfigurationCondition(Struct):
    type: Annotated[str, F(1)] = ""
    status: Annotated[str, F(2)] = ""
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class PriorityLevelConfigurationList(TypeMeta):
    api_version: str = always("flowcontrol.apiserver.k8s.io/v1")
    kind: str = always("PriorityLevelConfigurationList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PriorityLevelConfiguration], F(2, req=True)] = always_list()


class QueuingConfiguration(Struct):
    queues: Annotated[Int32, F(1)] = always(0)
    hand_size: Annotated[Int32, F(2)] = always(0)
    queue_length_limit: Annotated[Int32, F(3)] = always(0)


class ResourcePolicyRule(Struct):
    verbs: Annotated[list[str], F(1, list="set", req=True)] = always_list()
    api_groups: Annotated[list[str], F(2, list="set", req=True)] = always_list()
    resources: Annotated[list[str], F(3, list="set", req=True)] = always_list()
    cluster_scope: Annotated[bool, F(4)] = False
    namespaces: Annotated[list[str], F(5, list="set")] = always_list()


class ServiceAccountSubject(Struct):
    namespace: Annotated[str, F(1, req=True)] = always("")
    name: Annotated[str, F(2, req=True)] = always("")


class Subject(Struct):
    kind: Annotated[str, F(1, req=True)] = always("")
    user: Annotated[UserSubject | None, F(2)] = None
    group: Annotated[GroupSubject | None, F(3)] = None
    service_account: Annotated[ServiceAccountSubject | None, F(4)] = None


class UserSubject(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
