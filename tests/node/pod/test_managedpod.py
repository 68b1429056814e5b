"""What the parts of a worker share: what is read of the runtime, and facts of the pod."""

from __future__ import annotations

import asyncio
import copy

import pytest

from tests.builders import pod
from tests.node.builders import NO_RESOLVER, RecordingRuntime, node_context, running
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.runtime import ContainerPlan
from tiphys.node.states import CREATED, EXITED, PodState, SandboxState


class SlowRuntime(RecordingRuntime):
    """Shows what there was when it was asked, as soon as it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def pod(self, uid: str) -> PodState:
        seen = copy.deepcopy(await super().pod(uid))
        self.asked.set()
        await self.let.wait()
        return seen


async def test_a_start_that_ends_during_a_look_is_seen() -> None:
    """Otherwise the container would be started a second time."""
    one, runtime = pod(restartPolicy="Never"), SlowRuntime()
    one.metadata.uid = "u"
    managed = ManagedPod(node_context(runtime), one)
    sandbox = await runtime.run_sandbox(one, 0, NO_RESOLVER, "p")
    looking = asyncio.create_task(managed.read_state())
    await runtime.asked.wait()
    plan = ContainerPlan(one.spec.containers[0], 0, "i", [], [], {}, [])
    await runtime.start_container(one, sandbox, plan)
    managed.start_ended(managed.records["c"])
    runtime.let.set()
    await looking
    assert managed.state.containers["c"].state != CREATED


async def test_the_runtime_is_read_only_when_it_may_show_something_new() -> None:
    managed = await running(pod(restartPolicy="Always"))
    seen = managed.state
    managed.state = PodState("u")
    await managed.refresh_state()
    assert not managed.state.containers
    managed.resync()
    await managed.refresh_state()
    assert managed.state is seen


async def test_a_container_that_ended_is_not_ready() -> None:
    managed = await running(pod(restartPolicy="Always"))
    managed.probes.watch(managed.pod, managed.state)
    assert managed.records["c"].ready
    managed.state.containers["c"].state = EXITED
    managed.note_exits()
    assert not managed.records["c"].ready


@pytest.mark.parametrize(
    ("host_network", "sandbox", "pod_ip", "address"),
    [
        (False, "10.0.0.9", "10.0.0.9", "10.0.0.9"),
        (False, "", "", "1.2.3.4"),
        (True, "10.0.0.9", "1.2.3.4", "1.2.3.4"),
    ],
)
def test_addresses(host_network: bool, sandbox: str, pod_ip: str, address: str) -> None:
    managed = ManagedPod(node_context(), pod(hostNetwork=host_network))
    managed.state.sandbox = SandboxState("s", 0, True, sandbox)
    assert (managed.pod_ips(), managed.address()) == (tuple(filter(None, [pod_ip])), address)


@pytest.mark.parametrize(
    ("container", "path"),
    [
        ("c", "spec.containers{c}"),
        ("i", "spec.initContainers{i}"),
        ("e", "spec.ephemeralContainers{e}"),
        ("", ""),
    ],
)
def test_events_name_the_part_of_the_pod(container: str, path: str) -> None:
    others = {
        "initContainers": [{"name": "i", "image": "i"}],
        "ephemeralContainers": [{"name": "e", "image": "i"}],
    }
    managed = ManagedPod(node_context(), pod(**others))
    managed.event("Normal", "Why", "m", container)
    assert managed.node.recorder.recorded == [("Normal", "Why", "m", path)]


async def test_a_wake_is_not_lost() -> None:
    managed = ManagedPod(node_context(), pod())
    managed.wake()
    await managed.changed(timeout=None)
    managed.acknowledge()
    await managed.changed(timeout=0.0)


@pytest.mark.parametrize(("ready", "expected"), [(True, True), (False, False)])
def test_volumes_of_an_agent_before_this_one_are_kept_up_to_date(
    ready: bool, expected: bool
) -> None:
    managed = ManagedPod(node_context(), pod())
    assert not managed.has_volumes()
    managed.state.sandbox = SandboxState("s", 0, ready)
    assert managed.has_volumes() is expected
    managed.volume_paths = {}
    assert managed.has_volumes()
