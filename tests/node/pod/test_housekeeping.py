"""What is looked after while a pod runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import RecordingRuntime, node_context, running
from tiphys.node.pod.housekeeping import keep_house
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import ContainerState, PodIdentity, Usage

LIMITED = {"limits": {"ephemeral-storage": "1Ki"}}
TOO_MUCH, LITTLE = {"c": Usage(disk=1025)}, {"c": Usage(disk=1024)}


class Logs(RecordingRuntime):
    """Keeps which logs were to be rotated; fails while it has a fault."""

    fault: Exception | None = None

    def log_folder(self, pod: PodIdentity) -> Path | None:
        return Path("/nonexistent")

    async def rotate_log(self, pod: PodIdentity, container: ContainerState) -> None:
        self.calls.append(("rotate", container.name))
        if self.fault is not None:
            raise self.fault


async def limited(resources: Any = LIMITED) -> ManagedPod:
    container = {"name": "c", "image": "i", "resources": resources}
    one = pod(containers=[container], restartPolicy="Always")
    return await running(one, node_context(Logs()))


@pytest.mark.parametrize(
    ("resources", "used", "evicted"),
    [
        (LIMITED, TOO_MUCH, True),
        (LIMITED, LITTLE, False),
        ({}, TOO_MUCH, False),
        (LIMITED, {}, False),
    ],
)
async def test_a_pod_with_too_much_on_disk_is_evicted(
    resources: Any, used: dict[str, Usage], evicted: bool
) -> None:
    managed = await limited(resources)
    await keep_house(managed, used)
    assert (managed.failure is not None) is evicted
    assert managed.node.recorder.reasons() == (["Evicted"] if evicted else [])


async def test_a_pod_is_evicted_once() -> None:
    managed = await limited()
    for _ in range(2):
        await keep_house(managed, TOO_MUCH)
    assert managed.node.recorder.reasons() == ["Evicted"]


async def test_a_failed_pod_fails_for_one_reason() -> None:
    managed = await limited()
    managed.failure = deadline = Rejection("DeadlineExceeded", "late")
    await keep_house(managed, TOO_MUCH)
    assert managed.failure == deadline


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_what_has_ended_is_not_evicted(phase: str) -> None:
    managed = await limited()
    managed.pod.status.phase = phase
    await keep_house(managed, TOO_MUCH)
    assert managed.failure is None


async def test_what_is_gone_meanwhile_is_not_evicted() -> None:
    managed = await limited()
    managed.leave()
    await keep_house(managed, TOO_MUCH)
    assert managed.failure is None and managed.node.recorder.reasons() == []


@pytest.mark.parametrize("fault", [None, OSError("full"), RuntimeFault("X", "no"), TimeoutError()])
async def test_logs_of_running_containers_are_rotated(fault: Exception | None) -> None:
    managed = await limited()
    managed.node.runtime.fault = fault  # type: ignore[attr-defined]
    await keep_house(managed, {})
    assert managed.node.runtime.calls == [("rotate", "c")]  # type: ignore[attr-defined]
    managed.state.containers["c"].state = "exited"
    await keep_house(managed, {})
    assert len(managed.node.runtime.calls) == 1  # type: ignore[attr-defined]
