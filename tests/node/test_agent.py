"""An agent beside a real API server, with pods that are given to it by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.builders import pod
from tests.node.builders import RecordingRuntime
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError
from tiphys.node.agent import Agent
from tiphys.node.configuration import DEFAULT
from tiphys.node.options import NodeOptions
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import EXITED, RUNNING, Usage
from tiphys.testing import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Runtime(RecordingRuntime):
    """Hollow; its images are those of a test, and it is down when told so."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.kept: list[tuple[list[str], int]] = []
        self.used: dict[str, dict[str, Usage]] = {}
        self.listed = 0

    async def images(self) -> list[tuple[list[str], int]]:
        if self.down:
            raise RuntimeFault("Down", "nobody is there")
        return self.kept

    async def pods(self) -> Any:
        self.listed += 1
        return await super().pods()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[LocalCluster]:
    async with LocalCluster() as server:
        account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
        await server.client.create(account)
        yield server


class Node:
    """A started agent, and what happens on it."""

    def __init__(self, api: LocalCluster, name: str, folder: Path, **more: Any) -> None:
        self.api, self.name = api, name
        self.client = api.client
        self.tasks = TaskGroup(name)
        self.runtime = Runtime()
        nothing = Path()
        options = NodeOptions(name, "10.9.8.7", folder, nothing, nothing, nothing, **more)
        self.agent = Agent(api.client, self.runtime, options, list, self.tasks)

    async def start(self) -> None:
        await self.agent.start()

    async def shown(self) -> core_v1.Node:
        return await self.client.get(core_v1.Node, self.name)

    async def give(self, name: str, **spec: Any) -> core_v1.Pod:
        """A pod that is bound to the node, as the informer shows it."""
        made = pod(f"{self.name}-{name}", nodeName=self.name, **spec)
        made.metadata.uid = ""
        made = await self.client.create(made)
        self.agent.pod_changed(None, made)
        return made

    async def phase(self, one: core_v1.Pod, *phases: str) -> core_v1.Pod:
        """Waits until the pod has one of the phases."""

        async def check() -> core_v1.Pod | None:
            try:
                found = await self.client.get(core_v1.Pod, one.metadata.name, "default")
            except StatusError:
                return None
            return found if found.status.phase in phases else None

        found: core_v1.Pod = await self.api.eventually(check)
        return found

    async def gone(self, one: core_v1.Pod) -> None:
        async def check() -> bool:
            try:
                await self.client.get(core_v1.Pod, one.metadata.name, "default")
            except StatusError:
                return True
            return False

        await self.api.eventually(check)


@pytest_asyncio.fixture(loop_scope="module")
async def node(
    api: LocalCluster, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Node]:
    made = Node(api, f"n{abs(hash(request.node.nodeid)) % 10**8}", tmp_path, labels={"a": "b"})
    await made.start()
    yield made
    await made.agent.stop()
    await made.tasks.stop()


LASTS = {"restartPolicy": "Always"}


async def test_the_node_is_registered_with_what_it_has(node: Node) -> None:
    shown = await node.shown()
    assert shown.metadata.labels["a"] == "b"
    assert {each.type: each.address for each in shown.status.addresses} == {
        "InternalIP": "10.9.8.7",
        "Hostname": node.name,
    }
    assert shown.status.capacity["pods"] == "110" and shown.status.capacity["cpu"] == "32"
    assert shown.status.daemon_endpoints is not None


async def test_a_pod_runs_and_its_end_is_seen(node: Node) -> None:
    one = await node.give("p", **LASTS)
    found = await node.phase(one, "Running")
    assert found.status.host_ip == "10.9.8.7" and found.status.pod_ip
    assert [each.metadata.name for each in node.agent.pods()] == [one.metadata.name]
    shown = node.agent.find("default", one.metadata.name)
    assert shown is not None and set(shown[1].containers) == {"c"}
    assert node.agent.find("default", "other") is None
    assert node.agent._workers.count_running() == 1
    counts = [node.agent._workers.count_containers(state) for state in (RUNNING, EXITED)]
    assert counts == [1, 0]


async def test_what_ends_at_once_has_succeeded(node: Node) -> None:
    one = await node.give("p", restartPolicy="Never")
    await node.phase(one, "Succeeded")


async def test_a_pod_that_has_ended_long_ago_is_not_begun(node: Node) -> None:
    ended = pod("ended", nodeName=node.name)
    ended.metadata.uid = "long-ago"
    ended.status.phase = "Failed"
    node.agent.pod_changed(None, ended)
    assert node.agent.pods() == []
    ended.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    node.agent.pod_changed(None, ended)
    assert [one.metadata.uid for one in node.agent.pods()] == ["long-ago"], "it has to be let go"


async def test_a_deleted_pod_ends_and_goes(node: Node) -> None:
    one = await node.give("p", **LASTS)
    running = await node.phase(one, "Running")
    await node.client.delete(core_v1.Pod, one.metadata.name, "default", grace=1)
    leaving = await node.client.get(core_v1.Pod, one.metadata.name, "default")
    node.agent.pod_changed(running, leaving)
    await node.gone(one)
    assert ("stop", "c") in node.runtime.calls
    await node.api.eventually(lambda: not node.agent.pods())


async def test_a_pod_whose_object_is_gone_is_ended(node: Node) -> None:
    one = await node.give("p", **LASTS)
    await node.phase(one, "Running")
    await node.client.delete(core_v1.Pod, one.metadata.name, "default", grace=0)
    node.agent.pod_changed(one, None)
    assert node.agent._workers[one.metadata.uid].managed.holds_room is False
    await node.api.eventually(lambda: not node.agent.pods())
    assert ("stop", "c") in node.runtime.calls and not node.agent._workers.abandoned
    node.agent.pod_changed(one, None)  # nobody works on it any more


async def test_what_does_not_fit_is_rejected_and_gives_its_room_back(node: Node) -> None:
    big = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "20"}}}]
    first = await node.give("first", containers=big, **LASTS)
    await node.phase(first, "Running")
    second = await node.give("second", containers=big, **LASTS)
    found = await node.phase(second, "Failed")
    assert found.status.reason == "OutOfcpu"
    await node.client.delete(core_v1.Pod, first.metadata.name, "default", grace=0)
    node.agent.pod_changed(first, None)
    await node.api.eventually(lambda: not node.agent.pods())
    third = await node.give("third", containers=big, **LASTS)
    await node.phase(third, "Running")


async def test_only_pods_that_the_node_suits_run_there(node: Node) -> None:
    wrong = await node.give("wrong", nodeSelector={"a": "c"}, **LASTS)
    found = await node.phase(wrong, "Failed")
    assert found.status.reason == "NodeAffinity"
    right = await node.give("right", nodeSelector={"a": "b"}, **LASTS)
    await node.phase(right, "Running")


async def test_a_runtime_that_is_down_makes_the_node_unready(node: Node) -> None:
    node.runtime.kept = [(["i:1"], 5)]
    assert await node.agent._health() == (True, "")
    assert node.agent._registration.images == [(["i:1"], 5)]
    node.runtime.down = True
    assert await node.agent._health() == (
        False,
        "container runtime is down: nobody is there",
    )


async def test_an_event_of_one_container_wakes_its_pod_and_one_of_any_all_that_differ(
    node: Node,
) -> None:
    one = await node.give("p", **LASTS)
    await node.phase(one, "Running")
    shown = node.agent.find("default", one.metadata.name)
    assert shown is not None
    known = shown[1].containers["c"]
    resynced = []
    worker = node.agent._workers[one.metadata.uid]
    worker.managed.resync = lambda: resynced.append("one")  # type: ignore[method-assign]
    node.agent._runtime_event("unheard")
    assert resynced == []
    node.agent._runtime_event(known.id)
    assert resynced == ["one"]
    listed = node.runtime.listed
    node.agent._runtime_event("")
    await node.api.eventually(lambda: node.runtime.listed > listed)
    assert resynced == ["one"], "nothing has changed"
    del node.runtime._pods[one.metadata.uid]
    node.agent._runtime_event("")
    await node.api.eventually(lambda: resynced == ["one", "one"])


async def test_orphans_of_an_agent_before_this_one_are_ended(node: Node) -> None:
    one = pod("orphan", **LASTS)
    one.metadata.uid = "orphan"
    await node.runtime.run_sandbox(one, 0, node.agent._options.resolver, "orphan")
    known = pod("known", **LASTS)
    known.metadata.uid = "known"
    await node.runtime.run_sandbox(known, 0, node.agent._options.resolver, "known")
    node.agent._workers.unclaimed = dict(await node.runtime.pods())
    assert not node.agent._knows_pods
    await node.agent.remove_orphaned_pods({"known"})
    assert node.agent._knows_pods and node.agent._workers.unclaimed == {}
    assert [call for call in node.runtime.calls if call[0] == "remove sandbox"] == [
        ("remove sandbox", "orphan-0")
    ]


async def test_a_pod_that_ran_before_keeps_its_room_whatever_others_want(
    api: LocalCluster, tmp_path: Path
) -> None:
    node = Node(api, "before", tmp_path)
    one = pod("before-p", nodeName="before", **LASTS)
    one.metadata.uid = ""
    one = await api.client.create(one)
    await node.runtime.run_sandbox(one, 0, node.agent._options.resolver, "p")
    await node.start()
    assert set(node.agent._workers.unclaimed) == {one.metadata.uid}
    node.agent.pod_changed(None, one)
    worker = node.agent._workers[one.metadata.uid]
    assert worker.managed.holds_room and node.agent._workers.unclaimed == {}
    await node.phase(one, "Running")
    sandboxes = [state.sandbox for state in (await node.runtime.pods()).values()]
    assert [made.attempt for made in sandboxes if made is not None] == [0], "its own is taken"
    await node.agent.stop()
    await node.tasks.stop()


async def test_images_that_pods_name_are_in_use(node: Node) -> None:
    spec = {
        "containers": [{"name": "c", "image": "one"}],
        "initContainers": [{"name": "i", "image": "two:1"}],
        "volumes": [{"name": "v", "image": {"reference": "three"}}],
    }
    one = await node.give("p", **spec, **LASTS)
    worker = node.agent._workers[one.metadata.uid]
    worker.pod.spec.ephemeral_containers = [core_v1.EphemeralContainer(name="e", image="four")]
    worker.pod.spec.containers.append(core_v1.Container(name="bad", image="A B"))
    names = node.agent._workers.images_in_use()
    assert {name.rpartition("/")[2] for name in names} == {
        "one:latest",
        "two:1",
        "three:latest",
        "four:latest",
    }


async def test_active_pods_are_those_that_have_not_ended(node: Node) -> None:
    one = await node.give("p", **LASTS)
    await node.phase(one, "Running")
    node.agent._workers.abandoned.add("left")
    assert node.agent._workers.active() == {one.metadata.uid, "left"}
    node.agent._workers[one.metadata.uid].pod.status.phase = "Succeeded"
    assert node.agent._workers.active() == {"left"}


async def test_only_pods_of_this_node_are_woken(node: Node) -> None:
    one = await node.give("p", **LASTS)
    woken = []
    node.agent._workers[one.metadata.uid].managed.wake = lambda: woken.append(1)  # type: ignore[method-assign]
    node.agent._workers.wake({one.metadata.uid, "other"})
    node.agent._workers.wake({"other"})
    assert woken == [1]


async def test_a_node_says_how_it_is_configured(api: LocalCluster, tmp_path: Path) -> None:
    configuration = replace(DEFAULT, max_pods=7)
    node = Node(api, "small", tmp_path, configuration=configuration)
    assert node.agent._capacity["pods"] == "7"
    shown = node.agent.configuration()
    assert shown["maxPods"] == 7 and shown["address"] == "10.9.8.7"
    assert node.agent.volume_usage() == {}


async def test_where_the_machine_is_switched_off_pods_end_only_if_nobody_knows_better(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    async def begin() -> None:
        begun.append(1)

    monkeypatch.setattr(node.agent._shutdown, "begin", begin)
    await node.agent.shut_down()
    assert begun == [], "no time is configured"
    node.agent._shutdown.periods = [object()]  # type: ignore[list-item,assignment]
    await node.agent.shut_down()
    assert begun == [1]
    node.agent._logind.is_active = True
    await node.agent.shut_down()
    assert begun == [1], "logind knows better"


async def test_housekeeping_looks_at_everything_and_goes_on_after_a_failure(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = [{"name": "c", "image": "i", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]
    one = await node.give("p", containers=limited, **LASTS)
    await node.phase(one, "Running")
    node.runtime.used = {one.metadata.uid: {"c": Usage(disk=5)}}
    seen: list[Any] = []

    async def usage() -> Any:
        seen.append("usage")
        if seen.count("usage") == 1:
            raise RuntimeFault("x", "down")
        return node.runtime.used

    async def keep(used: Any) -> None:
        seen.append(used)

    done = asyncio.Event()

    async def look(managed: Any) -> None:
        seen.append([each.pod.metadata.uid for each in managed])
        done.set()

    monkeypatch.setattr("tiphys.node.agent._HOUSEKEEPING", 0)
    monkeypatch.setattr(node.runtime, "usage", usage)
    monkeypatch.setattr(node.agent._workers[one.metadata.uid], "keep_house", keep)
    monkeypatch.setattr(node.agent._evictor, "look", look)
    keeping = node.tasks.start(node.agent._keep_house(), "housekeeping")
    async with asyncio.timeout(5):
        await done.wait()
    keeping.cancel()
    assert seen[:4] == ["usage", "usage", {"c": Usage(disk=5)}, [one.metadata.uid]]
