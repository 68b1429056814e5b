"""Horizontal pod autoscalers: as many replicas as the metrics call for, within bounds, windows and policies.

The core (`propose`, `bounded`) is pure; the shell reads metrics, scales, and says why.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tiphys.api import autoscaling_v1, autoscaling_v2, core_v1
from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HPAScalingPolicy,
    HPAScalingRules,
    MetricSpec,
    MetricStatus,
)
from tiphys.api.base import decode, format_quantity
from tiphys.controllers.pods import condition, is_ready
from tiphys.controllers.scales import Scales
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quantity import nano

TOLERANCE = 0.1
PERIOD = 15.0  # seconds between looks
_STARTUP, _READINESS = 300.0, 30.0  # seconds in which a pod's cpu says little
_DOWN_WINDOW = 300


class MetricError(Exception):
    """A metric that cannot be had; `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# --- the core: pure ---


@dataclass
class PodView:
    """What counts of a pod: its metric (None: missing), its request, whether it is ready enough to be believed."""

    value: int | None
    request: int = 0
    ready: bool = True


@dataclass(frozen=True)
class Tolerance:
    """How far the use may be from the target, below and above, before anything is done."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def tolerance_of(hpa: HorizontalPodAutoscaler) -> Tolerance:
    behaviour = hpa.spec.behavior or autoscaling_v2.HorizontalPodAutoscalerBehavior()
    down, up = (
        nano(rules.tolerance) / 10**9 if rules is not None and rules.tolerance is not None else TOLERANCE
        for rules in (behaviour.scale_down, behaviour.scale_up)
    )
    return Tolerance(down, up)


def ratio_replicas(
    pods: list[PodView], current: int, target: int, utilization: bool, tolerance: Tolerance
) -> tuple[int, int]:
    """(replicas wanted, the metric's present value) of a metric per pod. `target` is in nano units, or in percent of
    the request. Pods without a metric count as if they used nothing when that would mean more, all when less."""
    known = [p for p in pods if p.value is not None and p.ready]
    if not known:
        raise MetricError("FailedGetResourceMetric", "did not receive metrics for any ready pods")
    total, requests = sum(p.value or 0 for p in known), sum(p.request for p in known)
    present = total * 100 // requests if utilization and requests else total // len(known)
    ratio = _ratio(total, requests, len(known), target, utilization)
    missing = [p for p in pods if p.value is None]
    unready = [p for p in pods if p.value is not None and not p.ready]
    if not missing and not (unready and ratio > 1.0):
        if tolerance.covers(ratio):
            return current, present
        return math.ceil(ratio * len(known)), present
    if missing:
        fill = 1.0 if ratio < 1.0 else 0.0
        for pod in missing:
            total += int(fill * (pod.request * target // 100 if utilization else target))
            requests += pod.request
    count = len(known) + len(missing)
    if ratio > 1.0:
        requests += sum(p.request for p in unready)
        count += len(unready)
    again = _ratio(total, requests, count, target, utilization)
    if tolerance.covers(again) or (ratio < 1.0 < again) or (ratio > 1.0 > again):
        return current, present
    wanted = math.ceil(again * count)
    if (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current):
        return current, present
    return wanted, present


def _ratio(total: int, requests: int, count: int, target: int, utilization: bool) -> float:
    if not target:
        return 1.0
    if utilization:
        return (total * 100 / requests) / target if requests else 0.0
    return total / count / target


def value_replicas(value: int, current: int, target: int, tolerance: Tolerance) -> int:
    """Replicas wanted when one number stands for all of them; from none, one that is used begins."""
    ratio = value / target if target else 1.0
    if not current:
        return math.ceil(ratio)
    return current if tolerance.covers(ratio) else math.ceil(ratio * current)


@dataclass
class Record:
    """What one autoscaler recommended and did, with the times."""

    recommended: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)


@dataclass
class Bounded:
    """The number of replicas to have, and which bound decided, as the condition ScalingLimited says it."""

    replicas: int
    limited: bool = False
    reason: str = "DesiredWithinRange"
    message: str = "the desired count is within the acceptable range"


def default_rules(hpa: HorizontalPodAutoscaler) -> tuple[HPAScalingRules, HPAScalingRules]:
    """(up, down): what the behaviour says, filled up with the defaults."""
    behaviour = hpa.spec.behavior or autoscaling_v2.HorizontalPodAutoscalerBehavior()
    up, down = (
        copy.deepcopy(behaviour.scale_up) or HPAScalingRules(),
        copy.deepcopy(behaviour.scale_down) or HPAScalingRules(),
    )
    if up.stabilization_window_seconds is None:
        up.stabilization_window_seconds = 0
    if down.stabilization_window_seconds is None:
        down.stabilization_window_seconds = _DOWN_WINDOW
    if not up.policies:
        up.policies = [
            HPAScalingPolicy(type="Pods", value=4, period_seconds=15),
            HPAScalingPolicy(type="Percent", value=100, period_seconds=15),
        ]
    if not down.policies:
        down.policies = [HPAScalingPolicy(type="Percent", value=100, period_seconds=15)]
    return up, down


def bounded(hpa: HorizontalPodAutoscaler, current: int, proposed: int, record: Record, now: float) -> Bounded:
    """What becomes of a proposal: windows first, then how fast it may go, then the bounds."""
    up, down = default_rules(hpa)
    record.recommended.append((now, proposed))
    longest = max(up.stabilization_window_seconds or 0, down.stabilization_window_seconds or 0)
    record.recommended = [(t, n) for t, n in record.recommended if t > now - longest - 1 or t == now]
    least, most = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas, hpa.spec.max_replicas
    recent_up = [n for t, n in record.recommended if t >= now - (up.stabilization_window_seconds or 0)]
    recent_down = [n for t, n in record.recommended if t >= now - (down.stabilization_window_seconds or 0)]
    wanted = proposed
    if proposed > current:
        wanted = max(current, min(recent_up))
    elif proposed < current:
        wanted = min(current, max(recent_down))
    if wanted > current:
        limit = _fastest(up, current, record.ups, now, rising=True)
        if wanted > min(limit, most):
            if limit < most:
                return Bounded(
                    limit,
                    True,
                    "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate",
                )
            return Bounded(
                most, True, "TooManyReplicas", "the desired replica count is more than the maximum replica count"
            )
    elif wanted < current:
        limit = _fastest(down, current, record.downs, now, rising=False)
        if wanted < max(limit, least):
            if limit > least:
                return Bounded(
                    limit,
                    True,
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                )
            return Bounded(
                least, True, "TooFewReplicas", "the desired replica count is less than the minimum replica count"
            )
    if wanted > most:
        return Bounded(
            most, True, "TooManyReplicas", "the desired replica count is more than the maximum replica count"
        )
    if wanted < least:
        return Bounded(
            least, True, "TooFewReplicas", "the desired replica count is less than the minimum replica count"
        )
    return Bounded(wanted)


def _fastest(rules: HPAScalingRules, current: int, events: list[tuple[float, int]], now: float, rising: bool) -> int:
    """How far the policies let the count go now."""
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        moved = sum(n for t, n in events if t > now - policy.period_seconds)
        start = current - moved if rising else current + moved
        if policy.type == "Pods":
            limits.append(start + policy.value if rising else start - policy.value)
        elif rising:
            limits.append(math.ceil(start * (1 + policy.value / 100)))
        else:
            limits.append(int(start * (1 - policy.value / 100)))
    widest = rules.select_policy != "Min"
    chosen = (max if widest == rising else min)(limits)
    return max(chosen, current) if rising else max(0, min(chosen, current))


# --- the shell ---


class AutoscalerController(Controller):
    name = "horizontalpodautoscaler"

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
            reason = error.reason if isinstance(error, MetricError) else "FailedGetScale"
            self._condition(
                changed, "AbleToScale" if reason == "FailedGetScale" else "ScalingActive", False, reason, str(error)
            )
            self.context.recorder.record(hpa, "Warning", reason, str(error))
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
            except StatusError as error:
                failures.append(MetricError("FailedGetResourceMetric", f"unable to get metrics: {error}"))
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
        items = msgspec.json.decode(await self.client.request("GET", path, query=query))["items"]
        if not items:
            why = f"unable to get metrics for resource {source.name}: no metrics returned from resource metrics API"
            raise MetricError("FailedGetResourceMetric", why)
        measured = {i["metadata"]["name"]: i for i in items}
        utilization = source.target.type == "Utilization"
        views = []
        for pod in pods:
            request, containers = 0, [c for c in pod.spec.containers if only in ("", c.name)]
            for container in containers:
                if source.name not in container.resources.requests:
                    if utilization:
                        raise MetricError(
                            "FailedGetResourceMetric",
                            f"failed to get {source.name} utilization: missing request for {source.name} in container {container.name} of Pod {pod.metadata.name}",
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
        wanted, present = ratio_replicas(views, current, goal, utilization, tolerance_of(hpa))
        known = [v.value for v in views if v.value is not None and v.ready]
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
        found = msgspec.json.decode(await self.client.request("GET", path, query={"labelSelector": selector}))
        return {item["describedObject"]["name"]: nano(item["value"]) for item in found["items"]}

    async def _object_metric(self, namespace: str, source: autoscaling_v2.ObjectMetricSource) -> int:
        ref = source.described_object
        group = ref.api_version.partition("/")[0] if "/" in ref.api_version else ""
        plural = ref.kind.lower() + "s" + (f".{group}" if group else "")
        path = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/{plural}/{ref.name}/{source.metric.name}"
        found = msgspec.json.decode(await self.client.request("GET", path))
        if not found["items"]:
            raise MetricError("FailedGetObjectMetric", f"no metric {source.metric.name} of {ref.kind} {ref.name}")
        return nano(found["items"][0]["value"])

    async def _external(self, namespace: str, metric: autoscaling_v2.MetricIdentifier) -> int:
        from tiphys.machinery.selectors import from_label_selector

        selector = from_label_selector(metric.selector)
        query = {"labelSelector": str(selector)} if selector is not None else {}
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric.name}"
        found = msgspec.json.decode(await self.client.request("GET", path, query=query))
        if not found["items"]:
            raise MetricError("FailedGetExternalMetric", f"no external metric {metric.name}")
        return sum(nano(item["value"]) for item in found["items"])

    def _condition(self, hpa: HorizontalPodAutoscaler, kind: str, on: bool, reason: str, message: str) -> None:
        state = "True" if on else "False"
        standing = next((c for c in hpa.status.conditions if c.type == kind), None)
        if standing is None:
            standing = autoscaling_v2.HorizontalPodAutoscalerCondition(type=kind)
            hpa.status.conditions.append(standing)
        if standing.status != state:
            standing.last_transition_time = timestamps.rfc3339(self.context.now())
        standing.status, standing.reason, standing.message = state, reason, message
