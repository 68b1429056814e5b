"""The pods of jobs."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.builders import pod
from tests.controllers.bench import Bench
from tests.controllers.builders import job
from tiphys.api.batch_v1 import Job, JobStatus
from tiphys.api.core_v1 import Container, EnvVar, Pod
from tiphys.controllers.job import JobController, new_pod
from tiphys.controllers.jobindexes import INDEX
from tiphys.controllers.jobplan import TRACKING
from tiphys.controllers.jobpolicy import FAILURES
from tiphys.machinery.errors import StatusError


def with_containers(**spec: object) -> Job:
    made = job(**spec)
    own = EnvVar(name="JOB_COMPLETION_INDEX", value="mine")
    made.spec.template.spec.containers = [Container(name="a"), Container(name="b", env=[own])]
    return made


def test_a_pod_without_an_index_is_only_tracked() -> None:
    made = new_pod(with_containers(), None, 3)
    assert made.metadata.finalizers == [TRACKING] and made.metadata.generate_name == "j-"
    assert not made.metadata.annotations and not made.spec.hostname


def test_a_pod_says_its_index_wherever_it_is_looked_for() -> None:
    made = new_pod(with_containers(backoff_limit_per_index=2), 7, 3)
    assert made.metadata.annotations == {INDEX: "7", FAILURES: "3"}
    assert made.metadata.labels[INDEX] == "7"
    assert (made.metadata.generate_name, made.spec.hostname) == ("j-7-", "j-7")
    first, second = (container.env for container in made.spec.containers)
    assert first[0].value_from is not None and [each.value for each in second] == ["mine"]


def test_a_host_name_of_ones_own_stays_and_a_long_one_is_cut() -> None:
    named = with_containers()
    named.spec.template.spec.hostname = "own"
    assert new_pod(named, 1, 0).spec.hostname == "own"
    named.spec.template.spec.hostname = ""
    named.metadata.name = "x" * 70
    assert new_pod(named, 1, 0).spec.hostname == "x" * 63
    assert FAILURES not in new_pod(named, 1, 0).metadata.annotations


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def jobs(bench: Bench) -> JobController:
    return bench.start(JobController)


def wanted(**spec: object) -> Job:
    made = job(**spec)
    made.spec.template.spec.containers = [Container(name="a", image="i")]
    return made


async def phases(bench: Bench) -> list[tuple[str, bool]]:
    """The phase of each pod, and whether the job holds it."""
    pods = await bench.all(Pod)
    return sorted((pod.status.phase, TRACKING in pod.metadata.finalizers) for pod in pods)


async def status_of(bench: Bench) -> JobStatus:
    found = await bench.get(Job, "j")
    assert found is not None
    return found.status


async def end(bench: Bench, phase: str, count: int = 1) -> None:
    """Ends some pods that have not ended."""
    running = [each for each in await bench.all(Pod) if each.status.phase == "Pending"]
    for each in running[:count]:
        await bench.say(each, phase=phase)


@together
async def test_pods_are_made_counted_and_let_go(bench: Bench, jobs: JobController) -> None:
    await bench.add(wanted(completions=2, parallelism=2))
    await bench.step(jobs, "j")
    assert await phases(bench) == [("Pending", True)] * 2
    assert bench.reasons() == ["SuccessfulCreate"] * 2
    await bench.step(jobs, "j")
    assert (await status_of(bench)).active == 2
    await end(bench, "Succeeded", 2)
    for _ in range(4):
        await bench.step(jobs, "j")
    status = await status_of(bench)
    assert (status.active, status.succeeded) == (0, 2)
    assert [each.type for each in status.conditions if each.status == "True"][-1] == "Complete"
    assert await phases(bench) == [("Succeeded", False)] * 2
    assert bench.reasons() == ["Completed"]


@together
async def test_what_is_not_seen_yet_is_not_made_twice(bench: Bench, jobs: JobController) -> None:
    await bench.add(wanted())
    with bench.unseen(Pod):
        await bench.step(jobs, "j")
        await bench.step(jobs, "j")
    assert len(await phases(bench)) == 1
    with bench.unseen(Job):
        await end(bench, "Succeeded")
        await bench.step(jobs, "j")
        before = await status_of(bench)
        await bench.step(jobs, "j")
    assert await status_of(bench) == before and len(await phases(bench)) == 1


@together
async def test_after_a_failure_the_next_pod_waits_longer_each_time(
    bench: Bench, jobs: JobController
) -> None:
    await bench.add(wanted())
    await bench.step(jobs, "j")
    for failures, longest in ((1, 10), (2, 20)):
        await end(bench, "Failed")
        for _ in range(4):
            wait = await bench.step(jobs, "j")
        assert wait == longest
        assert len(await phases(bench)) == failures
        bench.later += longest
        await bench.step(jobs, "j")
        assert len(await phases(bench)) == failures + 1
    assert (await status_of(bench)).failed == 2


@together
async def test_a_refused_pod_is_told_and_tried_again(bench: Bench, jobs: JobController) -> None:
    made = wanted()
    bench.refuse(made.spec.template)
    await bench.add(made)
    for _ in range(2):
        with pytest.raises(StatusError):
            await bench.step(jobs, "j")
        assert bench.reasons() == ["FailedCreate"]
    await bench.allow()
    await bench.step(jobs, "j")
    assert await phases(bench) == [("Pending", True)]


@pytest.mark.parametrize(
    ("owner", "made"),
    [(None, 1), ("kubernetes.io/job-controller", 1), ("example.com/other", 0)],
)
@together
async def test_a_job_that_somebody_else_manages_is_left_alone(
    bench: Bench, jobs: JobController, owner: str | None, made: int
) -> None:
    await bench.add(wanted(managed_by=owner))
    await bench.step(jobs, "j")
    assert len(await phases(bench)) == made


@together
async def test_a_suspended_job_lets_its_pods_go_and_one_on_its_way_out_makes_none(
    bench: Bench, jobs: JobController
) -> None:
    made = wanted()
    made.metadata.finalizers = ["a.b/c"]
    standing = await bench.add(made)
    await bench.step(jobs, "j")
    await bench.change(standing, spec={"suspend": True})
    await bench.step(jobs, "j")
    assert await phases(bench) == []
    assert "Suspended" in [each.type for each in (await status_of(bench)).conditions]
    await bench.change(standing, spec={"suspend": False})
    await bench.remove(standing)
    await bench.step(jobs, "j")
    await bench.step(jobs, "j")
    assert await phases(bench) == []


@together
async def test_pods_of_a_job_that_is_gone_are_let_go(bench: Bench, jobs: JobController) -> None:
    made = await bench.add(wanted())
    await bench.step(jobs, "j")
    await bench.queued(jobs)
    await bench.remove(made, propagation="Background")
    [held] = await bench.all(Pod)
    jobs._failed_at[bench.key("j")] = 1.0
    await bench.step(jobs, "j")
    assert await phases(bench) == [("Pending", False)]
    assert not jobs._failed_at and not jobs._written
    assert held.metadata.finalizers == [TRACKING]


@together
async def test_an_orphan_is_let_go_or_leads_to_the_job_that_may_adopt_it(
    bench: Bench, jobs: JobController
) -> None:
    made = await bench.add(wanted(managed_by="example.com/other"))
    await bench.queued(jobs)
    selector = made.spec.selector
    assert selector is not None
    mine = pod("mine", labels=selector.match_labels)
    other = pod("other", labels={"a": "b"})
    free = pod("free", labels={"a": "b"})
    mine.metadata.finalizers = other.metadata.finalizers = [TRACKING]
    for each in (mine, other, free):
        await bench.add(each)
    assert await bench.queued(jobs) == ["j", "orphan:other"]
    await bench.step(jobs, f"orphan:{bench.key('other')}")
    await bench.step(jobs, f"orphan:{bench.key('nobody')}")
    finalizers = {each.metadata.name: each.metadata.finalizers for each in await bench.all(Pod)}
    assert finalizers == {"mine": [TRACKING], "other": [], "free": []}
    await bench.change(made, metadata={"finalizers": ["a.b/c"]})
    await bench.remove(made)
    await bench.queued(jobs)
    await bench.change(await there(bench, "mine"), metadata={"labels": {"x": "y"}})
    assert await bench.queued(jobs) == ["orphan:mine"], "a job on its way out adopts none"


async def there(bench: Bench, name: str) -> Pod:
    found = await bench.get(Pod, name)
    assert found is not None
    return found


@together
async def test_pods_lead_to_their_job_and_one_taken_away_from_elsewhere_is_no_failure(
    bench: Bench, jobs: JobController
) -> None:
    made = await bench.add(wanted(parallelism=2, completions=2))
    await bench.step(jobs, "j")
    assert await bench.queued(jobs) == ["j"]
    pods = await bench.all(Pod)
    await bench.change(pods[0], metadata={"labels": {"x": "y"}})
    assert await bench.queued(jobs) == ["j"]
    await bench.change(made, spec={"parallelism": 0})
    await bench.seen()
    with bench.unseen(Pod):
        for each in pods:
            await bench.change(each, metadata={"finalizers": None})
            await bench.remove(each, grace=0)
        await jobs.reconcile(bench.key("j"))
    assert jobs._expectations.met(bench.key("j")) and await phases(bench) == []
