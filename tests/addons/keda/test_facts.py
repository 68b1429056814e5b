"""What a ScaledObject says, and what KEDA refuses of it, in KEDA's sentences."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.keda import facts
from tiphys.addons.keda.types import ScaledObject
from tiphys.api.base import from_builtins

PREFIX = "autoscaling.keda.sh"


def made(name: str = "web", annotations: dict[str, str] | None = None, **spec: Any) -> ScaledObject:
    meta = {"name": name, "namespace": "lab", "annotations": annotations or {}}
    whole = {"scaleTargetRef": {"name": "web"}, "triggers": [], **spec}
    found: ScaledObject = from_builtins({"metadata": meta, "spec": whole}, ScaledObject)
    return found


def said(work: Any, *given: Any) -> str:
    """What is wrong, "" if nothing is."""
    try:
        work(*given)
    except facts.SpecError as error:
        return str(error)
    return ""


def trigger(kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "metadata": {}, **({"name": name} if name else {}), **more}


# --- annotations ---


@pytest.mark.parametrize(
    ("text", "counts"),
    [("true", True), ("", True), ("no", True), ("false", False), ("F", False), ("0", False)],
)
def test_anything_but_what_go_reads_as_false_counts(text: str, counts: bool) -> None:
    obj = made(annotations={f"{PREFIX}/paused": text})
    assert facts.flag(obj, facts.PAUSED) is counts
    assert facts.is_paused(obj) is counts
    assert not facts.is_paused(made())
    assert facts.is_paused(made(annotations={f"{PREFIX}/paused-replicas": "0"}))


@pytest.mark.parametrize(
    ("text", "count"),
    [("3", 3), ("-1", -1), ("2147483647", 2**31 - 1), ("-2147483648", -(2**31))],
)
def test_a_pause_has_a_count(text: str, count: int) -> None:
    assert facts.paused_replicas(made(annotations={f"{PREFIX}/paused-replicas": text})) == count
    assert facts.paused_replicas(made()) is None


@pytest.mark.parametrize("text", ["x", "", "1.5", "2147483648", "-2147483649"])
def test_a_count_that_is_none_is_refused(text: str) -> None:
    obj = made(annotations={f"{PREFIX}/paused-replicas": text})
    words = f'strconv.ParseInt: parsing "{text}": invalid syntax'
    assert said(facts.paused_replicas, obj) == f"failed to parse paused replica count: {words}"


# --- defaults ---


@pytest.mark.parametrize(
    ("spec", "least", "most"),
    [
        ({}, 1, 100),
        ({"minReplicaCount": 0}, 1, 100),
        ({"minReplicaCount": 2, "maxReplicaCount": 0}, 2, 0),
        ({"maxReplicaCount": 7}, 1, 7),
    ],
)
def test_an_autoscaler_never_goes_below_one(spec: Any, least: int, most: int) -> None:
    obj = made(**spec)
    assert (facts.least(obj.spec), facts.most(obj.spec)) == (least, most)


def test_a_target_is_a_deployment_where_nothing_else_is_said() -> None:
    assert facts.target_of(made()) == ("apps/v1", "Deployment", "web")
    ref = {"apiVersion": "a/v1", "kind": "K", "name": "n"}
    assert facts.target_of(made(scaleTargetRef=ref)) == ("a/v1", "K", "n")


def test_an_autoscaler_has_the_objects_name_or_its_own() -> None:
    assert facts.autoscaler_name(made()) == "keda-hpa-web"
    named = {"horizontalPodAutoscalerConfig": {"name": "mine"}}
    assert facts.autoscaler_name(made(advanced=named)) == "mine"
    assert facts.autoscaler_config(made(advanced=named).spec).name == "mine"
    assert facts.autoscaler_config(made(advanced={}).spec).name == ""


def test_types_and_authentications_are_named_once() -> None:
    auth = {"authenticationRef": {"name": "a"}}
    triggers = [trigger("cron", **auth), trigger("redis", **auth), trigger("cron")]
    assert facts.type_names(made(triggers=triggers).spec.triggers) == ("cron,redis", "a")
    assert facts.type_names([]) == ("", "")


# --- what KEDA refuses ---


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({}, ""),
        ({"minReplicaCount": 5, "maxReplicaCount": 5}, ""),
        (
            {"minReplicaCount": 6, "maxReplicaCount": 5},
            "MinReplicaCount=6 must be less than MaxReplicaCount=5",
        ),
        ({"maxReplicaCount": 0}, ""),
        (
            {"minReplicaCount": 0, "maxReplicaCount": 0},
            "MinReplicaCount=1 must be less than MaxReplicaCount=0",
        ),
        ({"minReplicaCount": 101}, "MinReplicaCount=101 must be less than MaxReplicaCount=100"),
        ({"idleReplicaCount": 0, "minReplicaCount": 1}, ""),
        (
            {"idleReplicaCount": 1, "minReplicaCount": 1},
            "IdleReplicaCount=1 must be less than MinReplicaCount=1",
        ),
        ({"idleReplicaCount": 0}, "IdleReplicaCount=0 must be less than MinReplicaCount=0"),
        ({"idleReplicaCount": 1, "minReplicaCount": 2}, ""),
    ],
)
def test_counts_do_not_contradict_each_other(spec: Any, text: str) -> None:
    assert said(facts.check_bounds, made(**spec).spec) == text


def cached(kind: str) -> str:
    return f'property "useCachedMetrics" is not supported for "{kind}" scaler'


@pytest.mark.parametrize(
    ("triggers", "text"),
    [
        ([], "no triggers defined in the ScaledObject/ScaledJob"),
        ([trigger("cron"), trigger("cron")], ""),
        ([trigger("redis", "a"), trigger("redis", "b")], ""),
        (
            [trigger("redis", "a"), trigger("cron", "a")],
            'triggerName "a" is defined multiple times in the ScaledObject/ScaledJob, but it must '
            "be unique",
        ),
        ([trigger("redis", useCachedMetrics=True)], ""),
        ([trigger("cpu", useCachedMetrics=True)], cached("cpu")),
        ([trigger("memory", useCachedMetrics=True)], cached("memory")),
        ([trigger("cron", useCachedMetrics=True)], cached("cron")),
    ],
)
def test_triggers_are_there_and_named_once(triggers: Any, text: str) -> None:
    assert said(facts.check_triggers, made(triggers=triggers).spec.triggers) == text


FORMULA = {"scalingModifiers": {"formula": "a", "target": "2"}}
NO_AVERAGE = "at least one trigger (that is not cpu or memory) has to have the `AverageValue` type"


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"triggers": [trigger("cpu")]}, False),
        ({"triggers": [trigger("cpu")], "fallback": {"failureThreshold": 1, "replicas": 1}}, True),
        (
            {
                "triggers": [trigger("cpu"), trigger("cron")],
                "fallback": {"failureThreshold": 1, "replicas": 1},
            },
            False,
        ),
        (
            {
                "triggers": [trigger("memory")],
                "fallback": {"failureThreshold": 1, "replicas": 1},
                "advanced": FORMULA,
            },
            False,
        ),
    ],
)
def test_a_fallback_needs_a_trigger_that_can(spec: Any, refused: bool) -> None:
    text = said(facts.check_fallback, made(**spec).spec)
    assert text.startswith(NO_AVERAGE) if refused else not text


@pytest.mark.parametrize(
    ("length", "own", "text"),
    [
        (54, "", ""),
        (55, "", "HPA name"),
        (63, "mine", ""),
        (64, "mine", "scaledobject name"),
        (5, "x" * 64, "HPA name"),
        (5, "x" * 63, ""),
    ],
)
def test_names_become_values_of_labels(length: int, own: str, text: str) -> None:
    advanced = {"horizontalPodAutoscalerConfig": {"name": own}} if own else {}
    found = said(facts.check_name, made("n" * length, advanced=advanced))
    assert found.startswith(text) and bool(found) is bool(text)


BEFORE = "error validating formula in ScalingModifiers\n"
NO_TARGET = (
    "error validating target in ScalingModifiers\n"
    "error converting target for scalingModifiers (string->float) to valid target"
)


@pytest.mark.parametrize(
    ("modifiers", "text"),
    [
        ({}, ""),
        ({"formula": "a + 1", "target": "2"}, ""),
        ({"target": "2"}, "error ScalingModifiers.Formula is mandatory"),
        ({"formula": "a"}, f"{BEFORE}formula is given but target is empty"),
        ({"formula": "a", "target": "0"}, NO_TARGET),
        ({"formula": "a", "target": "-1"}, NO_TARGET),
        ({"formula": "a", "target": "x"}, NO_TARGET),
        ({"formula": "a", "target": "NaN"}, NO_TARGET),
    ],
)
def test_a_formula_has_a_target(modifiers: Any, text: str) -> None:
    triggers = [trigger("redis", "a"), trigger("cpu", "c")]
    spec = made(triggers=triggers, advanced={"scalingModifiers": modifiers}).spec
    assert said(facts.formula_of, spec) == text
    assert (facts.modifiers(spec) is None) is (not modifiers)


@pytest.mark.parametrize("formula", ["b", "c", "a +"])
def test_a_formula_speaks_of_triggers_by_name(formula: str) -> None:
    triggers = [trigger("redis", "a"), trigger("cpu", "c"), trigger("redis")]
    modifiers = {"formula": formula, "target": "2"}
    spec = made(triggers=triggers, advanced={"scalingModifiers": modifiers}).spec
    assert said(facts.formula_of, spec).startswith(BEFORE)


@pytest.mark.parametrize(
    ("behavior", "advanced", "refused"),
    [
        ("static", {}, False),
        ("scalingModifiers", {}, True),
        ("scalingModifiers", {"scalingModifiers": {"target": "2"}}, True),
        ("scalingModifiers", FORMULA, False),
    ],
)
def test_a_fallback_of_the_formula_needs_one(behavior: str, advanced: Any, refused: bool) -> None:
    fallback = {"failureThreshold": 1, "replicas": 1, "behavior": behavior}
    text = said(facts.check_modifiers_fallback, made(fallback=fallback, advanced=advanced).spec)
    assert bool(text) is refused
    assert said(facts.check_modifiers_fallback, made().spec) == ""


def test_a_condition_that_is_not_there_is_empty() -> None:
    found = facts.condition([], "Ready")
    assert (found.type, found.status) == ("Ready", "")
