"""The loops: each object's triggers are asked again and again, and what they say is carried out.

Between one replica and many it is the autoscaler that scales: it asks for the same metrics over the
external metrics API (`value_of`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from dataclasses import dataclass, field

from tiphys.addons.keda import facts, fallback, measuring
from tiphys.addons.keda.authentication import AuthenticationError
from tiphys.addons.keda.building import Builder, Built
from tiphys.addons.keda.deciding import Decision, Move, Said, Seen, decide
from tiphys.addons.keda.formula import FormulaError
from tiphys.addons.keda.measuring import Look, Measurer, Record
from tiphys.addons.keda.scaler import PushScaler, Scaler, ScalerError, Surroundings, make
from tiphys.addons.keda.statuses import change_status, set_conditions
from tiphys.addons.keda.targets import Targets
from tiphys.addons.keda.types import Health, ScaledObject, ScaledObjectStatus, TriggerActivity
from tiphys.addons.optional import Context
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler
from tiphys.client.client import Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

WRONG = (ScalerError, AuthenticationError, facts.SpecError, FormulaError)
"""What is wrong with an object, in words for its user."""
FAILURES = (*WRONG, StatusError, Unreachable, LookupError, ValueError)
"""And what may go wrong beside."""
_PUSH_AGAIN = 2.0  # seconds


class NoMetric(Exception):
    """The autoscaler cannot have a metric; the text says why."""


@dataclass
class _Watched:
    """One object: its loop, and what is remembered between two looks."""

    task: asyncio.Task[None]
    generation: int
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    health: dict[str, Health] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    pushing: list[asyncio.Task[None]] = field(default_factory=list)


class Scaling:
    """All ScaledObjects. Keys are ``namespace/name``."""

    def __init__(self, context: Context, surroundings: Surroundings, timeout: float) -> None:
        self.context = context
        self.targets = Targets(context.client)
        self.builder = Builder(surroundings, self.targets)
        self.measurer = Measurer(self.targets, timeout)
        self._objects = context.informers.of(ScaledObject)
        self._autoscalers = context.informers.of(HorizontalPodAutoscaler)
        self._watched: dict[str, _Watched] = {}
        self._built: dict[str, Built] = {}
        self._building: dict[str, asyncio.Lock] = {}

    @property
    def count(self) -> int:
        """How many are watched."""
        return len(self._watched)

    # --- triggers ---

    async def built(self, obj: ScaledObject) -> Built:
        """The object's triggers, as they are kept. Raises what `Builder.build` raises."""
        key = _key(obj)
        async with self._building.setdefault(key, asyncio.Lock()):
            kept = self._built.get(key)
            meta = obj.metadata
            if kept is not None and (kept.uid, kept.generation) == (meta.uid, meta.generation):
                return kept
            made = await self.builder.build(obj)
            if kept is not None:
                await kept.close()
            self._built[key] = made
        for one in made.scalers:
            self.event(obj, "KEDAScalersStarted", f"Scaler {one.config.type} is built")
        return made

    async def forget(self, key: str) -> None:
        """The triggers are made anew when they are needed next."""
        kept = self._built.pop(key, None)
        if kept is not None:
            await kept.close()

    def event(self, obj: ScaledObject, reason: str, message: str, *, warning: bool = False) -> None:
        self.context.recorder.record(obj, "Warning" if warning else "Normal", reason, message)

    # --- loops ---

    def watch(self, obj: ScaledObject) -> None:
        """Begins to ask an object's triggers; of one that is watched, anew if its spec changed."""
        key = _key(obj)
        standing = self._watched.get(key)
        generation = obj.metadata.generation or 0
        if standing is not None and standing.generation == generation:
            return
        if standing is None:
            self.event(obj, "KEDAScalersStarted", "Started scalers watch")
        else:
            self._end(standing)
        task = self.context.tasks.start(self._poll(key), f"scaledobject-{key}")
        health = obj.status.health if standing is None else standing.health
        self._watched[key] = _Watched(task, generation, health=copy.deepcopy(health))

    def is_watched(self, key: str) -> bool:
        return key in self._watched

    async def unwatch(self, key: str, obj: ScaledObject | None = None) -> None:
        standing = self._watched.pop(key, None)
        if standing is not None:
            self._end(standing)
            if obj is not None:
                self.event(obj, "KEDAScalersStopped", "Stopped scalers watch")
        await self.forget(key)
        self._building.pop(key, None)

    @staticmethod
    def _end(watched: _Watched) -> None:
        for task in (watched.task, *watched.pushing):
            task.cancel()

    async def _poll(self, key: str) -> None:
        """Looks, and looks again after the object's polling interval, which counts from look to
        look."""
        loop = asyncio.get_running_loop()
        pushing = False
        while True:
            started = loop.time()
            obj = self._objects.get(key)
            if obj is None:
                return
            try:
                await self.check(obj)
                if not pushing:
                    pushing = True
                    await self._start_pushing(key)
            except FAILURES as error:
                log.info("ScaledObject %s: %s", key, error)
            except Exception:
                log.exception("ScaledObject %s", key)
            interval = obj.spec.polling_interval or facts.POLLING
            await asyncio.sleep(max(0.0, started + interval - loop.time()))

    async def check(self, obj: ScaledObject) -> None:
        """One look, and what follows from it."""
        key = _key(obj)
        watched = self._watched.get(key)
        if watched is None:
            return
        async with watched.turn:
            built = await self.built(obj)
            async with built.used():
                look = await self.measurer.look(obj, built, watched.health)
                self._report(obj, look)
                watched.records = look.records
                if look.failed:
                    await self.forget(key)
                found = measuring.seen(obj, built, look)
            decision = await self._carry_out(obj, found)
            activity = _activity(built, found)
            await self._write(obj, watched, decision, activity)

    def _report(self, obj: ScaledObject, look: Look) -> None:
        """Events about what failed, and about falling back."""
        reason = (
            "KEDAScalerFailed" if facts.modifiers(obj.spec) is None else "KEDAMetricSourceFailed"
        )
        for one in look.readings:
            if one.error:
                self.event(obj, reason, one.error, warning=True)
        was = facts.condition(obj.status.conditions, "Fallback").status == "True"
        if look.falls_back and not was:
            self.event(obj, "ScaledObjectFallbackActivated", "ScaledObject fallback is active")
        elif was and not look.falls_back:
            self.event(
                obj, "ScaledObjectFallbackDeactivated", "ScaledObject fallback is no longer active"
            )

    async def _carry_out(self, obj: ScaledObject, found: Seen) -> Decision:
        """Scales to zero or back, where that is called for."""
        try:
            replicas = (await self.targets.scale(obj)).spec.replicas
        except (StatusError, LookupError, ValueError) as error:
            message = f"Error getting current replicas count for ScaleTarget: {error}"
            return Decision(
                conditions={"Ready": Said("False", "ErrorGettingCurrentReplicas", message)}
            )
        decision = decide(obj, found, replicas, self.context.now())
        if decision.replicas is None:
            return decision
        try:
            await self.targets.set_replicas(obj, decision.replicas)
        except StatusError as error:
            log.warning("ScaledObject %s: %s", _key(obj), error)
            decision.was_active = False
            self._tell_move(obj, decision, replicas, found, failed=True)
        else:
            self._tell_move(obj, decision, replicas, found)
        return decision

    def _tell_move(
        self, obj: ScaledObject, decision: Decision, before: int, found: Seen, failed: bool = False
    ) -> None:
        if decision.move not in (Move.ACTIVATED, Move.DEACTIVATED):
            return
        up = decision.move is Move.ACTIVATED
        ref = obj.spec.scale_target_ref
        what = f"{obj.status.scale_target_kind} {obj.metadata.namespace}/{ref.name}"
        what += f" from {before} to {decision.replicas}"
        if failed:
            reason = f"KEDAScaleTarget{'Activation' if up else 'Deactivation'}Failed"
            verb = "scale" if up else "deactivate"
            self.event(obj, reason, f"Failed to {verb} {what}", warning=True)
            return
        if not up:
            message = f"Deactivated {what}"
        elif facts.flag(obj, facts.FORCE_ACTIVATION):
            message = f"Scaled {what}, caused by forced activation annotation"
        else:
            message = f"Scaled {what}, triggered by {';'.join(found.active)}"
        self.event(obj, decision.move.value, message)

    async def _write(
        self,
        obj: ScaledObject,
        watched: _Watched,
        decision: Decision,
        activity: dict[str, TriggerActivity] | None,
    ) -> None:
        said = {**decision.conditions, **self._autoscaler_health(obj)}
        now = timestamps.rfc3339(self.context.now())

        def change(status: ScaledObjectStatus) -> None:
            set_conditions(status, said)
            if decision.was_active:
                status.last_active_time = now
            if activity is not None:
                status.triggers_activity = activity
            _set_health(obj, status, watched.health)

        current = self._objects.get(_key(obj)) or obj
        await change_status(self.context.client, current, change)

    def _autoscaler_health(self, obj: ScaledObject) -> dict[str, Said]:
        """The condition HPAActive, once the autoscaler has said how it is."""
        found = self._autoscalers.get(f"{obj.metadata.namespace}/{obj.status.hpa_name}")
        if found is None:
            return {}
        for one in found.status.conditions:
            if one.type != "ScalingActive":
                continue
            if one.status == "True":
                return {"HPAActive": Said("True", "HPAActive", "HPA is actively scaling")}
            if one.reason == "ScalingDisabled":
                return {"HPAActive": Said("True", "ScalingDisabled", one.message)}
            reason = one.reason or "HPAMetricsUnavailable"
            message = f"HPA is not actively scaling: {one.message}"
            return {"HPAActive": Said("False", reason, message)}
        return {}

    # --- triggers that speak up ---

    async def _start_pushing(self, key: str) -> None:
        """Each in a connection of its own: a failure of another trigger does not end it."""
        built, watched = self._built.get(key), self._watched.get(key)
        if built is None or watched is None:
            return
        for one in built.scalers:
            if isinstance(one, PushScaler):
                task = self.context.tasks.start(self._push(key, one), f"push-{key}")
                watched.pushing.append(task)

    async def _push(self, key: str, model: Scaler) -> None:
        async def active() -> None:
            await self._activate(key, model.metric_name)

        while True:
            scaler = make(model.config)
            assert isinstance(scaler, PushScaler)
            try:
                await scaler.push(active)
            except Exception as error:
                log.info("ScaledObject %s: %s: %s", key, model.type, error)
            finally:
                with contextlib.suppress(Exception):
                    await scaler.close()
            await asyncio.sleep(_PUSH_AGAIN)

    async def _activate(self, key: str, metric: str) -> None:
        obj, watched = self._objects.get(key), self._watched.get(key)
        if obj is None or watched is None:
            return
        async with watched.turn:
            decision = await self._carry_out(obj, Seen(True, active=(metric,)))
            activity = {**obj.status.triggers_activity, metric: TriggerActivity(is_active=True)}
            await self._write(obj, watched, decision, activity)

    # --- what the autoscaler asks ---

    async def value_of(self, namespace: str, name: str, metric: str) -> float:
        """A metric of a ScaledObject now. Raises NoMetric."""
        key = f"{namespace}/{name}"
        obj = self._objects.get(key)
        if obj is None:
            raise NoMetric(f'error getting scalers scaledobjects.keda.sh "{name}" not found')
        try:
            built = await self.built(obj)
        except FAILURES as error:
            raise NoMetric(f"error getting scalers {error}") from None
        watched = self._watched.get(key)
        health = watched.health if watched is not None else {}
        records = watched.records if watched is not None else {}
        modifiers = facts.modifiers(obj.spec)
        only = None if modifiers is not None else (metric,)
        async with built.used():
            look = await self.measurer.look(obj, built, health, only, records)
        if look.failed:
            for one in look.readings:
                if one.error:
                    log.info("ScaledObject %s: %s: %s", key, one.name, one.error)
            await self.forget(key)
        if watched is not None:
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
            await change_status(self.context.client, obj, change)


def _set_health(obj: ScaledObject, status: ScaledObjectStatus, health: dict[str, Health]) -> None:
    if not fallback.is_usable(obj):
        return
    assert obj.spec.fallback is not None
    status.health = copy.deepcopy(health)
    exceeded = fallback.is_exceeded(health, obj.spec.fallback.failure_threshold)
    message = "At least one trigger is falling back on this scaled object"
    said = Said("True", "FallbackExists", message) if exceeded else NO_FALLBACK
    set_conditions(status, {"Fallback": said})


NO_FALLBACK = Said("False", "NoFallbackFound", "No fallbacks are active on this scaled object")


def _activity(built: Built, found: Seen) -> dict[str, TriggerActivity]:
    names = [spec.external.metric.name for spec in built.specs() if spec.external is not None]
    return {name: TriggerActivity(is_active=name in found.active) for name in names}


def _key(obj: ScaledObject) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"
