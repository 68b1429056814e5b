"""KEDA's custom resources (keda.sh/v1alpha1), as KEDA publishes them.

Limits are in the schemas alone: what stands in a cluster with an older or newer definition is read
all the same.
"""

from tiphys.addons.keda.types.authentication import (
    ClusterTriggerAuthentication,
    TriggerAuthentication,
    TriggerAuthenticationSpec,
    TriggerAuthenticationStatus,
)
from tiphys.addons.keda.types.conditions import Condition, TriggerActivity
from tiphys.addons.keda.types.scaledjob import ScaledJob, ScaledJobSpec, ScaledJobStatus
from tiphys.addons.keda.types.scaledobject import (
    Advanced,
    AutoscalerConfig,
    Fallback,
    Health,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectStatus,
    ScaleTarget,
    ScalingModifiers,
    TargetResource,
)
from tiphys.addons.keda.types.triggers import AuthenticationRef, Trigger

__all__ = [
    "Advanced",
    "AuthenticationRef",
    "AutoscalerConfig",
    "ClusterTriggerAuthentication",
    "Condition",
    "Fallback",
    "Health",
    "ScaleTarget",
    "ScaledJob",
    "ScaledJobSpec",
    "ScaledJobStatus",
    "ScaledObject",
    "ScaledObjectSpec",
    "ScaledObjectStatus",
    "ScalingModifiers",
    "TargetResource",
    "Trigger",
    "TriggerActivity",
    "TriggerAuthentication",
    "TriggerAuthenticationSpec",
    "TriggerAuthenticationStatus",
]
