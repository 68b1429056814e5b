"""Horizontal pod autoscalers: as many replicas as the metrics call for, within bounds, windows and
policies.

What metrics call for is read in `metrics` and worked out in `autoscaling`, how fast it may change
in `stabilization`; here targets are scaled and reasons given. Conditions, events and their
sentences are upstream's.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, NoReturn

import msgspec

from tiphys.api import autoscaling_v1, core_v1
from tiphys.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    MetricStatus,
)
from tiphys.api.base import decode
from tiphys.client.client import MERGE
from tiphys.client.informer import key_of
from tiphys.controllers.autoscaling import MetricError
from tiphys.controllers.metrics import Metrics, Proposal
from tiphys.controllers.metricvalues import Target
from tiphys.controllers.scales import Scales
from tiphys.controllers.shell import Context, Controller, namespace_index
from tiphys.controllers.stabilization import Record, bounded, bounds
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import Selector, parse_labels

PERIOD = 15.0  # seconds between looks, as upstream's horizontal-pod-autoscaler-sync-period
_DISABLED = "scaling is disabled since the replica count of the target is zero"


class Stop(Exception):
    """Nothing can be worked out this time; conditions and events have said why."""


class _Decision(NamedTuple):
    """How many replicas the target is to have, and why."""

    replicas: int
    reason: str


class AutoscalerController(Controller):
    name = "horizontalpodautoscaler"
    event_source = "horizontal-pod-autoscaler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._records: dict[str, Record] = {}
        self._selectors: dict[str, Selector] = {}  # of the targets
        self._scales = Scales(self.client)
        self._metrics = Metrics(self.client, self._scales, lambda: self.context.now())

    def watch(self) -> None:
        self._autoscalers = self.informer(HorizontalPodAutoscaler)
        self._pods = self.informer(core_v1.Pod)
        self._autoscalers.index("namespace", namespace_index)
        self._pods.index("namespace", namespace_index)
        self._autoscalers.on_change(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        if old is None or new is None or old.spec != new.spec:
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> float | None:
        standing = self._autoscalers.get(key)
        if standing is None:
            self._records.pop(key, None)
            self._selectors.pop(key, None)
            return None
        hpa = copy.deepcopy(standing)
        hpa.status.observed_generation = standing.metadata.generation or None
        try:
            await self._scale(hpa, self._records.setdefault(key, Record()))
        except Stop:
            pass
        try:
            await self.write_status(standing, hpa.status)
        except StatusError as error:
            self.event(standing, "Warning", "FailedUpdateStatus", str(error))
            raise
        return PERIOD

    async def _scale(self, hpa: HorizontalPodAutoscaler, record: Record) -> None:
        """Gives the target the replicas it should have. Raises Stop."""
        path, target = await self._target(hpa)
        now = self.context.now()
        hpa.status.current_replicas = target.current
        record.note_initial(target.current, now)
        decision = await self._decide(hpa, target, record, now)
        if decision.replicas != target.current:
            await self._rescale(hpa, path, decision)
            done = self.context.now()  # the period of a policy lasts from the write on
            record.scaled(decision.replicas - target.current, done)
            hpa.status.last_scale_time = timestamps.rfc3339(done)
        hpa.status.desired_replicas = decision.replicas

    async def _decide(
        self, hpa: HorizontalPodAutoscaler, target: Target, record: Record, now: float
    ) -> _Decision:
        """How many replicas the target should have: its bounds come before its metrics. Raises
        Stop."""
        least, most = bounds(hpa)
        hpa.status.current_metrics = []
        if target.current == 0:
            self._condition(hpa, "ScalingActive", False, "ScalingDisabled", _DISABLED)
            return _Decision(0, "")
        if target.current > most:
            return _Decision(most, "Current number of replicas above Spec.MaxReplicas")
        if target.current < least:
            return _Decision(least, "Current number of replicas below Spec.MinReplicas")
        proposed, metric = await self._propose(hpa, target)
        allowed = bounded(hpa, target.current, proposed, record, now)
        self._condition(hpa, "AbleToScale", True, *allowed.able)
        self._condition(hpa, "ScalingLimited", allowed.limited, *allowed.limit)
        if proposed > target.current:
            return _Decision(allowed.replicas, f"{metric} above target")
        return _Decision(allowed.replicas, "All metrics below target")

    async def _target(self, hpa: HorizontalPodAutoscaler) -> tuple[str, Target]:
        """The path of the target's scale subresource, and what is there. Raises Stop."""
        ref = hpa.spec.scale_target_ref
        namespace = hpa.metadata.namespace
        try:
            path = await self._scales.path(namespace, ref.api_version, ref.kind, ref.name)
            scale = decode(await self.client.request("GET", path), autoscaling_v1.Scale)
        except (LookupError, ValueError, StatusError) as error:
            self.event(hpa, "Warning", "FailedGetScale", str(error))
            message = f"the HPA controller was unable to get the target's current scale: {error}"
            self._condition(hpa, "AbleToScale", False, "FailedGetScale", message)
            raise Stop from None
        message = "the HPA controller was able to get the target's current scale"
        self._condition(hpa, "AbleToScale", True, "SucceededGetScale", message)
        return path, Target(scale, [])

    async def _rescale(self, hpa: HorizontalPodAutoscaler, path: str, decision: _Decision) -> None:
        size, reason = decision
        body = msgspec.json.encode({"spec": {"replicas": size}})
        try:
            await self.client.request("PATCH", path, body, content=MERGE)
        except StatusError as error:
            message = f"New size: {size}; reason: {reason}; error: {error}"
            self.event(hpa, "Warning", "FailedRescale", message)
            message = f"the HPA controller was unable to update the target scale: {error}"
            self._condition(hpa, "AbleToScale", False, "FailedUpdateScale", message)
            raise Stop from None
        message = f"the HPA controller was able to update the target scale to {size}"
        self._condition(hpa, "AbleToScale", True, "SucceededRescale", message)
        message = f"New size: {size}; reason: {reason}"
        self.event(hpa, "Normal", "SuccessfulRescale", message)

    # --- what the metrics call for ---

    async def _propose(self, hpa: HorizontalPodAutoscaler, target: Target) -> tuple[int, str]:
        """The most replicas that any metric calls for, and its name. A metric that cannot be had
        stops the target from shrinking, not from growing. Raises Stop."""
        pods = self._pods_of(hpa, target.scale.status.selector)
        target = target._replace(pods=pods)
        best: Proposal | None = None
        failures: list[MetricError] = []
        statuses: list[MetricStatus] = []
        for spec in hpa.spec.metrics:
            try:
                proposal = await self._metrics.propose(hpa, spec, target)
            except MetricError as error:
                self.event(hpa, "Warning", error.reason, str(error))
                failures.append(error)
                statuses.append(MetricStatus())  # kubectl pairs them with the specs by their place
                continue
            statuses.append(proposal.status)
            if best is None or proposal.replicas > best.replicas:
                best = proposal
        hpa.status.current_metrics = statuses
        if best is None or (failures and best.replicas < target.current):
            self._not_computed(hpa, failures)
        name = best.metric
        message = f"the HPA was able to successfully calculate a replica count from {name}"
        self._condition(hpa, "ScalingActive", True, "ValidMetricFound", message)
        return best.replicas, name

    def _not_computed(self, hpa: HorizontalPodAutoscaler, failures: list[MetricError]) -> NoReturn:
        first = failures[0]
        message = f"the HPA was unable to compute the replica count: {first}"
        self._condition(hpa, "ScalingActive", False, first.reason, message)
        count = f"{len(failures)} invalid out of {len(hpa.spec.metrics)}"
        message = f"invalid metrics ({count}), first error is: {first.summary}"
        self.event(hpa, "Warning", "FailedComputeMetricsReplicas", message)
        raise Stop

    def _pods_of(self, hpa: HorizontalPodAutoscaler, text: str) -> list[core_v1.Pod]:
        """The pods that the target's selector chooses, of which no other autoscaler may choose any.
        Raises Stop."""
        if not text:
            self.event(hpa, "Warning", "SelectorRequired", "selector is required")
            message = "the HPA target's scale is missing a selector"
            self._no_selector(hpa, "InvalidSelector", message, "selector is required")
        try:
            selector = parse_labels(text)
        except ValueError as error:
            message = (
                f"couldn't convert selector into a corresponding internal selector object: {error}"
            )
            self.event(hpa, "Warning", "InvalidSelector", message)
            self._no_selector(hpa, "InvalidSelector", message, message)
        self._selectors[key_of(hpa)] = selector
        pods = [
            pod
            for pod in self._pods.by("namespace", hpa.metadata.namespace)
            if selector.matches(pod.metadata.labels)
        ]
        rivals = self._choosing(hpa, pods)
        if len(rivals) > 1:
            names = " ".join(rivals)
            message = f"pods by selector {text} are controlled by multiple HPAs: [{names}]"
            self.event(hpa, "Warning", "AmbiguousSelector", message)
            self._no_selector(hpa, "AmbiguousSelector", message, message)
        return pods

    def _no_selector(
        self, hpa: HorizontalPodAutoscaler, reason: str, message: str, event_message: str
    ) -> NoReturn:
        self._condition(hpa, "ScalingActive", False, reason, message)
        self.event(hpa, "Warning", "FailedComputeMetricsReplicas", event_message)
        raise Stop

    def _choosing(self, hpa: HorizontalPodAutoscaler, pods: list[core_v1.Pod]) -> list[str]:
        """The autoscalers whose targets choose any of the pods, this one among them, as Go prints
        their names."""
        names = []
        for other in self._autoscalers.by("namespace", hpa.metadata.namespace):
            selector = self._selectors.get(key_of(other))
            if selector is None:
                continue
            if any(selector.matches(pod.metadata.labels) for pod in pods):
                names.append(f"{{{other.metadata.name} {other.metadata.namespace}}}")
        return sorted(names)

    def _condition(
        self, hpa: HorizontalPodAutoscaler, kind: str, flag: bool, reason: str, message: str
    ) -> None:
        status = conditions.status_of(flag)
        condition = HorizontalPodAutoscalerCondition(
            type=kind, status=status, reason=reason, message=message
        )
        now = self.context.now()
        hpa.status.conditions = conditions.updated(hpa.status.conditions, condition, now)
