"""Thresholds of probes, and how often they are run."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.node.hollow import HollowRuntime
from tiphys.node.probes.prober import Prober, Target, Verdict

S, F = True, False


@pytest.mark.parametrize(
    ("initial", "thresholds", "results", "verdicts"),
    [
        # (success threshold, failure threshold), results, verdict after each
        (F, (1, 3), [S], [S]),
        (F, (2, 3), [S, S], [F, S]),
        (F, (2, 3), [S, F, S, S], [F, F, F, S]),
        (S, (1, 3), [F, F, F], [S, S, F]),
        (S, (1, 3), [F, F, S, F, F, F], [S, S, S, S, S, F]),
        (S, (1, 1), [F, S], [F, S]),
        (S, (0, 0), [F, S], [F, S]),
    ],
)
def test_a_verdict_changes_at_its_threshold(
    initial: bool, thresholds: tuple[int, int], results: list[bool], verdicts: list[bool]
) -> None:
    success, failure = thresholds
    probe = core_v1.Probe(success_threshold=success, failure_threshold=failure)
    verdict = Verdict(probe, initial)
    seen = []
    for result in results:
        verdict.add(result)
        seen.append(verdict.successful)
    assert seen == verdicts


@pytest.mark.parametrize(
    ("initial", "results", "matters"),
    [
        (F, [S, S], [True, False]),
        (S, [F, F, F, F], [False, False, True, True]),
        (S, [S], [False]),
        (F, [F, F, F], [False, False, True]),
    ],
)
def test_a_result_matters_when_it_changes_the_verdict_or_fails_past_the_threshold(
    initial: bool, results: list[bool], matters: list[bool]
) -> None:
    verdict = Verdict(core_v1.Probe(success_threshold=1, failure_threshold=3), initial)
    assert [verdict.add(result) for result in results] == matters


def prober(kind: str, was_successful: bool = False, **probe: Any) -> Prober:
    target = Target(core_v1.Container(name="c"), "id", str, HollowRuntime())
    given = {"period_seconds": 10, "failure_threshold": 3, "success_threshold": 1, **probe}
    return Prober(kind, core_v1.Probe(**given), target, was_successful=was_successful)


def test_failures_of_a_startup_probe_count_by_periods() -> None:
    startup = prober("startup")
    times = [0.0]
    while not startup.has_failed:
        _, pause = startup.count(False)
        times.append(times[-1] + pause)
    assert len([time for time in times if time <= 1.01]) == 11, "run often in the first second"
    assert 20 < times[-2] < 22, "fails at the third period, not before"


@pytest.mark.parametrize(
    ("kind", "was_successful", "probe", "pause"),
    [
        ("startup", False, {}, 0.1),
        ("readiness", False, {}, 0.1),
        ("liveness", False, {}, 10),
        ("readiness", True, {}, 10),
        ("readiness", False, {"initial_delay_seconds": 1}, 10),
    ],
)
def test_only_what_is_waited_for_is_run_often(
    kind: str, was_successful: bool, probe: dict[str, int], pause: float
) -> None:
    assert prober(kind, was_successful, **probe).count(False)[1] == pause


def test_a_success_in_the_first_second_counts() -> None:
    readiness = prober("readiness")
    readiness.count(False)
    assert readiness.count(True) == (True, 10)


@pytest.mark.parametrize(
    ("kind", "was_successful", "successful"),
    [("liveness", False, True), ("readiness", False, False), ("readiness", True, True)],
)
def test_containers_live_until_a_probe_says_otherwise(
    kind: str, was_successful: bool, successful: bool
) -> None:
    assert prober(kind, was_successful).verdict.successful is successful


@pytest.mark.parametrize(("failures", "failed"), [(2, False), (3, True)])
def test_a_liveness_probe_fails_at_its_threshold(failures: int, failed: bool) -> None:
    liveness = prober("liveness")
    for _ in range(failures):
        liveness.count(False)
    assert liveness.has_failed is failed


async def test_a_startup_probe_ends_with_its_first_success() -> None:
    reported: list[bool] = []
    await prober("startup").run(lambda _, answer: reported.append(answer.well))
    assert reported == [True]


def test_a_liveness_probe_is_never_run_often() -> None:
    liveness = prober("liveness")
    counted = [liveness.count(False) for _ in range(5)]
    assert counted == [(False, 10), (False, 10), (True, 10), (True, 10), (True, 10)]
