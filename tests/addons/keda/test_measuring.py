"""What is made of what triggers say, and of their silence."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tiphys.addons.keda.building import Built
from tiphys.addons.keda.formula import FormulaError, compiled
from tiphys.addons.keda.measuring import Look, Measurer, Reading, Record, combined, seen
from tiphys.addons.keda.scaler import AVERAGE, VALUE, Measured, external
from tiphys.addons.keda.types import Health, ScaledObject
from tiphys.api.base import from_builtins


class Trigger:
    """Says what a test has it say, or fails."""

    def __init__(self, index: int, answer: Any, name: str = "", cached: bool = False) -> None:
        self.type = "desk"
        self.metric_name = f"s{index}-desk"
        self.config = SimpleNamespace(name=name, index=index, use_cached=cached)
        self.answer = answer
        self.asked = 0

    async def look(self, metric: str) -> Measured:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return Measured(*self.answer)


class Targets:
    """Of four replicas, two of which are ready; `fails`: it cannot be read."""

    fails = False

    async def replicas(self, obj: Any) -> int:
        if self.fails:
            raise LookupError("gone")
        return 4

    async def ready_pods(self, obj: Any) -> int:
        return 2


class Desk:
    """An object, its triggers and who asks them."""

    def __init__(self, *triggers: Trigger, kind: str = AVERAGE, formula: str = "") -> None:
        self.targets = Targets()
        self.looked: list[str] = []
        observer: Any = SimpleNamespace(looked=lambda scaler, name, *_: self.looked.append(name))
        targets: Any = self.targets
        self.measurer = Measurer(targets, 0.05, observer)
        self.triggers = triggers
        metrics = [[external(one.metric_name, kind, 5)] for one in triggers]
        names = [one.config.name for one in triggers]
        made = compiled(formula, names) if formula else None
        scalers: Any = triggers
        self.built = Built(1, "u", scalers, metrics, made)
        self.health: dict[str, Health] = {}

    async def look(self, obj: ScaledObject, **more: Any) -> Look:
        return await self.measurer.look(obj, self.built, self.health, **more)


def scaled(
    fallback: dict[str, Any] | None = None,
    modifiers: dict[str, Any] | None = None,
    triggers: tuple[str, ...] = ("desk",),
) -> ScaledObject:
    spec: dict[str, Any] = {"scaleTargetRef": {"name": "w"}}
    spec["triggers"] = [{"type": kind, "metadata": {}} for kind in triggers]
    if fallback is not None:
        spec["fallback"] = {"failureThreshold": 1, "replicas": 6, **fallback}
    if modifiers is not None:
        spec["advanced"] = {"scalingModifiers": {"target": "2", **modifiers}}
    return from_builtins({"metadata": {"name": "w"}, "spec": spec}, ScaledObject)


async def test_every_trigger_is_asked_and_what_it_says_is_kept_apart() -> None:
    desk = Desk(Trigger(0, (3.0, True)), Trigger(1, (0.0, False), name="quiet"))
    look = await desk.look(scaled())
    rows = [(one.name, one.trigger, one.index, one.value, one.is_active) for one in look.readings]
    assert rows == [("s0-desk", "desk", 0, 3.0, True), ("s1-desk", "quiet", 1, 0.0, False)]
    assert not look.failed and not look.falls_back and look.records == {}
    assert sorted(desk.looked) == ["s0-desk", "s1-desk"] and desk.health == {}


async def test_only_what_is_named_is_asked() -> None:
    desk = Desk(Trigger(0, (3.0, True)), Trigger(1, (1.0, True)))
    look = await desk.look(scaled(), only={"s1-desk"})
    assert [one.name for one in look.readings] == ["s1-desk"] and desk.looked == ["s1-desk"]


@pytest.mark.parametrize(("cached", "asked", "value"), [(True, 0, 9.0), (False, 1, 3.0)])
async def test_what_is_cached_is_not_asked_again(cached: bool, asked: int, value: float) -> None:
    one = Trigger(0, (3.0, True), cached=cached)
    desk = Desk(one)
    records = {"s0-desk": Record(Measured(9.0, True), "")}
    look = await desk.look(scaled(), records=records)
    assert (one.asked, look.readings[0].value) == (asked, value)
    assert set(look.records) == ({"s0-desk"} if cached else set())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (ValueError("no such desk"), "no such desk"),
        (ValueError(), "ValueError"),
        (None, "desk: no answer within 0.05s"),
    ],
)
async def test_a_trigger_that_fails_says_why(answer: Any, text: str) -> None:
    look = await Desk(Trigger(0, answer)).look(scaled())
    [one] = look.readings
    assert (one.value, one.is_active, one.error) == (None, False, text) and look.failed


async def test_too_many_failures_lead_to_the_fallback_and_one_success_back() -> None:
    one = Trigger(0, ValueError("no"), cached=True)
    desk = Desk(one)
    for failures, value, falls_back in ((1, None, False), (2, 30.0, True), (3, 30.0, True)):
        look = await desk.look(scaled({}))
        [reading] = look.readings
        assert (reading.value, reading.falls_back) == (value, falls_back)
        assert look.falls_back is falls_back and look.failed is not falls_back
        assert reading.is_active is falls_back
        health = desk.health["s0-desk"]
        assert (health.number_of_failures, health.status) == (failures, "Failing")
    assert look.records["s0-desk"] == Record(Measured(30.0, True), "")
    one.answer = (2.0, True)
    look = await desk.look(scaled({}))
    assert look.readings[0].value == 2.0 and not look.falls_back
    assert desk.health["s0-desk"] == Health(number_of_failures=0, status="Happy")


@pytest.mark.parametrize(
    ("fallback", "kind", "value"),
    [
        ({"behavior": "currentReplicas"}, AVERAGE, 20.0),
        ({}, VALUE, 15.0),
        ({"behavior": "currentReplicas"}, VALUE, 10.0),
    ],
)
async def test_a_fallback_may_be_about_the_replicas_that_are_there(
    fallback: dict[str, Any], kind: str, value: float
) -> None:
    desk = Desk(Trigger(0, ValueError("no")), kind=kind)
    obj = scaled({"failureThreshold": 0, **fallback})
    assert (await desk.look(obj)).readings[0].value == value
    desk.targets.fails = True
    [reading] = (await desk.look(obj)).readings
    known = value if fallback == {} else None
    assert reading.value == known and (reading.error == "no") is (known is None)


async def test_a_formula_may_do_without_a_metric() -> None:
    desk = Desk(Trigger(0, ValueError("no"), name="a"), formula="a ?? 7")
    obj = scaled({"failureThreshold": 0, "behavior": "scalingModifiers"}, {"formula": "a ?? 7"})
    look = await desk.look(obj)
    assert (look.failed, look.falls_back, look.readings[0].value) == (False, False, None)
    assert combined(obj, desk.built, look.readings) == 7


def reading(value: float | None, falls_back: bool = False, **more: Any) -> Reading:
    made = Reading("s0-desk", "a", external("s0-desk", AVERAGE, 5), value=value, **more)
    made.falls_back = falls_back
    return made


def test_the_fallback_of_one_metric_is_that_of_the_formula() -> None:
    desk = Desk(Trigger(0, (1.0, True), name="a"), formula="a + 1")
    obj = scaled({}, {"formula": "a + 1"})
    assert combined(obj, desk.built, [reading(3.0)]) == 4
    assert combined(obj, desk.built, [reading(3.0), reading(30.0, True)]) == 30


def test_a_formula_that_makes_nothing_needs_a_fallback() -> None:
    desk = Desk(Trigger(0, (1.0, True), name="a"), formula="a ?? a")
    assert combined(scaled({}, {"formula": "a"}), desk.built, [reading(None)]) == 12
    with pytest.raises(FormulaError, match="evaluated to nil but no fallback"):
        combined(scaled(None, {"formula": "a"}), desk.built, [reading(None)])


@pytest.mark.parametrize(
    ("modifiers", "readings", "triggers", "active", "names"),
    [
        (None, [reading(1.0, is_active=True)], ("desk",), True, ("s0-desk",)),
        (None, [reading(1.0)], ("desk",), False, ()),
        (None, [reading(1.0)], ("cpu",), True, ()),
        (None, [reading(1.0)], ("cpu", "desk"), False, ()),
        (None, [reading(None, error="no")], ("cpu",), False, ()),
        ({"formula": "a"}, [reading(1.0)], ("desk",), True, ("composite-metric",)),
        ({"formula": "a"}, [reading(0.0, is_active=True)], ("desk",), False, ()),
        ({"formula": "a", "activationTarget": "5"}, [reading(5.0)], ("desk",), False, ()),
        (
            {"formula": "a", "activationTarget": "5"},
            [reading(6.0)],
            ("desk",),
            True,
            ("composite-metric",),
        ),
        ({"formula": "a"}, [reading(6.0, error="no")], ("desk",), False, ()),
    ],
)
def test_whether_there_is_anything_to_do(
    modifiers: Any, readings: list[Reading], triggers: Any, active: bool, names: tuple[str, ...]
) -> None:
    formula = modifiers["formula"] if modifiers else ""
    desk = Desk(Trigger(0, (1.0, True), name="a"), formula=formula)
    found = seen(scaled(None, modifiers, triggers), desk.built, Look(readings))
    assert (found.is_active, found.active) == (active, names)


def test_a_threshold_is_a_number() -> None:
    desk = Desk(Trigger(0, (1.0, True), name="a"), formula="a")
    obj = scaled(None, {"formula": "a", "activationTarget": "x"})
    with pytest.raises(FormulaError, match=r"scalingModifiers\.ActivationTarget parsing error"):
        seen(obj, desk.built, Look([reading(1.0)]))
