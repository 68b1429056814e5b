"""The version before, which manifests of a few years are written in. Stored is v1beta2
(`conversion`).

Where a field only has fewer limits than in v1beta2, it has those of v1beta2 here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.kueue import GROUP
from tiphys.addons.kueue.types import quotas, workloads
from tiphys.addons.kueue.types.names import INT32, CheckName, Conditions, Name
from tiphys.api.base import F, Int32, Int64, Struct, always
from tiphys.api.meta_v1 import LabelSelector, Object
from tiphys.operator import Column, Rule, custom_resource
from tiphys.operator.declare import declaration_of

_API_VERSION = f"{GROUP}/v1beta1"


def _columns(kind: type[Struct]) -> tuple[Column, ...]:
    return declaration_of(kind).columns


_WARNING = "This version is deprecated. Use v1beta2 instead."


def _declared(kind: type[Struct], **more: object) -> dict[str, object]:
    """What a resource declares of itself in both versions."""
    resource = declaration_of(kind).resource
    return {
        "plural": resource.plural,
        "namespaced": resource.namespaced,
        "short_names": resource.short_names,
        "columns": declaration_of(kind).columns,
        "storage": False,
        "deprecated": _WARNING,
        **more,
    }


@custom_resource(GROUP, "v1beta1", **_declared(quotas.ResourceFlavor))  # type: ignore[arg-type]
class ResourceFlavor(Object):
    """A kind of node."""

    api_version: str = always(_API_VERSION)
    kind: str = always("ResourceFlavor")
    spec: quotas.ResourceFlavorSpec = field(default_factory=quotas.ResourceFlavorSpec)


class FlavorFungibility(Struct):
    rules: ClassVar[tuple[Rule, ...]] = quotas.FlavorFungibility.rules
    when_can_borrow: Literal["MayStopSearch", "TryNextFlavor", "Borrow"] = "MayStopSearch"
    when_can_preempt: Literal["MayStopSearch", "TryNextFlavor", "Preempt"] = "TryNextFlavor"
    preference: Literal["BorrowingOverPreemption", "PreemptionOverBorrowing"] | None = None


class ClusterQueueSpec(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.cohort) && has(self.resourceGroups) ? "
            "self.resourceGroups.all(rg, rg.flavors.all(f, f.resources.all(r, "
            "!has(r.borrowingLimit)))) : true",
            message="borrowingLimit must be nil when cohort is empty",
        ),
    )
    resource_groups: quotas.ResourceGroups = []
    cohort: Name | None = None
    queueing_strategy: Literal["StrictFIFO", "BestEffortFIFO"] = "BestEffortFIFO"
    namespace_selector: Annotated[LabelSelector | None, F(0, atomic=True)] = None
    flavor_fungibility: Annotated[FlavorFungibility, Meta(extra_json_schema={"default": {}})] = (
        field(default_factory=FlavorFungibility)
    )
    preemption: Annotated[
        quotas.ClusterQueuePreemption, Meta(extra_json_schema={"default": {}})
    ] = field(default_factory=quotas.ClusterQueuePreemption)
    admission_checks: list[CheckName] = []
    admission_checks_strategy: quotas.AdmissionChecksStrategy | None = None
    stop_policy: quotas.StopPolicy = "None"
    fair_sharing: quotas.FairSharing | None = None
    admission_scope: quotas.AdmissionScope | None = None


@custom_resource(
    GROUP,
    "v1beta1",
    **_declared(  # type: ignore[arg-type]
        quotas.ClusterQueue,
        columns=(
            Column("Cohort", ".spec.cohort", description="The cohort that it belongs to"),
            *_columns(quotas.ClusterQueue)[1:],
        ),
    ),
)
class ClusterQueue(Object):
    """Quotas of resources by flavor."""

    api_version: str = always(_API_VERSION)
    kind: str = always("ClusterQueue")
    spec: ClusterQueueSpec = field(default_factory=ClusterQueueSpec)
    status: quotas.ClusterQueueStatus = field(default_factory=quotas.ClusterQueueStatus)


class LocalQueueStatus(Struct):
    conditions: Conditions = []
    pending_workloads: Int32 = always(0)
    reserving_workloads: Int32 = always(0)
    admitted_workloads: Int32 = always(0)
    flavors_reservation: quotas.LocalFlavorUsages = []
    flavor_usage: quotas.LocalFlavorUsages = []
    fair_sharing: quotas.LocalQueueFairSharingStatus | None = None


@custom_resource(GROUP, "v1beta1", **_declared(quotas.LocalQueue))  # type: ignore[arg-type]
class LocalQueue(Object):
    """A namespace's way into a cluster queue."""

    api_version: str = always(_API_VERSION)
    kind: str = always("LocalQueue")
    spec: quotas.LocalQueueSpec = field(default_factory=quotas.LocalQueueSpec)
    status: LocalQueueStatus = field(default_factory=LocalQueueStatus)


@custom_resource(GROUP, "v1beta1", **_declared(quotas.Cohort))  # type: ignore[arg-type]
class Cohort(Object):
    """Queues that lend to each other."""

    api_version: str = always(_API_VERSION)
    kind: str = always("Cohort")
    spec: quotas.CohortSpec = field(default_factory=quotas.CohortSpec)
    status: quotas.CohortStatus = field(default_factory=quotas.CohortStatus)


@custom_resource(GROUP, "v1beta1", **_declared(quotas.WorkloadPriorityClass))  # type: ignore[arg-type]
class WorkloadPriorityClass(Object):
    """A priority in queues."""

    api_version: str = always(_API_VERSION)
    kind: str = always("WorkloadPriorityClass")
    value: Annotated[Int32, F(0, req=True)] = always(0)
    description: str = ""


class AdmissionCheckSpec(Struct):
    controller_name: Annotated[
        str, F(0, req=True), Rule("self == oldSelf", message="field is immutable")
    ] = always("")
    retry_delay_minutes: Annotated[Int64 | None, Meta(extra_json_schema={"default": 15})] = None
    parameters: quotas.AdmissionCheckParameters | None = None


@custom_resource(GROUP, "v1beta1", **_declared(quotas.AdmissionCheck))  # type: ignore[arg-type]
class AdmissionCheck(Object):
    """Something that has to say yes."""

    api_version: str = always(_API_VERSION)
    kind: str = always("AdmissionCheck")
    spec: AdmissionCheckSpec = field(default_factory=AdmissionCheckSpec)
    status: quotas.AdmissionCheckStatus = field(default_factory=quotas.AdmissionCheckStatus)


@custom_resource(GROUP, "v1beta1", **_declared(quotas.Topology))  # type: ignore[arg-type]
class Topology(Object):
    """Levels of nearness of nodes."""

    api_version: str = always(_API_VERSION)
    kind: str = always("Topology")
    spec: quotas.TopologySpec = field(default_factory=quotas.TopologySpec)


PriorityClassSource = Literal[
    "kueue.x-k8s.io/workloadpriorityclass", "scheduling.k8s.io/priorityclass", ""
]


class WorkloadSpec(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.priorityClassName) ? has(self.priority) : true",
            message="priority should not be nil when priorityClassName is set",
        ),
    )
    pod_sets: Annotated[
        list[workloads.PodSet],
        F(0, list="map", keys=("name",), req=True),
        Meta(min_length=1, max_length=18),
    ] = []
    queue_name: Name | None = None
    priority_class_name: Name | None = None
    priority_class_source: Annotated[
        PriorityClassSource | None, Meta(extra_json_schema={"default": ""})
    ] = None
    priority: Int32 | None = None
    active: Annotated[bool | None, Meta(extra_json_schema={"default": True})] = None
    maximum_execution_time_seconds: Annotated[int, Meta(ge=1, le=INT32)] | None = None


class WorkloadStatus(workloads.WorkloadStatus):
    rules: ClassVar[tuple[Rule, ...]] = workloads.WorkloadStatus.rules
    accumulated_past_exexcution_time_seconds: Int32 | None = None  # as it was misspelt


@custom_resource(GROUP, "v1beta1", **_declared(workloads.Workload))  # type: ignore[arg-type]
class Workload(Object):
    """What a job asks for."""

    api_version: str = always(_API_VERSION)
    kind: str = always("Workload")
    spec: WorkloadSpec = field(default_factory=WorkloadSpec)
    status: WorkloadStatus = field(default_factory=WorkloadStatus)
