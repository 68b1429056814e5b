"""Containers and sandboxes that are ended: by signals of ours, or by containerd."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.cri.containerd import Containerd, happened, one, plan
from tiphys.node import states
from tiphys.node.cri import messages as m
from tiphys.node.cri import runtime as module
from tiphys.node.cri.runtime import CRIRuntime
from tiphys.node.naming import Resolver
from tiphys.node.states import ContainerState

ID = "c0ffee"
RUNC = "io.containerd.runc.v2"
RUNNING, EXITED = 1, 2  # CRI's
RESOLVER = Resolver(["10.0.0.10"], ["svc"], ["ndots:5"])


@pytest.fixture
async def process(runtime: CRIRuntime, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """One that the runtime takes for the container's."""
    made = await asyncio.create_subprocess_exec("sleep", "600")
    folder = tmp_path / str(made.pid)
    folder.mkdir()
    (folder / "cgroup").write_text(f"0::/tiphys/podu/{ID}\n")
    runtime._processes._proc = tmp_path
    yield made
    with contextlib.suppress(ProcessLookupError):
        made.kill()
    await made.wait()


async def test_ends_name_what_ends(containerd: Containerd, runtime: CRIRuntime) -> None:
    await runtime.stop_container(container("id"), 2.6)
    assert (containerd.last("StopContainer").container_id, containerd.calls[-1][1].timeout) == (
        "id",
        3,
    )
    await runtime.stop_container(container("id"), -5)
    assert containerd.last("StopContainer").timeout == 0
    await runtime.remove_container("id")
    await runtime.stop_sandbox("s")
    await runtime.remove_sandbox("s")
    assert containerd.last("RemoveContainer").container_id == "id"
    assert containerd.last("StopPodSandbox").pod_sandbox_id == "s"
    assert containerd.last("RemovePodSandbox").pod_sandbox_id == "s"


def container(id: str = ID) -> ContainerState:
    return ContainerState(id, "c", 0, states.RUNNING, image_ref="sha256:1")


def started(containerd: Containerd, process: Any, image: str, kind: str = RUNC) -> list[int]:
    """Container `ID` is `process`, of an image that may name a signal. Returns its exit code, once
    it has one. containerd says that it has exited when it is asked again."""
    codes: list[int] = []
    asked: list[bool] = []

    def status(request: m.ContainerStatusRequest) -> m.ContainerStatusResponse:
        state = EXITED if asked else RUNNING
        if codes:
            asked.append(True)
        info = json.dumps({"pid": process.pid, "runtimeType": kind, "config": {"a": 1}})
        known = m.ContainerStatus(id=ID, state=state, image_ref="sha256:1")
        return m.ContainerStatusResponse(known, {"info": info} if request.verbose else {})

    containerd.answers["ContainerStatus"] = status
    about = json.dumps({"chainID": "c", "imageSpec": {"config": json.loads(image)}})
    containerd.answers["ImageStatus"] = m.ImageStatusResponse(info={"info": about})
    return codes


async def reap(runtime: CRIRuntime, process: Any, codes: list[int]) -> None:
    """What containerd does when the process has ended."""
    codes.append(await process.wait())
    runtime._processes.observe(happened("delete", ID))


@pytest.mark.parametrize(
    ("image", "signal", "code"),
    [
        ("{}", "", -15),
        ('{"StopSignal": "SIGQUIT"}', "", -3),
        ('{"StopSignal": "SIGQUIT"}', "SIGUSR1", -10),
        ("{}", "SIGRTMIN+3", -37),
    ],
)
async def test_a_container_gets_the_pods_signal_or_its_images(
    containerd: Containerd,
    runtime: CRIRuntime,
    process: Any,
    image: str,
    signal: str,
    code: int,
) -> None:
    codes = started(containerd, process, image)
    reaping = asyncio.create_task(reap(runtime, process, codes))
    await runtime.stop_container(container(), 60, signal)
    assert (await runtime.ended(container())).state == states.EXITED
    assert codes == [code] and "StopContainer" not in containerd.methods()
    await reaping


@pytest.mark.parametrize("grace", [0.05, 0.0])
async def test_a_container_is_killed_when_its_time_is_over(
    containerd: Containerd, runtime: CRIRuntime, process: Any, grace: float
) -> None:
    codes = started(containerd, process, "{}")
    reaping = asyncio.create_task(reap(runtime, process, codes))
    await runtime.stop_container(container(), grace, "SIGURG")  # which nobody listens to
    assert (await runtime.ended(container())).state == states.EXITED
    assert codes == [-9] and "StopContainer" not in containerd.methods()
    await reaping


async def test_a_containers_end_is_left_to_containerd_when_its_events_break_off(
    containerd: Containerd, runtime: CRIRuntime, process: Any
) -> None:
    started(containerd, process, "{}")
    stopping = asyncio.create_task(runtime.stop_container(container(), 60, "SIGURG"))
    while ID not in runtime._processes._awaited:
        await asyncio.wait({stopping}, timeout=0.01)
    runtime._processes.close()
    await asyncio.wait_for(stopping, 5)
    assert containerd.last("StopContainer").timeout in (59, 60)
    assert process.returncode is None


async def test_the_signal_of_an_image_is_asked_for_once(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    about = json.dumps({"imageSpec": {"config": {"StopSignal": "SIGINT"}}})
    containerd.answers["ImageStatus"] = m.ImageStatusResponse(info={"info": about})
    for _ in range(2):
        assert await runtime.image_stop_signal("sha256:1") == "SIGINT"
    assert containerd.methods() == ["ImageStatus"]


@pytest.mark.parametrize(
    ("image", "kind", "info"),
    [
        ("{}", "io.containerd.kata.v2", None),  # the process is a machine
        ('{"StopSignal": "SIGNONE"}', RUNC, None),
        ("{}", RUNC, ""),  # no containerd
        ("{}", RUNC, "[]"),
    ],
)
async def test_containerd_ends_what_we_cannot(
    containerd: Containerd,
    runtime: CRIRuntime,
    process: Any,
    image: str,
    kind: str,
    info: str | None,
) -> None:
    started(containerd, process, image, kind)
    if info is not None:
        containerd.answers["ContainerStatus"] = m.ContainerStatusResponse(info={"info": info})
    await runtime.stop_container(container(), 2.6)
    assert containerd.last("StopContainer").timeout == 3
    assert process.returncode is None


async def test_containerd_kills_what_does_not_end_by_a_signal(
    containerd: Containerd, runtime: CRIRuntime, process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events may be lost: then it is asked to end the container, which waits for that."""
    monkeypatch.setattr(module, "_DELETION_PATIENCE", 0.01)
    started(containerd, process, "{}")
    await runtime.stop_container(container(), 0.01, "SIGURG")
    assert containerd.last("StopContainer").timeout == 0


async def test_an_end_that_containerd_does_not_see_is_not_waited_for_for_ever(
    containerd: Containerd, runtime: CRIRuntime, process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.001,) * 3)
    started(containerd, process, "{}")
    assert (await runtime.ended(container())).state == states.RUNNING
    assert containerd.methods() == ["ContainerStatus"] * 3


async def test_what_was_started_is_trusted_until_it_is_gone(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    processes = runtime._processes
    containerd.answers["RunPodSandbox"] = m.RunPodSandboxResponse(pod_sandbox_id="s")
    containerd.answers["CreateContainer"] = m.CreateContainerResponse(container_id="c1")
    sandbox = await runtime.run_sandbox(one(), 0, RESOLVER, "host")
    await runtime.start_container(one(), sandbox, plan())
    assert processes.trusts("c1")
    await runtime.remove_container("c1")
    assert not processes.trusts("c1") and processes.trusts("s")
    await runtime.remove_sandbox("s")
    assert not processes.trusts("s")


async def test_processes_of_other_runtimes_are_left_to_them(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    containerd.answers["RunPodSandbox"] = m.RunPodSandboxResponse(pod_sandbox_id="s")
    containerd.answers["CreateContainer"] = m.CreateContainerResponse(container_id="c1")
    sandbox = await runtime.run_sandbox(one(), 0, RESOLVER, "host", "kata")
    await runtime.start_container(one(), sandbox, plan())
    assert not runtime._processes.trusts("s") and not runtime._processes.trusts("c1")
