"""Starting the containers of a pod."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import NO_RESOLVER, RecordingRuntime, node_context, running
from tiphys.api import core_v1
from tiphys.node.pod.containerstart import ContainerStarter
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.reporting import StatusReporter
from tiphys.node.pod.termination import PodTerminator
from tiphys.node.runtime import ContainerPlan, RuntimeFault
from tiphys.node.states import ContainerState, SandboxState


class Starting(RecordingRuntime):
    """Fails to start containers while it has a fault; images run as `user`."""

    fault: Exception | None = None
    user: tuple[int | None, str] = (7, "")

    async def start_container(
        self, pod: core_v1.Pod, sandbox: SandboxState, plan: ContainerPlan
    ) -> ContainerState:
        self.calls.append(("start", f"{plan.container.name}/{plan.attempt}/{plan.target}"))
        if self.fault is not None:
            raise self.fault
        return await super().start_container(pod, sandbox, plan)

    async def image_user(self, image: str) -> tuple[int | None, str]:
        return self.user

    async def remove_container(self, id: str) -> None:
        self.calls.append(("remove", id[:4]))
        await super().remove_container(id)


async def sandboxed(**spec: Any) -> tuple[ManagedPod, ContainerStarter]:
    """A pod that has a sandbox, and what starts its containers."""
    one = pod(**{"restartPolicy": "Always", **spec})
    one.metadata.uid = "u"
    managed = ManagedPod(node_context(Starting()), one)
    managed.state.sandbox = await managed.node.runtime.run_sandbox(one, 0, NO_RESOLVER, "p")
    return managed, starter(managed)


def starter(managed: ManagedPod) -> ContainerStarter:
    return ContainerStarter(managed, PodTerminator(managed, StatusReporter(managed)))


async def start(managed: ManagedPod, starting: ContainerStarter, attempt: int = 0) -> None:
    """Starts the first container and waits until that is over."""
    starting.begin(managed.pod.spec.containers[0], attempt)
    if starts := managed.records.starts():
        await asyncio.wait(starts)
    await asyncio.sleep(0)  # what is called when a task is done


async def test_a_container_that_was_started_runs_and_says_so() -> None:
    managed, starting = await sandboxed()
    await start(managed, starting)
    assert [one.name for one in managed.state.running()] == ["c"]
    assert managed.node.recorder.reasons() == ["Pulled", "Created", "Started"]
    record = managed.records["c"]
    assert record.starting is None and record.waiting is None
    assert record.actual is not None
    assert record.actual.container_id == managed.state.containers["c"].id


async def test_an_attempt_is_made_once() -> None:
    managed, starting = await sandboxed()
    for _ in range(2):
        await start(managed, starting)
    starting.begin(managed.pod.spec.containers[0], 1)
    starting.begin(managed.pod.spec.containers[0], 1)
    await asyncio.wait(managed.records.starts())
    calls = managed.node.runtime.calls  # type: ignore[attr-defined]
    assert [call for call in calls if call[0] == "start"] == [("start", "c/0/"), ("start", "c/1/")]


@pytest.mark.parametrize(
    ("attempt", "resized", "delay"), [(0, False, 0.0), (1, False, 10.0), (1, True, 0.0)]
)
async def test_restarts_back_off_but_not_those_for_a_resize(
    attempt: int, resized: bool, delay: float
) -> None:
    managed, starting = await sandboxed()
    managed.records["c"].restart_for_resize = resized
    await start(managed, starting, attempt)
    assert managed.records["c"].restarts.delay == delay
    assert not managed.records["c"].restart_for_resize


@pytest.mark.parametrize(("replaced", "delay"), [(True, 0.0), (False, 10.0)])
async def test_delays_are_those_of_an_image(replaced: bool, delay: float) -> None:
    managed, starting = await sandboxed()
    await start(managed, starting)
    record = managed.records["c"]
    record.restarts.delay = record.start_failures.delay = 300.0
    record.start_failures.failed_at = managed.node.now()
    record.is_replaced = replaced
    managed.pod.spec.containers[0].image = "newer"
    await start(managed, starting, 1)
    assert managed.state.containers["c"].asked_image == "newer"
    assert (record.restarts.delay, record.start_failures.delay) == (delay, 0.0)


async def test_attempts_before_the_last_are_removed() -> None:
    managed, starting = await sandboxed()
    for attempt in range(3):
        await start(managed, starting, attempt)
    assert managed.state.containers["c"].attempt == 2
    assert managed.state.previous["c"].attempt == 1
    await asyncio.sleep(0)
    removed = [call for call in managed.node.runtime.calls if call[0] == "remove"]  # type: ignore[attr-defined]
    assert len(removed) == 1


@pytest.mark.parametrize(
    ("fault", "attempt", "waiting", "delay"),
    [
        (RuntimeFault("CreateContainerError", "no"), 0, "CreateContainerError", 0.0),
        (RuntimeFault("RunContainerError", "no"), 0, "RunContainerError", 0.0),
        (RuntimeFault("RunContainerError", "no"), 1, "RunContainerError", 10.0),
        (RuntimeFault("CreateContainerError", "no"), 1, "CreateContainerError", 0.0),
        (OSError("no"), 0, "CreateContainerConfigError", 0.0),
        (TimeoutError("no"), 0, "CreateContainerConfigError", 0.0),
        (ValueError("no"), 0, "CreateContainerConfigError", 0.0),
    ],
)
async def test_a_container_that_cannot_be_started_waits(
    fault: Exception, attempt: int, waiting: str, delay: float
) -> None:
    managed, starting = await sandboxed()
    managed.node.runtime.fault = fault  # type: ignore[attr-defined]
    await start(managed, starting, attempt)
    record = managed.records["c"]
    assert record.waiting == (waiting, "no")
    assert (record.starting, record.restarts.delay) == (None, delay)
    assert record.start_failures.delay == 2.0


async def test_nothing_is_tried_before_the_pause_is_over() -> None:
    managed, starting = await sandboxed()
    managed.records["c"].start_failures.record_failure(99.0, first=2.0)
    await start(managed, starting)
    assert not managed.state.running()
    managed.records["c"].start_failures.reset()
    await start(managed, starting)
    assert managed.state.running()


@pytest.mark.parametrize(
    ("user", "starts"), [((7, ""), True), ((0, ""), False), ((None, "web"), False)]
)
async def test_who_must_not_be_root_is_not_started_as_root(
    user: tuple[int | None, str], starts: bool
) -> None:
    managed, starting = await sandboxed(securityContext={"runAsNonRoot": True})
    managed.node.runtime.user = user  # type: ignore[attr-defined]
    await start(managed, starting)
    assert bool(managed.state.running()) is starts


async def test_a_debugger_sees_its_target() -> None:
    debugger = {"name": "debug", "image": "i", "targetContainerName": "c"}
    managed, starting = await sandboxed(ephemeralContainers=[debugger])
    [spec] = managed.pod.spec.ephemeral_containers
    starting.begin(spec, 0)
    await asyncio.wait(managed.records.starts())
    assert managed.records["debug"].waiting == (
        "CreateContainerConfigError",
        "unable to find target container c",
    )
    await start(managed, starting)
    managed.records["debug"].start_failures.reset()
    starting.begin(spec, 0)
    await asyncio.wait(managed.records.starts())
    target = managed.state.containers["c"].id
    assert managed.node.runtime.calls[-1] == ("start", f"debug/0/{target}")  # type: ignore[attr-defined]


async def test_a_hook_that_fails_ends_its_container() -> None:
    class Failing(Starting):
        runs_processes = True

        async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
            return 1, b"no"

    hook = {"postStart": {"exec": {"command": ["hello"]}}}
    one = pod(containers=[{"name": "c", "image": "i", "lifecycle": hook}], restartPolicy="Always")
    managed = await running(one, node_context(Failing()))
    await start(managed, starter(managed), attempt=1)
    assert managed.node.recorder.recorded[-1][1:3] == (
        "FailedPostStartHook",
        "PostStartHook failed: no",
    )
    assert not managed.state.running()


async def test_an_image_volume_is_pulled_and_mounted_before_its_container_starts() -> None:
    mounted: list[tuple[str, str]] = []

    class Mounting(Starting):
        async def mount_image(self, image: str, uid: str, volume: str, place: Any) -> None:
            mounted.append((image, volume))

    volume = {"reference": "data:1", "pullPolicy": "IfNotPresent"}
    volumes = [{"name": name, "image": volume} for name in ("v", "unused")]
    mounts = [{"name": "v", "mountPath": "/v"}]
    one = pod(
        containers=[{"name": "c", "image": "i", "volumeMounts": mounts}],
        volumes=volumes,
        restartPolicy="Always",
    )
    managed = await running(one, node_context(Mounting()))
    await start(managed, starter(managed), attempt=1)
    assert mounted == [("data:1", "v")]
