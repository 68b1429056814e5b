"""When finished jobs are deleted."""

from __future__ import annotations

import pytest

from tests.controllers.bench import Bench
from tests.controllers.builders import NOW, ago, job
from tiphys.api.batch_v1 import Job, JobCondition
from tiphys.api.core_v1 import Container
from tiphys.controllers.ttl import TTLAfterFinishedController, expires
from tiphys.machinery import timestamps


@pytest.mark.parametrize(
    ("limit", "kind", "status", "left"),
    [
        (60, "Complete", "True", 50),
        (60, "Failed", "True", 50),
        (0, "Complete", "True", -10),
        (60, "Complete", "False", None),
        (60, "FailureTarget", "True", None),
        (None, "Complete", "True", None),
    ],
)
def test_a_job_goes_after_its_end(
    limit: int | None, kind: str, status: str, left: float | None
) -> None:
    finished = job(ttl_seconds_after_finished=limit)
    suspended = JobCondition(type="Suspended", status="False", last_transition_time=ago(900))
    end = JobCondition(type=kind, status=status, last_transition_time=ago(10))
    finished.status.conditions = [suspended, end]
    assert expires(finished) == (None if left is None else NOW + left)
    finished.metadata.deletion_timestamp = "x"
    assert expires(finished) is None


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@together
async def test_a_finished_job_is_deleted_when_its_time_has_come(bench: Bench) -> None:
    controller = bench.start(TTLAfterFinishedController)
    made = job(ttl_seconds_after_finished=60)
    made.spec.template.spec.containers = [Container(name="c", image="i")]
    standing = await bench.add(made)
    assert await bench.queued(controller) == ["j"]
    assert await bench.step(controller, "j") is None, "it has not finished"
    stamp = timestamps.rfc3339(bench.now())
    end = [
        {"type": kind, "status": "True", "lastTransitionTime": stamp}
        for kind in ("FailureTarget", "Failed")
    ]
    await bench.say(standing, conditions=end, startTime=stamp)
    wait = await bench.step(controller, "j")
    assert wait is not None and 58 < wait <= 60
    bench.later = 61
    with bench.unseen(Job):
        await bench.change(standing, spec={"ttlSecondsAfterFinished": 90})
        assert await bench.step(controller, "j") is None
    found = await bench.get(Job, "j")
    assert found is not None and not found.metadata.deletion_timestamp, "it was given more time"
    bench.later = 91
    await bench.step(controller, "j")
    found = await bench.get(Job, "j")
    assert found is not None and found.metadata.finalizers == ["foregroundDeletion"]
    assert await bench.step(controller, "none") is None


@together
async def test_at_its_very_end_a_job_goes(bench: Bench) -> None:
    controller = bench.start(TTLAfterFinishedController)
    made = job(ttl_seconds_after_finished=60)
    made.spec.template.spec.containers = [Container(name="c", image="i")]
    standing = await bench.add(made)
    stamp = timestamps.rfc3339(bench.now())
    end = [
        {"type": kind, "status": "True", "lastTransitionTime": stamp}
        for kind in ("FailureTarget", "Failed")
    ]
    await bench.say(standing, conditions=end, startTime=stamp)
    bench._started, bench.later = timestamps.parse(stamp), 60
    assert await bench.step(controller, "j") is None
    found = await bench.get(Job, "j")
    assert found is not None and found.metadata.deletion_timestamp
