"""ScaledObjects: what their triggers say is carried out.

Between one replica and many it is the autoscaler that scales: it asks for the same metrics over the
external metrics API (`value_of`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections.abc import Awaitable, Callable

from tiphys.addons.keda import facts, fallback, measuring
from tiphys.addons.keda.building import Built
from tiphys.addons.keda.deciding import ConditionState, Decision, Move, Seen, decide
from tiphys.addons.keda.formula import FormulaError
from tiphys.addons.keda.loops import FAILURES, Loops, Watched, key_of
from tiphys.addons.keda.measuring import Look, Measurer
from tiphys.addons.keda.scaler import PushScaler, Surroundings, make
from tiphys.addons.keda.statuses import change_status, set_conditions
from tiphys.addons.keda.types import Health, ScaledObject, ScaledObjectStatus, TriggerActivity
from tiphys.addons.optional import Context
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler, MetricSpec
from tiphys.client.client import Unreachable
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

_PUSH_AGAIN = 2.0  # seconds
_PUSH_AGAIN_AT_MOST = 60.0
Hearing = Callable[[str, PushScaler], Awaitable[bool]]
"""Listens to a trigger of the object of a key; whether to do so again when that ends."""


class NoMetric(Exception):
    """A metric for the autoscaler is not available; the text is the reason."""


class Scaling(Loops[ScaledObject]):
    """`on_retargeted` is called with the key of an object whose autoscaler has to change."""

    def __init__(self, context: Context, surroundings: Surroundings, measurer: Measurer) -> None:
        super().__init__(context, ScaledObject, surroundings, measurer)
        self._autoscalers = context.informers.of(HorizontalPodAutoscaler)
        self.on_retargeted: Callable[[str], None] = lambda key: None

    async def check(self, obj: ScaledObject, watched: Watched) -> None:
        built = await self.built(obj)
        async with built.used():
            look = await self.measurer.look(obj, built, watched.health)
            self._report(obj, watched, look)
            self._tell_fallback(obj, watched)
            watched.records = look.records
            if look.failed:
                await self.forget(key_of(obj))
            seen = measuring.seen(obj, built, look)
        decision = await self._carry_out(obj, seen)
        await self._write(obj, watched, decision, _activity(built, seen))

    def _report(self, obj: ScaledObject, watched: Watched, look: Look) -> None:
        """Events about what fails now, and did not before."""
        reason = (
            "KEDAScalerFailed" if facts.modifiers(obj.spec) is None else "KEDAMetricSourceFailed"
        )
        for reading in look.readings:
            if reading.error and watched.errors.get(reading.name) != reading.error:
                self.event(obj, reason, reading.error, warning=True)
        watched.errors = {one.name: one.error for one in look.readings if one.error}

    def _tell_fallback(self, obj: ScaledObject, watched: Watched) -> None:
        """An event when it starts and when it ends, whichever noticed it: the loop, or the
        autoscaler with its question."""
        limit = obj.spec.fallback
        falls = limit is not None and fallback.is_exceeded(watched.health, limit.failure_threshold)
        if falls and not watched.falls_back:
            self.event(obj, "ScaledObjectFallbackActivated", "ScaledObject fallback is active")
        elif watched.falls_back and not falls:
            self.event(
                obj, "ScaledObjectFallbackDeactivated", "ScaledObject fallback is no longer active"
            )
        watched.falls_back = falls

    async def _carry_out(self, obj: ScaledObject, seen: Seen) -> Decision:
        """Scales to zero or back, where that is called for."""
        try:
            replicas = await self.targets.replicas(obj)
        except (StatusError, LookupError, ValueError) as error:
            message = f"Error getting current replicas count for ScaleTarget: {error}"
            return Decision(
                conditions={
                    "Ready": ConditionState("False", "ErrorGettingCurrentReplicas", message)
                }
            )
        decision = decide(obj, seen, replicas, self.context.now())
        if decision.replicas is None:
            return decision
        try:
            await self.targets.set_replicas(obj, decision.replicas)
        except StatusError as error:
            log.warning("ScaledObject %s: %s", key_of(obj), error)
            decision.was_active = False
            self._tell_move(obj, decision, replicas, seen, failed=True)
        else:
            self._tell_move(obj, decision, replicas, seen)
        return decision

    def _tell_move(
        self, obj: ScaledObject, decision: Decision, before: int, seen: Seen, failed: bool = False
    ) -> None:
        if decision.move not in (Move.ACTIVATED, Move.DEACTIVATED):
            return
        up = decision.move is Move.ACTIVATED
        ref = obj.spec.scale_target_ref
        move = f"{obj.status.scale_target_kind} {obj.metadata.namespace}/{ref.name}"
        move += f" from {before} to {decision.replicas}"
        if failed:
            reason = f"KEDAScaleTarget{'Activation' if up else 'Deactivation'}Failed"
            verb = "scale" if up else "deactivate"
            self.event(obj, reason, f"Failed to {verb} {move}", warning=True)
            return
        if not up:
            message = f"Deactivated {move}"
        elif facts.flag(obj, facts.FORCE_ACTIVATION):
            message = f"Scaled {move}, caused by forced activation annotation"
        else:
            message = f"Scaled {move}, triggered by {';'.join(seen.active)}"
        self.event(obj, decision.move.value, message)

    async def _write(
        self,
        obj: ScaledObject,
        watched: Watched,
        decision: Decision,
        activity: dict[str, TriggerActivity] | None,
    ) -> None:
        new_conditions = {**decision.conditions, **self._autoscaler_health(obj)}
        now = timestamps.rfc3339(self.context.now())

        def change(status: ScaledObjectStatus) -> None:
            set_conditions(status, new_conditions)
            if decision.was_active:
                status.last_active_time = now
            if activity is not None:
                status.triggers_activity = activity
            _set_health(obj, status, watched.health)

        current = self.objects.get(key_of(obj)) or obj
        await change_status(self.client, current, change)

    def _autoscaler_health(self, obj: ScaledObject) -> dict[str, ConditionState]:
        """The condition HPAActive, once the autoscaler has reported its state."""
        hpa = self._autoscalers.get(f"{obj.metadata.namespace}/{obj.status.hpa_name}")
        if hpa is None:
            return {}
        active = conditions.find(hpa.status.conditions, "ScalingActive")
        if active is None:
            return {}
        if active.status == "True":
            return {"HPAActive": ConditionState("True", "HPAActive", "HPA is actively scaling")}
        if active.reason == "ScalingDisabled":
            return {"HPAActive": ConditionState("True", "ScalingDisabled", active.message)}
        reason = active.reason or "HPAMetricsUnavailable"
        message = f"HPA is not actively scaling: {active.message}"
        return {"HPAActive": ConditionState("False", reason, message)}

    # --- triggers that speak up ---

    async def begun(self, key: str, watched: Watched) -> None:
        """Each has connections of its own: a failure of another trigger does not end them."""
        built = self.kept(key)
        if built is None:
            return
        for scaler in built.scalers:
            if isinstance(scaler, PushScaler):
                for hear in (self._hear_activity, self._hear_metrics):
                    task = self.context.tasks.start(self._push(key, scaler, hear), f"push-{key}")
                    watched.others.append(task)

    async def _push(self, key: str, model: PushScaler, hear: Hearing) -> None:
        """Reconnects whenever the stream ends, after a pause that grows while nothing arrives."""
        pause = _PUSH_AGAIN
        while True:
            scaler = make(model.config)
            assert isinstance(scaler, PushScaler)
            try:
                if not await hear(key, scaler):
                    return
                pause = _PUSH_AGAIN
            except Exception as error:
                log.info("ScaledObject %s: %s: %s", key, model.type, error)
            finally:
                with contextlib.suppress(Exception):
                    await scaler.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PUSH_AGAIN_AT_MOST)

    async def _hear_activity(self, key: str, scaler: PushScaler) -> bool:
        async def active() -> None:
            await self._activate(key, scaler.config.index)

        await scaler.push(active)
        return True

    async def _hear_metrics(self, key: str, scaler: PushScaler) -> bool:
        async def changed(specs: list[MetricSpec]) -> None:
            built = self.kept(key)
            if built is not None and built.retarget(scaler.config.index, specs):
                self.on_retargeted(key)

        return await scaler.push_metrics(changed)

    async def _activate(self, key: str, index: int) -> None:
        """The trigger of that place reports that there is something to do."""
        obj = self.objects.get(key)
        watched = self.watched(key)
        if obj is None or watched is None:
            return
        names = obj.status.external_metric_names
        metric = next((name for name in names if name.startswith(f"s{index}-")), None)
        if metric is None:
            return
        async with watched.turn:
            decision = await self._carry_out(obj, Seen(True, active=(metric,)))
            activity = {**obj.status.triggers_activity, metric: TriggerActivity(is_active=True)}
            await self._write(obj, watched, decision, activity)

    # --- what the autoscaler asks ---

    async def value_of(self, namespace: str, name: str, metric: str) -> float:
        """A metric of a ScaledObject now. Raises NoMetric."""
        key = f"{namespace}/{name}"
        obj = self.objects.get(key)
        if obj is None:
            raise NoMetric(f'error getting scalers scaledobjects.keda.sh "{name}" not found')
        try:
            built = await self.built(obj)
        except FAILURES as error:
            raise NoMetric(f"error getting scalers {error}") from None
        watched = self.watched(key)
        health = watched.health if watched is not None else {}
        records = watched.records if watched is not None else {}
        modifiers = facts.modifiers(obj.spec)
        only = None if modifiers is not None else (metric,)
        async with built.used():
            look = await self.measurer.look(obj, built, health, only, records)
        if look.failed:
            for reading in look.readings:
                if reading.error:
                    log.info("ScaledObject %s: %s: %s", key, reading.name, reading.error)
            await self.forget(key)
        if watched is not None:
            self._tell_fallback(obj, watched)
            await self._keep_health(obj, health)
        if look.failed and not look.falls_back:
            raise NoMetric(f"metric:{metric} encountered error")
        if not look.readings:
            raise NoMetric(f"no matching metrics found for {metric}")
        try:
            if modifiers is not None:
                return measuring.combined(obj, built, look.readings)
        except FormulaError as error:
            raise NoMetric(f"error applying custom scalingModifiers.Formula: {error}") from None
        return look.readings[0].value or 0.0

    async def _keep_health(self, obj: ScaledObject, health: dict[str, Health]) -> None:
        def change(status: ScaledObjectStatus) -> None:
            _set_health(obj, status, health)

        with contextlib.suppress(StatusError, Unreachable):
            await change_status(self.client, obj, change)


def _set_health(obj: ScaledObject, status: ScaledObjectStatus, health: dict[str, Health]) -> None:
    if not fallback.is_usable(obj):
        return
    assert obj.spec.fallback is not None
    status.health = copy.deepcopy(health)
    exceeded = fallback.is_exceeded(health, obj.spec.fallback.failure_threshold)
    message = "At least one trigger is falling back on this scaled object"
    condition = ConditionState("True", "FallbackExists", message) if exceeded else NO_FALLBACK
    set_conditions(status, {"Fallback": condition})


NO_FALLBACK = ConditionState(
    "False", "NoFallbackFound", "No fallbacks are active on this scaled object"
)


def _activity(built: Built, seen: Seen) -> dict[str, TriggerActivity]:
    names = [spec.external.metric.name for spec in built.specs() if spec.external is not None]
    return {name: TriggerActivity(is_active=name in seen.active) for name in names}
