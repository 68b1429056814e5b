"""What is asked of containerd, and what is made of its answers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import pytest

from tests.builders import pod
from tests.node.cri.containerd import Containerd, Refusal, fault, happened, one, plan
from tiphys.node.abilities import IdRange
from tiphys.node.cri import messages as m
from tiphys.node.cri import runtime as module
from tiphys.node.cri.runtime import CRIRuntime
from tiphys.node.naming import Resolver
from tiphys.node.runtime import ContainerPlan, RuntimeFault, Streams
from tiphys.node.states import ContainerState, PodIdentity, SandboxState, Usage

UID_LABEL = "io.kubernetes.pod.uid"
RESOLVER = Resolver(["10.0.0.10"], ["svc"], ["ndots:5"])


@pytest.mark.parametrize(
    ("version", "name", "cdi"),
    [
        ("1.7.2", "containerd://1.7.2", True),
        ("v1.6.20~ds1", "containerd://1.6.20", False),
        ("2.0.0", "containerd://2.0.0", True),
    ],
)
async def test_the_runtime_says_what_it_is(
    containerd: Containerd, runtime: CRIRuntime, version: str, name: str, cdi: bool
) -> None:
    answer = m.VersionResponse(runtime_name="containerd", runtime_version=version)
    containerd.answers["Version"] = answer
    features = m.RuntimeFeatures(supplemental_groups_policy=True)
    containerd.answers["Status"] = m.StatusResponse(features=features)
    assert runtime.name == "containerd://unknown" and not runtime.applies_cdi
    await runtime.start(lambda id: None)
    assert (runtime.name, runtime.applies_cdi) == (name, cdi)
    assert runtime.abilities.strict_groups is True
    assert containerd.last("Version").version == "v1"


async def test_the_end_of_a_task_wakes_and_other_events_do_not(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    woken = asyncio.Queue[str]()
    containerd.events = [happened(what, "c") for what in ("start", "exit", "delete", "oom")]
    listening = asyncio.create_task(runtime._listen(woken.put_nowait))
    async with asyncio.timeout(5):
        assert [await woken.get(), await woken.get()] == ["", ""]
    assert woken.empty()
    listening.cancel()


async def test_a_pod_is_asked_for_by_its_uid_and_its_status_says_more(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    meta = m.PodSandboxMetadata(name="p", uid="u", attempt=0)
    containerd.answers["ListPodSandbox"] = m.ListPodSandboxResponse(
        items=[m.PodSandbox(id="s", metadata=meta)]
    )
    labels = {UID_LABEL: "u"}
    listed = m.Container(
        id="c1", pod_sandbox_id="s", metadata=m.ContainerMetadata(name="c"), labels=labels
    )
    containerd.answers["ListContainers"] = m.ListContainersResponse(containers=[listed])
    network = m.PodSandboxNetworkStatus(ip="10.0.0.1", additional_ips=[m.PodIP(ip="fd00::1")])
    containerd.answers["PodSandboxStatus"] = m.PodSandboxStatusResponse(
        status=m.PodSandboxStatus(id="s", state=0, network=network)
    )
    status = m.ContainerStatus(id="c1", state=2, exit_code=3, finished_at=5 * 10**9)
    containerd.answers["ContainerStatus"] = m.ContainerStatusResponse(status=status)
    state = await runtime.pod("u")
    assert state.sandbox is not None and state.sandbox.ready
    assert (state.sandbox.ip, state.sandbox.additional_ips) == ("10.0.0.1", ("fd00::1",))
    assert state.containers["c"].exit_code == 3
    assert containerd.last("ListPodSandbox").filter.label_selector == labels
    assert containerd.last("ListContainers").filter.label_selector == labels
    assert containerd.last("ContainerStatus").container_id == "c1"
    assert set(await runtime.pods()) == {"u"}
    assert (await runtime.pod("other")).sandbox is None


async def test_what_is_gone_meanwhile_stays_as_it_was_listed(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    gone = Refusal("gone", grpc.StatusCode.NOT_FOUND)
    sandbox, known = SandboxState("s", 0, True), ContainerState("c1", "c", 0)
    for answer in (gone, m.PodSandboxStatusResponse()):
        containerd.answers["PodSandboxStatus"] = answer
        assert await runtime._with_address(sandbox) == SandboxState("s", 0, True)
    for given in (gone, m.ContainerStatusResponse()):
        containerd.answers["ContainerStatus"] = given
        assert await runtime.container(known) is known
    without = m.PodSandboxStatusResponse(status=m.PodSandboxStatus(id="s", state=1))
    containerd.answers["PodSandboxStatus"] = without
    found = await runtime._with_address(sandbox)
    assert (found.ready, found.ip, found.additional_ips) == (False, "", ())


async def test_usage_is_by_pod_and_container(containerd: Containerd, runtime: CRIRuntime) -> None:
    attributes = m.ContainerAttributes(
        metadata=m.ContainerMetadata(name="c"),
        labels={UID_LABEL: "u", "io.kubernetes.container.name": "c"},
    )
    cpu = m.CpuUsage(usage_core_nano_seconds=m.UInt64Value(value=7))
    stats = m.ContainerStats(attributes=attributes, cpu=cpu)
    containerd.answers["ListContainerStats"] = m.ListContainerStatsResponse(stats=[stats])
    assert await runtime.usage() == {"u": {"c": Usage(cpu=7)}}


async def test_a_sandbox_is_run_and_its_address_read(
    containerd: Containerd, runtime: CRIRuntime, tmp_path: Path
) -> None:
    containerd.answers["RunPodSandbox"] = m.RunPodSandboxResponse(pod_sandbox_id="s")
    network = m.PodSandboxNetworkStatus(ip="10.0.0.1")
    containerd.answers["PodSandboxStatus"] = m.PodSandboxStatusResponse(
        status=m.PodSandboxStatus(id="s", network=network)
    )
    made = await runtime.run_sandbox(one(), 3, RESOLVER, "host", "runsc", IdRange(1, 2))
    assert (made.id, made.attempt, made.ready, made.ip) == ("s", 3, True, "10.0.0.1")
    request = containerd.last("RunPodSandbox")
    assert (request.runtime_handler, request.config.hostname) == ("runsc", "host")
    assert (tmp_path / "logs" / "default_p_u").is_dir()
    containerd.answers["RunPodSandbox"] = Refusal("no network")
    assert await fault(runtime.run_sandbox(one(), 0, RESOLVER, "h")) == (
        "FailedCreatePodSandBox",
        "Failed to create pod sandbox: no network",
    )


async def test_a_container_is_created_in_its_sandbox_and_started(
    containerd: Containerd, runtime: CRIRuntime, tmp_path: Path
) -> None:
    containerd.answers["RunPodSandbox"] = m.RunPodSandboxResponse(pod_sandbox_id="s")
    sandbox = await runtime.run_sandbox(one(), 1, RESOLVER, "host")
    containerd.answers["CreateContainer"] = m.CreateContainerResponse(container_id="id")
    made = await runtime.start_container(one(), sandbox, plan())
    assert (made.id, made.name, made.attempt, made.sandbox) == ("id", "c", 2, "s")
    request = containerd.last("CreateContainer")
    assert request.pod_sandbox_id == "s" and request.sandbox_config.hostname == "host"
    assert containerd.last("StartContainer").container_id == "id"
    assert (tmp_path / "logs" / "default_p_u" / "c").is_dir()
    runtime.forget("u")
    await runtime.start_container(one(), sandbox, plan())
    request = containerd.last("CreateContainer")
    assert request.sandbox_config.hostname == "" and request.sandbox_config.metadata.attempt == 1


@pytest.mark.parametrize(
    ("method", "reason"),
    [("CreateContainer", "CreateContainerError"), ("StartContainer", "RunContainerError")],
)
async def test_what_keeps_a_container_from_starting_is_told(
    containerd: Containerd, runtime: CRIRuntime, method: str, reason: str
) -> None:
    containerd.answers[method] = Refusal("no space")
    sandbox = SandboxState("s", 0, True)
    assert await fault(runtime.start_container(one(), sandbox, plan())) == (reason, "no space")


async def test_a_start_that_is_broken_off_is_waited_for(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    begun, finished = asyncio.Event(), []

    async def slow() -> None:
        begun.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        finished.append(True)

    starting = asyncio.create_task(runtime._uninterrupted(slow()))
    await begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert finished == [True]


@pytest.mark.parametrize(("handler", "asked"), [("", "runc"), ("kata", "kata")])
async def test_a_pod_with_image_volumes_is_run_by_runc(
    containerd: Containerd, runtime: CRIRuntime, handler: str, asked: str
) -> None:
    imaged = pod(volumes=[{"name": "v", "image": {"reference": "r"}}])
    await runtime.run_sandbox(imaged, 0, RESOLVER, "host", handler)
    assert containerd.last("RunPodSandbox").runtime_handler == asked
    await runtime.run_sandbox(one(), 0, RESOLVER, "host")
    assert containerd.last("RunPodSandbox").runtime_handler == ""


@pytest.mark.parametrize(("has_file", "unified"), [(True, {"memory.swap.max": "0"}), (False, {})])
async def test_containers_have_no_swap_where_that_is_a_groups_own(
    containerd: Containerd,
    runtime: CRIRuntime,
    monkeypatch: pytest.MonkeyPatch,
    has_file: bool,
    unified: dict[str, str],
) -> None:
    monkeypatch.setattr(runtime._groups, "limits_swap", lambda: has_file)
    sandbox = SandboxState("s", 0, True)
    await runtime.start_container(one(), sandbox, plan())
    assert containerd.last("CreateContainer").config.linux.resources.unified == unified


async def test_containers_have_the_huge_pages_of_their_limits(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    runtime._page_sizes = ("hugepages-2Mi", "hugepages-1Gi")
    limits = {"hugepages-2Mi": "4Mi"}
    large = pod(containers=[{"name": "c", "image": "i", "resources": {"limits": limits}}])
    with_limits = ContainerPlan(large.spec.containers[0], 0, "i", [], [], {}, [])
    await runtime.start_container(large, SandboxState("s", 0, True), with_limits)
    resources = containerd.last("CreateContainer").config.linux.resources
    pages = [(each.page_size, each.limit) for each in resources.hugepage_limits]
    assert pages == [("2MB", 4 << 20), ("1GB", 0)]


async def test_a_container_is_resized_and_pinned(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    small = pod(containers=[{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}])
    await runtime.resize_container(small, small.spec.containers[0], "id")
    request = containerd.last("UpdateContainerResources")
    assert request.container_id == "id" and request.linux.oom_score_adj == 0
    assert request.linux.cpu_quota == 100000
    await runtime.pin_container("id", "0-3")
    request = containerd.last("UpdateContainerResources")
    assert (request.container_id, request.linux.cpuset_cpus) == ("id", "0-3")


@pytest.mark.parametrize(("timeout", "asked"), [(2.4, 2), (0.2, 1), (0, 1)])
async def test_a_command_has_a_code_and_what_it_wrote(
    containerd: Containerd, runtime: CRIRuntime, timeout: float, asked: int
) -> None:
    containerd.answers["ExecSync"] = m.ExecSyncResponse(stdout=b"out", stderr=b"err", exit_code=4)
    assert await runtime.exec("id", ["ls"], timeout) == (4, b"outerr")
    request = containerd.last("ExecSync")
    assert (request.container_id, request.cmd, request.timeout) == ("id", ["ls"], asked)


async def test_a_command_that_takes_too_long_is_told_from_one_that_cannot_be(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    containerd.answers["ExecSync"] = Refusal("command timed out: timeout 1s exceeded")
    with pytest.raises(TimeoutError):
        await runtime.exec("id", ["ls"], 1)
    containerd.answers["ExecSync"] = Refusal("no such file")
    assert await fault(runtime.exec("id", ["ls"], 1)) == ("UNKNOWN", "no such file")
    containerd.answers["ExecSync"] = Refusal("", grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(TimeoutError):
        await runtime.exec("id", ["ls"], 1)


@pytest.mark.parametrize(("tty", "stderr"), [(False, True), (True, False)])
async def test_streams_are_had_at_a_url(
    containerd: Containerd, runtime: CRIRuntime, tty: bool, stderr: bool
) -> None:
    containerd.answers["Exec"] = m.ExecResponse(url="http://a")
    containerd.answers["Attach"] = m.AttachResponse(url="http://b")
    containerd.answers["PortForward"] = m.PortForwardResponse(url="http://c")
    streams = Streams(stdin=True, stdout=True, stderr=True, tty=tty)
    assert await runtime.exec_url("id", ["sh"], streams) == "http://a"
    assert await runtime.attach_url("id", streams) == "http://b"
    for method in ("Exec", "Attach"):
        asked = containerd.last(method)
        assert (asked.stdin, asked.stdout, asked.stderr, asked.tty) == (True, True, stderr, tty)
    assert containerd.last("Exec").cmd == ["sh"]
    assert await runtime.port_forward_url("s", [80, 81]) == "http://c"
    assert list(containerd.last("PortForward").port) == [80, 81]


# --- images ---


async def test_a_full_log_is_rotated_and_the_runtime_opens_another(
    containerd: Containerd, runtime: CRIRuntime, tmp_path: Path
) -> None:
    identity, known = PodIdentity("default", "p", "u"), ContainerState("id", "c", 2)
    runtime.make_log_folder(identity, "c")
    folder = runtime.log_folder(identity) / "c"
    log = folder / "2.log"
    log.write_bytes(b"x" * 9)
    await runtime.rotate_log(identity, known)
    assert containerd.calls == [], "it is not full"
    log.write_bytes(b"x" * 11)
    containerd.answers["ReopenContainerLog"] = Refusal("gone")
    with pytest.raises(RuntimeFault):
        await runtime.rotate_log(identity, known)
    assert log.read_bytes() == b"x" * 11, "it is put back"
    containerd.answers.clear()
    await runtime.rotate_log(identity, known)
    assert containerd.last("ReopenContainerLog").container_id == "id" and not log.exists()
    assert runtime.pods_with_logs() == {"u"}
    log.write_bytes(b"again")
    opened = runtime.open_log(identity, "c", 2)
    assert os.read(opened, 9) == b"again"
    os.close(opened)
    runtime.remove_log(identity, known)
    assert list(folder.iterdir()) == []
    runtime.remove_logs("other")
    assert runtime.pods_with_logs() == {"u"}
    runtime.remove_logs("u")
    assert runtime.pods_with_logs() == set()


def test_the_kernel_says_whether_it_has_app_armor(tmp_path: Path) -> None:
    enabled = tmp_path / "enabled"
    assert not module.has_app_armor(enabled)
    for text, has in (("Y\n", True), ("N\n", False)):
        enabled.write_text(text)
        assert module.has_app_armor(enabled) is has
