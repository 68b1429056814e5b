"""What has finished."""

from __future__ import annotations

import pytest

from tests.builders import pod
from tiphys.api.batch_v1 import JobCondition, JobStatus
from tiphys.machinery.finished import finish_of, is_final, job_finished, pod_finished


@pytest.mark.parametrize(
    ("phase", "finished"),
    [
        ("Pending", False),
        ("Running", False),
        ("Unknown", False),
        ("", False),
        ("Succeeded", True),
        ("Failed", True),
    ],
)
def test_pods_finish_by_their_phase(phase: str, finished: bool) -> None:
    ended = pod()
    ended.status.phase = phase
    assert pod_finished(ended) is is_final(phase) is finished


@pytest.mark.parametrize(
    ("kind", "status", "finished"),
    [
        ("Complete", "True", True),
        ("Failed", "True", True),
        ("Failed", "False", False),
        ("SuccessCriteriaMet", "True", False),
        ("FailureTarget", "True", False),
        ("Suspended", "True", False),
    ],
)
def test_jobs_finish_by_their_conditions(kind: str, status: str, finished: bool) -> None:
    condition = JobCondition(type=kind, status=status)
    found = JobStatus(conditions=[JobCondition(type="Suspended", status="False"), condition])
    assert job_finished(found) is finished
    assert finish_of(found) is (condition if finished else None)
