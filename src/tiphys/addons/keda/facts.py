"""A ScaledObject beyond its fields: its annotations, its defaults, what KEDA refuses of
it. Pure; sentences are KEDA's."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.addons.keda.formula import Formula, FormulaError, compiled
from tiphys.addons.keda.numerals import parse_float
from tiphys.addons.keda.types import (
    AutoscalerConfig,
    Condition,
    ScaledJob,
    ScaledObject,
    ScaledObjectSpec,
    ScalingModifiers,
    Trigger,
)

OWNER = "scaledobject.keda.sh/name"
TRANSFER = "scaledobject.keda.sh/transfer-hpa-ownership"
EXCLUDED_LABELS = "scaledobject.keda.sh/hpa-excluded-labels"
OWNERSHIP_CHECKED = "validations.keda.sh/hpa-ownership"
PAUSED = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
PAUSED_SCALE_IN = "autoscaling.keda.sh/paused-scale-in"
PAUSED_SCALE_OUT = "autoscaling.keda.sh/paused-scale-out"
FORCE_ACTIVATION = "autoscaling.keda.sh/force-activation"
COMPOSITE = "composite-metric"
RESOURCES = ("cpu", "memory")
MOST_REPLICAS = 100  # where an object does not say otherwise
POLLING = 30  # seconds
COOLDOWN = 300  # seconds
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_LONGEST_LABEL = 63


class SpecError(ValueError):
    """KEDA refuses the object; the text is its message."""


# --- annotations ---


def flag(obj: ScaledObject | ScaledJob, annotation: str) -> bool:
    """Whether an annotation is set: anything but what Go reads as false counts."""
    value = obj.metadata.annotations.get(annotation)
    return value is not None and value not in _FALSE


def is_paused(obj: ScaledObject) -> bool:
    """Whether nothing scales it at all."""
    return PAUSED_REPLICAS in obj.metadata.annotations or flag(obj, PAUSED)


def paused_replicas(obj: ScaledObject) -> int | None:
    """Raises SpecError for what is no number."""
    text = obj.metadata.annotations.get(PAUSED_REPLICAS)
    if text is None:
        return None
    try:
        count = int(text)
        if not -(2**31) <= count < 2**31:
            raise ValueError(text)
    except ValueError:
        raise SpecError(
            "failed to parse paused replica count: "
            f'strconv.ParseInt: parsing "{text}": invalid syntax'
        ) from None
    return count


# --- defaults ---


def least(spec: ScaledObjectSpec) -> int:
    """Of its autoscaler, which never goes below one."""
    return spec.min_replica_count if spec.min_replica_count else 1


def most(spec: ScaledObjectSpec) -> int:
    return MOST_REPLICAS if spec.max_replica_count is None else spec.max_replica_count


def modifiers(spec: ScaledObjectSpec) -> ScalingModifiers | None:
    """None where none of them is set."""
    if spec.advanced is None or spec.advanced.scaling_modifiers == ScalingModifiers():
        return None
    return spec.advanced.scaling_modifiers


def autoscaler_config(spec: ScaledObjectSpec) -> AutoscalerConfig:
    config = spec.advanced.horizontal_pod_autoscaler_config if spec.advanced else None
    return config or AutoscalerConfig()


def autoscaler_name(obj: ScaledObject) -> str:
    return autoscaler_config(obj.spec).name or f"keda-hpa-{obj.metadata.name}"


def target_of(obj: ScaledObject) -> tuple[str, str, str]:
    """(apiVersion, kind, name): a Deployment where nothing else is said."""
    ref = obj.spec.scale_target_ref
    return ref.api_version or "apps/v1", ref.kind or "Deployment", ref.name


def type_names(triggers: Sequence[Trigger]) -> tuple[str, str]:
    """The types of triggers and the names of their authentications, each once."""
    types = dict.fromkeys(trigger.type for trigger in triggers)
    names = dict.fromkeys(
        trigger.authentication_ref.name for trigger in triggers if trigger.authentication_ref
    )
    return ",".join(types), ",".join(names)


def condition(conditions: Sequence[Condition], kind: str) -> Condition:
    """The condition of that type, an empty one if there is none."""
    return next((one for one in conditions if one.type == kind), Condition(type=kind))


# --- what KEDA refuses ---


def check_bounds(spec: ScaledObjectSpec) -> None:
    """Raises SpecError when the counts contradict each other."""
    low = least(spec) if spec.min_replica_count is not None else 0
    high = most(spec)
    if low > high:
        raise SpecError(f"MinReplicaCount={low} must be less than MaxReplicaCount={high}")
    idle = spec.idle_replica_count
    if idle is not None and idle >= low:
        raise SpecError(f"IdleReplicaCount={idle} must be less than MinReplicaCount={low}")


def check_triggers(triggers: Sequence[Trigger]) -> None:
    """Raises SpecError."""
    if not triggers:
        raise SpecError("no triggers defined in the ScaledObject/ScaledJob")
    names = set()
    for trigger in triggers:
        if trigger.use_cached_metrics and trigger.type in (*RESOURCES, "cron"):
            raise SpecError(
                f'property "useCachedMetrics" is not supported for "{trigger.type}" scaler'
            )
        if trigger.name and trigger.name in names:
            raise SpecError(
                f'triggerName "{trigger.name}" is defined multiple times in the '
                "ScaledObject/ScaledJob, but it must be unique"
            )
        names.add(trigger.name)


def check_fallback(spec: ScaledObjectSpec) -> None:
    """Raises SpecError where no trigger could fall back."""
    if spec.fallback is None or modifiers(spec) is not None:
        return
    if all(trigger.type in RESOURCES for trigger in spec.triggers):
        raise SpecError(
            "at least one trigger (that is not cpu or memory) has to have the `AverageValue` "
            "type for the fallback to be enabled"
        )


def check_name(obj: ScaledObject) -> None:
    """Raises SpecError: names become values of labels."""
    name = obj.metadata.name
    if len(name) > _LONGEST_LABEL:
        raise SpecError(
            f'scaledobject name "{name}" is {len(name)} characters long; must be no more than '
            f'{_LONGEST_LABEL} characters because it is used as the "{OWNER}" label value'
        )
    hpa = autoscaler_name(obj)
    if len(hpa) > _LONGEST_LABEL:
        raise SpecError(
            f'HPA name "{hpa}" derived from scaledobject is {len(hpa)} characters long; must be '
            f"no more than {_LONGEST_LABEL} characters; set "
            "spec.advanced.horizontalPodAutoscalerConfig.name to a shorter name or shorten the "
            "scaledobject name"
        )


def formula_of(spec: ScaledObjectSpec) -> Formula | None:
    """The formula of the scaling modifiers. Raises SpecError when they are wrong."""
    scaling_modifiers = modifiers(spec)
    if scaling_modifiers is None:
        return None
    if not scaling_modifiers.formula:
        raise SpecError("error ScalingModifiers.Formula is mandatory")
    prefix = "error validating formula in ScalingModifiers\n"
    if not scaling_modifiers.target:
        raise SpecError(f"{prefix}formula is given but target is empty")
    names = [t.name for t in spec.triggers if t.name and t.type not in RESOURCES]
    try:
        formula = compiled(scaling_modifiers.formula, names)
    except FormulaError as error:
        raise SpecError(f"{prefix}{error}") from None
    target_number(scaling_modifiers)
    return formula


def target_number(scaling_modifiers: ScalingModifiers) -> float:
    """Raises SpecError."""
    try:
        target = parse_float(scaling_modifiers.target)
    except ValueError:
        target = 0.0
    if not target > 0:
        raise SpecError(
            "error validating target in ScalingModifiers\n"
            "error converting target for scalingModifiers (string->float) to valid target"
        )
    return target


def check_modifiers_fallback(spec: ScaledObjectSpec) -> None:
    """Raises SpecError."""
    if spec.fallback is None or spec.fallback.behavior != "scalingModifiers":
        return
    scaling_modifiers = modifiers(spec)
    if scaling_modifiers is None or not scaling_modifiers.formula:
        raise SpecError(
            "scalingModifiers fallback behavior requires scalingModifiers.formula to be defined"
        )
