"""What each metric of an autoscaler calls for: it is read by `metricsapis` and worked out by
`autoscaling`.

Names of metrics, reasons and sentences are those of upstream's podautoscaler: people search for
them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from tiphys.api import autoscaling_v1, core_v1
from tiphys.api.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    ExternalMetricSource,
    ExternalMetricStatus,
    HorizontalPodAutoscaler,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ObjectMetricSource,
    ObjectMetricStatus,
    PodsMetricSource,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from tiphys.api.base import Quantity, format_quantity
from tiphys.api.meta_v1 import LabelSelector
from tiphys.client.client import Client
from tiphys.controllers.autoscaling import (
    MetricError,
    PodView,
    Usage,
    average_replicas,
    ratio_replicas,
    tolerance_of,
    value_replicas,
)
from tiphys.controllers.metricsapis import MetricsAPIs, Sample
from tiphys.controllers.pods import is_ready
from tiphys.controllers.scales import Scales
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.footprint import requests_of
from tiphys.machinery.quantity import milli
from tiphys.machinery.selectors import from_label_selector

T = TypeVar("T")

# Upstream's horizontal-pod-autoscaler-cpu-initialization-period and -initial-readiness-delay.
_STARTUP = 300.0  # seconds after its start in which a pod is busy with starting
_READINESS = (
    30.0  # seconds after its start in which a pod may become unready and it is still starting
)
_NONSENSE = (LookupError, TypeError, AttributeError, ArithmeticError)
_GETTING = {
    "Resource": "GetResourceMetric",
    "ContainerResource": "GetContainerResourceMetric",
    "Pods": "GetPodsMetric",
    "Object": "GetObjectMetric",
    "External": "GetExternalMetric",
}


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


class Proposal(NamedTuple):
    """How many replicas a metric calls for, the metric's name in reasons, and what the status says
    of it."""

    replicas: int
    metric: str
    status: MetricStatus


class _Value(NamedTuple):
    """How many replicas one number for all calls for, and what the status says of it."""

    replicas: int
    current: MetricValueStatus


class Metrics:
    """Works out proposals. `now` is the wall clock in seconds since the epoch."""

    def __init__(self, client: Client, scales: Scales, now: Callable[[], float]) -> None:
        self._apis = MetricsAPIs(client)
        self._scales = scales
        self._now = now

    async def propose(
        self, hpa: HorizontalPodAutoscaler, spec: MetricSpec, target: Target
    ) -> Proposal:
        """What a metric calls for. Raises MetricError when it cannot be had."""
        try:
            return await self._proposed(hpa, spec, target)
        except _NONSENSE as error:
            # Metrics come from servers that are not ours: what they answer may be anything.
            reason = f"Failed{_GETTING.get(spec.type, 'GetMetric')}"
            message = f"unexpected answer of the metrics API: {type(error).__name__}: {error}"
            raise MetricError(reason, message) from None

    async def _proposed(
        self, hpa: HorizontalPodAutoscaler, spec: MetricSpec, target: Target
    ) -> Proposal:
        match spec.type:
            case "Resource" if spec.resource is not None:
                name = spec.resource.name
                return await self._resource(hpa, name, spec.resource.target, None, target)
            case "ContainerResource" if spec.container_resource is not None:
                source = spec.container_resource
                container = source.container
                return await self._resource(hpa, source.name, source.target, container, target)
            case "Pods" if spec.pods is not None:
                return await self._pods(hpa, spec.pods, target)
            case "Object" if spec.object is not None:
                return await self._object(hpa, spec.object, target)
            case "External" if spec.external is not None:
                return await self._external(hpa, spec.external, target)
        raise MetricError("InvalidMetricSourceType", f'unknown metric source type "{spec.type}"')

    # --- one number for each pod ---

    async def _resource(
        self,
        hpa: HorizontalPodAutoscaler,
        name: str,
        wanted: MetricTarget,
        container: str | None,
        target: Target,
    ) -> Proposal:
        """cpu, memory and the like; of one container, if it is named."""
        utilization = wanted.average_value is None
        goal = milli(wanted.average_value or "0")
        if utilization:
            goal = wanted.average_utilization or 0

        def request(pod: core_v1.Pod) -> int:
            return request_of(pod, container, name) if utilization else 0

        try:
            selector = target.scale.status.selector
            samples = await self._apis.resource(hpa.metadata.namespace, name, container, selector)
            views = self._views(target.pods, samples, name, request)
            tolerance = tolerance_of(hpa)
            replicas, used = ratio_replicas(views, target.current, goal, utilization, tolerance)
        except ValueError as error:
            raise _resource_error(name, container, utilization, error) from None
        kind = "container resource" if container is not None and utilization else "resource"
        metric = f"{name} {kind}"
        if utilization:
            metric += " utilization (percentage of request)"
        return Proposal(replicas, metric, _resource_status(name, container, used, utilization))

    async def _pods(
        self, hpa: HorizontalPodAutoscaler, source: PodsMetricSource, target: Target
    ) -> Proposal:
        name = source.metric.name
        path = f"namespaces/{hpa.metadata.namespace}/pods/*/{name}"
        query = {
            "labelSelector": target.scale.status.selector,
            **_metric_selector(source.metric.selector),
        }
        goal = milli(source.target.average_value or "0")
        try:
            samples = {}
            for item in await _with_prefix(
                f"unable to get metric {name}: ", self._apis.custom(path, query)
            ):
                samples[item["describedObject"]["name"]] = Sample(milli(item["value"]))
            views = self._views(target.pods, samples, "", lambda pod: 0)
            replicas, used = ratio_replicas(views, target.current, goal, False, tolerance_of(hpa))
        except ValueError as error:
            summary = f"failed to get pods metric value: {error}"
            raise MetricError("FailedGetPodsMetric", str(error), summary) from None
        current = MetricValueStatus(average_value=_quantity(used.average))
        status = PodsMetricStatus(metric=source.metric, current=current)
        return Proposal(replicas, f"pods metric {name}", MetricStatus(type="Pods", pods=status))

    def _views(
        self,
        pods: list[core_v1.Pod],
        samples: dict[str, Sample],
        name: str,
        request: Callable[[core_v1.Pod], int],
    ) -> list[PodView]:
        """What counts of the pods. Raises ValueError when no metric does, or when a pod has no
        request that its use could be compared with."""
        if not pods:
            raise ValueError("no pods returned by selector while calculating replica count")
        views = []
        for pod in pods:
            if pod.metadata.deletion_timestamp or pod.status.phase == "Failed":
                continue
            sample = samples.get(pod.metadata.name)
            value = sample.value if sample is not None else None
            views.append((pod, value, is_believed(pod, sample, name, self._now())))
        if not any(value is not None and ready for _, value, ready in views):
            raise ValueError("did not receive metrics for targeted pods (pods might be unready)")
        return [PodView(value, request(pod), ready) for pod, value, ready in views]

    # --- one number for all ---

    async def _object(
        self, hpa: HorizontalPodAutoscaler, source: ObjectMetricSource, target: Target
    ) -> Proposal:
        name = source.metric.name
        namespace = hpa.metadata.namespace
        described = source.described_object
        is_average = source.target.type == "AverageValue"
        prefix = f"unable to get metric {name}: {described.kind} on {namespace} {described.name}/"
        query = _metric_selector(source.metric.selector)
        try:
            path = await self._object_path(namespace, source)
            items = await _with_prefix(prefix, self._apis.custom(path, query))
            value = milli(items[0]["value"])
            weigh = _averaged if is_average else _valued
            replicas, current = weigh(hpa, value, source.target, target)
        except ValueError as error:
            inner = f"failed to get {name} object metric: {error}" if is_average else str(error)
            summary = f"failed to get object metric value: {inner}"
            raise MetricError("FailedGetObjectMetric", str(error), summary) from None
        metric = f"{described.kind} metric {name}"
        if is_average:
            metric = f"external metric {name}({shown(source.metric.selector)})"
        status = ObjectMetricStatus(
            metric=source.metric, current=current, described_object=described
        )
        return Proposal(replicas, metric, MetricStatus(type="Object", object=status))

    async def _object_path(self, namespace: str, source: ObjectMetricSource) -> str:
        described = source.described_object
        metric = source.metric.name
        if described.kind == "Namespace" and "/" not in described.api_version:
            return f"namespaces/{namespace}/metrics/{metric}"
        resource = described.kind.lower() + "s"
        with contextlib.suppress(LookupError, StatusError):
            resource = await self._scales.plural(described.api_version, described.kind)
        group = described.api_version.rpartition("/")[0]
        if group:
            resource += f".{group}"
        return f"namespaces/{namespace}/{resource}/{described.name}/{metric}"

    async def _external(
        self, hpa: HorizontalPodAutoscaler, source: ExternalMetricSource, target: Target
    ) -> Proposal:
        name = source.metric.name
        namespace = hpa.metadata.namespace
        is_average = source.target.average_value is not None
        selector_text = shown(source.metric.selector)
        selector = from_label_selector(source.metric.selector)
        query = {"labelSelector": str(selector)} if selector is not None else {}
        prefix = f"unable to get external metric {namespace}/{name}/{selector_text}: "
        try:
            value = await _with_prefix(prefix, self._apis.external(namespace, name, query))
            weigh = _averaged if is_average else _valued
            replicas, current = weigh(hpa, value, source.target, target)
        except ValueError as error:
            raise _external_error(name, is_average, str(error)) from None
        status = ExternalMetricStatus(metric=source.metric, current=current)
        metric = f"external metric {name}({selector_text})"
        return Proposal(replicas, metric, MetricStatus(type="External", external=status))


async def _with_prefix(prefix: str, reading: Awaitable[T]) -> T:
    """What is read. A ValueError says before its own words what was asked for."""
    try:
        return await reading
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


# --- pods ---


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
    sidecars = [each for each in spec.init_containers if each.restart_policy == "Always"]
    running = [*spec.containers, *sidecars]
    counted = [each for each in running if container in (None, each.name)]
    if container is not None and not counted:
        raise ValueError(f"container {container} not found in Pod {pod_name}")
    for each in counted:
        if name not in each.resources.requests:
            raise ValueError(
                f"missing request for {name} in container {each.name} of Pod {pod_name}"
            )
    return sum(milli(each.resources.requests[name]) for each in counted)


# --- values ---


def _averaged(
    hpa: HorizontalPodAutoscaler, value: int, wanted: MetricTarget, target: Target
) -> _Value:
    """Each replica is to have its share of the value."""
    present = target.scale.status.replicas
    average = -(-value // present) if present else 0
    goal = milli(wanted.average_value or "0")
    replicas = average_replicas(value, present, goal, tolerance_of(hpa))
    return _Value(replicas, MetricValueStatus(average_value=_quantity(average)))


def _valued(
    hpa: HorizontalPodAutoscaler, value: int, wanted: MetricTarget, target: Target
) -> _Value:
    """The value is to be what is wanted, however many replicas that takes."""
    goal = milli(wanted.value or "0")
    tolerance = tolerance_of(hpa)
    ready = 0
    if target.current and not tolerance.covers(value / goal):
        ready = target.ready()
    replicas = value_replicas(value, target.current, goal, ready, tolerance)
    return _Value(replicas, MetricValueStatus(value=_quantity(value)))


def _quantity(thousandths: int, form: str = "decimal") -> Quantity:
    return format_quantity(thousandths * 10**6, form)


# --- sentences ---


def shown(selector: LabelSelector | None) -> str:
    """A selector as Go prints it."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    requirements = ""
    for each in selector.match_expressions:
        values = " ".join(each.values)
        requirements += (
            f"LabelSelectorRequirement{{Key:{each.key},Operator:{each.operator},"
            f"Values:[{values}],}},"
        )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}"
    )


def _metric_selector(selector: LabelSelector | None) -> dict[str, str]:
    text = str(from_label_selector(selector) or "")
    return {"metricLabelSelector": text} if text else {}


def _resource_status(
    name: str, container: str | None, used: Usage, utilization: bool
) -> MetricStatus:
    form = "binary" if name == "memory" else "decimal"
    current = MetricValueStatus(
        average_value=_quantity(used.average, form),
        average_utilization=used.percent if utilization else None,
    )
    if container is None:
        resource = ResourceMetricStatus(name=name, current=current)
        return MetricStatus(type="Resource", resource=resource)
    of_container = ContainerResourceMetricStatus(name=name, container=container, current=current)
    return MetricStatus(type="ContainerResource", container_resource=of_container)


def _resource_error(
    name: str, container: str | None, utilization: bool, error: ValueError
) -> MetricError:
    noun = "utilization" if utilization else "usage"
    message = f"failed to get {name} {noun}: {error}"
    if container is None:
        summary = f"failed to get {name} resource metric value: {message}"
        return MetricError("FailedGetResourceMetric", message, summary)
    summary = f"failed to get {container} container metric value: {message}"
    return MetricError("FailedGetContainerResourceMetric", message, summary)


def _external_error(name: str, is_average: bool, message: str) -> MetricError:
    inner = f"failed to get external metric {name}: "
    if is_average:
        inner = f"failed to get {name} external metric: "
    summary = f"failed to get {name} external metric value: {inner}{message}"
    return MetricError("FailedGetExternalMetric", message, summary)
