"""What a pod counts for a metric, and the sentences about metrics that are missing. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tiphys.api import autoscaling_v1, core_v1
from tiphys.api.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    HorizontalPodAutoscaler,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ResourceMetricStatus,
)
from tiphys.api.base import Quantity, format_quantity
from tiphys.api.meta_v1 import LabelSelector
from tiphys.controllers.autoscaling import (
    MetricError,
    Usage,
    average_replicas,
    tolerance_of,
    value_replicas,
)
from tiphys.controllers.metricsapis import Sample
from tiphys.controllers.pods import is_ready
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.footprint import requests_of
from tiphys.machinery.quantity import milli
from tiphys.machinery.selectors import from_label_selector

# Upstream's horizontal-pod-autoscaler-cpu-initialization-period and -initial-readiness-delay.
_STARTUP = 300.0  # seconds after its start in which a pod is busy with starting
_READINESS = 30.0  # likewise, in which one that becomes unready is still starting


class Target(NamedTuple):
    """What is scaled: its counts, and its pods, in whatever state."""

    scale: autoscaling_v1.Scale
    pods: list[core_v1.Pod]

    @property
    def current(self) -> int:
        return self.scale.spec.replicas

    def ready(self) -> int:
        """How many of the pods do the work. Raises ValueError when there are none at all."""
        if not self.pods:
            raise ValueError(
                "unable to calculate ready pods: "
                "no pods returned by selector while calculating replica count"
            )
        return sum(pod.status.phase == "Running" and is_ready(pod) for pod in self.pods)


class _Value(NamedTuple):
    """How many replicas one number for all calls for, and what the status says of it."""

    replicas: int
    current: MetricValueStatus


def is_believed(pod: core_v1.Pod, sample: Sample | None, name: str, now: float) -> bool:
    """Whether a pod's metric says something. Of cpu: just after its start a pod is busy with
    starting, and what was measured before it was ready does not count (upstream's groupPods)."""
    if pod.status.phase == "Pending":
        return False
    if sample is None or name != "cpu":
        return True
    ready = conditions.find(pod.status.conditions, "Ready")
    if ready is None or pod.status.start_time is None:
        return False
    started = timestamps.parse(pod.status.start_time)
    changed = timestamps.parse(ready.last_transition_time)
    if now < started + _STARTUP:
        return ready.status != "False" and sample.time >= changed + sample.window
    was_ready = changed >= started + _READINESS
    return ready.status != "False" or was_ready


def request_of(pod: core_v1.Pod, container: str | None, name: str) -> int:
    """What the pod, or one container of it, requests, in thousandths. Raises ValueError when it
    does not say."""
    spec = pod.spec
    pod_name = pod.metadata.name
    if container is None and spec.resources is not None and spec.resources.requests:
        requests = requests_of(spec)  # cpu in thousandths already
        if name not in requests:
            raise ValueError(f"missing pod-level request for {name} in Pod {pod_name}")
        return requests[name] * (1 if name == "cpu" else 1000)
    sidecars = [item for item in spec.init_containers if item.restart_policy == "Always"]
    running = [*spec.containers, *sidecars]
    counted = [item for item in running if container in (None, item.name)]
    if container is not None and not counted:
        raise ValueError(f"container {container} not found in Pod {pod_name}")
    for item in counted:
        if name not in item.resources.requests:
            raise ValueError(
                f"missing request for {name} in container {item.name} of Pod {pod_name}"
            )
    return sum(milli(item.resources.requests[name]) for item in counted)


def averaged(
    hpa: HorizontalPodAutoscaler, value: int, wanted: MetricTarget, target: Target
) -> _Value:
    """Each replica is to have its share of the value."""
    present = target.scale.status.replicas
    average = -(-value // present) if present else 0
    goal = milli(wanted.average_value or "0")
    replicas = average_replicas(value, present, goal, tolerance_of(hpa))
    return _Value(replicas, MetricValueStatus(average_value=quantity(average)))


def valued(
    hpa: HorizontalPodAutoscaler, value: int, wanted: MetricTarget, target: Target
) -> _Value:
    """The value is to be what is wanted, however many replicas that takes."""
    goal = milli(wanted.value or "0")
    tolerance = tolerance_of(hpa)
    ready = 0
    if target.current and not tolerance.covers(value / goal):
        ready = target.ready()
    replicas = value_replicas(value, target.current, goal, ready, tolerance)
    return _Value(replicas, MetricValueStatus(value=quantity(value)))


def quantity(thousandths: int, form: str = "decimal") -> Quantity:
    return format_quantity(thousandths * 10**6, form)


def shown(selector: LabelSelector | None) -> str:
    """A selector as Go prints it."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    requirements = ""
    for requirement in selector.match_expressions:
        values = " ".join(requirement.values)
        requirements += (
            f"LabelSelectorRequirement{{Key:{requirement.key},Operator:{requirement.operator},"
            f"Values:[{values}],}},"
        )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}"
    )


def metric_selector(selector: LabelSelector | None) -> dict[str, str]:
    text = str(from_label_selector(selector) or "")
    return {"metricLabelSelector": text} if text else {}


def resource_status(
    name: str, container: str | None, used: Usage, utilization: bool
) -> MetricStatus:
    form = "binary" if name == "memory" else "decimal"
    current = MetricValueStatus(
        average_value=quantity(used.average, form),
        average_utilization=used.percent if utilization else None,
    )
    if container is None:
        resource = ResourceMetricStatus(name=name, current=current)
        return MetricStatus(type="Resource", resource=resource)
    of_container = ContainerResourceMetricStatus(name=name, container=container, current=current)
    return MetricStatus(type="ContainerResource", container_resource=of_container)


def resource_error(
    name: str, container: str | None, utilization: bool, error: ValueError
) -> MetricError:
    noun = "utilization" if utilization else "usage"
    message = f"failed to get {name} {noun}: {error}"
    if container is None:
        summary = f"failed to get {name} resource metric value: {message}"
        return MetricError("FailedGetResourceMetric", message, summary)
    summary = f"failed to get {container} container metric value: {message}"
    return MetricError("FailedGetContainerResourceMetric", message, summary)


def external_error(name: str, is_average: bool, message: str) -> MetricError:
    inner = f"failed to get external metric {name}: "
    if is_average:
        inner = f"failed to get {name} external metric: "
    summary = f"failed to get {name} external metric value: {inner}{message}"
    return MetricError("FailedGetExternalMetric", message, summary)
