"""Horizontal pod autoscalers: as many replicas as the metrics call for, within bounds, windows and policies.

What metrics call for is read in `metrics` and worked out in `autoscaling`; here targets are scaled and reasons given.
Conditions, events and their sentences are upstream's.
"""

from __future__ import annotations

import copy
from typing import Any, NoReturn

import msgspec

from tiphys.api import autoscaling_v1, core_v1
from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    MetricStatus,
)
from tiphys.api.base import decode
from tiphys.client.informer import key_of
from tiphys.controllers.autoscaling import Cause, MetricError, Record, bounded, bounds
from tiphys.controllers.metrics import Metrics, Target
from tiphys.controllers.scales import Scales
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import Selector, parse_labels

PERIOD = 15.0  # seconds between looks


class Stop(Exception):
    """Nothing can be worked out this time; conditions and events have said why."""


class AutoscalerController(Controller):
    name = "horizontalpodautoscaler"
    event_source = "horizontal-pod-autoscaler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._records: dict[str, Record] = {}
        self._selectors: dict[str, Selector] = {}
        self._scales = Scales(self.client)
        self._metrics = Metrics(self.client, self._scales, lambda: self.context.now())

    def watch(self) -> None:
        self._autoscalers, self._pods = (
            self.informer(HorizontalPodAutoscaler),
            self.informer(core_v1.Pod),
        )
        self._autoscalers.index("namespace", lambda hpa: [hpa.metadata.namespace])
        self._pods.index("namespace", lambda pod: [pod.metadata.namespace])
        self._autoscalers.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if old is None or new is None or old.spec != new.spec:
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> float | None:
        hpa = self._autoscalers.get(key)
        if hpa is None:
            self._records.pop(key, None)
            self._selectors.pop(key, None)
            return None
        changed = copy.deepcopy(hpa)
        changed.status.observed_generation = hpa.metadata.generation or None
        try:
            await self._scale(changed, self._records.setdefault(key, Record()))
        except Stop:
            pass
        if changed.status != hpa.status:
            await self._write(changed)
        return PERIOD

    async def _write(self, hpa: HorizontalPodAutoscaler) -> None:
        try:
            await self.client.update_status(hpa)
        except StatusError as error:
            self._warn(hpa, "FailedUpdateStatus", str(error))
            raise

    async def _scale(self, hpa: HorizontalPodAutoscaler, record: Record) -> None:
        path, target = await self._target(hpa)
        current, status, now = target.current, hpa.status, self.context.now()
        status.current_replicas = current
        record.seen(current, now)
        least, most = bounds(hpa)
        if current == 0:
            told = "scaling is disabled since the replica count of the target is zero"
            self._condition(hpa, "ScalingActive", False, "ScalingDisabled", told)
            wanted, why, status.current_metrics = 0, "", []
        elif current > most:
            wanted, why, status.current_metrics = (
                most,
                "Current number of replicas above Spec.MaxReplicas",
                [],
            )
        elif current < least:
            wanted, why, status.current_metrics = (
                least,
                "Current number of replicas below Spec.MinReplicas",
                [],
            )
        else:
            proposed, metric = await self._propose(hpa, target)
            why = f"{metric} above target" if proposed > current else "All metrics below target"
            found = bounded(hpa, current, proposed, record, now)
            self._condition(hpa, "AbleToScale", True, *found.able)
            self._condition(hpa, "ScalingLimited", found.limited, *found.limit)
            wanted = found.replicas
        if wanted != current:
            await self._rescale(hpa, path, wanted, why)
            done = self.context.now()  # a policy's period lasts from the change, not from the look at metrics
            record.scaled(wanted - current, done)
            status.last_scale_time = timestamps.rfc3339(done)
        status.desired_replicas = wanted

    async def _target(self, hpa: HorizontalPodAutoscaler) -> tuple[str, Target]:
        """The scale subresource of the target, whatever kind it is of, and what is there. Raises Stop."""
        ref, namespace = hpa.spec.scale_target_ref, hpa.metadata.namespace
        try:
            path = await self._scales.path(namespace, ref.api_version, ref.kind, ref.name)
            scale = decode(await self.client.request("GET", path), autoscaling_v1.Scale)
        except (LookupError, ValueError, StatusError) as error:
            self._warn(hpa, "FailedGetScale", str(error))
            told = f"the HPA controller was unable to get the target's current scale: {error}"
            self._condition(hpa, "AbleToScale", False, "FailedGetScale", told)
            raise Stop from None
        told = "the HPA controller was able to get the target's current scale"
        self._condition(hpa, "AbleToScale", True, "SucceededGetScale", told)
        return path, Target(scale, [])

    async def _rescale(
        self, hpa: HorizontalPodAutoscaler, path: str, wanted: int, why: str
    ) -> None:
        body = msgspec.json.encode({"spec": {"replicas": wanted}})
        try:
            await self.client.request("PATCH", path, body, content="application/merge-patch+json")
        except StatusError as error:
            self._warn(hpa, "FailedRescale", f"New size: {wanted}; reason: {why}; error: {error}")
            told = f"the HPA controller was unable to update the target scale: {error}"
            self._condition(hpa, "AbleToScale", False, "FailedUpdateScale", told)
            raise Stop from None
        told = f"the HPA controller was able to update the target scale to {wanted}"
        self._condition(hpa, "AbleToScale", True, "SucceededRescale", told)
        self.context.recorder.record(
            hpa, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {why}"
        )

    # --- what the metrics call for ---

    async def _propose(self, hpa: HorizontalPodAutoscaler, target: Target) -> tuple[int, str]:
        """The most that any metric calls for, and its name. One that cannot be had stops a shrinking, not a growth.
        Raises Stop."""
        hpa.status.current_metrics = []
        target = target._replace(pods=self._chosen(hpa, target.scale.status.selector))
        best, metric, failures, statuses = 0, "", list[MetricError](), list[MetricStatus]()
        for spec in hpa.spec.metrics:
            try:
                proposal = await self._metrics.propose(hpa, spec, target)
            except MetricError as error:
                self._warn(hpa, error.reason, str(error))
                failures.append(error)
                statuses.append(MetricStatus())  # kubectl pairs them with the specs by their place
                continue
            statuses.append(proposal.status)
            if not best or proposal.replicas > best:
                best, metric = proposal.replicas, proposal.metric
        hpa.status.current_metrics = statuses
        if failures and (len(failures) == len(hpa.spec.metrics) or best < target.current):
            self._not_computed(hpa, failures)
        told = f"the HPA was able to successfully calculate a replica count from {metric}"
        self._condition(hpa, "ScalingActive", True, "ValidMetricFound", told)
        return best, metric

    def _not_computed(self, hpa: HorizontalPodAutoscaler, failures: list[MetricError]) -> NoReturn:
        told = f"the HPA was unable to compute the replica count: {failures[0]}"
        self._condition(hpa, "ScalingActive", False, failures[0].reason, told)
        count = f"{len(failures)} invalid out of {len(hpa.spec.metrics)}"
        why = f"invalid metrics ({count}), first error is: {failures[0].summary}"
        self._warn(hpa, "FailedComputeMetricsReplicas", why)
        raise Stop

    def _chosen(self, hpa: HorizontalPodAutoscaler, text: str) -> list[core_v1.Pod]:
        """The pods of the target, which no other autoscaler may count as its own. Raises Stop."""
        if not text:
            missing = "the HPA target's scale is missing a selector"
            self._selects_nothing(
                hpa, "SelectorRequired", "selector is required", Cause("InvalidSelector", missing)
            )
        try:
            selector = parse_labels(text)
        except ValueError as error:
            told = (
                f"couldn't convert selector into a corresponding internal selector object: {error}"
            )
            self._selects_nothing(hpa, "InvalidSelector", told, Cause("InvalidSelector", told))
        self._selectors[key_of(hpa)] = selector
        pods = [
            pod
            for pod in self._pods.by("namespace", hpa.metadata.namespace)
            if selector.matches(pod.metadata.labels)
        ]
        others = self._counting(hpa, pods)
        if len(others) > 1:
            told = f"pods by selector {text} are controlled by multiple HPAs: [{' '.join(others)}]"
            self._selects_nothing(hpa, "AmbiguousSelector", told, Cause("AmbiguousSelector", told))
        return pods

    def _counting(self, hpa: HorizontalPodAutoscaler, pods: list[core_v1.Pod]) -> list[str]:
        """The autoscalers that count any of the pods, this one among them."""
        found = []
        for other in self._autoscalers.by("namespace", hpa.metadata.namespace):
            selector = self._selectors.get(key_of(other))
            if selector is not None and any(selector.matches(pod.metadata.labels) for pod in pods):
                found.append(f"{{{other.metadata.name} {other.metadata.namespace}}}")
        return sorted(found)

    def _selects_nothing(
        self, hpa: HorizontalPodAutoscaler, event: str, told: str, cause: Cause
    ) -> NoReturn:
        self._warn(hpa, event, told)
        self._condition(hpa, "ScalingActive", False, *cause)
        self._warn(hpa, "FailedComputeMetricsReplicas", told)
        raise Stop

    # --- what is said ---

    def _warn(self, hpa: HorizontalPodAutoscaler, reason: str, message: str) -> None:
        self.context.recorder.record(hpa, "Warning", reason, message)

    def _condition(
        self, hpa: HorizontalPodAutoscaler, kind: str, on: bool, reason: str, message: str
    ) -> None:
        state = "True" if on else "False"
        standing = next((c for c in hpa.status.conditions if c.type == kind), None)
        if standing is None:
            standing = HorizontalPodAutoscalerCondition(type=kind)
            hpa.status.conditions.append(standing)
        if standing.status != state:
            standing.last_transition_time = timestamps.rfc3339(self.context.now())
        standing.status, standing.reason, standing.message = state, reason, message
