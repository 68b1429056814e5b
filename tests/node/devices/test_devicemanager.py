"""Devices of a plugin that is a program of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.devices.allocations import AllocationError
from tiphys.node.devices.devicemanager import DeviceManager
from tiphys.node.devices.deviceresources import Count
from tiphys.node.plugins import watcher
from tiphys.node.plugins.channel import PluginError
from tiphys.node.volumes.kubeletfolder import SHOWN, KubeletFolder

RESOURCE = "example.com/it"


class Plugin:
    """The program beside this file."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, node: Node, *devices: str, resource: str = RESOURCE) -> Plugin:
        program = Path(__file__).with_name("deviceplugin.py")
        folder = node.folder.root / "device-plugins"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, program, folder, resource, *devices, stdin=pipe, stdout=pipe
        )
        return cls(process)

    async def said(self) -> dict[str, Any]:
        """The next line."""
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return said

    def list(self, *devices: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(devices) + "\n").encode())

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


class Node:
    """A node's device manager, which can be started again."""

    def __init__(self, root: Path) -> None:
        self.folder = KubeletFolder(root / "kubelet")
        self._file = root / "devices.json"
        self.active: set[str] = set()
        self._changed = asyncio.Event()
        self.manager = self._make()
        self.plugins: list[Plugin] = []

    def _make(self) -> DeviceManager:
        return DeviceManager(self.folder, self._file, lambda: self.active, self._changed.set)

    async def restart(self) -> None:
        await self.manager.stop()
        self.manager = self._make()
        await self.manager.start()

    async def plugin(self, *devices: str, resource: str = RESOURCE) -> Plugin:
        plugin = await Plugin.start(self, *devices, resource=resource)
        self.plugins.append(plugin)
        return plugin

    async def has(self, capacity: int, allocatable: int) -> None:
        """Returns once the node counts so many devices."""
        async with asyncio.timeout(20):
            while self.manager.counts().get(RESOURCE) != Count(capacity, allocatable):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    await made.manager.start()
    yield made
    for plugin in made.plugins:
        await plugin.stop()
    await made.manager.stop()


def using(uid: str, *counts: int, init: int = 0, sidecar: int = 0) -> core_v1.Pod:
    """A pod whose containers c0, c1... want so many devices."""

    def container(name: str, count: int, **more: Any) -> dict[str, Any]:
        limits = {RESOURCE: str(count)} if count else {}
        return {"name": name, "image": "i", "resources": {"limits": limits}, **more}

    inits = [container("init", init)] if init else []
    inits += [container("sidecar", sidecar, restartPolicy="Always")] if sidecar else []
    mains = [container(f"c{number}", count) for number, count in enumerate(counts)]
    made = pod(uid, containers=mains, initContainers=inits)
    made.metadata.uid = uid
    return made


async def test_a_container_gets_what_its_plugin_says(node: Node) -> None:
    plugin = await node.plugin("d0", "d1", "d2")
    assert (await plugin.said())["call"] == "registered"
    await node.has(3, 3)
    one = using("u", 2)
    await node.manager.allocate(one)
    assert await plugin.said() == {"call": "allocate", "devices": ["d1", "d2"]}  # it prefers them
    edits = await node.manager.edits(one, one.spec.containers[0])
    assert await plugin.said() == {"call": "pre-start", "devices": ["d1", "d2"]}
    assert edits.env == {"DEVICES": "d1,d2"}
    assert edits.annotations == {"example.com/devices": "d1,d2"}
    assert [(one.host, one.path, one.permissions) for one in edits.devices] == [
        ("/dev/null", "/dev/it", "rw")
    ]
    own = str(node.folder.root / "device-plugins")
    assert [(one.host, one.path, one.read_only) for one in edits.mounts] == [(own, "/share", True)]


async def test_devices_are_given_once_until_their_pod_ends(node: Node) -> None:
    await node.plugin("d0", "d1")
    await node.has(2, 2)
    node.active = {"u", "v"}
    await node.manager.allocate(using("u", 1))
    text = f"requested number of devices unavailable for {RESOURCE}. Requested: 2, Available: 1"
    with pytest.raises(AllocationError, match=text):
        await node.manager.allocate(using("v", 2))
    node.active = {"v"}
    await node.manager.allocate(using("v", 2))
    assert node.manager.health("v", "c0") == {RESOURCE: {"d0": "Healthy", "d1": "Healthy"}}


async def test_containers_have_what_init_containers_had_but_not_what_sidecars_have(
    node: Node,
) -> None:
    await node.plugin("d0", "d1", "d2")
    await node.has(3, 3)
    await node.manager.allocate(using("u", 1, 1, init=2, sidecar=1))
    owned = {
        name: set(node.manager.health("u", name)[RESOURCE]) for name in ("c0", "c1", "sidecar")
    }
    assert set.union(*owned.values()) == {"d0", "d1", "d2"}
    node.active = {"u"}
    with pytest.raises(AllocationError, match="Available: 0"):
        await node.manager.allocate(using("v", 1))


async def test_an_agent_that_starts_again_knows_who_has_what(node: Node) -> None:
    first = await node.plugin("d0", "d1")
    await node.has(2, 2)
    await node.manager.allocate(using("u", 1))
    await node.restart()
    await node.has(0, 0)  # until its plugin registers again
    node.active = {"u"}
    with pytest.raises(AllocationError, match="no healthy devices present"):
        await node.manager.allocate(using("v", 1))
    await first.stop()
    again = await node.plugin("d0", "d1")
    await node.has(2, 2)
    one = using("u", 1)
    await node.manager.allocate(one)
    edits = await node.manager.edits(one, one.spec.containers[0])
    assert edits.env == {"DEVICES": "d1"}
    said = {(await again.said())["call"], (await again.said())["call"]}
    assert said == {"registered", "pre-start"}  # nothing new allocated


async def test_unhealthy_devices_and_those_of_a_plugin_that_is_gone_are_not_given(
    node: Node,
) -> None:
    plugin = await node.plugin("d0", "d1")
    await node.has(2, 2)
    await node.manager.allocate(using("u", 1))
    plugin.list("d0", "d1=Unhealthy")
    await node.has(2, 1)
    assert node.manager.health("u", "c0") == {RESOURCE: {"d1": "Unhealthy"}}
    node.active = {"u"}
    await node.manager.allocate(using("v", 1))
    assert node.manager.health("v", "c0") == {RESOURCE: {"d0": "Healthy"}}
    await plugin.stop()
    await node.has(2, 0)
    text = f"no healthy devices present; cannot allocate unhealthy devices {RESOURCE}"
    with pytest.raises(AllocationError, match=text):
        await node.manager.allocate(using("w", 1))


async def test_a_plugin_that_deregisters_takes_its_devices_with_it(node: Node) -> None:
    await node.plugin("d0")
    await node.has(1, 1)
    socket = f"{SHOWN}/device-plugins/it.sock"
    for resource, place in (("example.com/other", socket), (RESOURCE, "/elsewhere.sock")):
        await node.manager.deregister(watcher.Plugin(resource, place, ("v1beta1",)))
        assert node.manager.counts() == {RESOURCE: Count(1, 1)}
    await node.manager.deregister(watcher.Plugin(RESOURCE, socket, ("v1beta1",)))
    await node.has(1, 0)


async def test_what_a_plugin_refuses_is_said_and_stays_free(node: Node) -> None:
    plugin = await node.plugin("broken")
    await node.has(1, 1)
    with pytest.raises(PluginError, match="rpc error: code = Internal desc = it is broken"):
        await node.manager.allocate(using("u", 1))
    node.active = {"u"}
    plugin.list("d0", "d1")
    await node.has(2, 2)
    await node.manager.allocate(using("v", 2))


@pytest.mark.parametrize(
    "resource", ["cpu", "kubernetes.io/it", "requests.example.com/it", "a/b/c"]
)
async def test_a_resource_has_a_name_of_its_owner(node: Node, resource: str) -> None:
    plugin = await node.plugin("d0", resource=resource)
    assert await plugin.said() == {
        "call": "refused",
        "error": f'the ResourceName "{resource}" is invalid',
    }


@pytest.mark.parametrize(
    ("near", "count", "expected"),
    [
        (None, 2, {"d2", "d3"}),
        ([0], 1, {"d1"}),
        ([1], 2, {"d2", "d3"}),
        ([1], 3, {"d1", "d2", "d3"}),
        ([0, 1], 2, {"d2", "d3"}),
    ],
)
async def test_devices_are_taken_where_the_container_is(
    node: Node, near: list[int] | None, count: int, expected: set[str]
) -> None:
    """The plugin would take the last ones; d0 and d1 are near NUMA node 0, d2 and d3 near 1."""
    plugin = await node.plugin("d0@0", "d1@0", "d2@1", "d3@1")
    assert (await plugin.said())["call"] == "registered"
    await node.has(4, 4)
    node.manager.note_affinity("u", "c0", near)
    await node.manager.allocate(using("u", count))
    assert set((await plugin.said())["devices"]) == expected
    assert {one.id: one.nodes for one in node.manager.held("u", "c0")} == {
        device: (int(device[1]) // 2,) for device in expected
    }
