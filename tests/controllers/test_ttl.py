"""When finished jobs are deleted."""

from __future__ import annotations

import pytest

from tests.controllers.builders import NOW, ago, job
from tiphys.api.batch_v1 import JobCondition
from tiphys.controllers.ttl import expires


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
