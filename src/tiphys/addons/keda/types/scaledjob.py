"""ScaledJob: as many Jobs as its triggers call for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from tiphys.addons.keda import GROUP, VERSION
from tiphys.addons.keda.types.conditions import Condition, Count, Positive, TriggerActivity
from tiphys.addons.keda.types.scaledobject import condition_column
from tiphys.addons.keda.types.triggers import Trigger
from tiphys.api.base import F, Int32, Struct, Time, always, named
from tiphys.api.batch_v1 import JobSpec
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, custom_resource

_ROLLOUTS = Meta(extra_json_schema={"enum": ["gradual", "immediate"]})
_PROPAGATIONS = Meta(extra_json_schema={"enum": ["foreground", "background"]})
_STRATEGIES = Meta(extra_json_schema={"enum": ["default", "custom", "accurate", "eager"]})
_CALCULATIONS = Meta(extra_json_schema={"enum": ["min", "avg", "sum", "max"]})


class ScalingStrategy(Struct):
    strategy: Annotated[str, _STRATEGIES] = ""
    custom_scaling_queue_length_deduction: Int32 | None = None
    custom_scaling_running_job_percentage: str = ""
    pending_pod_conditions: list[str] = []
    multiple_scalers_calculation: Annotated[str, _CALCULATIONS] = ""


class Rollout(Struct):
    """What becomes of running Jobs when the template changes."""

    strategy: Annotated[str, _ROLLOUTS] = ""
    propagation_policy: Annotated[str, _PROPAGATIONS] = ""


class ScaledJobSpec(Struct):
    job_target_ref: Annotated[JobSpec, F(0, req=True)] = field(default_factory=JobSpec)
    polling_interval: Positive | None = None
    successful_jobs_history_limit: Count | None = None
    failed_jobs_history_limit: Count | None = None
    rollout_strategy: Annotated[str, _ROLLOUTS] = ""
    rollout: Rollout = field(default_factory=Rollout)
    env_source_container_name: str = ""
    min_replica_count: Count | None = None
    max_replica_count: Positive | None = None
    scaling_strategy: ScalingStrategy = field(default_factory=ScalingStrategy)
    triggers: Annotated[
        list[Trigger], F(0, req=True), Meta(extra_json_schema={"min_items": 1})
    ] = []


class ScaledJobStatus(Struct):
    last_active_time: Time | None = None
    conditions: list[Condition] = []
    paused: str = named("Paused", "")
    triggers_types: str | None = None
    authentications_types: str | None = None
    external_metric_names: list[str] = []
    triggers_activity: dict[str, TriggerActivity] = {}


@custom_resource(
    GROUP,
    VERSION,
    short_names=("sj",),
    columns=(
        Column("Min", ".spec.minReplicaCount", "integer"),
        Column("Max", ".spec.maxReplicaCount", "integer"),
        *map(condition_column, ("Ready", "Active", "Paused")),
        Column("Triggers", ".status.triggersTypes"),
        Column("Authentications", ".status.authenticationsTypes"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class ScaledJob(Object):
    """Jobs that are created by what its triggers measure."""

    api_version: str = always(f"{GROUP}/{VERSION}")
    kind: str = always("ScaledJob")
    spec: ScaledJobSpec = field(default_factory=ScaledJobSpec)
    status: ScaledJobStatus = field(default_factory=ScaledJobStatus)
