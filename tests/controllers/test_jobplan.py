from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.batch_v1 import Job, UncountedTerminatedPods
from tiphys.controllers import job as core


def wish(**spec: object) -> Job:
    made = Job()
    made.metadata.name = "j"
    made.spec.completions = made.spec.parallelism = 1
    made.spec.template.spec.restart_policy = "Never"
    for key, value in spec.items():
        setattr(made.spec, key, value)
    return made


def worker(
    uid: str, phase: str = "Running", index: int | None = None, held: bool = True
) -> core_v1.Pod:
    made = pod(uid)
    made.metadata.uid, made.status.phase = uid, phase
    made.metadata.finalizers = [core.TRACKING] if held else []
    if index is not None:
        made.metadata.annotations[core.INDEX] = str(index)
    return made


@given(st.sets(st.integers(0, 60)))
def test_indexes_are_written_and_read_back(indexes: set[int]) -> None:
    assert core.parse_indexes(core.format_indexes(indexes)) == indexes


def test_indexes_are_written_as_runs() -> None:
    assert core.format_indexes({1, 3, 4, 5, 7, 8}) == "1,3-5,7,8"


def test_pods_are_made_up_to_the_parallelism_and_the_rest() -> None:
    assert len(core.plan(wish(completions=5, parallelism=3), [], 0).create) == 3
    job = wish(completions=5, parallelism=3)
    job.status.succeeded = 4
    assert len(core.plan(job, [], 0).create) == 1
    assert (
        len(core.plan(wish(completions=5, parallelism=1), [worker("a"), worker("b")], 0).dismiss)
        == 1
    )


def test_a_success_is_counted_once_whatever_is_seen_in_between() -> None:
    job = wish()
    first = core.plan(job, [worker("a", "Succeeded")], 1)
    assert first.status.uncounted_terminated_pods.succeeded == ["a"] and first.status.succeeded == 0  # type: ignore[union-attr]
    assert [p.metadata.uid for p in first.release] == ["a"] and not first.create
    job.status = first.status
    again = core.plan(job, [worker("a", "Succeeded")], 2)
    assert again.status.succeeded == 0 and again.status.uncounted_terminated_pods.succeeded == ["a"]  # type: ignore[union-attr]
    job.status = again.status
    done = core.plan(job, [worker("a", "Succeeded", held=False)], 3)
    assert done.status.succeeded == 1 and core.is_over(done.status) and done.status.completion_time
    job.status = done.status
    assert core.plan(job, [worker("a", "Succeeded", held=False)], 4).status.succeeded == 1


def test_every_index_runs_until_it_has_succeeded() -> None:
    job = wish(completions=3, parallelism=2, completion_mode="Indexed")
    assert core.plan(job, [], 0).create == [0, 1]
    made = core.plan(job, [worker("a", "Succeeded", 0), worker("b", "Failed", 1)], 0)
    assert made.status.completed_indexes == "0" and made.create == [1, 2]


@pytest.mark.parametrize(("failed", "over"), [(1, False), (2, True)])
def test_the_backoff_limit_fails_the_job(failed: int, over: bool) -> None:
    job = wish(backoff_limit=1)
    job.status.failed = failed
    made = core.plan(job, [], 0)
    assert core.is_over(made.status) is over and bool(made.create) is not over


def test_a_job_that_is_over_waits_for_its_last_pods() -> None:
    job = wish(backoff_limit=0, parallelism=2, completions=2)
    job.status.uncounted_terminated_pods = UncountedTerminatedPods(failed=["x"])
    made = core.plan(job, [worker("x", "Failed"), worker("y")], 0)
    assert [p.metadata.uid for p in made.delete] == ["y"] and not core.is_over(made.status)
    assert {c.type for c in made.status.conditions} == {"FailureTarget"}


def test_suspension_and_deadline() -> None:
    assert [p.metadata.uid for p in core.plan(wish(suspend=True), [worker("a")], 0).dismiss] == [
        "a"
    ]
    late = wish(active_deadline_seconds=5)
    late.status.start_time = "1970-01-01T00:00:01Z"
    assert core.plan(late, [], 10).status.conditions[-1].reason == "DeadlineExceeded"


def test_an_index_runs_in_one_pod() -> None:
    job = wish(completions=3, parallelism=3, completion_mode="Indexed")
    pods = [worker("a", index=0), worker("b", index=0), worker("c", index=1), worker("d", index=7)]
    made = core.plan(job, pods, 0)
    assert [p.metadata.uid for p in made.dismiss] == ["b", "d"] and made.create == [2]
    job.status.completed_indexes = "0"
    made = core.plan(job, pods[1:3], 0)
    assert [p.metadata.uid for p in made.dismiss] == ["b"] and made.create == [2]
