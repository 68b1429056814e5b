"""ScaledObject: a workload with a scale, and the triggers that scale it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from tiphys.addons.keda import GROUP, VERSION
from tiphys.addons.keda.types.conditions import Condition, Count, Positive, TriggerActivity
from tiphys.addons.keda.types.triggers import Trigger
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscalerBehavior
from tiphys.api.base import F, Int32, Struct, Time, always, named
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, Rule, custom_resource

BEHAVIORS = (
    "static",
    "currentReplicas",
    "currentReplicasIfHigher",
    "currentReplicasIfLower",
    "scalingModifiers",
)
_STATIC = BEHAVIORS[0]


class ScaleTarget(Struct):
    """A Deployment where nothing else is said."""

    name: Annotated[str, F(0, req=True), Meta(extra_json_schema={"min_length": 1})] = always("")
    api_version: str = ""
    kind: str = ""
    env_source_container_name: str = ""


class Fallback(Struct):
    """How many replicas there are once a trigger has failed more often in a row than the
    threshold."""

    failure_threshold: Annotated[Count, F(0, req=True)] = always(0)
    replicas: Annotated[Count, F(0, req=True)] = always(0)
    behavior: Annotated[str, Meta(extra_json_schema={"enum": list(BEHAVIORS)})] = _STATIC


class AutoscalerConfig(Struct):
    behavior: HorizontalPodAutoscalerBehavior | None = None
    name: str = ""


class ScalingModifiers(Struct):
    """One metric made of all of them by a formula."""

    formula: str = ""
    target: str = ""
    activation_target: str = ""
    metric_type: Annotated[str, Meta(extra_json_schema={"enum": ["AverageValue", "Value"]})] = ""


class Advanced(Struct):
    horizontal_pod_autoscaler_config: AutoscalerConfig | None = None
    restore_to_original_replica_count: bool = False
    scaling_modifiers: ScalingModifiers = field(default_factory=ScalingModifiers)


class ScaledObjectSpec(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.minReplicaCount) || self.minReplicaCount <= "
            "(has(self.maxReplicaCount) ? self.maxReplicaCount : 100)",
            message="minReplicaCount must be less than or equal to maxReplicaCount",
        ),
    )

    scale_target_ref: Annotated[ScaleTarget, F(0, req=True)] = field(default_factory=ScaleTarget)
    polling_interval: Positive | None = None
    initial_cooldown_period: Count | None = None
    cooldown_period: Count | None = None
    idle_replica_count: Count | None = None
    min_replica_count: Count | None = None
    max_replica_count: Positive | None = None
    advanced: Advanced | None = None
    triggers: Annotated[
        list[Trigger], F(0, req=True), Meta(extra_json_schema={"min_items": 1})
    ] = []
    fallback: Fallback | None = None


class TargetResource(Struct):
    """The resource that `scaleTargetRef` stands for."""

    group: Annotated[str, F(0, req=True)] = always("")
    version: Annotated[str, F(0, req=True)] = always("")
    kind: Annotated[str, F(0, req=True)] = always("")
    resource: Annotated[str, F(0, req=True)] = always("")


class Health(Struct):
    number_of_failures: Int32 | None = None
    status: str = ""


class ScaledObjectStatus(Struct):
    scale_target_kind: str = ""
    scale_target_gvkr: TargetResource | None = named("scaleTargetGVKR", None)
    original_replica_count: Int32 | None = None
    last_active_time: Time | None = None
    external_metric_names: list[str] = []
    resource_metric_names: list[str] = []
    composite_scaler_name: str = ""
    conditions: list[Condition] = []
    health: dict[str, Health] = {}
    triggers_activity: dict[str, TriggerActivity] = {}
    paused_replica_count: Int32 | None = None
    hpa_name: str = ""
    triggers_types: str | None = None
    authentications_types: str | None = None


def condition_column(name: str) -> Column:
    return Column(name, f'.status.conditions[?(@.type=="{name}")].status')


@custom_resource(
    GROUP,
    VERSION,
    short_names=("so",),
    columns=(
        Column("ScaleTargetKind", ".status.scaleTargetKind"),
        Column("ScaleTargetName", ".spec.scaleTargetRef.name"),
        Column("Min", ".spec.minReplicaCount", "integer"),
        Column("Max", ".spec.maxReplicaCount", "integer"),
        *map(condition_column, ("Ready", "Active", "Fallback", "Paused")),
        Column("Triggers", ".status.triggersTypes"),
        Column("Authentications", ".status.authenticationsTypes"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class ScaledObject(Object):
    """A workload that is scaled by what its triggers measure."""

    api_version: str = always(f"{GROUP}/{VERSION}")
    kind: str = always("ScaledObject")
    spec: Annotated[ScaledObjectSpec, F(0, req=True)] = field(default_factory=ScaledObjectSpec)
    status: ScaledObjectStatus = field(default_factory=ScaledObjectStatus)
