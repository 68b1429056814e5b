"""Granting resources to a pod that runs, and applying them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import RecordingRuntime, node_context, running
from tiphys.api import core_v1
from tiphys.node.pod.inplaceresize import apply_resources, grant_resources
from tiphys.node.pod.lifecycle import Kill, PodActions
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.runtime import RuntimeFault

DEFERRED = Rejection("Deferred", "no room")


class Resizing(RecordingRuntime):
    """Keeps which containers it resized; fails while it has a fault."""

    fault: Exception | None = None

    async def resize_container(
        self, pod: core_v1.Pod, container: core_v1.Container, id: str
    ) -> None:
        self.calls.append(("resize", container.name))
        if self.fault is not None:
            raise self.fault


def sized(cpu: str, restarts: bool = False) -> core_v1.Pod:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}] if restarts else []
    resources = {"requests": {"cpu": cpu}}
    one = {"name": "c", "image": "i", "resources": resources, "resizePolicy": policy}
    made = pod(containers=[one], restartPolicy="Always")
    made.metadata.uid = "u"
    return made


async def resizing(to: str, restarts: bool = False, **node: Any) -> ManagedPod:
    """A pod that runs with one CPU and asks for more."""
    managed = await running(sized("1", restarts), node_context(Resizing(), **node))
    current = managed.state.containers["c"]
    managed.resources.set_actual("c", current.id, managed.pod.spec.containers[0].resources)
    managed.pod = sized(to, restarts)
    return managed


async def test_resources_are_granted_when_there_is_room() -> None:
    managed = await resizing("2")
    grant_resources(managed)
    assert managed.resources.are_granted(managed.pod)
    assert managed.footprint.requests["cpu"] == 2000
    assert managed.node.recorder.recorded == []


async def test_a_shortage_is_an_event_once_and_shows() -> None:
    managed = await resizing("2", shortage=lambda uid, wanted: DEFERRED)
    for _ in range(2):
        grant_resources(managed)
    assert managed.resources.pending == DEFERRED
    assert managed.node.recorder.recorded == [("Warning", "ResizeDeferred", "no room", "")]
    assert managed.footprint.requests["cpu"] == 1000
    managed.pod = sized("1")
    grant_resources(managed)
    assert managed.resources.pending is None


async def test_a_resize_is_applied_and_reported() -> None:
    managed = await resizing("2")
    grant_resources(managed)
    await apply_resources(managed, PodActions())
    assert managed.node.runtime.calls == [("resize", "c")]
    assert managed.node.recorder.reasons() == ["ResizeCompleted"]
    await apply_resources(managed, PodActions())
    assert managed.node.runtime.calls == [("resize", "c")], "once"


@pytest.mark.parametrize("fault", [RuntimeFault("UNKNOWN", "busy"), TimeoutError("busy")])
async def test_a_resize_that_fails_is_tried_again(fault: Exception) -> None:
    managed = await resizing("2")
    managed.node.runtime.fault = fault  # type: ignore[attr-defined]
    grant_resources(managed)
    computed = PodActions()
    await apply_resources(managed, computed)
    assert (managed.resources.error, computed.retry_after) == ("busy", 2.0)
    assert managed.node.recorder.recorded[0][1:3] == ("ResizeError", "Resizing container c: busy")
    managed.node.runtime.fault = None  # type: ignore[attr-defined]
    await apply_resources(managed, computed)
    assert managed.resources.error == "" and not managed.resources.unfinished(
        managed.pod, managed.state
    )


async def test_a_container_that_must_restart_is_killed_once() -> None:
    managed = await resizing("2", restarts=True)
    grant_resources(managed)
    computed = PodActions()
    await apply_resources(managed, computed)
    current = managed.state.containers["c"]
    assert computed.kill == [Kill(current, "Container c resize requires restart")]
    await apply_resources(managed, computed)
    assert len(computed.kill) == 1 and managed.records["c"].restart_for_resize
    assert managed.node.recorder.reasons() == [] and managed.node.runtime.calls == []


@pytest.mark.parametrize("ending", ["kill_pod", "make_sandbox", "finished"])
async def test_nothing_is_resized_that_ends_anyway(ending: str) -> None:
    managed = await resizing("2")
    grant_resources(managed)
    computed = PodActions()
    setattr(computed, ending, True)
    await apply_resources(managed, computed)
    assert managed.node.runtime.calls == []
