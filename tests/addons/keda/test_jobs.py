"""How many Jobs there are: the table of KEDA's strategies, with the rows of its own tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tiphys.addons.keda.jobs import Counts, Queue, demand, effective, least, most, to_create
from tiphys.addons.keda.jobscaling import is_pending, job_of
from tiphys.addons.keda.numerals import parse_float
from tiphys.addons.keda.types import ScaledJob, ScaledJobSpec
from tiphys.addons.keda.types.scaledjob import ScalingStrategy
from tiphys.api import core_v1


def strategy(name: str, deduction: int | None = 0, percentage: str = "") -> ScalingStrategy:
    return ScalingStrategy(
        strategy=name,
        custom_scaling_queue_length_deduction=deduction,
        custom_scaling_running_job_percentage=percentage,
    )


# jobs called for, running, pending, limit, and what comes out
DEFAULT = [(3, 2, 0, 5, 1), (2, 0, 0, 5, 2), (1, 2, 0, 5, -1), (5, 0, 9, 5, 5)]
CUSTOM = [(3, 2, 0, 5, 1), (10, 0, 0, 10, 9), (10, 2, 0, 10, 8), (40, 20, 0, 10, 10)]
ACCURATE = [
    (3, 2, 0, 5, 3),
    (5, 2, 0, 5, 3),
    (3, 4, 2, 10, 1),
    (5, 4, 2, 5, 1),
    (3, 3, 3, 5, 0),
    (15, 15, 15, 20, 0),
    (10, 10, 10, 15, 0),
    (20, 15, 10, 20, 5),
]
EAGER = [(4, 3, 0, 10, 4), (4, 0, 3, 10, 4), (4, 7, 0, 10, 3), (4, 1, 6, 10, 3), (15, 0, 0, 10, 10)]
TABLE = [
    *((strategy("default"), row) for row in DEFAULT),
    *((strategy(""), row) for row in DEFAULT),
    *((strategy("custom", 1, "0.5"), row) for row in CUSTOM),
    *((strategy("custom", 1, "half"), row) for row in DEFAULT),
    *((strategy("accurate"), row) for row in ACCURATE),
    *((strategy("eager"), row) for row in EAGER),
]


@pytest.mark.parametrize(("chosen", "row"), TABLE)
def test_the_table_of_strategies(chosen: ScalingStrategy, row: tuple[int, ...]) -> None:
    jobs, running, pending, limit, expected = row
    assert effective(chosen, jobs, Counts(running, pending), limit) == expected


QUEUES = [Queue(20, 20, True), Queue(5, 5, True), Queue(15, 15, False), Queue(9, 1, True)]


@pytest.mark.parametrize(
    ("calculation", "expected"),
    [("", (True, 20, 20)), ("max", (True, 20, 20)), ("min", (True, 5, 5)),
     ("avg", (True, 12, 9)), ("sum", (True, 34, 26))],
)  # fmt: skip
def test_several_triggers_are_one_demand(calculation: str, expected: tuple[Any, ...]) -> None:
    assert demand(QUEUES, calculation, 0, 100) == expected


def test_without_activity_there_is_a_demand_for_the_least_ones_alone() -> None:
    idle = [Queue(15, 15, False)]
    assert demand(idle, "", 0, 100) == (False, 0, 0)
    assert demand(idle, "", 2, 100).is_active
    spec = ScaledJobSpec(min_replica_count=2, max_replica_count=10)
    assert to_create(spec, demand(idle, "", 2, 8), Counts(1, 0)) == 1
    assert to_create(spec, demand(idle, "", 2, 8), Counts(2, 0)) == 0


def test_the_most_are_beside_the_least() -> None:
    bounds = [(None, None), (2, 10), (12, 10), (None, 7)]
    found = []
    for low, high in bounds:
        spec = ScaledJobSpec(min_replica_count=low, max_replica_count=high)
        found.append((least(spec), most(spec)))
    assert found == [(0, 100), (2, 8), (10, 10), (0, 7)]


GOLDENS = Path(__file__).parent / "goldens" / "scaled_jobs.jsonl"
"""Cases and what KEDA's own functions, compiled from its sources, say of them. In each line: least,
most, strategy, deduction, percentage, calculation, triggers (length, jobs, whether active), running,
pending; then whether it is active, length, jobs, and how many are created."""


def test_kedas_own_functions_say_the_same() -> None:
    for line in GOLDENS.read_text().splitlines():
        low, high, name, deduction, percentage, calculation, rows, *rest = json.loads(line)
        running, pending, is_active, length, jobs, created = rest
        chosen = strategy(name, deduction, percentage)
        spec = ScaledJobSpec(min_replica_count=low, max_replica_count=high, scaling_strategy=chosen)
        wanted = demand([Queue(*row) for row in rows], calculation, least(spec), most(spec))
        assert wanted == (is_active, length, jobs), line
        assert to_create(spec, wanted, Counts(running, pending)) == created, line


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5", 0.5), (".3", 0.3), ("1.", 1.0), ("1e-1", 0.1), ("0x1p-2", 0.25), ("1_0", 10.0),
     ("", None), (" 0.5", None), ("1__0", None), ("0x1", None), ("٣", None), ("1e400", None)],
)  # fmt: skip
def test_numbers_are_those_that_go_reads(text: str, expected: float | None) -> None:
    if expected is not None:
        assert parse_float(text) == expected
        return
    with pytest.raises(ValueError, match=r"strconv\.ParseFloat"):
        parse_float(text)


def with_phase(phase: str, *conditions: str) -> core_v1.Pod:
    pod = core_v1.Pod()
    pod.status.phase = phase
    pod.status.conditions = [core_v1.PodCondition(type=one, status="True") for one in conditions]
    return pod


@pytest.mark.parametrize(
    ("pods", "wanted", "expected"),
    [
        ([], [], True),
        ([with_phase("Pending")], [], True),
        ([with_phase("Failed"), with_phase("Running")], [], False),
        ([with_phase("Succeeded")], [], False),
        ([with_phase("Running", "Ready")], ["Ready", "PodScheduled"], True),
        ([with_phase("Pending", "Ready", "PodScheduled")], ["Ready", "PodScheduled"], False),
    ],
)
def test_a_job_waits_until_a_pod_of_it_does_not(
    pods: list[core_v1.Pod], wanted: list[str], expected: bool
) -> None:
    assert is_pending(pods, wanted) is expected


def test_a_new_job_has_labels_a_version_and_a_policy() -> None:
    obj = ScaledJob(spec=ScaledJobSpec())
    obj.metadata.name, obj.metadata.namespace, obj.metadata.generation = "j", "default", 4
    obj.metadata.labels = {"team": "a", "secret": "b"}
    obj.metadata.annotations = {"scaledjob.keda.sh/job-excluded-labels": "secret"}
    job = job_of(obj)
    assert job.metadata.generate_name == "j-"
    assert job.metadata.labels["team"] == "a" and "secret" not in job.metadata.labels
    assert job.metadata.annotations["scaledjob.keda.sh/generation"] == "4"
    assert job.spec.template.metadata.labels == {"scaledjob.keda.sh/name": "j"}
    assert job.spec.template.spec.restart_policy == "OnFailure"
