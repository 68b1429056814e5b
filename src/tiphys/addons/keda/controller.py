"""The reconciler of ScaledObjects: checks one, keeps its autoscaler, and has it watched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tiphys.addons.keda import facts, fallback
from tiphys.addons.keda.autoscalers import autoscaler, metric_names
from tiphys.addons.keda.deciding import READY, READY_MESSAGE, ConditionState
from tiphys.addons.keda.loops import FAILURES, key_of
from tiphys.addons.keda.scaling import NO_FALLBACK, Scaling
from tiphys.addons.keda.statuses import change_status, note_user, set_conditions
from tiphys.addons.keda.targets import NO_SCALE, NOT_FOUND, kind_name
from tiphys.addons.keda.types import ScaledObject, ScaledObjectStatus
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler, MetricSpec
from tiphys.api.base import encode
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.operator import Reconciler

FINALIZER = "finalizer.keda.sh"
_AGAIN = 1.0  # seconds until an object with an error is retried; doubled each time
_LONGEST = 60.0
_PAUSED_MESSAGE = "ScaledObject is paused"
_WRONG_TARGET = "ScaledObject doesn't have correct scaleTargetRef specification"


class CheckFailed(Exception):
    """The object cannot be scaled; the text is that of its condition Ready."""


class ScaledObjectReconciler(Reconciler[ScaledObject]):
    kind = ScaledObject
    owns = (HorizontalPodAutoscaler,)
    finalizer = FINALIZER

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.scaling: Scaling = self.context.settings["scaling"]
        self._failures: dict[str, int] = {}
        self._applied: dict[str, tuple[bytes, bytes]] = {}

    def watch(self, enqueue: Callable[[str], None]) -> None:
        self.scaling.on_retargeted = enqueue

    async def reconcile(self, obj: ScaledObject) -> float | None:
        key = key_of(obj)
        is_paused = facts.is_paused(obj)
        self.scaling.observer.paused(obj.metadata.namespace, obj.metadata.name, is_paused)
        try:
            await self._keep(obj)
        except CheckFailed as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            await self._failed(obj, str(error))
            return float(min(_AGAIN * 2 ** min(failures - 1, 10), _LONGEST))
        self._failures.pop(key, None)
        return None

    async def _failed(self, obj: ScaledObject, message: str) -> None:
        new_conditions = {
            "Ready": ConditionState("False", "ScaledObjectCheckFailed", message),
            "Active": ConditionState("Unknown", "UnknownState", "ScaledObject check failed"),
        }
        self.event(obj, "ScaledObjectCheckFailed", message, warning=True)
        await change_status(self.client, obj, lambda status: set_conditions(status, new_conditions))

    async def _keep(self, obj: ScaledObject) -> None:
        """Raises CheckFailed."""
        if facts.is_paused(obj):
            await self._pause(obj)
            return
        obj = await self._report_pause(obj)
        if not obj.spec.scale_target_ref.name:
            raise CheckFailed(f"{_WRONG_TARGET}: ScaledObject.spec.scaleTargetRef.name is missing")
        await self._label(obj)
        obj = await self._target(obj)
        with saying("ScaledObject doesn't have correct Idle/Min/Max Replica Counts specification"):
            facts.check_bounds(obj.spec)
        with saying("ScaledObject doesn't have correct triggers specification"):
            facts.check_triggers(obj.spec.triggers)
        with saying("failed to ensure HPA is correctly created for ScaledObject"):
            obj = await self._autoscale(obj)
        await self._ready(obj)
        self.scaling.watch(obj)
        await note_user(self.client, obj, "scaledobjects")

    # --- pausing ---

    async def _pause(self, obj: ScaledObject) -> None:
        """Nothing watches it any more, no autoscaler scales it, and it has the replicas that the
        pause asks for."""
        key = key_of(obj)
        was = facts.condition(obj.status.conditions, "Paused").status == "True"
        new_conditions = {"Paused": ConditionState("True", "ScaledObjectPaused", _PAUSED_MESSAGE)}
        if not was:
            self.event(obj, "ScaledObjectPaused", _PAUSED_MESSAGE)
        obj = await change_status(
            self.client, obj, lambda status: set_conditions(status, new_conditions)
        )
        await self.scaling.unwatch(key, obj)
        await self._delete_autoscaler(obj, obj.status.hpa_name or facts.autoscaler_name(obj))
        with saying("failed to scale target to paused replica count"):
            count = facts.paused_replicas(obj)
            if count is not None:
                scale = await self.scaling.targets.scale(obj)
                if scale.spec.replicas != count:
                    await self.scaling.targets.set_replicas(obj, count)

        def change(status: ScaledObjectStatus) -> None:
            status.paused_replica_count = count
            set_conditions(
                status, {"Ready": ConditionState("True", READY, _PAUSED_MESSAGE), **new_conditions}
            )

        await change_status(self.client, obj, change)

    async def _report_pause(self, obj: ScaledObject) -> ScaledObject:
        """The condition Paused of an object that is scaled: it may be so in one direction."""
        was = facts.condition(obj.status.conditions, "Paused").status == "True"
        is_half = facts.flag(obj, facts.PAUSED_SCALE_IN) or facts.flag(obj, facts.PAUSED_SCALE_OUT)
        if is_half:
            paused = ConditionState("True", "ScaledObjectPaused", _PAUSED_MESSAGE)
        elif was:
            paused = ConditionState(
                "False", "ScaledObjectUnpaused", "pause annotation removed for ScaledObject"
            )
        else:
            paused = None
        if paused is None:
            return obj
        if is_half != was:
            self.event(obj, paused.reason, paused.message)

        def change(status: ScaledObjectStatus) -> None:
            set_conditions(status, {"Paused": paused})
            status.paused_replica_count = None

        return await change_status(self.client, obj, change)

    # --- the target ---

    async def _label(self, obj: ScaledObject) -> None:
        """The label by which autoscalers' questions find it."""
        name = obj.metadata.name
        if obj.metadata.labels.get(facts.OWNER) == name or len(name) > 63:
            return
        patch = {"metadata": {"labels": {facts.OWNER: name}}}
        with saying("failed to update ScaledObject with scaledObjectName label"):
            await self.client.patch(ScaledObject, name, patch, obj.metadata.namespace, media=MERGE)

    async def _target(self, obj: ScaledObject) -> ScaledObject:
        """Finds out what is scaled, and what it had before."""
        api_version, kind, _ = facts.target_of(obj)
        targets = self.scaling.targets
        with saying(_WRONG_TARGET):
            resource = await targets.resource(api_version, kind)
        replicas = obj.status.original_replica_count
        if replicas is None or obj.status.scale_target_gvkr != resource:
            replicas = await self._read_scale(obj, replicas)
        types, authentications = facts.type_names(obj.spec.triggers)

        def change(status: ScaledObjectStatus) -> None:
            status.scale_target_kind = kind_name(resource)
            status.scale_target_gvkr = resource
            status.original_replica_count = replicas
            status.triggers_types = types
            status.authentications_types = authentications

        return await change_status(self.client, obj, change)

    async def _read_scale(self, obj: ScaledObject, replicas: int | None) -> int:
        """The number of replicas before anything was done. Raises CheckFailed."""
        try:
            scale = await self.scaling.targets.scale(obj)
        except StatusError as error:
            with saying(_WRONG_TARGET):
                known = await self.scaling.targets.exists(obj)
            self.event(
                obj, "ScaledObjectCheckFailed", NO_SCALE if known else NOT_FOUND, warning=True
            )
            raise CheckFailed(f"{_WRONG_TARGET}: {error}") from None
        return scale.spec.replicas if replicas is None else replicas

    # --- the autoscaler ---

    async def _autoscale(self, obj: ScaledObject) -> ScaledObject:
        built = await self.scaling.built(obj)
        specs = built.specs()
        if not specs:
            raise ValueError(
                f"no metric specs returned from scalers for ScaledObject {key_of(obj)}"
            )
        target = obj.status.scale_target_gvkr
        assert target is not None
        wanted = autoscaler(obj, specs, target)
        before = obj.status.hpa_name
        if before and before != wanted.metadata.name:
            await self._delete_autoscaler(obj, before)
        await self._apply_autoscaler(obj, wanted)
        return await self._named(obj, specs, wanted.metadata.name)

    async def _named(
        self, obj: ScaledObject, specs: list[MetricSpec], autoscaler_name: str
    ) -> ScaledObject:
        external, resources = metric_names(specs, obj.metadata.name)
        is_composite = facts.modifiers(obj.spec) is not None

        def change(status: ScaledObjectStatus) -> None:
            status.external_metric_names = external
            status.resource_metric_names = resources
            status.composite_scaler_name = facts.COMPOSITE if is_composite else ""
            status.hpa_name = autoscaler_name
            status.health = {k: v for k, v in status.health.items() if k in external}

        return await change_status(self.client, obj, change)

    async def _apply_autoscaler(self, obj: ScaledObject, wanted: HorizontalPodAutoscaler) -> None:
        """Where it is not what it was made."""
        key = f"{obj.metadata.namespace}/{wanted.metadata.name}"
        text = encode(wanted)
        standing = self.informer(HorizontalPodAutoscaler).get(key)
        if standing is not None and self._applied.get(key) == (text, _state(standing)):
            return
        applied = await self.apply(obj, wanted)
        self._applied[key] = (text, _state(applied))

    async def _delete_autoscaler(self, obj: ScaledObject, name: str) -> None:
        self._applied.pop(f"{obj.metadata.namespace}/{name}", None)
        try:
            await self.client.delete(HorizontalPodAutoscaler, name, obj.metadata.namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise CheckFailed(
                    f"failed to delete HPA for paused ScaledObject: {error}"
                ) from None

    async def _ready(self, obj: ScaledObject) -> None:
        """It is, unless its triggers have reported otherwise since."""
        standing = facts.condition(obj.status.conditions, "Ready")
        new_conditions: dict[str, ConditionState] = {}
        is_first = standing.status in ("", "Unknown", "False")
        by_triggers = standing.reason in ("TriggerError", "PartialTriggerError")
        is_watched = self.scaling.watched(key_of(obj))
        if not by_triggers or is_watched is None:
            new_conditions["Ready"] = ConditionState("True", READY, READY_MESSAGE)
            if is_first and not by_triggers:
                self.event(obj, READY, "ScaledObject is ready for scaling")
        if not fallback.is_usable(obj):
            new_conditions["Fallback"] = NO_FALLBACK
        await change_status(self.client, obj, lambda status: set_conditions(status, new_conditions))

    # --- the end ---

    async def finalize(self, obj: ScaledObject) -> None:
        """Gives the target back the replicas that it had, if that is wanted."""
        await self.scaling.unwatch(key_of(obj), obj)
        await note_user(self.client, obj, "scaledobjects", gone=True)
        advanced = obj.spec.advanced
        before = obj.status.original_replica_count
        wants = advanced is not None and advanced.restore_to_original_replica_count
        if wants and before is not None:
            try:
                await self.scaling.targets.set_replicas(obj, before)
            except (StatusError, LookupError, ValueError) as error:
                if not (isinstance(error, StatusError) and is_not_found(error)):
                    raise
        self.event(obj, "ScaledObjectDeleted", "ScaledObject was deleted", warning=True)


def _state(obj: HorizontalPodAutoscaler) -> bytes:
    """What of an autoscaler is not its status."""
    meta = obj.metadata
    rest = {"uid": meta.uid, "labels": meta.labels, "annotations": meta.annotations}
    return encode(rest) + encode(obj.spec)


@contextlib.contextmanager
def saying(prefix: str) -> Iterator[None]:
    """Failures of a step as the condition Ready has them."""
    try:
        yield
    except CheckFailed:
        raise
    except FAILURES as error:
        raise CheckFailed(f"{prefix}: {error}") from None
