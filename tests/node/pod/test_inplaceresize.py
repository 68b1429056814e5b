"""Granting resources to a pod that runs, and applying them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import RecordingRuntime, node_context, observation, running
from tiphys.api import core_v1
from tiphys.node.pod.inplaceresize import apply_resources, grant_resources
from tiphys.node.pod.lifecycle import Kill, PodActions
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import Usage
from tiphys.node.status.podstatus import pod_status

DEFERRED = Rejection("Deferred", "no room")


class Resizing(RecordingRuntime):
    """Keeps which containers it resized; fails while it has a fault."""

    fault: Exception | None = None
    used = 0  # bytes of memory that the container takes

    async def usage(self) -> dict[str, dict[str, Usage]]:
        return {"u": {"c": Usage(usage=self.used)}}

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


def limited(memory: str) -> core_v1.Pod:
    resources = {"limits": {"memory": memory}}
    made = pod(containers=[{"name": "c", "image": "i", "resources": resources}])
    made.metadata.uid = "u"
    return made


async def test_memory_that_is_used_is_not_taken_away() -> None:
    runtime = Resizing()
    managed = await running(limited("8Mi"), node_context(runtime))
    current = managed.state.containers["c"]
    managed.resources.set_actual("c", current.id, managed.pod.spec.containers[0].resources)
    managed.pod = limited("4Mi")
    grant_resources(managed)
    runtime.used = 5 << 20
    computed = PodActions()
    for _ in range(2):
        await apply_resources(managed, computed)
    assert runtime.calls == [] and computed.retry_after == 2.0
    assert managed.node.recorder.reasons() == ["ResizeError"], "told once"
    condition = managed.resources.conditions(managed.pod, managed.state)[0]
    assert condition.message == (
        'cannot decrease memory limits: attempting to set container "c" memory limit (4194304)'
        " below current usage (5242880)"
    )
    runtime.used = 3 << 20
    await apply_resources(managed, PodActions())
    assert runtime.calls == [("resize", "c")]


async def test_memory_that_is_used_does_not_keep_a_limit_from_growing() -> None:
    runtime = Resizing()
    managed = await running(limited("4Mi"), node_context(runtime))
    current = managed.state.containers["c"]
    managed.resources.set_actual("c", current.id, managed.pod.spec.containers[0].resources)
    managed.pod = limited("8Mi")
    grant_resources(managed)
    runtime.used = 9 << 20
    await apply_resources(managed, PodActions())
    assert runtime.calls == [("resize", "c")]


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


def whole(cpu: str) -> core_v1.Pod:
    amounts = {"requests": {"cpu": "1"}, "limits": {"cpu": cpu}}
    made = pod(containers=[{"name": "c", "image": "i"}], restartPolicy="Always", resources=amounts)
    made.metadata.uid = "u"
    return made


async def test_a_pod_is_resized_as_a_whole() -> None:
    managed = await running(whole("2"), node_context(Resizing()))
    await managed.reserve()
    current = managed.state.containers["c"]
    managed.resources.set_actual("c", current.id, managed.pod.spec.containers[0].resources)
    managed.pod = whole("3")
    grant_resources(managed)
    [progress] = managed.resources.conditions(managed.pod, managed.state)
    assert progress.type == "PodResizeInProgress"
    shown = pod_status(observation(managed.pod, managed.state, resources=managed.resources))
    assert shown.resources is not None
    assert shown.resources.limits == {"cpu": "2"}, "until the control group has more"
    await apply_resources(managed, PodActions())
    assert managed.node.runtime.calls == [("resize", "c")], "it has the limits of the pod"
    assert managed.resources.for_runtime(managed.pod.spec.containers[0]).resources.limits == {
        "cpu": "3"
    }
    assert managed.node.recorder.reasons() == ["ResizeCompleted"]
    assert managed.resources.conditions(managed.pod, managed.state) == []
    shown = pod_status(observation(managed.pod, managed.state, resources=managed.resources))
    assert shown.resources == whole("3").spec.resources
    assert shown.allocated_resources == {"cpu": "1"}


async def test_what_a_whole_pod_was_granted_survives_the_agent() -> None:
    earlier = whole("3")
    earlier.status.resources = whole("2").spec.resources
    earlier.status.allocated_resources = {"cpu": "1"}  # type: ignore[dict-item]
    managed = await running(earlier, node_context(Resizing(), shortage=lambda *_: DEFERRED))
    grant_resources(managed)
    assert managed.resources.pending == DEFERRED
    assert managed.resources.allocated_spec(earlier).resources == whole("2").spec.resources


@pytest.mark.parametrize("ending", ["kill_pod", "make_sandbox", "finished"])
async def test_nothing_is_resized_that_ends_anyway(ending: str) -> None:
    managed = await resizing("2")
    grant_resources(managed)
    computed = PodActions()
    setattr(computed, ending, True)
    await apply_resources(managed, computed)
    assert managed.node.runtime.calls == []
