"""Ending pods: grace periods, the order of containers, and what is removed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import (
    Events,
    RecordingRuntime,
    StatusServer,
    lasting_pod,
    node_context,
    running,
)
from tiphys.api import core_v1
from tiphys.node.devices.nodedevices import NoDevices
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.reporting import StatusReporter
from tiphys.node.pod.termination import PodTerminator
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import ContainerState


def terminator(managed: ManagedPod) -> PodTerminator:
    return PodTerminator(managed, StatusReporter(managed))


def calls(managed: ManagedPod) -> list[tuple[str, str]]:
    runtime = managed.node.runtime
    assert isinstance(runtime, RecordingRuntime)
    return runtime.calls


@pytest.mark.parametrize(
    ("deletion", "of_probe", "of_pod", "failed", "expected"),
    [
        (5, 7, 9, "liveness", 5.0),
        (0, 7, 9, "liveness", 0.0),
        (None, 7, 9, "liveness", 7.0),
        (None, 7, 9, "", 9.0),
        (None, None, 9, "liveness", 9.0),
        (None, None, None, "", 30.0),
    ],
)
async def test_who_decides_how_long_a_container_has(
    deletion: int | None, of_probe: int | None, of_pod: int | None, failed: str, expected: float
) -> None:
    probe = {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": of_probe}
    one = pod(containers=[{"name": "c", "image": "i", "livenessProbe": probe}])
    one.metadata.deletion_grace_period_seconds = deletion
    one.spec.termination_grace_period_seconds = of_pod
    managed = ManagedPod(node_context(), one)
    managed.records["c"].failed_probe = failed
    assert terminator(managed).grace_period("c") == expected


async def test_sidecars_end_after_the_others_in_reverse_order() -> None:
    managed = await running(lasting_pod("first", "second"))
    await terminator(managed).kill(3.0, with_events=True)
    stopped = [name for what, name in calls(managed) if what == "stop"]
    assert stopped == ["c", "second", "first"]
    assert calls(managed)[-1] == ("stop sandbox", "u-0")
    graces = managed.node.runtime.graces  # type: ignore[attr-defined]
    assert graces["c"] == 3.0 and all(2.5 < graces[name] <= 3.0 for name in ("second", "first"))
    assert managed.node.recorder.reasons() == ["Killing"] * 3
    assert not managed.state.running()


async def test_hooks_of_sidecars_run_at_once_and_they_end_in_their_turn() -> None:
    hook = {"preStop": {"exec": {"command": ["bye"]}}}
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always", "lifecycle": hook}
    main = {"name": "c", "image": "i"}
    one = pod(containers=[main], initContainers=[sidecar], restartPolicy="Always")
    runtime = Hooked(0)
    managed = await running(one, node_context(runtime))
    runtime.held = asyncio.Event()  # the main container takes its time
    killing = asyncio.ensure_future(terminator(managed).kill(9.0))
    while ("exec", "bye") not in runtime.calls:  # noqa: ASYNC110 - a list that the task fills
        await asyncio.sleep(0)
    assert ("stop", "s") not in runtime.calls
    runtime.held.set()
    await killing
    assert runtime.calls[-3:] == [("stop", "c"), ("stop", "s"), ("stop sandbox", "u-0")]


async def test_a_sidecar_does_not_wait_longer_than_its_pod_has() -> None:
    managed = await running(lasting_pod("s"), node_context(Hooked(0)))
    runtime = managed.node.runtime
    assert isinstance(runtime, Hooked)
    runtime.held = asyncio.Event()
    killing = asyncio.ensure_future(terminator(managed).kill(0.05))
    while ("stop", "s") not in runtime.calls:  # noqa: ASYNC110 - a list that the task fills
        await asyncio.sleep(0.001)
    runtime.held.set()
    await killing
    assert runtime.graces["s"] == 0.05


async def test_an_end_without_events() -> None:
    managed = await running(lasting_pod())
    await terminator(managed).kill(1.0)
    assert managed.node.recorder.reasons() == []


async def test_what_has_ended_is_not_stopped_again() -> None:
    managed = await running(lasting_pod())
    await terminator(managed).kill(1.0)
    calls(managed).clear()
    await terminator(managed).kill(1.0)
    assert calls(managed) == []


class Hooked(RecordingRuntime):
    """Runs hooks: `result` is their exit code, or what they raise."""

    runs_processes = True

    def __init__(self, result: int | Exception) -> None:
        super().__init__()
        self.result = result
        self.held: asyncio.Event | None = None

    async def stop_container(
        self, container: ContainerState, grace: float, signal: str = ""
    ) -> None:
        if self.held is not None and container.name == "c":
            await self.held.wait()
        await super().stop_container(container, grace, signal)

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        self.calls.append(("exec", " ".join(command)))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result, b"out"


def hooked() -> core_v1.Pod:
    hook = {"preStop": {"exec": {"command": ["bye"]}}}
    return pod(containers=[{"name": "c", "image": "i", "lifecycle": hook}], restartPolicy="Always")


@pytest.mark.parametrize(
    ("grace", "result", "expected_calls", "events"),
    [
        (9.0, 0, [("exec", "bye"), ("stop", "c")], []),
        (9.0, 1, [("exec", "bye"), ("stop", "c")], ["FailedPreStopHook"]),
        (9.0, TimeoutError(), [("exec", "bye"), ("stop", "c")], ["FailedPreStopHook"]),
        (0.0, 0, [("stop", "c")], []),
    ],
)
async def test_a_hook_runs_before_the_container_is_stopped(
    grace: float, result: Any, expected_calls: list[tuple[str, str]], events: list[str]
) -> None:
    managed = await running(hooked(), node_context(Hooked(result)))
    await terminator(managed).stop_container(managed.state.containers["c"], grace)
    assert calls(managed) == expected_calls
    assert managed.node.recorder.reasons() == events


@pytest.mark.parametrize(("grace", "least", "most"), [(9.0, 8.5, 9.0), (1.0, 2.0, 2.0)])
async def test_a_container_has_two_seconds_after_its_hook(
    grace: float, least: float, most: float
) -> None:
    managed = await running(hooked(), node_context(Hooked(0)))
    await terminator(managed).stop_container(managed.state.containers["c"], grace)
    assert least <= managed.node.runtime.graces["c"] <= most  # type: ignore[attr-defined]


async def test_a_container_is_ended_by_its_signal() -> None:
    spec = {"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGUSR1"}}
    managed = await running(pod(containers=[spec, {"name": "d", "image": "i"}]))
    await terminator(managed).kill(1.0)
    assert managed.node.runtime.signals == {"c": "SIGUSR1"}  # type: ignore[attr-defined]


async def test_a_container_without_a_hook_has_its_grace_period() -> None:
    managed = await running(lasting_pod())
    await terminator(managed).stop_container(managed.state.containers["c"], 1.0)
    assert managed.node.runtime.graces == {"c": 1.0}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, False),
        ({"initContainers": [{"name": "a", "image": "i"}]}, True),
        ({"containers": [{"name": n, "image": "i"} for n in "cd"]}, True),
        (
            {"containers": [{"name": "c", "image": "i", "readinessProbe": {"periodSeconds": 1}}]},
            True,
        ),
    ],
)
async def test_whose_end_is_reported_step_by_step(spec: dict[str, Any], expected: bool) -> None:
    assert terminator(ManagedPod(node_context(), pod(**spec)))._reports_progress() is expected


async def test_nothing_is_left_of_a_pod() -> None:
    released: list[str] = []

    class Policies:
        async def isolate(self, pod: core_v1.Pod, addresses: Any) -> None: ...

        def release(self, pod: core_v1.Pod) -> None:
            released.append(pod.metadata.name)

    managed = await running(lasting_pod(), node_context(isolation=Policies(), recorder=Events()))
    managed.state.old_sandboxes = ["older"]
    await terminator(managed).clean_up()
    assert [call for call in calls(managed) if call[0] == "remove sandbox"] == [
        ("remove sandbox", "older"),
        ("remove sandbox", "u-0"),
    ]
    assert released == ["p"] and await managed.node.runtime.pods() == {}


class BusyDriver(NoDevices):
    """Devices that their driver does not take back while it `is_busy`."""

    is_busy = True

    async def release(self, pod: core_v1.Pod) -> None:
        if self.is_busy:
            raise RuntimeFault("FailedUnprepareDynamicResources", "it is busy")


async def test_a_pod_stays_until_its_drivers_have_its_devices_back() -> None:
    """Whoever gets its claim next must not find it in use."""
    server, driver = StatusServer(), BusyDriver()
    one = lasting_pod()
    one.metadata.resource_version = "0"
    managed = await running(one, node_context(client=server, devices=driver))
    ending = terminator(managed)
    with pytest.raises(RuntimeFault, match="it is busy"):
        await ending.terminate()
    assert not managed.state.running()
    assert not server.deleted and not any(
        sent["status"]["phase"] == "Failed" for sent in server.sent
    )
    driver.is_busy = False
    await ending.terminate()
    assert server.deleted == [managed.pod.metadata.name]
