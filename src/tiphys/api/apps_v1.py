"""Types of apps/v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import (
    F,
    Int32,
    Int64,
    IntOrString,
    RawExtension,
    Struct,
    Time,
    always,
    always_list,
)
from tiphys.api.core_v1 import PersistentVolumeClaim, PodTemplateSpec
from tiphys.api.meta_v1 import LabelSelector, ListMeta, Object, TypeMeta


class ControllerRevision(Object):
    api_version: str = always("apps/v1")
    kind: str = always("ControllerRevision")
    data: Annotated[RawExtension, F(2)] = None
    revision: Annotated[Int64, F(3, req=True)] = always(0)


class ControllerRevisionList(TypeMeta):
    api_version: str = always("apps/v1")
    kind: str = always("ControllerRevisionList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ControllerRevision], F(2, req=True)] = always_list()


class DaemonSetUpdateStrategy(Struct):
    type: Annotated[str, F(1)] = ""
    rolling_update: Annotated[RollingUpdateDaemonSet | None, F(2)] = None


class DaemonSetSpec(Struct):
    selector: Annotated[LabelSelector | None, F(1, atomic=True, req=True)] = None
    template: Annotated[PodTemplateSpec, F(2, req=True)] = field(default_factory=PodTemplateSpec)
    update_strategy: Annotated[DaemonSetUpdateStrategy, F(3)] = field(
        default_factory=DaemonSetUpdateStrategy
    )
    min_ready_seconds: Annotated[Int32, F(4)] = 0
    revision_history_limit: Annotated[Int32 | None, F(6)] = None


class DaemonSetStatus(Struct):
    current_number_scheduled: Annotated[Int32, F(1, req=True)] = always(0)
    number_misscheduled: Annotated[Int32, F(2, req=True)] = always(0)
    desired_number_scheduled: Annotated[Int32, F(3, req=True)] = always(0)
    number_ready: Annotated[Int32, F(4, req=True)] = always(0)
    observed_generation: Annotated[Int64, F(5)] = 0
    updated_number_scheduled: Annotated[Int32, F(6)] = 0
    number_available: Annotated[Int32, F(7)] = 0
    number_unavailable: Annotated[Int32, F(8)] = 0
    collision_count: Annotated[Int32 | None, F(9)] = None
    conditions: Annotated[
        list[DaemonSetCondition], F(10, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class DaemonSet(Object):
    api_version: str = always("apps/v1")
    kind: str = always("DaemonSet")
    spec: Annotated[DaemonSetSpec, F(2)] = field(default_factory=DaemonSetSpec)
    status: Annotated[DaemonSetStatus, F(3)] = field(default_factory=DaemonSetStatus)


class DaemonSetCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class DaemonSetList(TypeMeta):
    api_version: str = always("apps/v1")
    kind: str = always("DaemonSetList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[DaemonSet], F(2, req=True)] = always_list()


class DeploymentStrategy(Struct):
    type: Annotated[str, F(1)] = ""
    rolling_update: Annotated[RollingUpdateDeployment | None, F(2)] = None


class DeploymentSpec(Struct):
    replicas: Annotated[Int32 | None, F(1)] = None
    selector: Annotated[LabelSelector | None, F(2, atomic=True, req=True)] = None
    template: Annotated[PodTemplateSpec, F(3, req=True)] = field(default_factory=PodTemplateSpec)
    strategy: Annotated[DeploymentStrategy, F(4, patch="retainKeys")] = field(
        default_factory=DeploymentStrategy
    )
    min_ready_seconds: Annotated[Int32, F(5)] = 0
    revision_history_limit: Annotated[Int32 | None, F(6)] = None
    paused: Annotated[bool, F(7)] = False
    progress_deadline_seconds: Annotated[Int32 | None, F(9)] = None


class DeploymentStatus(Struct):
    observed_generation: Annotated[Int64, F(1)] = 0
    replicas: Annotated[Int32, F(2)] = 0
    updated_replicas: Annotated[Int32, F(3)] = 0
    ready_replicas: Annotated[Int32, F(7)] = 0
    available_replicas: Annotated[Int32, F(4)] = 0
    unavailable_replicas: Annotated[Int32, F(5)] = 0
    terminating_replicas: Annotated[Int32 | None, F(9)] = None
    conditions: Annotated[
        list[DeploymentCondition], F(6, patch="merge", key="type", list="map", keys=("type",))
    ] = []
    collision_count: Annotated[Int32 | None, F(8)] = None


class Deployment(Object):
    api_version: str = always("apps/v1")
    kind: str = always("Deployment")
    spec: Annotated[DeploymentSpec, F(2)] = field(default_factory=DeploymentSpec)
    status: Annotated[DeploymentStatus, F(3)] = field(default_factory=DeploymentStatus)


class DeploymentCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_update_time: Annotated[Time | None, F(6)] = None
    last_transition_time: Annotated[Time | None, F(7)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class DeploymentList(TypeMeta):
    api_version: str = always("apps/v1")
    kind: str = always("DeploymentList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[Deployment], F(2, req=True)] = always_list()


class ReplicaSetSpec(Struct):
    replicas: Annotated[Int32 | None, F(1)] = None
    min_ready_seconds: Annotated[Int32, F(4)] = 0
    selector: Annotated[LabelSelector | None, F(2, atomic=True, req=True)] = None
    template: Annotated[PodTemplateSpec, F(3)] = field(default_factory=PodTemplateSpec)


class ReplicaSetStatus(Struct):
    replicas: Annotated[Int32, F(1, req=True)] = always(0)
    fully_labeled_replicas: Annotated[Int32, F(2)] = 0
    ready_replicas: Annotated[Int32, F(4)] = 0
    available_replicas: Annotated[Int32, F(5)] = 0
    terminating_replicas: Annotated[Int32 | None, F(7)] = None
    observed_generation: Annotated[Int64, F(3)] = 0
    conditions: Annotated[
        list[ReplicaSetCondition], F(6, patch="merge", key="type", list="map", keys=("type",))
    ] = []


class ReplicaSet(Object):
    api_version: str = always("apps/v1")
    kind: str = always("ReplicaSet")
    spec: Annotated[ReplicaSetSpec, F(2)] = field(default_factory=ReplicaSetSpec)
    status: Annotated[ReplicaSetStatus, F(3)] = field(default_factory=ReplicaSetStatus)


class ReplicaSetCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class ReplicaSetList(TypeMeta):
    api_version: str = always("apps/v1")
    kind: str = always("ReplicaSetList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[ReplicaSet], F(2, req=True)] = always_list()


class RollingUpdateDaemonSet(Struct):
    max_unavailable: Annotated[IntOrString | None, F(1)] = None
    max_surge: Annotated[IntOrString | None, F(2)] = None


class RollingUpdateDeployment(Struct):
    max_unavailable: Annotated[IntOrString | None, F(1)] = None
    max_surge: Annotated[IntOrString | None, F(2)] = None


class RollingUpdateStatefulSetStrategy(Struct):
    partition: Annotated[Int32 | None, F(1)] = None
    max_unavailable: Annotated[IntOrString | None, F(2)] = None


class StatefulSetUpdateStrategy(Struct):
    type: Annotated[str, F(1)] = ""
    rolling_update: Annotated[RollingUpdateStatefulSetStrategy | None, F(2)] = None


class StatefulSetSpec(Struct):
    replicas: Annotated[Int32 | None, F(1)] = None
    selector: Annotated[LabelSelector | None, F(2, atomic=True, req=True)] = None
    template: Annotated[PodTemplateSpec, F(3, req=True)] = field(default_factory=PodTemplateSpec)
    volume_claim_templates: Annotated[list[PersistentVolumeClaim], F(4, list="atomic")] = []
    service_name: Annotated[str, F(5)] = always("")
    pod_management_policy: Annotated[str, F(6)] = ""
    update_strategy: Annotated[StatefulSetUpdateStrategy, F(7)] = field(
        default_factory=StatefulSetUpdateStrategy
    )
    revision_history_limit: Annotated[Int32 | None, F(8)] = None
    min_ready_seconds: Annotated[Int32, F(9)] = 0
    persistent_volume_claim_retention_policy: Annotated[
        StatefulSetPersistentVolumeClaimRetentionPolicy | None, F(10)
    ] = None
    ordinals: Annotated[StatefulSetOrdinals | None, F(11)] = None


class StatefulSetStatus(Struct):
    observed_generation: Annotated[Int64, F(1)] = 0
    replicas: Annotated[Int32, F(2, req=True)] = always(0)
    ready_replicas: Annotated[Int32, F(3)] = 0
    current_replicas: Annotated[Int32, F(4)] = 0
    updated_replicas: Annotated[Int32, F(5)] = 0
    current_revision: Annotated[str, F(6)] = ""
    update_revision: Annotated[str, F(7)] = ""
    collision_count: Annotated[Int32 | None, F(9)] = None
    conditions: Annotated[
        list[StatefulSetCondition], F(10, patch="merge", key="type", list="map", keys=("type",))
    ] = []
    available_replicas: Annotated[Int32, F(11)] = always(0)


class StatefulSet(Object):
    api_version: str = always("apps/v1")
    kind: str = always("StatefulSet")
    spec: Annotated[StatefulSetSpec, F(2)] = field(default_factory=StatefulSetSpec)
    status: Annotated[StatefulSetStatus, F(3)] = field(default_factory=StatefulSetStatus)


class StatefulSetCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""


class StatefulSetList(TypeMeta):
    api_version: str = always("apps/v1")
    kind: str = always("StatefulSetList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[StatefulSet], F(2, req=True)] = always_list()


class StatefulSetOrdinals(Struct):
    start: Annotated[Int32, F(1)] = always(0)


class StatefulSetPersistentVolumeClaimRetentionPolicy(Struct):
    when_deleted: Annotated[str, F(1)] = ""
    when_scaled: Annotated[str, F(2)] = ""
