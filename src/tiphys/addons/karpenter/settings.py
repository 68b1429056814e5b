"""What can be set when the add-on is enabled, under the names of Karpenter's own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tiphys.api.base import Struct
from tiphys.machinery import durations


class Settings(Struct):
    """Durations as ``10s`` or ``1m30s``.

    batchIdleDuration, batchMaxDuration: how long new pods are waited for before nodes are planned
    disruptionInterval: between looks for nodes to disrupt
    validationDelay: after which an idea to consolidate must still hold
    minDrainTime: which a node is drained at least
    spotToSpotConsolidation: whether spot nodes are replaced by cheaper spot nodes
    minValuesPolicy: whether a pool's minValues are required, or dropped where nothing else is left
    """

    batch_idle_duration: str = "1s"
    batch_max_duration: str = "10s"
    disruption_interval: str = "10s"
    validation_delay: str = "15s"
    min_drain_time: str = "5s"
    spot_to_spot_consolidation: bool = False
    min_values_policy: Literal["Strict", "BestEffort"] = "Strict"


@dataclass(frozen=True)
class Times:
    """Settings in seconds."""

    batch_idle: float
    batch_max: float
    disruption: float
    validation: float
    drain: float


def times_of(settings: Settings) -> Times:
    """Raises DurationError."""
    return Times(
        durations.seconds(settings.batch_idle_duration),
        durations.seconds(settings.batch_max_duration),
        durations.seconds(settings.disruption_interval),
        durations.seconds(settings.validation_delay),
        durations.seconds(settings.min_drain_time),
    )
