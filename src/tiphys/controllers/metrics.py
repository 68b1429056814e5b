"""What autoscalers read: the resource, custom and external metrics APIs, and how many replicas each metric calls for.

Names of metrics, reasons and sentences are those of upstream's podautoscaler: people grep for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

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
from tiphys.controllers.pods import condition, is_ready
from tiphys.controllers.scales import Scales
from tiphys.machinery import timestamps
from tiphys.machinery.cel.conversions import parse_duration
from tiphys.machinery.cel.values import CelError
from tiphys.machinery.errors import StatusError
from tiphys.machinery.footprint import requests_of
from tiphys.machinery.quantity import milli
from tiphys.machinery.selectors import from_label_selector

_STARTUP, _READINESS = 300.0, 30.0  # seconds in which a pod's cpu says little
_WINDOW = 60.0  # seconds that a custom metric stands for when it does not say so
_CUSTOM = "custom.metrics.k8s.io"


class Target(NamedTuple):
    """What is scaled: its counts, and its pods, however they are."""

    scale: autoscaling_v1.Scale
    pods: list[core_v1.Pod]

    @property
    def current(self) -> int:
        return self.scale.spec.replicas

    def ready(self) -> int:
        if not self.pods:
            raise ValueError(
                "unable to calculate ready pods: no pods returned by selector while calculating replica count"
            )
        return sum(1 for pod in self.pods if pod.status.phase == "Running" and is_ready(pod))


class Proposal(NamedTuple):
    """How many replicas a metric calls for, the metric's name in reasons, and what the status says of it."""

    replicas: int
    metric: str
    status: MetricStatus


class Sample(NamedTuple):
    """A pod's metric in thousandths; `since` and `window` say which seconds it was measured over."""

    value: int
    since: float
    window: float


class Metrics:
    def __init__(self, client: Client, scales: Scales, now: Callable[[], float]) -> None:
        self._client = client
        self._scales = scales
        self._now = now

    async def propose(
        self, hpa: HorizontalPodAutoscaler, spec: MetricSpec, target: Target
    ) -> Proposal:
        """Raises MetricError."""
        match spec.type:
            case "Resource" if spec.resource is not None:
                return await self._resource(
                    hpa, spec.resource.name, spec.resource.target, None, target
                )
            case "ContainerResource" if spec.container_resource is not None:
                source = spec.container_resource
                return await self._resource(
                    hpa, source.name, source.target, source.container, target
                )
            case "Pods" if spec.pods is not None:
                return await self._pods(hpa, spec.pods, target)
            case "Object" if spec.object is not None:
                return await self._object(hpa, spec.object, target)
            case "External" if spec.external is not None:
                return await self._external(hpa, spec.external, target)
        raise MetricError("InvalidMetricSourceType", f'unknown metric source type "{spec.type}"')

    # --- what the pods use ---

    async def _resource(
        self,
        hpa: HorizontalPodAutoscaler,
        name: str,
        wanted: MetricTarget,
        container: str | None,
        target: Target,
    ) -> Proposal:
        utilization = wanted.average_value is None
        try:
            found = await self._resource_samples(
                hpa.metadata.namespace, name, container, target.scale.status.selector
            )
            requests = (
                (lambda pod: request_of(pod, container, name)) if utilization else (lambda _: 0)
            )
            views = self._views(target.pods, found, name, requests)
            goal = (
                wanted.average_utilization or 0
                if utilization
                else milli(wanted.average_value or "0")
            )
            replicas, used = ratio_replicas(
                views, target.current, goal, utilization, tolerance_of(hpa)
            )
        except ValueError as error:
            message = f"failed to get {name} {'utilization' if utilization else 'usage'}: {error}"
            if container is None:
                summary = f"failed to get {name} resource metric value: {message}"
                raise MetricError("FailedGetResourceMetric", message, summary) from None
            summary = f"failed to get {container} container metric value: {message}"
            raise MetricError("FailedGetContainerResourceMetric", message, summary) from None
        kind = "resource" if container is None or not utilization else "container resource"
        metric = (
            f"{name} {kind} utilization (percentage of request)"
            if utilization
            else f"{name} {kind}"
        )
        return Proposal(replicas, metric, _resource_status(name, container, used, utilization))

    async def _resource_samples(
        self, namespace: str, name: str, container: str | None, selector: str
    ) -> dict[str, Sample]:
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        try:
            items = await self._items(path, {"labelSelector": selector}, "resource")
        except ValueError as error:
            raise ValueError(f"unable to get metrics for resource {name}: {error}") from None
        samples = {}
        for item in items:
            used = [
                c["usage"].get(name) for c in item["containers"] if container in (None, c["name"])
            ]
            if used and all(value is not None for value in used):
                value = sum(milli(value) for value in used)
                samples[item["metadata"]["name"]] = Sample(
                    value, timestamps.parse(item["timestamp"]), _seconds(item["window"])
                )
        return samples

    async def _pods(
        self, hpa: HorizontalPodAutoscaler, source: PodsMetricSource, target: Target
    ) -> Proposal:
        name = source.metric.name
        try:
            query = {"labelSelector": target.scale.status.selector} | _metric_selector(
                source.metric.selector
            )
            items = await self._custom(
                f"namespaces/{hpa.metadata.namespace}/pods/*/{name}",
                query,
                f"unable to get metric {name}: ",
            )
            found = {
                item["describedObject"]["name"]: Sample(milli(item["value"]), 0.0, _WINDOW)
                for item in items
            }
            views = self._views(target.pods, found, "", lambda _: 0)
            goal = milli(source.target.average_value or "0")
            replicas, used = ratio_replicas(views, target.current, goal, False, tolerance_of(hpa))
        except ValueError as error:
            raise MetricError(
                "FailedGetPodsMetric", str(error), f"failed to get pods metric value: {error}"
            ) from None
        now = MetricValueStatus(average_value=_quantity(used.average))
        return Proposal(
            replicas,
            f"pods metric {name}",
            MetricStatus(type="Pods", pods=PodsMetricStatus(metric=source.metric, current=now)),
        )

    def _views(
        self,
        pods: list[core_v1.Pod],
        found: dict[str, Sample],
        name: str,
        request: Callable[[core_v1.Pod], int],
    ) -> list[PodView]:
        """What counts of the pods. Raises ValueError when no metric does, or when a pod has no request that its use
        could be compared with."""
        if not pods:
            raise ValueError("no pods returned by selector while calculating replica count")
        counted = [
            p for p in pods if not p.metadata.deletion_timestamp and p.status.phase != "Failed"
        ]
        samples = [found.get(pod.metadata.name) for pod in counted]
        ready = [
            self._counts(pod, sample, name) for pod, sample in zip(counted, samples, strict=True)
        ]
        if not any(
            sample is not None and able for sample, able in zip(samples, ready, strict=True)
        ):
            raise ValueError("did not receive metrics for targeted pods (pods might be unready)")
        return [
            PodView(None if sample is None else sample.value, request(pod), able)
            for pod, sample, able in zip(counted, samples, ready, strict=True)
        ]

    def _counts(self, pod: core_v1.Pod, sample: Sample | None, name: str) -> bool:
        if pod.status.phase == "Pending":
            return False
        return sample is None or name != "cpu" or self._believed(pod, sample)

    def _believed(self, pod: core_v1.Pod, sample: Sample) -> bool:
        """Whether a pod's cpu says something: just after its start it is busy with starting, and what was measured
        before it was ready does not count."""
        ready = condition(pod, "Ready")
        if ready is None or pod.status.start_time is None:
            return False
        started, changed = (
            timestamps.parse(pod.status.start_time),
            timestamps.parse(ready.last_transition_time),
        )
        if started + _STARTUP > self._now():
            return ready.status != "False" and sample.since >= changed + sample.window
        return ready.status != "False" or started + _READINESS <= changed

    # --- one number for all ---

    async def _object(
        self, hpa: HorizontalPodAutoscaler, source: ObjectMetricSource, target: Target
    ) -> Proposal:
        name, namespace, ref, wanted = (
            source.metric.name,
            hpa.metadata.namespace,
            source.described_object,
            source.target,
        )
        average, now = wanted.type == "AverageValue", MetricValueStatus()
        try:
            before = f"unable to get metric {name}: {ref.kind} on {namespace} {ref.name}/"
            query = _metric_selector(source.metric.selector)
            items = await self._custom(await self._object_path(namespace, source), query, before)
            value = milli(items[0]["value"])
            if average:
                replicas = self._averaged(hpa, value, wanted, target, now)
            else:
                replicas = self._valued(hpa, value, wanted, target, now)
        except ValueError as error:
            inner = f"failed to get {name} object metric: {error}" if average else str(error)
            raise MetricError(
                "FailedGetObjectMetric", str(error), f"failed to get object metric value: {inner}"
            ) from None
        metric = (
            f"external metric {name}({shown(source.metric.selector)})"
            if average
            else f"{ref.kind} metric {name}"
        )
        status = ObjectMetricStatus(metric=source.metric, current=now, described_object=ref)
        return Proposal(replicas, metric, MetricStatus(type="Object", object=status))

    async def _object_path(self, namespace: str, source: ObjectMetricSource) -> str:
        ref = source.described_object
        if ref.kind == "Namespace" and "/" not in ref.api_version:
            return f"namespaces/{namespace}/metrics/{source.metric.name}"
        group = ref.api_version.rpartition("/")[0]
        plural = ref.kind.lower() + "s"
        with contextlib.suppress(LookupError, StatusError):
            plural = await self._scales.plural(ref.api_version, ref.kind)
        return f"namespaces/{namespace}/{plural}{'.' + group if group else ''}/{ref.name}/{source.metric.name}"

    async def _external(
        self, hpa: HorizontalPodAutoscaler, source: ExternalMetricSource, target: Target
    ) -> Proposal:
        name, namespace, now = source.metric.name, hpa.metadata.namespace, MetricValueStatus()
        selector, average = source.metric.selector, source.target.average_value is not None
        found = from_label_selector(selector)
        query = {"labelSelector": str(found)} if found is not None else {}
        try:
            path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{name}"
            items = await self._items(path, query, "external", f"{name}.external.metrics.k8s.io")
        except ValueError as error:
            message = f"unable to get external metric {namespace}/{name}/{shown(selector)}: {error}"
            raise _external_error(name, average, message) from None
        try:
            value = min(sum(milli(item["value"]) for item in items), 2**63 - 1)
            weigh = self._averaged if average else self._valued
            replicas = weigh(hpa, value, source.target, target, now)
        except ValueError as error:
            raise _external_error(name, average, str(error)) from None
        status = MetricStatus(
            type="External", external=ExternalMetricStatus(metric=source.metric, current=now)
        )
        return Proposal(replicas, f"external metric {name}({shown(selector)})", status)

    @staticmethod
    def _averaged(
        hpa: HorizontalPodAutoscaler,
        value: int,
        wanted: MetricTarget,
        target: Target,
        now: MetricValueStatus,
    ) -> int:
        present = target.scale.status.replicas
        now.average_value = _quantity(-(-value // present) if present else 0)
        return average_replicas(
            value, present, milli(wanted.average_value or "0"), tolerance_of(hpa)
        )

    @staticmethod
    def _valued(
        hpa: HorizontalPodAutoscaler,
        value: int,
        wanted: MetricTarget,
        target: Target,
        now: MetricValueStatus,
    ) -> int:
        now.value = _quantity(value)
        goal, tolerance = milli(wanted.value or "0"), tolerance_of(hpa)
        moves = target.current and not tolerance.covers(value / goal)
        return value_replicas(
            value, target.current, goal, target.ready() if moves else 0, tolerance
        )

    # --- the three APIs ---

    async def _custom(self, path: str, query: dict[str, str], before: str) -> list[dict[str, Any]]:
        """The rows of the custom metrics API, in the newest version that is served."""
        try:
            served = await self._custom_versions()
            version = next((v for v in ("v1beta2", "v1beta1") if v in served), "")
            if not version:
                raise ValueError(
                    f"unable to fetch metrics from custom metrics API: no custom metrics API ({_CUSTOM}) registered"
                )
            return await self._items(f"/apis/{_CUSTOM}/{version}/{path}", query, "custom")
        except ValueError as error:
            raise ValueError(f"{before}{error}") from None

    async def _custom_versions(self) -> list[str]:
        try:
            group = msgspec.json.decode(await self._client.request("GET", f"/apis/{_CUSTOM}"))
        except StatusError as error:
            if error.code == 404:
                return []
            raise ValueError(f"unable to fetch metrics from custom metrics API: {error}") from None
        return [version["version"] for version in group["versions"]]

    async def _items(
        self, path: str, query: dict[str, str], api: str, resource: str = ""
    ) -> list[dict[str, Any]]:
        """The rows of a list of metrics. Raises ValueError when there are none, or no such API."""
        try:
            listed = msgspec.json.decode(await self._client.request("GET", path, query=query))
        except StatusError as error:
            told = str(error)
            if error.code == 404 and resource:
                told = f"the server could not find the requested resource (get {resource})"
            raise ValueError(f"unable to fetch metrics from {api} metrics API: {told}") from None
        items: list[dict[str, Any]] = listed.get("items") or []
        if not items:
            raise ValueError(f"no metrics returned from {api} metrics API")
        return items


def request_of(pod: core_v1.Pod, container: str | None, name: str) -> int:
    """What the pod, or one container of it, asks for, in thousandths. Raises ValueError when it does not say."""
    spec = pod.spec
    if container is None and spec.resources is not None and spec.resources.requests:
        if name not in requests_of(spec):
            raise ValueError(f"missing pod-level request for {name} in Pod {pod.metadata.name}")
        return requests_of(spec)[name] * (1 if name == "cpu" else 1000)
    running = [*spec.containers, *(c for c in spec.init_containers if c.restart_policy == "Always")]
    asked = [c for c in running if container in (None, c.name)]
    for each in asked:
        if name not in each.resources.requests:
            raise ValueError(
                f"missing request for {name} in container {each.name} of Pod {pod.metadata.name}"
            )
    if container is not None and not asked:
        raise ValueError(f"container {container} not found in Pod {pod.metadata.name}")
    return sum(milli(each.resources.requests[name]) for each in asked)


def shown(selector: LabelSelector | None) -> str:
    """A selector as Go prints it."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    rules = "".join(
        f"LabelSelectorRequirement{{Key:{r.key},Operator:{r.operator},Values:[{' '.join(r.values)}],}},"
        for r in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{rules}}},}}"
    )


def _external_error(name: str, average: bool, message: str) -> MetricError:
    inner = (
        f"failed to get {name} external metric: "
        if average
        else f"failed to get external metric {name}: "
    )
    return MetricError(
        "FailedGetExternalMetric",
        message,
        f"failed to get {name} external metric value: {inner}{message}",
    )


def _metric_selector(selector: LabelSelector | None) -> dict[str, str]:
    found = from_label_selector(selector)
    return {"metricLabelSelector": str(found)} if found is not None and str(found) else {}


def _resource_status(
    name: str, container: str | None, used: Usage, utilization: bool
) -> MetricStatus:
    now = MetricValueStatus(
        average_value=_quantity(used.average, "binary" if name == "memory" else "decimal"),
        average_utilization=used.percent if utilization else None,
    )
    if container is None:
        return MetricStatus(type="Resource", resource=ResourceMetricStatus(name=name, current=now))
    status = ContainerResourceMetricStatus(name=name, container=container, current=now)
    return MetricStatus(type="ContainerResource", container_resource=status)


def _quantity(thousandths: int, form: str = "decimal") -> Quantity:
    return format_quantity(thousandths * 10**6, form)


def _seconds(window: str) -> float:
    try:
        return parse_duration(window).total_seconds()
    except CelError:
        return _WINDOW
