"""Workloads: what a job asks for, and what it was given."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.kueue import GROUP
from tiphys.addons.kueue.types.names import (
    API_VERSION,
    DNS,
    INT32,
    CheckName,
    Conditions,
    Count,
    Name,
    PodSetName,
)
from tiphys.addons.kueue.types.quotas import TOLERATION_RULES
from tiphys.api.base import JSON, F, Int32, Quantity, Struct, Time, always, always_list
from tiphys.api.core_v1 import Toleration
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, Rule, custom_resource

_AT_LEAST_ONE = Meta(ge=1, le=INT32)
_Label63 = Annotated[str, Meta(max_length=63)]


# --- what is requested ---


class SliceConstraint(Struct):
    topology: Annotated[str, F(0, req=True), Meta(min_length=1, max_length=63)] = always("")
    size: Annotated[int, F(0, req=True), _AT_LEAST_ONE] = 1


class PodSetTopologyRequest(Struct):
    """How near each other pods are to be. Groups of pod sets are kept, and not acted on."""

    required: _Label63 | None = None
    preferred: _Label63 | None = None
    unconstrained: bool | None = None
    pod_index_label: Annotated[str, Meta(max_length=317)] | None = None
    sub_group_index_label: Annotated[str, Meta(max_length=317)] | None = None
    sub_group_count: Count | None = None
    pod_set_group_name: Annotated[str, Meta(max_length=256)] | None = None
    pod_set_slice_required_topology: _Label63 | None = None
    pod_set_slice_size: Annotated[int, _AT_LEAST_ONE] | None = None
    podset_slice_required_topology_constraints: Annotated[
        list[SliceConstraint], F(0, list="atomic"), Meta(max_length=3)
    ] = []


class PodSet(Struct):
    """Pods that are alike. `template` is a pod template as it is written."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.minCount) ? self.minCount <= self.count : true",
            message="minCount should be positive and less or equal to count",
        ),
    )
    name: Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = "main"
    template: Annotated[JSON, F(0, req=True)] = None
    count: Annotated[int, Meta(ge=0, le=INT32, extra_json_schema={"default": 1})] = always(1)
    min_count: Annotated[int, _AT_LEAST_ONE] | None = None
    topology_request: PodSetTopologyRequest | None = None


class PriorityClassRef(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.group == 'scheduling.k8s.io') ? self.kind == 'PriorityClass' : true",
            message="only the PriorityClass kind is allowed for the scheduling.k8s.io group",
        ),
        Rule(
            "(self.group == 'kueue.x-k8s.io') ? self.kind == 'WorkloadPriorityClass' : true",
            message="only the WorkloadPriorityClass kind is allowed for the kueue.x-k8s.io group",
        ),
    )
    group: Annotated[Literal["kueue.x-k8s.io", "scheduling.k8s.io"], F(0, req=True)] = always(
        "kueue.x-k8s.io"
    )
    kind: Annotated[Literal["WorkloadPriorityClass", "PriorityClass"], F(0, req=True)] = always(
        "WorkloadPriorityClass"
    )
    name: Annotated[str, F(0, req=True), Meta(min_length=1, max_length=253, pattern=DNS)] = always(
        ""
    )


class PreemptionGate(Struct):
    name: Annotated[str, F(0, req=True), Meta(min_length=1, max_length=63)] = always("")


class WorkloadSpec(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.priorityClassRef) || has(self.priority)",
            message="priority should not be nil when priorityClassRef is set",
        ),
    )
    pod_sets: Annotated[
        list[PodSet], F(0, list="map", keys=("name",)), Meta(min_length=1, max_length=18)
    ] = []
    queue_name: Name | None = None
    priority_class_ref: PriorityClassRef | None = None
    priority: Int32 | None = None
    active: Annotated[bool | None, Meta(extra_json_schema={"default": True})] = None
    maximum_execution_time_seconds: Annotated[int, _AT_LEAST_ONE] | None = None
    preemption_gates: Annotated[
        list[PreemptionGate], F(0, list="map", keys=("name",)), Meta(max_length=8)
    ] = []


# --- what it was given ---


class PodSetAssignment(Struct):
    name: Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = "main"
    flavors: dict[str, Name] = {}
    resource_usage: dict[str, Quantity] = {}
    count: Count | None = None
    topology_assignment: JSON = None
    delayed_topology_request: Annotated[
        Literal["Pending", "Ready"] | None, Meta(extra_json_schema={"max_length": 7})
    ] = None


class Admission(Struct):
    cluster_queue: Name = always("")
    pod_set_assignments: Annotated[
        list[PodSetAssignment], F(0, list="map", keys=("name",)), Meta(max_length=18)
    ] = always_list()


class PodSetUpdate(Struct):
    name: Annotated[PodSetName, F(0, req=True)] = always("")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: Annotated[
        list[Toleration],
        F(0, list="atomic"),
        Meta(max_length=8),
        TOLERATION_RULES[0],
        TOLERATION_RULES[1],
        TOLERATION_RULES[2],
        TOLERATION_RULES[3],
        TOLERATION_RULES[4],
    ] = []


class AdmissionCheckState(Struct):
    name: Annotated[CheckName, F(0, req=True)] = always("")
    state: Annotated[Literal["Pending", "Ready", "Retry", "Rejected"], F(0, req=True)] = always(
        "Pending"
    )
    last_transition_time: Annotated[Time, F(0, req=True)] = always("")
    message: Annotated[str, F(0, req=True), Meta(max_length=32768)] = always("")
    requeue_after_seconds: Count | None = None
    retry_count: Count | None = None
    pod_set_updates: Annotated[list[PodSetUpdate], F(0, list="atomic"), Meta(max_length=18)] = []


class RequeueState(Struct):
    count: Count | None = None
    requeue_at: Time | None = None


class ReclaimablePod(Struct):
    name: Annotated[PodSetName, F(0, req=True)] = always("")
    count: Annotated[Count, F(0, req=True)] = always(0)


class PodSetRequest(Struct):
    name: Annotated[PodSetName, F(0, req=True)] = always("")
    resources: dict[str, Quantity] = {}


class Eviction(Struct):
    reason: Annotated[str, F(0, req=True), Meta(max_length=316)] = always("")
    underlying_cause: Annotated[str, F(0, req=True), Meta(max_length=316)] = always("")
    count: Annotated[Count, F(0, req=True)] = always(0)


class SchedulingStats(Struct):
    evictions: Annotated[
        list[Eviction], F(0, list="map", keys=("reason", "underlyingCause")), Meta(max_length=256)
    ] = []


class UnhealthyNode(Struct):
    name: Annotated[_Label63, F(0, req=True)] = always("")


class PreemptionGateState(Struct):
    name: Annotated[str, F(0, req=True), Meta(min_length=1, max_length=63)] = always("")
    position: Annotated[Literal["Closed", "Open"], F(0, req=True)] = always("Closed")
    last_transition_time: Annotated[Time, F(0, req=True)] = always("")


class WorkloadStatus(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(oldSelf.clusterName) || !has(self.clusterName) || "
            "oldSelf.clusterName == self.clusterName",
            message="clusterName is immutable once set",
        ),
        Rule(
            "!has(self.clusterName) || (!has(self.nominatedClusterNames) || "
            "(has(self.nominatedClusterNames) && size(self.nominatedClusterNames) == 0))",
            message="clusterName and nominatedClusterNames are mutually exclusive",
        ),
    )
    conditions: Conditions = []
    admission: Admission | None = None
    requeue_state: RequeueState | None = None
    reclaimable_pods: Annotated[
        list[ReclaimablePod], F(0, list="map", keys=("name",)), Meta(max_length=18)
    ] = []
    admission_checks: Annotated[
        list[AdmissionCheckState], F(0, list="map", keys=("name",)), Meta(max_length=8)
    ] = []
    resource_requests: Annotated[
        list[PodSetRequest], F(0, list="map", keys=("name",)), Meta(max_length=18)
    ] = []
    accumulated_past_execution_time_seconds: Int32 | None = None
    scheduling_stats: SchedulingStats | None = None
    nominated_cluster_names: Annotated[
        list[Annotated[str, Meta(max_length=256)]], F(0, list="atomic"), Meta(max_length=20)
    ] = []
    cluster_name: Annotated[str, Meta(max_length=256)] | None = None
    unhealthy_nodes: Annotated[
        list[UnhealthyNode], F(0, list="map", keys=("name",)), Meta(max_length=8)
    ] = []
    preemption_gates: Annotated[
        list[PreemptionGateState], F(0, list="map", keys=("name",)), Meta(max_length=8)
    ] = []


def _has(which: str, condition: str) -> str:
    """Whether a workload has a condition, in CEL."""
    return (
        f"has({which}.status) && has({which}.status.conditions) && "
        f"{which}.status.conditions.exists(c, c.type == '{condition}' && c.status == 'True')"
    )


def _kept(field_: str, subfield: str, more: str = "") -> Rule:
    """A part of the priority class that stays while the workload holds quota."""
    return Rule(
        f"({_has('oldSelf', 'QuotaReserved')} && has(oldSelf.spec.priorityClassRef) && "
        f"has(self.spec.priorityClassRef){more}) ? "
        f"oldSelf.spec.priorityClassRef.{field_} == self.spec.priorityClassRef.{field_} : true",
        message=f"priorityClassRef.{subfield} is immutable{{}}while workload quota reserved".format(
            " for scheduling.k8s.io/priorityclass " if more else " "
        ),
    )


_LIMIT = "spec.maximumExecutionTimeSeconds"
_WORKLOAD_RULES = (
    Rule(
        f"{_has('self', 'QuotaReserved')} && has(self.status.admission) ? "
        "size(self.spec.podSets) == size(self.status.admission.podSetAssignments) : true",
        message="podSetAssignments must have the same number of podSets as the spec",
    ),
    Rule(
        f"({_has('oldSelf', 'QuotaReserved')}) ? "
        "(!has(oldSelf.spec.priorityClassRef) && !has(self.spec.priorityClassRef)) || "
        "(has(oldSelf.spec.priorityClassRef) && has(self.spec.priorityClassRef)) : true",
        message="priorityClassRef is immutable while workload quota reserved",
    ),
    _kept("group", "group"),
    _kept("kind", "kind"),
    _kept(
        "name",
        "name",
        " && self.spec.priorityClassRef.group == 'scheduling.k8s.io' && "
        "self.spec.priorityClassRef.kind == 'PriorityClass'",
    ),
    Rule(
        f"(({_has('oldSelf', 'QuotaReserved')}) && ({_has('self', 'QuotaReserved')})) ? "
        "((has(oldSelf.spec.queueName) == has(self.spec.queueName)) && "
        "(!has(oldSelf.spec.queueName) || oldSelf.spec.queueName == self.spec.queueName)) : true",
        message="queueName is immutable while workload quota reserved",
    ),
    Rule(
        f"(({_has('oldSelf', 'Admitted')}) && ({_has('self', 'Admitted')}))?"
        f"((has(oldSelf.{_LIMIT})?oldSelf.{_LIMIT}:0) ==  (has(self.{_LIMIT})?self.{_LIMIT}:0))"
        ":true",
        message="maximumExecutionTimeSeconds is immutable while workload quota reserved",
    ),
)


@custom_resource(
    GROUP,
    "v1beta2",
    short_names=("kwl", "kueueworkload", "kueueworkloads"),
    columns=(
        Column("Queue", ".spec.queueName", description="The queue it was put into"),
        Column("Reserved in", ".status.admission.clusterQueue", description="Whose quota it holds"),
        Column(
            "Admitted",
            ".status.conditions[?(@.type=='Admitted')].status",
            description="Whether it may run",
        ),
        Column(
            "Finished",
            ".status.conditions[?(@.type=='Finished')].status",
            description="Whether it has ended",
        ),
        Column("Age", ".metadata.creationTimestamp", "date", "How long it has been there"),
    ),
    rules=_WORKLOAD_RULES,
)
class Workload(Object):
    """What a job asks for: sets of pods, which get quota and start together or not at all."""

    api_version: str = always(API_VERSION)
    kind: str = always("Workload")
    spec: WorkloadSpec = field(default_factory=WorkloadSpec)
    status: WorkloadStatus = field(default_factory=WorkloadStatus)
