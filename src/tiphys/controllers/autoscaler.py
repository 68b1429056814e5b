"""Horizontal pod autoscalers: as many replicas as the metrics call for, within bounds, windows and policies.

What they call for is worked out in `autoscaling`; here metrics are read, targets scaled, and reasons given.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import msgspec

from tiphys.api import autoscaling_v1, autoscaling_v2, core_v1
from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    MetricSpec,
    MetricStatus,
)
from tiphys.api.base import decode, format_quantity
from tiphys.controllers.autoscaling import (
    Bounded,
    MetricError,
    PodView,
    Record,
    Tolerance,
    bounded,
    ratio_replicas,
    tolerance_of,
    value_replicas,
)
from tiphys.controllers.pods import condition, is_ready
from tiphys.controllers.scales import Scales
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quantity import nano

PERIOD = 15.0  # seconds between looks
_STARTUP, _READINESS = 300.0, 30.0  # seconds in which a pod's cpu says little




class AutoscalerController(Controller):
    name = "horizontalpodautoscaler"
    event_source = "horizontal-pod-autoscaler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._records: dict[str, Record] = {}
        self._scales = Scales(self.client)

    def watch(self) -> None:
        self._autoscalers, self._pods = self.informer(HorizontalPodAutoscaler), self.informer(core_v1.Pod)
        self._pods.index("namespace", lambda pod: [pod.metadata.namespace])
        self._autoscalers.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if old is None or new is None or old.spec != new.spec:
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> float | None:
        hpa = self._autoscalers.get(key)
        if hpa is None:
            self._records.pop(key, None)
            return None
        changed = copy.deepcopy(hpa)
        changed.status.observed_generation = hpa.metadata.generation or None
        try:
            await self._scale(changed, self._records.setdefault(key, Record()))
        except (StatusError, MetricError) as error:
            reason, why = error.reason if isinstance(error, MetricError) else "FailedGetScale", str(error)
            if reason == "FailedGetScale":
                self._condition(changed, "AbleToScale", False, reason, why)
            else:
                told = f"the HPA was unable to compute the replica count: {why}"
                self._condition(changed, "ScalingActive", False, reason, told)
            self.context.recorder.record(hpa, "Warning", reason, why)
        if changed.status != hpa.status:
            await self.client.update_status(changed)
        return PERIOD

    async def _scale(self, hpa: HorizontalPodAutoscaler, record: Record) -> None:
        path = await self._path(hpa)
        scale = decode(await self.client.request("GET", path), autoscaling_v1.Scale)
        current, status, now = scale.spec.replicas, hpa.status, self.context.now()
        status.current_replicas = scale.status.replicas
        self._condition(
            hpa,
            "AbleToScale",
            True,
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        least = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas
        if current == 0 and least != 0:
            self._condition(
                hpa,
                "ScalingActive",
                False,
                "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero",
            )
            status.desired_replicas = 0
            return
        if current > hpa.spec.max_replicas or current < least:
            wanted = Bounded(max(least, min(current, hpa.spec.max_replicas)))
        else:
            proposed = await self._propose(hpa, scale, current)
            wanted = bounded(hpa, current, proposed, record, now)
            self._condition(hpa, "ScalingLimited", wanted.limited, wanted.reason, wanted.message)
        status.desired_replicas = wanted.replicas
        if wanted.replicas == current:
            self._condition(hpa, "AbleToScale", True, "ReadyForNewScale", "recommended size matches current size")
            return
        body = {"spec": {"replicas": wanted.replicas}}
        await self.client.request("PATCH", path, msgspec.json.encode(body), content="application/merge-patch+json")
        (record.ups if wanted.replicas > current else record.downs).append((now, abs(wanted.replicas - current)))
        for events in (record.ups, record.downs):
            events[:] = [(t, n) for t, n in events if t > now - 3600]
        status.last_scale_time = timestamps.rfc3339(now)
        self._condition(
            hpa,
            "AbleToScale",
            True,
            "SucceededRescale",
            f"the HPA controller was able to update the target scale to {wanted.replicas}",
        )
        why = "All metrics below target" if wanted.replicas < current else "metrics above target"
        self.context.recorder.record(hpa, "Normal", "SuccessfulRescale", f"New size: {wanted.replicas}; reason: {why}")

    async def _path(self, hpa: HorizontalPodAutoscaler) -> str:
        """The scale subresource of the target, whatever kind it is of."""
        ref = hpa.spec.scale_target_ref
        try:
            return await self._scales.path(hpa.metadata.namespace, ref.api_version or "v1", ref.kind, ref.name)
        except LookupError as error:
            raise MetricError("FailedGetScale", str(error)) from None

    async def _propose(self, hpa: HorizontalPodAutoscaler, scale: autoscaling_v1.Scale, current: int) -> int:
        """The most that any metric calls for. One that cannot be had stops a shrinking, not a growth."""
        best, failures, seen = 0, list[MetricError](), list[MetricStatus]()
        pods = self._chosen(hpa.metadata.namespace, scale.status.selector)
        for spec in hpa.spec.metrics:
            try:
                wanted, status = await self._metric(hpa, spec, pods, scale, current)
                best = max(best, wanted)
                seen.append(status)
            except MetricError as error:
                failures.append(error)
        hpa.status.current_metrics = seen
        if failures and (len(failures) == len(hpa.spec.metrics) or best < current):
            raise failures[0]
        self._condition(
            hpa,
            "ScalingActive",
            True,
            "ValidMetricFound",
            "the HPA was able to successfully calculate a replica count from the metrics",
        )
        return best

    def _chosen(self, namespace: str, selector: str) -> list[core_v1.Pod]:
        from tiphys.machinery.selectors import parse_labels

        wanted = parse_labels(selector)
        return [
            pod for pod in self._pods.by("namespace", namespace)
            if wanted.matches(pod.metadata.labels) and pod.status.phase not in ("Failed", "Succeeded") and not pod.metadata.deletion_timestamp
        ]  # fmt: skip

    async def _metric(
        self, hpa: HorizontalPodAutoscaler, spec: MetricSpec, pods: list[core_v1.Pod], scale: autoscaling_v1.Scale, current: int
    ) -> tuple[int, MetricStatus]:  # fmt: skip
        namespace = hpa.metadata.namespace
        match spec.type:
            case "Resource" | "ContainerResource":
                source: Any = spec.resource or spec.container_resource
                return await self._resource(hpa, spec.type, source, pods, scale, current)
            case "Pods" if spec.pods is not None:
                values = await self._pods_metric(namespace, spec.pods.metric, scale.status.selector)
                views = [PodView(values.get(p.metadata.name), 0, True) for p in pods]
                target = nano(spec.pods.target.average_value or "0")
                wanted, present = ratio_replicas(views, current, target, False, tolerance_of(hpa))
                now = autoscaling_v2.MetricValueStatus(average_value=format_quantity(present))
                return wanted, MetricStatus(
                    type="Pods", pods=autoscaling_v2.PodsMetricStatus(metric=spec.pods.metric, current=now)
                )
            case "Object" if spec.object is not None:
                value = await self._object_metric(namespace, spec.object)
                wanted = self._of_value(value, spec.object.target, current, tolerance_of(hpa))
                now = autoscaling_v2.MetricValueStatus(value=format_quantity(value))
                ref = spec.object.described_object
                status = autoscaling_v2.ObjectMetricStatus(metric=spec.object.metric, described_object=ref, current=now)
                return wanted, MetricStatus(type="Object", object=status)
            case "External" if spec.external is not None:
                value = await self._external(namespace, spec.external.metric)
                wanted = self._of_value(value, spec.external.target, current, tolerance_of(hpa))
                now = autoscaling_v2.MetricValueStatus(value=format_quantity(value))
                status_ = autoscaling_v2.ExternalMetricStatus(metric=spec.external.metric, current=now)
                return wanted, MetricStatus(type="External", external=status_)
        raise MetricError("InvalidMetricSourceType", f"invalid metric source type {spec.type}")

    @staticmethod
    def _of_value(value: int, target: autoscaling_v2.MetricTarget, current: int, tolerance: Tolerance) -> int:
        if target.average_value is not None:
            wanted = math.ceil(value / max(1, nano(target.average_value)))
            used = value / (nano(target.average_value) * current) if current else 2.0
            return current if tolerance.covers(used) else wanted
        return value_replicas(value, current, nano(target.value or "0"), tolerance)

    async def _resource(
        self, hpa: HorizontalPodAutoscaler, kind: str, source: Any, pods: list[core_v1.Pod], scale: autoscaling_v1.Scale,
        current: int,
    ) -> tuple[int, MetricStatus]:  # fmt: skip
        namespace = hpa.metadata.namespace
        only = getattr(source, "container", "")
        query = {"labelSelector": scale.status.selector}
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        utilization = source.target.type == "Utilization"
        what = f"failed to get {source.name} {'utilization' if utilization else 'usage'}: "
        items = await self._items(path, query, "resource", f"{what}unable to get metrics for resource {source.name}: ")
        measured = {i["metadata"]["name"]: i for i in items}
        views = []
        for pod in pods:
            request, containers = 0, [c for c in pod.spec.containers if only in ("", c.name)]
            for container in containers:
                if source.name not in container.resources.requests:
                    if utilization:
                        raise MetricError(
                            "FailedGetResourceMetric",
                            f"{what}missing request for {source.name} in container {container.name} of Pod {pod.metadata.name}",
                        )
                    continue
                request += nano(container.resources.requests[source.name])
            found = measured.get(pod.metadata.name)
            value = None
            if found is not None:
                value = sum(
                    nano(c["usage"].get(source.name, "0")) for c in found["containers"] if only in ("", c["name"])
                )
            views.append(PodView(value, request, pod.status.phase == "Running" and self._believed(pod, source.name)))
        goal = source.target.average_utilization or 0 if utilization else nano(source.target.average_value or "0")
        known = [v.value for v in views if v.value is not None and v.ready]
        if not known:
            why = "did not receive metrics for targeted pods (pods might be unready)"
            raise MetricError("FailedGetResourceMetric", what + why)
        wanted, present = ratio_replicas(views, current, goal, utilization, tolerance_of(hpa))
        average = format_quantity(sum(known) // len(known))
        now = autoscaling_v2.MetricValueStatus(
            average_value=average, average_utilization=present if utilization else None
        )
        if kind == "Resource":
            return wanted, MetricStatus(
                type=kind, resource=autoscaling_v2.ResourceMetricStatus(name=source.name, current=now)
            )
        status = autoscaling_v2.ContainerResourceMetricStatus(name=source.name, container=only, current=now)
        return wanted, MetricStatus(type=kind, container_resource=status)

    def _believed(self, pod: core_v1.Pod, name: str) -> bool:
        """Whether a pod's cpu says something: just after its start it is busy with starting."""
        if name != "cpu":
            return True
        ready, now = condition(pod, "Ready"), self.context.now()
        if ready is None or pod.status.start_time is None:
            return False
        if now - timestamps.parse(pod.status.start_time) > _STARTUP:
            return True
        return is_ready(pod)

    async def _pods_metric(
        self, namespace: str, metric: autoscaling_v2.MetricIdentifier, selector: str
    ) -> dict[str, int]:
        path = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/{metric.name}"
        what = f"unable to get metric {metric.name}: "
        items = await self._items(path, {"labelSelector": selector}, "custom", what)
        return {item["describedObject"]["name"]: nano(item["value"]) for item in items}

    async def _object_metric(self, namespace: str, source: autoscaling_v2.ObjectMetricSource) -> int:
        ref = source.described_object
        group = ref.api_version.partition("/")[0] if "/" in ref.api_version else ""
        plural = ref.kind.lower() + "s" + (f".{group}" if group else "")
        path = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/{plural}/{ref.name}/{source.metric.name}"
        what = f"unable to get metric {source.metric.name}: {ref.kind} on {namespace} {ref.name}/"
        return nano((await self._items(path, {}, "custom", what, "FailedGetObjectMetric"))[0]["value"])

    async def _external(self, namespace: str, metric: autoscaling_v2.MetricIdentifier) -> int:
        from tiphys.machinery.selectors import from_label_selector

        selector = from_label_selector(metric.selector)
        query = {"labelSelector": str(selector)} if selector is not None else {}
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric.name}"
        what = f"unable to get external metric {namespace}/{metric.name}: "
        items = await self._items(path, query, "external", what, "FailedGetExternalMetric")
        return sum(nano(item["value"]) for item in items)

    async def _items(
        self, path: str, query: dict[str, str], api: str, what: str, reason: str = ""
    ) -> list[dict[str, Any]]:
        """The rows of a list of metrics. Raises MetricError when there are none, or no such API."""
        reason = reason or ("FailedGetResourceMetric" if api == "resource" else "FailedGetPodsMetric")
        try:
            listed = msgspec.json.decode(await self.client.request("GET", path, query=query))
        except StatusError as error:
            raise MetricError(reason, f"{what}unable to fetch metrics from {api} metrics API: {error}") from None
        items: list[dict[str, Any]] = listed.get("items") or []
        if not items:
            raise MetricError(reason, f"{what}no metrics returned from {api} metrics API")
        return items

    def _condition(self, hpa: HorizontalPodAutoscaler, kind: str, on: bool, reason: str, message: str) -> None:
        state = "True" if on else "False"
        standing = next((c for c in hpa.status.conditions if c.type == kind), None)
        if standing is None:
            standing = autoscaling_v2.HorizontalPodAutoscalerCondition(type=kind)
            hpa.status.conditions.append(standing)
        if standing.status != state:
            standing.last_transition_time = timestamps.rfc3339(self.context.now())
        standing.status, standing.reason, standing.message = state, reason, message
