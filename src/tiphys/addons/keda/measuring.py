"""One look at all triggers of a ScaledObject: what they say, with fallbacks in place of what they
do not, and formulas applied."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.addons.keda import facts, fallback
from tiphys.addons.keda.building import Built
from tiphys.addons.keda.deciding import Seen
from tiphys.addons.keda.formula import FormulaError
from tiphys.addons.keda.numerals import parse_float
from tiphys.addons.keda.observing import Observer
from tiphys.addons.keda.scaler import Measured, Scaler
from tiphys.addons.keda.targets import Targets
from tiphys.addons.keda.types import Health, ScaledObject
from tiphys.api.autoscaling_v2 import MetricSpec
from tiphys.machinery.errors import StatusError


class Record(NamedTuple):
    """A trigger's answer for a metric: kept for the autoscaler, if the trigger wants that."""

    measured: Measured | None
    error: str


@dataclass
class Reading:
    """One metric. `value` is None while a formula has to do without it."""

    name: str
    trigger: str
    spec: MetricSpec
    index: int = 0
    value: float | None = None
    is_active: bool = False
    error: str = ""
    falls_back: bool = False


@dataclass
class Look:
    """What was seen. `records` are to be kept for the autoscaler; `resources` counts triggers of
    which the autoscaler takes care itself."""

    readings: list[Reading]
    records: dict[str, Record] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return any(one.error for one in self.readings)

    @property
    def falls_back(self) -> bool:
        return any(one.falls_back for one in self.readings)


class Measurer:
    """Asks triggers, each for at most `timeout` seconds."""

    def __init__(self, targets: Targets, timeout: float, observer: Observer) -> None:
        self.targets = targets
        self._timeout = timeout
        self.observer = observer

    async def look(
        self,
        obj: ScaledObject,
        built: Built,
        health: dict[str, Health],
        only: Collection[str] | None = None,
        records: dict[str, Record] | None = None,
    ) -> Look:
        """Asks the triggers, all at once: for the metrics that are named, or for all. With
        `records`, of those that are cached there none is queried again. `health` has the failures
        in a row, and is brought up to date."""
        readings = [
            self._read(obj, scaler, spec, health, records)
            for scaler, specs in zip(built.scalers, built.metrics, strict=True)
            for spec in specs
            if spec.external is not None and (only is None or spec.external.metric.name in only)
        ]
        measurements = await asyncio.gather(*readings)
        look = Look([reading for reading, _ in measurements])
        cached = {one.metric_name for one in built.scalers if one.config.use_cached}
        look.records = {r.name: record for r, record in measurements if r.name in cached}
        return look

    async def _read(
        self,
        obj: ScaledObject,
        scaler: Scaler,
        spec: MetricSpec,
        health: dict[str, Health],
        records: dict[str, Record] | None,
    ) -> tuple[Reading, Record]:
        assert spec.external is not None
        name = spec.external.metric.name
        reading = Reading(name, scaler.config.name or scaler.type, spec, scaler.config.index)
        record = (records or {}).get(name) if scaler.config.use_cached else None
        if record is None:
            record = await self.ask(scaler, name)
        await self._judge(obj, reading, record, health)
        if reading.falls_back:
            measured = Measured(reading.value or 0.0, True)
            return reading, Record(measured, reading.error)
        return reading, record

    async def ask(self, scaler: Scaler, name: str) -> Record:
        """One metric of a trigger, or its failure."""
        started = time.monotonic()
        record = await self._asked(scaler, name)
        self.observer.looked(scaler, name, record.measured, started)
        return record

    async def _asked(self, scaler: Scaler, name: str) -> Record:
        try:
            async with asyncio.timeout(self._timeout):
                return Record(await scaler.look(name), "")
        except TimeoutError:
            return Record(None, f"{scaler.type}: no answer within {self._timeout:g}s")
        except Exception as error:  # a trigger's failure must not affect others
            return Record(None, str(error) or type(error).__name__)

    async def _judge(
        self, obj: ScaledObject, reading: Reading, record: Record, health: dict[str, Health]
    ) -> None:
        """Counts the failures, and falls back when there are too many."""
        counts = fallback.is_usable(obj)
        if record.measured is not None:
            reading.value, reading.is_active = record.measured
            if counts:
                health[reading.name] = Health(number_of_failures=0, status=fallback.HAPPY)
            return
        reading.error = record.error
        if not counts:
            return
        assert obj.spec.fallback is not None
        before = health.get(reading.name, Health()).number_of_failures or 0
        health[reading.name] = Health(number_of_failures=before + 1, status=fallback.FAILING)
        if before + 1 <= obj.spec.fallback.failure_threshold:
            return
        if obj.spec.fallback.behavior == "scalingModifiers":
            reading.error = ""
            return
        value = await self._fallen(obj, reading.spec)
        if value is not None:
            reading.value = value
            reading.is_active = True
            reading.falls_back = True
            reading.error = ""

    async def _fallen(self, obj: ScaledObject, spec: MetricSpec) -> float | None:
        try:
            current = ready = 0
            if fallback.needs_current(obj):
                current = await self.targets.replicas(obj)
            if fallback.needs_ready(obj, spec):
                ready = await self.targets.ready_pods(obj)
        except (StatusError, LookupError, ValueError):
            return None
        return fallback.value(obj, spec, current, ready)


def combined(obj: ScaledObject, built: Built, readings: Sequence[Reading]) -> float:
    """What the formula makes of all metrics, or the fallback of one. Raises FormulaError."""
    fallen = [one.value for one in readings if one.falls_back and one.value is not None]
    if fallen:
        return fallen[0]
    assert built.formula is not None
    values = {one.trigger: one.value for one in readings}
    value = built.formula.value(values)
    if value is not None:
        return value
    if obj.spec.fallback is None:
        raise FormulaError(
            "scalingModifiers formula evaluated to nil but no fallback is configured"
        )
    modifiers = facts.modifiers(obj.spec)
    assert modifiers is not None
    return obj.spec.fallback.replicas * facts.target_number(modifiers)


def seen(obj: ScaledObject, built: Built, look: Look) -> Seen:
    """What the readings mean for whether there should be any replica."""
    active = [one.name for one in look.readings if one.is_active]
    is_active = bool(active)
    modifiers = facts.modifiers(obj.spec)
    if modifiers is not None:
        is_active = False
        active = []
        if not look.failed and built.formula is not None:
            value = combined(obj, built, look.readings)
            is_active = value > _threshold(modifiers.activation_target)
            active = [facts.COMPOSITE] if is_active else []
    resources = sum(trigger.type in facts.RESOURCES for trigger in obj.spec.triggers)
    if len(obj.spec.triggers) <= resources and not look.failed:
        is_active = True  # nothing else could ever bring the first replica
    return Seen(is_active, look.failed, tuple(active))


def _threshold(text: str) -> float:
    """Raises FormulaError."""
    if not text:
        return 0.0
    try:
        return parse_float(text)
    except ValueError as error:
        raise FormulaError(f"scalingModifiers.ActivationTarget parsing error {error}") from None
