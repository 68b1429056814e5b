"""What each metric of an autoscaler calls for: it is read by `metricsapis` and worked out by
`autoscaling`.

Names of metrics, reasons and sentences are those of upstream's podautoscaler: people search for
them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from tiphys.api import core_v1
from tiphys.api.autoscaling_v2 import (
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
)
from tiphys.client.client import Client
from tiphys.controllers.autoscaling import (
    MetricError,
    PodView,
    ratio_replicas,
    tolerance_of,
)
from tiphys.controllers.metricsapis import MetricsAPIs, Sample
from tiphys.controllers.metricvalues import (
    Target,
    averaged,
    external_error,
    is_believed,
    metric_selector,
    quantity,
    request_of,
    resource_error,
    resource_status,
    shown,
    valued,
)
from tiphys.controllers.scales import Scales
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quantity import milli
from tiphys.machinery.selectors import from_label_selector

T = TypeVar("T")

_NONSENSE = (LookupError, TypeError, AttributeError, ArithmeticError)
_GETTING = {
    "Resource": "GetResourceMetric",
    "ContainerResource": "GetContainerResourceMetric",
    "Pods": "GetPodsMetric",
    "Object": "GetObjectMetric",
    "External": "GetExternalMetric",
}


class Proposal(NamedTuple):
    """How many replicas a metric calls for, the metric's name in reasons, and what the status says
    of it."""

    replicas: int
    metric: str
    status: MetricStatus


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
            raise resource_error(name, container, utilization, error) from None
        kind = "container resource" if container is not None and utilization else "resource"
        metric = f"{name} {kind}"
        if utilization:
            metric += " utilization (percentage of request)"
        return Proposal(replicas, metric, resource_status(name, container, used, utilization))

    async def _pods(
        self, hpa: HorizontalPodAutoscaler, source: PodsMetricSource, target: Target
    ) -> Proposal:
        name = source.metric.name
        path = f"namespaces/{hpa.metadata.namespace}/pods/*/{name}"
        query = {
            "labelSelector": target.scale.status.selector,
            **metric_selector(source.metric.selector),
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
        current = MetricValueStatus(average_value=quantity(used.average))
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
        query = metric_selector(source.metric.selector)
        try:
            path = await self._object_path(namespace, source)
            items = await _with_prefix(prefix, self._apis.custom(path, query))
            value = milli(items[0]["value"])
            weigh = averaged if is_average else valued
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
            weigh = averaged if is_average else valued
            replicas, current = weigh(hpa, value, source.target, target)
        except ValueError as error:
            raise external_error(name, is_average, str(error)) from None
        status = ExternalMetricStatus(metric=source.metric, current=current)
        metric = f"external metric {name}({selector_text})"
        return Proposal(replicas, metric, MetricStatus(type="External", external=status))


async def _with_prefix(prefix: str, reading: Awaitable[T]) -> T:
    """What is read. A ValueError says before its own words what was asked for."""
    try:
        return await reading
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None
