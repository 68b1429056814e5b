"""Flavors, queues and cohorts: who may use how much of what."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.kueue import GROUP
from tiphys.addons.kueue.types.names import (
    API_VERSION,
    DNS,
    LABEL,
    CheckName,
    Conditions,
    Name,
)
from tiphys.api.base import F, Int32, Int64, Quantity, Struct, Time, always, always_list
from tiphys.api.core_v1 import Taint, Toleration
from tiphys.api.meta_v1 import LabelSelector, Object
from tiphys.operator import Column, Rule, custom_resource

StopPolicy = Literal["None", "Hold", "HoldAndDrain"]
_EFFECTS = "['NoSchedule', 'PreferNoSchedule', 'NoExecute']"
_WRONG_EFFECT = "supported taint effect values: 'NoSchedule', 'PreferNoSchedule', 'NoExecute'"

TOLERATION_RULES = (
    Rule(
        "self.all(x, !has(x.key) ? x.operator == 'Exists' : true)",
        message="operator must be Exists when 'key' is empty, which means 'match all values and "
        "all keys'",
    ),
    Rule(
        "self.all(x, has(x.tolerationSeconds) ? x.effect == 'NoExecute' : true)",
        message="effect must be 'NoExecute' when 'tolerationSeconds' is set",
    ),
    Rule(
        "self.all(x, !has(x.operator) || x.operator in ['Equal', 'Exists'])",
        message="supported toleration values: 'Equal'(default), 'Exists'",
    ),
    Rule(
        "self.all(x, has(x.operator) && x.operator == 'Exists' ? !has(x.value) : true)",
        message="a value must be empty when 'operator' is 'Exists'",
    ),
    Rule(f"self.all(x, !has(x.effect) || x.effect in {_EFFECTS})", message=_WRONG_EFFECT),
)


# --- flavors ---


class ResourceFlavorSpec(Struct):
    """Which nodes a flavor stands for, and what pods must bear to be there."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.topologyName) || self.nodeLabels.size() >= 1",
            message="at least one nodeLabel is required when topology is set",
        ),
        Rule(
            "!has(oldSelf.topologyName) || (has(self.topologyName) && "
            "self.topologyName == oldSelf.topologyName)",
            message="topologyName is immutable when topologyName is set",
        ),
    )
    node_labels: Annotated[dict[str, str], F(0, atomic=True), Meta(max_length=8)] = {}
    node_taints: Annotated[
        list[Taint],
        F(0, list="atomic"),
        Meta(max_length=8),
        Rule(f"self.all(x, x.effect in {_EFFECTS})", message=_WRONG_EFFECT),
    ] = []
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
    topology_name: Name | None = None


@custom_resource(GROUP, "v1beta2", namespaced=False, short_names=("flavor", "flavors", "rf"))
class ResourceFlavor(Object):
    """A kind of node: on demand or spot, of one model of GPU or another."""

    api_version: str = always(API_VERSION)
    kind: str = always("ResourceFlavor")
    spec: ResourceFlavorSpec = field(default_factory=ResourceFlavorSpec)


# --- quotas ---


class ResourceQuota(Struct):
    """How much of one resource in one flavor."""

    name: Annotated[str, F(0, req=True)] = always("")
    nominal_quota: Annotated[Quantity, F(0, req=True)] = always(Quantity("0"))
    borrowing_limit: Quantity | None = None
    lending_limit: Quantity | None = None


class FlavorQuotas(Struct):
    """The quotas of one flavor."""

    name: Annotated[Name, F(0, req=True)] = always("")
    resources: Annotated[
        list[ResourceQuota],
        F(0, list="map", keys=("name",), req=True),
        Meta(min_length=1, max_length=64),
    ] = always_list()


class ResourceGroup(Struct):
    """Resources that come from one flavor together, and the flavors in the order of preference."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.flavors.all(x, size(x.resources) == size(self.coveredResources))",
            message="flavors must have the same number of resources as the coveredResources",
        ),
    )
    covered_resources: Annotated[
        list[str], F(0, list="atomic", req=True), Meta(min_length=1, max_length=64)
    ] = always_list()
    flavors: Annotated[
        list[FlavorQuotas],
        F(0, list="map", keys=("name",), req=True),
        Meta(min_length=1, max_length=64),
    ] = always_list()


ResourceGroups = Annotated[list[ResourceGroup], F(0, list="atomic"), Meta(max_length=16)]


class FairSharing(Struct):
    """The weight of a queue or a cohort among its sisters, where they share fairly."""

    weight: Annotated[Quantity | None, Meta(extra_json_schema={"default": 1})] = None


class FairSharingStatus(Struct):
    weighted_share: Annotated[Int64, F(0, req=True)] = always(0)


# --- cluster queues ---


class FlavorFungibility(Struct):
    """When the next flavor is tried instead of borrowing or preempting in this one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.preference) || (self.whenCanBorrow == 'TryNextFlavor' && "
            "self.whenCanPreempt == 'TryNextFlavor')",
            message="preference can only be set when both whenCanBorrow and whenCanPreempt are "
            "TryNextFlavor",
        ),
    )
    when_can_borrow: Literal["MayStopSearch", "TryNextFlavor"] = "MayStopSearch"
    when_can_preempt: Literal["MayStopSearch", "TryNextFlavor"] = "TryNextFlavor"
    preference: Literal["BorrowingOverPreemption", "PreemptionOverBorrowing"] | None = None


class BorrowWithinCohort(Struct):
    """Whether others of the cohort are preempted for what only fits by borrowing."""

    policy: Literal["Never", "LowerPriority"] = "Never"
    max_priority_threshold: Int32 | None = None


class ClusterQueuePreemption(Struct):
    """Whom a workload of this queue may preempt."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.reclaimWithinCohort == 'Never' && has(self.borrowWithinCohort) &&  "
            "self.borrowWithinCohort.policy != 'Never')",
            message="reclaimWithinCohort=Never and borrowWithinCohort.Policy!=Never",
        ),
    )
    reclaim_within_cohort: Literal["Never", "LowerPriority", "Any"] = "Never"
    borrow_within_cohort: Annotated[BorrowWithinCohort, Meta(extra_json_schema={"default": {}})] = (
        field(default_factory=BorrowWithinCohort)
    )
    within_cluster_queue: Literal["Never", "LowerPriority", "LowerOrNewerEqualPriority"] = "Never"


class AdmissionCheckStrategyRule(Struct):
    """One check, and the flavors that need it; none: all do."""

    name: Annotated[CheckName, F(0, req=True)] = always("")
    on_flavors: Annotated[list[Name], F(0, list="set"), Meta(max_length=64)] = []


class AdmissionChecksStrategy(Struct):
    admission_checks: Annotated[
        list[AdmissionCheckStrategyRule],
        F(0, list="map", keys=("name",), req=True),
        Meta(min_length=1, max_length=64),
    ] = always_list()


class AdmissionScope(Struct):
    """Kept, and not acted on."""

    admission_mode: Annotated[
        Literal["UsageBasedAdmissionFairSharing", "NoAdmissionFairSharing"], F(0, req=True)
    ] = "NoAdmissionFairSharing"


class MigrationConstraints(Struct):
    last_acceptable_flavor_name: Name | None = None


class Migration(Struct):
    mode: Annotated[
        Literal["TryPreferredFlavors", "RetainFirstAdmission"],
        F(0, req=True),
        Meta(extra_json_schema={"max_length": 253}),
    ] = "RetainFirstAdmission"
    constraints: MigrationConstraints | None = None


class ConcurrentAdmissionPolicy(Struct):
    """Kept, and not acted on."""

    migration: Annotated[Migration, F(0, req=True)] = field(default_factory=Migration)


class ClusterQueueSpec(Struct):
    """Quotas, who may use them, and what happens when they are used up."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.cohortName) && has(self.resourceGroups) ? "
            "self.resourceGroups.all(rg, rg.flavors.all(f, f.resources.all(r, "
            "!has(r.borrowingLimit)))) : true",
            message="borrowingLimit must be nil when cohort is empty",
        ),
    )
    resource_groups: ResourceGroups = []
    cohort_name: Name | None = None
    queueing_strategy: Literal["StrictFIFO", "BestEffortFIFO"] = "BestEffortFIFO"
    namespace_selector: Annotated[LabelSelector | None, F(0, atomic=True)] = None
    flavor_fungibility: Annotated[FlavorFungibility, Meta(extra_json_schema={"default": {}})] = (
        field(default_factory=FlavorFungibility)
    )
    preemption: Annotated[ClusterQueuePreemption, Meta(extra_json_schema={"default": {}})] = field(
        default_factory=ClusterQueuePreemption
    )
    admission_checks_strategy: AdmissionChecksStrategy | None = None
    stop_policy: StopPolicy = "None"
    fair_sharing: FairSharing | None = None
    admission_scope: AdmissionScope | None = None
    concurrent_admission_policy: ConcurrentAdmissionPolicy | None = None


class ResourceUsage(Struct):
    name: Annotated[str, F(0, req=True)] = always("")
    total: Quantity | None = None
    borrowed: Quantity | None = None


class FlavorUsage(Struct):
    name: Annotated[Name, F(0, req=True)] = always("")
    resources: Annotated[
        list[ResourceUsage], F(0, list="map", keys=("name",), req=True), Meta(max_length=64)
    ] = always_list()


FlavorUsages = Annotated[list[FlavorUsage], F(0, list="map", keys=("name",)), Meta(max_length=64)]


class ClusterQueueStatus(Struct):
    conditions: Conditions = []
    flavors_reservation: FlavorUsages = []
    flavors_usage: FlavorUsages = []
    pending_workloads: Int32 = always(0)
    reserving_workloads: Int32 = always(0)
    admitted_workloads: Int32 = always(0)
    fair_sharing: FairSharingStatus | None = None


@custom_resource(
    GROUP,
    "v1beta2",
    namespaced=False,
    short_names=("cq",),
    columns=(
        Column("Cohort", ".spec.cohortName", description="The cohort that it belongs to"),
        Column("Strategy", ".spec.queueingStrategy", description="Who is next", priority=1),
        Column("Pending Workloads", ".status.pendingWorkloads", "integer", "Those that wait"),
        Column(
            "Admitted Workloads",
            ".status.admittedWorkloads",
            "integer",
            "Those that run",
            priority=1,
        ),
    ),
)
class ClusterQueue(Object):
    """Quotas of resources by flavor, which the queues of namespaces share."""

    api_version: str = always(API_VERSION)
    kind: str = always("ClusterQueue")
    spec: ClusterQueueSpec = field(default_factory=ClusterQueueSpec)
    status: ClusterQueueStatus = field(default_factory=ClusterQueueStatus)


# --- local queues ---


class LocalQueueSpec(Struct):
    cluster_queue: Annotated[Name | None, Rule("self == oldSelf", message="field is immutable")] = (
        None
    )
    stop_policy: StopPolicy = "None"
    fair_sharing: FairSharing | None = None


class LocalQueueResourceUsage(Struct):
    name: Annotated[str, F(0, req=True)] = always("")
    total: Quantity | None = None


class LocalQueueFlavorUsage(Struct):
    name: Annotated[Name, F(0, req=True)] = always("")
    resources: Annotated[
        list[LocalQueueResourceUsage],
        F(0, list="map", keys=("name",), req=True),
        Meta(max_length=64),
    ] = always_list()


LocalFlavorUsages = Annotated[
    list[LocalQueueFlavorUsage], F(0, list="map", keys=("name",)), Meta(max_length=64)
]


class AdmissionFairSharingStatus(Struct):
    consumed_resources: Annotated[dict[str, Quantity], F(0, req=True)] = {}
    last_update: Annotated[Time, F(0, req=True)] = ""


class LocalQueueFairSharingStatus(Struct):
    weighted_share: Annotated[Int64, F(0, req=True)] = always(0)
    admission_fair_sharing_status: AdmissionFairSharingStatus | None = None


class LocalQueueStatus(Struct):
    conditions: Conditions = []
    pending_workloads: Int32 = always(0)
    reserving_workloads: Int32 = always(0)
    admitted_workloads: Int32 = always(0)
    flavors_reservation: LocalFlavorUsages = []
    flavors_usage: LocalFlavorUsages = []
    fair_sharing: LocalQueueFairSharingStatus | None = None


@custom_resource(
    GROUP,
    "v1beta2",
    short_names=("queue", "queues", "lq"),
    columns=(
        Column("ClusterQueue", ".spec.clusterQueue", description="Whose quota it uses"),
        Column("Pending Workloads", ".status.pendingWorkloads", "integer", "Those that wait"),
        Column("Admitted Workloads", ".status.admittedWorkloads", "integer", "Those that run"),
    ),
)
class LocalQueue(Object):
    """A namespace's way into a cluster queue."""

    api_version: str = always(API_VERSION)
    kind: str = always("LocalQueue")
    spec: LocalQueueSpec = field(default_factory=LocalQueueSpec)
    status: LocalQueueStatus = field(default_factory=LocalQueueStatus)


# --- cohorts, priorities, checks ---


class CohortSpec(Struct):
    parent_name: Name | None = None
    resource_groups: ResourceGroups = []
    fair_sharing: FairSharing | None = None


class CohortStatus(Struct):
    fair_sharing: FairSharingStatus | None = None


@custom_resource(GROUP, "v1beta2", namespaced=False, short_names=("co",))
class Cohort(Object):
    """Queues that lend to each other what they do not use; a tree of them lends by levels."""

    api_version: str = always(API_VERSION)
    kind: str = always("Cohort")
    spec: CohortSpec = field(default_factory=CohortSpec)
    status: CohortStatus = field(default_factory=CohortStatus)


@custom_resource(
    GROUP,
    "v1beta2",
    plural="workloadpriorityclasses",
    namespaced=False,
    short_names=("wpc",),
    columns=(Column("Value", ".value", "integer", "The priority"),),
)
class WorkloadPriorityClass(Object):
    """A priority in queues, which does not apply to pods."""

    api_version: str = always(API_VERSION)
    kind: str = always("WorkloadPriorityClass")
    value: Annotated[Int32, F(0, req=True)] = always(0)
    description: Annotated[str, Meta(max_length=2048)] = ""


class AdmissionCheckParameters(Struct):
    api_group: Annotated[str, F(0, req=True), Meta(min_length=1, max_length=253, pattern=DNS)] = (
        always("")
    )
    # Go's expressions may turn to ignoring case half-way, Python's may not.
    kind: Annotated[
        str,
        F(0, req=True),
        Meta(
            min_length=1,
            max_length=63,
            extra_json_schema={"pattern": "^(?i)[a-z]([-a-z0-9]*[a-z0-9])?$"},
        ),
    ] = always("")
    name: Annotated[str, F(0, req=True), Meta(min_length=1, max_length=63, pattern=LABEL)] = always(
        ""
    )


class AdmissionCheckSpec(Struct):
    controller_name: Annotated[
        str,
        F(0, req=True),
        Meta(min_length=1, max_length=253),
        Rule("self == oldSelf", message="field is immutable"),
    ] = always("")
    parameters: AdmissionCheckParameters | None = None


class AdmissionCheckStatus(Struct):
    conditions: Conditions = []


@custom_resource(GROUP, "v1beta2", namespaced=False, short_names=("ac",))
class AdmissionCheck(Object):
    """Something that has to say yes between quota and start; who looks into it is another
    controller."""

    api_version: str = always(API_VERSION)
    kind: str = always("AdmissionCheck")
    spec: AdmissionCheckSpec = field(default_factory=AdmissionCheckSpec)
    status: AdmissionCheckStatus = field(default_factory=AdmissionCheckStatus)


class TopologyLevel(Struct):
    node_label: Annotated[
        str,
        F(0, req=True),
        Meta(
            min_length=1,
            max_length=316,
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
            r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        ),
    ] = always("")


_HOST = "kubernetes.io/hostname"


class TopologySpec(Struct):
    levels: Annotated[
        list[TopologyLevel],
        F(0, list="atomic", req=True),
        Meta(min_length=1, max_length=16),
        Rule(
            f"self == oldSelf || (self[size(self) - 1].nodeLabel == '{_HOST}' && "
            f"oldSelf[size(oldSelf) - 1].nodeLabel == '{_HOST}')",
            message=f"levels are mutable only when {_HOST} is the lowest level both before and "
            "after the change",
        ),
        Rule(
            "size(self.filter(i, size(self.filter(j, j == i)) > 1)) == 0", message="must be unique"
        ),
        Rule(
            f"size(self.filter(i, i.nodeLabel == '{_HOST}')) == 0 || "
            f"self[size(self) - 1].nodeLabel == '{_HOST}'",
            message=f"the {_HOST} label can only be used at the lowest level of topology",
        ),
    ] = always_list()


@custom_resource(GROUP, "v1beta2", plural="topologies", namespaced=False, short_names=("topo",))
class Topology(Object):
    """Levels of nearness of nodes, the farthest first, by the labels that nodes have for them."""

    api_version: str = always(API_VERSION)
    kind: str = always("Topology")
    spec: TopologySpec = field(default_factory=TopologySpec)
