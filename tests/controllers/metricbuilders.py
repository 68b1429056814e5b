"""Pods and targets of tests about metrics."""

from __future__ import annotations

from typing import Any

from tests.controllers.builders import ago, running
from tiphys.api import core_v1
from tiphys.api.autoscaling_v1 import Scale
from tiphys.controllers.metricvalues import Target


def started(seconds: float, ready: bool | None = True, ready_for: float = 0) -> core_v1.Pod:
    """A pod that was started that many seconds ago, and became ready or unready `ready_for` ago."""
    made = running("p", ready, ready_for)
    made.status.start_time = ago(seconds)
    return made


def container(name: str, cpu: str = "", **more: Any) -> dict[str, Any]:
    requests = {"cpu": cpu} if cpu else {}
    return {"name": name, "image": "i", "resources": {"requests": requests}, **more}


def target(current: int, *pods: core_v1.Pod) -> Target:
    scale = Scale()
    scale.spec.replicas = scale.status.replicas = current
    return Target(scale, list(pods))
