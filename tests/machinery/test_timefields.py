"""Times are found wherever a type has them."""

from __future__ import annotations

import json

import pytest

from tiphys.api import apps_v1, core_v1, events_v1, policy_v1
from tiphys.api.catalog import RESOURCES
from tiphys.machinery.decoding import DecodeError, typed
from tiphys.machinery.timefields import plan_of

EARLY = "2026-01-01T00:00:00+01:00"
UTC = "2025-12-31T23:00:00Z"


def test_times_of_metadata_and_of_what_is_deep_inside_are_kept_in_utc() -> None:
    running = {"state": {"running": {"startedAt": EARLY}}}
    body = {
        "metadata": {"deletionTimestamp": EARLY, "managedFields": [{"time": EARLY}]},
        "status": {"startTime": EARLY, "containerStatuses": [running]},
    }
    pod = typed(json.dumps(body).encode(), core_v1.Pod)
    state = pod.status.container_statuses[0].state.running
    assert state is not None and state.started_at == UTC
    assert pod.metadata.deletion_timestamp == pod.metadata.managed_fields[0].time == UTC
    assert pod.status.start_time == UTC


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (core_v1.ConfigMap, '{"metadata": {"creationTimestamp": "x"}}'),
        (apps_v1.Deployment, '{"spec": {"template": {"metadata": {"deletionTimestamp": "x"}}}}'),
        (events_v1.Event, '{"eventTime": "x"}'),
        (policy_v1.PodDisruptionBudget, '{"status": {"disruptedPods": {"p": "x"}}}'),
        (events_v1.Event, '{"series": {"lastObservedTime": "x"}}'),
    ],
)
@pytest.mark.parametrize("text", ["x", ""])
def test_a_text_that_is_no_time_is_refused(kind: type, body: str, text: str) -> None:
    with pytest.raises(DecodeError, match=f'parsing time "{text}"'):
        typed(body.replace('"x"', f'"{text}"').encode(), kind)


def test_every_object_has_times_and_schemas_of_schemas_end() -> None:
    for resource in RESOURCES:
        steps = {step.attribute for step in plan_of(resource.type)}
        assert "metadata" in steps or not hasattr(resource.type(), "metadata"), resource.kind
