"""The triggers of an object, made of its spec and of what that refers to. They are kept until the
object changes or one of them fails: then secrets are read again, too."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tiphys.addons.keda import facts
from tiphys.addons.keda.authentication import Credentials
from tiphys.addons.keda.formula import Formula
from tiphys.addons.keda.parameters import Given
from tiphys.addons.keda.scaler import Config, Scaler, Surroundings, make
from tiphys.addons.keda.targets import Targets
from tiphys.addons.keda.types import ScaledJob, ScaledObject, Trigger
from tiphys.api import core_v1
from tiphys.api.autoscaling_v2 import MetricSpec

log = logging.getLogger(__name__)


@dataclass
class Built:
    """An object's triggers. `metrics` are what each has for its autoscaler."""

    generation: int
    uid: str
    scalers: Sequence[Scaler]
    metrics: list[list[MetricSpec]]
    formula: Formula | None = None
    _users: int = 0
    _closing: bool = False

    def specs(self) -> list[MetricSpec]:
        return [spec for specs in self.metrics for spec in specs]

    def retarget(self, place: int, specs: list[MetricSpec]) -> bool:
        """Takes what the trigger of that place has for its autoscaler now; whether that is new."""
        is_new = self.metrics[place] != specs
        self.metrics[place] = specs
        return is_new

    @contextlib.asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """While they are in use, they are not closed."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._closing and not self._users:
                await _close(self.scalers)

    async def close(self) -> None:
        self._closing = True
        if not self._users:
            await _close(self.scalers)


async def _close(scalers: Sequence[Scaler]) -> None:
    for scaler in scalers:
        try:
            await scaler.close()
        except Exception:
            log.exception("trigger %s could not be closed", scaler.type)


class Builder:
    def __init__(self, surroundings: Surroundings, targets: Targets) -> None:
        self._surroundings = surroundings
        self._targets = targets

    async def build(self, obj: ScaledObject | ScaledJob) -> Built:
        """Raises ScalerError, AuthenticationError, SpecError, and StatusError for what cannot be
        read."""
        is_source = False
        formula = None
        if isinstance(obj, ScaledObject):
            pod = await self._targets.pod_spec(obj)
            container = obj.spec.scale_target_ref.env_source_container_name
            is_source = facts.modifiers(obj.spec) is not None
            formula = facts.formula_of(obj.spec)
        else:
            pod = obj.spec.job_target_ref.template.spec
            container = obj.spec.env_source_container_name
        credentials = Credentials(self._surroundings.client, obj.metadata.namespace)
        environment = await self._environment(credentials, obj.spec.triggers, pod, container)
        scalers: list[Scaler] = []
        try:
            for place, trigger in enumerate(obj.spec.triggers):
                auth = await credentials.of(trigger.authentication_ref, pod)
                sources = Given(trigger.metadata, auth, environment)
                scalers.append(make(self._config(obj, place, sources, is_source)))
            metrics = [await one.metrics() for one in scalers]
        except BaseException:
            await _close(scalers)
            raise
        meta = obj.metadata
        return Built(meta.generation or 0, meta.uid, scalers, metrics, formula)

    @staticmethod
    async def _environment(
        credentials: Credentials,
        triggers: Sequence[Trigger],
        pod: core_v1.PodSpec | None,
        container: str,
    ) -> dict[str, str]:
        """That of the target's container, where any trigger asks for it."""
        asked = any(name.endswith("FromEnv") for one in triggers for name in one.metadata)
        if pod is None or not pod.containers or not (asked or container):
            return {}
        return await credentials.environment(pod, container)

    def _config(
        self, obj: ScaledObject | ScaledJob, place: int, sources: Given, is_source: bool
    ) -> Config:
        trigger = obj.spec.triggers[place]
        return Config(
            type=trigger.type,
            given=sources,
            surroundings=self._surroundings,
            name=trigger.name,
            index=place,
            namespace=obj.metadata.namespace,
            owner=obj.metadata.name,
            owner_kind=obj.kind,
            metric_type=trigger.metric_type,
            is_source=is_source,
            use_cached=trigger.use_cached_metrics,
        )
